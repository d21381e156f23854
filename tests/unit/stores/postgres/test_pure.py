"""What needs no server: marks, printed plans, pool sizes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server_class import DEFAULT_CONNECTION_LIMIT
from tracking_operator.failures import Invalid
from tracking_operator.resources.server_model import CONNECTION_LIMIT_WITH_LOGIN
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.database_server import Login, PostgresServer
from tracking_operator.stores.postgres.observe import Observed
from tracking_operator.stores.postgres.plan import plan
from tracking_operator.stores.postgres.pool import (
    CONNECTIONS_BESIDE_PODS,
    CONNECTIONS_OF_PARENT,
    ENGINES_PER_WORKER,
    MLFLOW_POOL_SIZE,
    REPLICAS_OF_MEASURE,
    SURGE,
    connections_for,
    pool_size,
    require_budget,
    usual_limit,
)
from tracking_operator.stores.postgres.tenant import Desired, Tenant

MARK = Mark("c", "team-a", "mlflow", "u", "namespace-1")
PASSWORD = "the password"


def planned(version: int, wanted: Desired) -> list[str]:
    """What is sent to an empty server."""
    return [str(step) for step in plan(Observed(version, "admin", {}, frozenset(), None, {}), wanted)]


# The ownership mark


def test_a_mark_reads_back_as_it_was_written() -> None:
    assert Mark.read(MARK.text) == MARK.written


def test_a_mark_names_no_namespace_and_no_server() -> None:
    assert "team-a" not in MARK.text
    assert "mlflow" not in MARK.text
    other = replace(MARK, namespace="team", name="a-mlflow")
    assert (other.written.namespace, other.written.server) != (MARK.written.namespace, MARK.written.server)


@pytest.mark.parametrize(
    "comment",
    [
        None,
        "",
        "a note",
        "[]",
        "{}",
        '{"managedBy": "another"}',
        MARK.text.replace('"c"', "1"),
        MARK.text.replace("serverDigest", "x"),
    ],
)
def test_what_is_no_mark_reads_as_none(comment: str | None) -> None:
    assert Mark.read(comment) is None


def test_the_uid_is_information_only() -> None:
    assert MARK.is_same_owner(Mark("c", "team-a", "mlflow", "another", "namespace-1").written)
    assert not MARK.is_same_owner(None)
    for other in (Mark("d", "team-a", "mlflow"), Mark("c", "team-b", "mlflow"), Mark("c", "team-a", "x")):
        assert not MARK.is_same_owner(other.written)


def test_a_mark_with_names_is_that_of_the_server_that_it_names() -> None:
    earlier = (
        '{"managedBy": "tracking-operator.dev", "cluster": "c", "namespace": "team-a", '
        '"namespaceUid": "namespace-1", "name": "mlflow", "uid": "u"}'
    )
    assert Mark.read(earlier) == MARK.written
    assert earlier.startswith(MARK.earlier_beginning)
    assert earlier.startswith(MARK.beginnings_of_namespace)


def test_marks_of_a_server_are_alike_whatever_uid_it_had() -> None:
    again, other = replace(MARK, uid="another").text, replace(MARK, name="other").text
    assert MARK.sign in again
    assert MARK.sign not in other
    assert other.startswith(MARK.beginnings_of_namespace)
    assert not replace(MARK, namespace_uid="namespace-12").text.startswith(MARK.beginnings_of_namespace)


def test_a_mark_of_an_earlier_operator_counts_until_it_is_written_anew() -> None:
    earlier = '{"managedBy": "tracking-operator.dev", "cluster": "c", "namespace": "team-a", "name": "mlflow", "uid": "u"}'
    assert MARK.is_same_owner(Mark.read(earlier))
    assert not MARK.is_of_earlier_namespace(Mark.read(earlier))


def test_a_namespace_of_the_same_name_that_is_made_later_is_somebody_else() -> None:
    later = Mark("c", "team-a", "mlflow", "u", "namespace-2")
    assert not later.is_same_owner(MARK.written)
    assert later.is_of_earlier_namespace(MARK.written)
    assert not MARK.is_of_earlier_namespace(MARK.written)
    assert replace(later, takes_over=True).is_same_owner(MARK.written)
    assert replace(later, takes_over=True).text == later.text
    unknown = Mark("c", "team-a", "mlflow", "u")
    assert not unknown.is_same_owner(MARK.written)


# Plans


def test_a_printed_plan_shows_every_statement_and_no_secret() -> None:
    mine = Tenant.named('my "db"', MARK)
    first, *_, last = planned(160000, Desired(mine, mine.logins[0], PASSWORD))
    assert first.startswith(
        "BEGIN; SET LOCAL createrole_self_grant = ''; "
        'CREATE ROLE "my ""db""" NOLOGIN; COMMENT ON ROLE "my ""db""" IS \'{"managedBy"'
    )
    assert last == 'ALTER ROLE "my ""db""_a" LOGIN PASSWORD \'<verifier>\' VALID UNTIL \'infinity\''


def test_before_16_roles_are_made_without_the_setting_that_came_with_it() -> None:
    mine = Tenant.named("mine", MARK)
    wanted = Desired(mine, mine.logins[0], PASSWORD)
    assert not any("createrole_self_grant" in step for step in planned(150018, wanted))
    assert any("createrole_self_grant" in step for step in planned(160000, wanted))


def test_secrets_are_in_no_representation() -> None:
    mine = Tenant.named("mine", MARK)
    wanted = Desired(mine, mine.logins[0], PASSWORD)
    server = PostgresServer("host", ca_certificates="PEM")
    steps = plan(Observed(160000, "admin", {}, frozenset(), None, {}), wanted)
    shown = f"{wanted!r}{Login('admin', 'hunter2')!r}{server!r}{steps!r}"
    assert PASSWORD not in shown
    assert "hunter2" not in shown


def test_the_login_in_use_is_one_of_the_tenants() -> None:
    with pytest.raises(ValueError, match="'other'"):
        Desired(Tenant.named("mine", MARK), "other", PASSWORD)


# Pools


@given(
    limit=st.integers(1, 2000),
    replicas=st.integers(0, 10),
    workers=st.integers(1, 8),
    has_login=st.booleans(),
)
def test_every_engine_finds_a_connection_below_the_limit(
    limit: int, replicas: int, workers: int, has_login: bool
) -> None:
    pods = replicas + SURGE
    engines = ENGINES_PER_WORKER + has_login
    fixed = CONNECTIONS_BESIDE_PODS + pods * (CONNECTIONS_OF_PARENT + has_login)
    needed = fixed + pods * workers * engines
    if needed <= limit:
        require_budget(limit, replicas=replicas, workers=workers, has_login=has_login)
        return
    with pytest.raises(Invalid) as refused:
        require_budget(limit, replicas=replicas, workers=workers, has_login=has_login)
    assert refused.value.reason is Reason.CONNECTION_BUDGET_TOO_SMALL
    assert f"raise it to {needed} or more" in refused.value.message


@given(
    limit=st.integers(1, 2000),
    replicas=st.integers(1, 2),
    workers=st.integers(1, 8),
    has_login=st.booleans(),
)
def test_what_the_pools_of_two_replicas_keep_stays_below_a_limit_that_they_can_work_with(
    limit: int, replicas: int, workers: int, has_login: bool
) -> None:
    try:
        require_budget(limit, replicas=REPLICAS_OF_MEASURE, workers=workers, has_login=has_login)
    except Invalid:
        return
    size = pool_size(limit, workers=workers, has_login=has_login)
    assert 1 <= size <= MLFLOW_POOL_SIZE
    assert connections_for(size, replicas=replicas, workers=workers, has_login=has_login) <= limit


@given(replicas=st.integers(1, 10), workers=st.integers(1, 8), has_login=st.booleans())
def test_the_usual_limit_has_room_for_as_much_as_mlflow_keeps_by_itself(
    replicas: int, workers: int, has_login: bool
) -> None:
    limit = usual_limit(replicas=replicas, workers=workers, has_login=has_login)
    assert connections_for(MLFLOW_POOL_SIZE, replicas=replicas, workers=workers, has_login=has_login) <= limit
    assert pool_size(limit, workers=workers, has_login=has_login) == MLFLOW_POOL_SIZE


@pytest.mark.parametrize(
    ("limit", "has_login"), [(DEFAULT_CONNECTION_LIMIT, False), (CONNECTION_LIMIT_WITH_LOGIN, True)]
)
def test_with_the_default_limit_two_replicas_keep_as_much_as_mlflow_by_itself(
    limit: int, has_login: bool
) -> None:
    assert pool_size(limit, workers=1, has_login=has_login) == MLFLOW_POOL_SIZE
    assert usual_limit(replicas=2, workers=1, has_login=has_login) <= limit


def test_a_smaller_limit_makes_pools_smaller() -> None:
    assert pool_size(20, workers=1) == 2


def test_no_pool_is_larger_than_mlflows_own() -> None:
    assert pool_size(1000, workers=1) == MLFLOW_POOL_SIZE
