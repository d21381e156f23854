"""What needs no server: marks, verifiers, printed plans, pool sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server_class import DEFAULT_CONNECTION_LIMIT
from tracking_operator.backend_store import scram
from tracking_operator.backend_store.observe import Observed
from tracking_operator.backend_store.plan import plan
from tracking_operator.backend_store.pool import (
    CONNECTIONS_BESIDE_PODS,
    CONNECTIONS_OF_PARENT,
    ENGINES_PER_WORKER,
    MLFLOW_POOL_SIZE,
    UNBOUNDED,
    PoolSizes,
    pool_sizes,
)
from tracking_operator.backend_store.server import Login, PostgresServer
from tracking_operator.backend_store.statements import explain
from tracking_operator.backend_store.tenant import Desired, Tenant
from tracking_operator.failures import Invalid
from tracking_operator.mark import Mark
from tracking_operator.resources.server import CONNECTION_LIMIT_WITH_LOGIN

MARK = Mark("c", "team-a", "mlflow", "u")
VERIFIER = scram.verifier("secret", b"0123456789abcdef")


def empty(version: int) -> Observed:
    return Observed(version, "admin", {}, frozenset(), None, {})


# The ownership mark


def test_a_mark_reads_back_as_it_was_written() -> None:
    assert Mark.read(MARK.text) == MARK


@pytest.mark.parametrize(
    "comment", [None, "", "a note", "[]", "{}", '{"managedBy": "another"}', MARK.text.replace('"c"', "1")]
)
def test_what_is_no_mark_reads_as_none(comment: str | None) -> None:
    assert Mark.read(comment) is None


def test_the_uid_is_information_only() -> None:
    assert MARK.is_same_owner(Mark("c", "team-a", "mlflow", "another"))
    assert not MARK.is_same_owner(None)
    for other in (Mark("d", "team-a", "mlflow"), Mark("c", "team-b", "mlflow"), Mark("c", "team-a", "x")):
        assert not MARK.is_same_owner(other)


# SCRAM


def test_the_verifier_of_rfc_7677s_example() -> None:
    """User and password of section 3; the keys follow from its salt and iteration count."""
    import base64  # noqa: PLC0415
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    parts = scram.verifier("pencil", salt).split("$")[2].split(":")
    stored_key, server_key = (base64.b64decode(part) for part in parts)
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = (
        f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    ).encode()
    signature = hmac.new(server_key, message, hashlib.sha256).digest()
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client_signature = hmac.new(stored_key, message, hashlib.sha256).digest()
    client_key = bytes(a ^ b for a, b in zip(proof, client_signature, strict=True))
    assert hashlib.sha256(client_key).digest() == stored_key


@given(password=st.text(min_size=1), salt=st.binary(min_size=16, max_size=16))
def test_a_verifier_matches_its_password_only(password: str, salt: bytes) -> None:
    stored = scram.verifier(password.replace("\ud800", ""), salt, iterations=1)
    assert scram.matches(password, stored)
    assert not scram.matches(password + "x", stored)


def test_what_is_no_verifier_matches_nothing() -> None:
    assert not scram.matches("secret", "md5abcdef")
    assert not scram.matches("secret", "SCRAM-SHA-256$x:y$z")


# Plans


def test_a_printed_plan_shows_every_statement_and_no_secret() -> None:
    mine = Tenant.named('my "db"', MARK)
    text = explain(plan(empty(160000), Desired(mine, mine.logins[0], VERIFIER)))
    assert text.splitlines()[0].startswith(
        "create role my \"db\": BEGIN; SET LOCAL createrole_self_grant = ''; "
        'CREATE ROLE "my ""db""" NOLOGIN; COMMENT ON ROLE "my ""db""" IS \'{"managedBy"'
    )
    assert text.splitlines()[-1] == (
        'let my "db"_a log in: ALTER ROLE "my ""db""_a" LOGIN PASSWORD \'<verifier>\';'
    )
    assert VERIFIER not in text


def test_before_16_roles_are_made_without_the_setting_that_came_with_it() -> None:
    mine = Tenant.named("mine", MARK)
    wanted = Desired(mine, mine.logins[0], VERIFIER)
    assert "createrole_self_grant" not in explain(plan(empty(150018), wanted))
    assert "createrole_self_grant" in explain(plan(empty(160000), wanted))


def test_secrets_are_in_no_representation() -> None:
    mine = Tenant.named("mine", MARK)
    wanted = Desired(mine, mine.logins[0], VERIFIER)
    server = PostgresServer("host", ca_certificates="PEM")
    shown = f"{wanted!r}{Login('admin', 'hunter2')!r}{server!r}{plan(empty(160000), wanted)!r}"
    assert VERIFIER not in shown
    assert "hunter2" not in shown


def test_the_login_in_use_is_one_of_the_tenants() -> None:
    with pytest.raises(ValueError, match="'other'"):
        Desired(Tenant.named("mine", MARK), "other", VERIFIER)


# Pools


@given(
    limit=st.integers(1, 2000),
    replicas=st.integers(0, 10),
    workers=st.integers(1, 8),
    surge=st.integers(0, 3),
    has_login=st.booleans(),
)
def test_what_all_pools_keep_stays_below_the_limit(
    limit: int, replicas: int, workers: int, surge: int, has_login: bool
) -> None:
    pods = replicas + surge
    engines = ENGINES_PER_WORKER + has_login
    fixed = CONNECTIONS_BESIDE_PODS + pods * (CONNECTIONS_OF_PARENT + has_login)
    try:
        sizes = pool_sizes(limit, replicas=replicas, workers=workers, surge=surge, has_login=has_login)
    except Invalid as refusal:
        assert refusal.reason is Reason.CONNECTION_BUDGET_TOO_SMALL
        needed = fixed + pods * workers * engines * 2
        assert needed > limit
        assert f"raise it to {needed} or more" in refusal.message
        assert pool_sizes(needed, replicas=replicas, workers=workers, surge=surge, has_login=has_login)
        return
    kept = pods * workers * engines * sizes.pool_size
    assert kept == 0 or kept + fixed <= limit
    assert sizes.pool_size >= 2
    assert sizes.max_overflow == UNBOUNDED


@pytest.mark.parametrize(
    ("limit", "has_login"), [(DEFAULT_CONNECTION_LIMIT, False), (CONNECTION_LIMIT_WITH_LOGIN, True)]
)
def test_with_the_default_limit_two_replicas_keep_as_much_as_mlflow_by_itself(
    limit: int, has_login: bool
) -> None:
    assert pool_sizes(limit, replicas=2, workers=1, has_login=has_login) == PoolSizes(MLFLOW_POOL_SIZE)


def test_a_smaller_limit_makes_pools_smaller() -> None:
    assert pool_sizes(20, replicas=1, workers=1) == PoolSizes(pool_size=3)


def test_no_pool_is_larger_than_mlflows_own() -> None:
    assert pool_sizes(1000, replicas=1, workers=1) == PoolSizes(MLFLOW_POOL_SIZE)
