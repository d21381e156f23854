"""What becomes of a server's database when the server goes, whether its PostgreSQL answers or not."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg2
import pytest
from psycopg2.sql import SQL, Identifier

from dev.development_cluster import DevelopmentCluster
from tests.cluster.held_deletions import deleting, held_deletions
from tests.kube_api import KubeApi
from tests.operator_fixtures import RunningOperator
from tests.operator_postgres import (
    PostgresClass,
    PostgresTeam,
    RealPostgres,
    Row,
    a_postgres_class,
    a_postgres_team,
    connected_by,
)
from tests.waiting import patient, wait_until
from tracking_operator.api.labels_and_annotations import FINALIZER, FORCE_ORPHAN_ANNOTATION
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import NAMESPACE, uid_of
from tracking_operator.stores.ownership_mark import Mark

SECONDS_TO_LET_GO = 6.0
SECONDS_TO_RECOVER = 10.0
SECONDS_TO_DROP = 20.0
SECONDS_TO_COLLECT = 60.0
SECONDS_TO_SAY_SO = 10.0

Trouble = Callable[[PostgresClass], AbstractContextManager[None]]


@contextmanager
def stopped(class_: PostgresClass) -> Iterator[None]:
    """Nothing listens."""
    class_.postgres.running.stop()
    try:
        yield
    finally:
        class_.postgres.running.start()


@contextmanager
def hanging(class_: PostgresClass) -> Iterator[None]:
    """Connections are accepted, and nobody answers."""
    class_.postgres.running.pause()
    try:
        yield
    finally:
        class_.postgres.running.resume()


@contextmanager
def refusing(class_: PostgresClass) -> Iterator[None]:
    """The admin's login does not work."""
    admin = Identifier(class_.admin)
    class_.postgres.sql(SQL("ALTER ROLE {} NOLOGIN").format(admin))
    try:
        yield
    finally:
        class_.postgres.sql(SQL("ALTER ROLE {} LOGIN").format(admin))


def test_retain_takes_the_logins_and_keeps_the_database_for_a_successor(
    postgres_team: PostgresTeam, operator: RunningOperator
) -> None:
    team, postgres = postgres_team, postgres_team.postgres
    team.served()
    name, old = team.database(), team.secret()
    with team.connected() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE runs (id int); INSERT INTO runs VALUES (42)")
    mark = mark_of(postgres, name)

    with team.connected():
        team.delete_server()

        team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_LET_GO)
        assert not postgres.lets_in(name)
    assert postgres.has_database(name)
    assert mark_of(postgres, name) == mark
    with pytest.raises(psycopg2.OperationalError):
        connected_by(old).__enter__()

    team.serve()
    team.wait_for_condition("BackendStoreReady", status="True")
    assert team.database() == name
    with team.connected() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM runs")
        assert cursor.fetchall() == [(42,)]
    assert team.service_file()["password"] not in str(old)
    assert mark_of(postgres, name) != mark, "the mark names the new server"


@pytest.mark.parametrize("trouble", [stopped, hanging, refusing])
def test_retain_lets_a_server_go_whatever_postgresql_does_and_takes_its_logins_afterwards(
    trouble: Trouble,
    postgres_team: PostgresTeam,
    postgres_class: PostgresClass,
    operator: RunningOperator,
) -> None:
    team, postgres = postgres_team, postgres_class.postgres
    team.served("leaving")
    team.served("staying")
    leaving, staying = team.database("leaving"), team.database("staying")

    with trouble(postgres_class):
        team.delete_server("leaving")
        team.wait_until_gone(TRACKING_SERVER, "leaving", seconds=SECONDS_TO_LET_GO)

    wait_until(
        lambda: not postgres.lets_in(leaving), SECONDS_TO_RECOVER, "the access of the dead is taken away"
    )
    assert postgres.has_database(leaving)
    assert postgres.logins(staying) == ["a"]
    assert team.logs_in("staying")
    postgres_class.wait_for("AsExpected")


def test_delete_drops_the_database_and_the_roles_under_the_feet_of_open_sessions(
    postgres_team: PostgresTeam, operator: RunningOperator
) -> None:
    team, postgres = postgres_team, postgres_team.postgres
    team.served("other")
    team.served(deletionPolicy="Delete")
    name = team.database()
    with team.connected():
        team.delete_server()
        team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_DROP)

    assert not postgres.has_database(name)
    assert not postgres.sql(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [name, f"{name}_a", f"{name}_b"]
    )
    assert team.logs_in("other")


def test_delete_waits_for_postgresql_and_finishes_by_itself(
    postgres_team: PostgresTeam,
    postgres_class: PostgresClass,
    operator: RunningOperator,
) -> None:
    team, postgres = postgres_team, postgres_class.postgres
    team.served(deletionPolicy="Delete", artifactStore={"external": {"uri": "s3://bucket"}})
    name = team.database()

    with stopped(postgres_class):
        team.delete_server()
        condition = team.wait_for_condition("BackendStoreReady", reason="DeletionBlocked", seconds=10)
        assert FORCE_ORPHAN_ANNOTATION in condition["message"]

    team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_DROP)
    assert not postgres.has_database(name)


def test_servers_that_are_deleted_while_they_are_made_leave_nothing(
    postgres_team: PostgresTeam, postgres_class: PostgresClass, operator: RunningOperator
) -> None:
    team, postgres = postgres_team, postgres_class.postgres
    names = [f"short-lived-{number}" for number in range(6)]
    cluster = uid_of(team.api.get(NAMESPACE, None, "kube-system")) or ""
    namespace_uid = uid_of(team.api.get(NAMESPACE, None, team.namespace)) or ""
    for name in names:
        team.serve(name, deletionPolicy="Delete", artifactStore={"external": {"uri": "s3://bucket"}})
    wait_until(lambda: FINALIZER in str(team.server(names[0])["metadata"]), 10, "the first one is begun")
    for name in names:
        team.delete_server(name)

    for name in names:
        team.wait_until_gone(TRACKING_SERVER, name, seconds=SECONDS_TO_DROP)

    def left() -> list[Row]:
        return postgres.sql(
            "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = %s "
            "UNION SELECT rolname FROM pg_roles WHERE starts_with(shobj_description(oid, 'pg_authid'), %s)",
            postgres_class.admin,
            Mark(cluster, team.namespace, "", namespace_uid=namespace_uid).beginnings_of_namespace[0],
        )

    # The API server may remove one at once although its finalizer has just been written: that is made up for later.
    wait_until(lambda: not left(), SECONDS_TO_DROP, lambda: f"nothing is left; there is {left()}")


def test_a_finalizer_that_the_api_server_removes_with_the_server_is_made_up_for(
    api: KubeApi,
    cluster: DevelopmentCluster,
    postgres_team: PostgresTeam,
    postgres_class: PostgresClass,
    operator: RunningOperator,
) -> None:
    team, postgres = postgres_team, postgres_class.postgres
    live = api.get(TRACKING_SERVER_CLASS, None, postgres_class.name)
    api.delete(TRACKING_SERVER_CLASS, None, postgres_class.name)
    team.serve(deletionPolicy="Delete", artifactStore={"external": {"uri": "s3://bucket"}})
    team.wait_for_condition("SpecValid", status="False")
    assert FINALIZER not in str(team.server()["metadata"])

    with (
        held_deletions(api, cluster.host_address, team.namespace) as held,
        deleting(api, TRACKING_SERVER, team.namespace, "mlflow"),
    ):
        assert held.begun.wait(patient(SECONDS_TO_SAY_SO))
        api.create(
            {key: live[key] for key in ("apiVersion", "kind", "spec")}
            | {"metadata": {"name": postgres_class.name}}
        )
        wait_until(
            lambda: FINALIZER in str(team.server()["metadata"]), SECONDS_TO_SAY_SO, "the server is begun"
        )
        name = team.database()
        wait_until(lambda: postgres.has_database(name), SECONDS_TO_SAY_SO, "its database is made")
        held.release()

    assert team.find(TRACKING_SERVER) is None, "the API server keeps it now: the operator needs no remedy"
    wait_until(lambda: not postgres.has_database(name), SECONDS_TO_DROP, "the database is dropped")
    wait_until(
        lambda: (
            not postgres.sql(
                "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [name, f"{name}_a", f"{name}_b"]
            )
        ),
        SECONDS_TO_DROP,
        "the roles are dropped",
    )


def test_force_orphan_lets_a_server_go_whose_database_cannot_be_dropped(
    postgres_team: PostgresTeam, postgres_class: PostgresClass, operator: RunningOperator
) -> None:
    team, postgres = postgres_team, postgres_class.postgres
    team.served(deletionPolicy="Delete")
    name = team.database()
    with refusing(postgres_class):
        team.delete_server()
        team.wait_for_condition("BackendStoreReady", reason="DeletionBlocked", seconds=20)

        team.patch_server({"metadata": {"annotations": {FORCE_ORPHAN_ANNOTATION: "true"}}})

        team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_LET_GO)
    assert postgres.has_database(name)


def test_delete_without_its_class_keeps_the_data_because_nobody_knows_what_the_class_permits(
    api: KubeApi, postgres: RealPostgres, operator: RunningOperator
) -> None:
    with a_postgres_class(api, postgres) as class_, a_postgres_team(api, class_) as team:
        team.served("kept")
        team.served("dropped", deletionPolicy="Delete")
        name = team.database("dropped")
        api.delete(TRACKING_SERVER_CLASS, None, class_.name)
        wait_until(lambda: api.find(TRACKING_SERVER_CLASS, None, class_.name) is None, 10, "it is gone")

        dropped = team.server("dropped")
        team.delete_server("kept")
        team.delete_server("dropped")
        for server in ("kept", "dropped"):
            team.wait_until_gone(TRACKING_SERVER, server, seconds=SECONDS_TO_LET_GO)
        assert postgres.has_database(name)
        told = wait_until(
            lambda: [one for one in api.events(dropped) if one["reason"] == "NotPermitted"], 5, "an Event"
        )
        assert "is gone, and with it what it permits" in told[0]["message"]


def test_delete_that_the_class_does_not_permit_any_more_keeps_the_data(
    api: KubeApi, postgres: RealPostgres, operator: RunningOperator
) -> None:
    with a_postgres_class(api, postgres) as class_, a_postgres_team(api, class_) as team:
        team.served(deletionPolicy="Delete")
        name = team.database()
        change = {"spec": {"permissions": {"deletionPolicyDelete": False}}}
        api.patch(TRACKING_SERVER_CLASS, None, class_.name, change)
        team.wait_for_condition("SpecValid", reason="NotPermitted")

        team.delete_server()

        team.wait_until_gone(TRACKING_SERVER, seconds=SECONDS_TO_LET_GO)
        assert postgres.has_database(name)
        assert postgres.logins(name) == []


def test_a_namespace_with_retained_databases_is_gone_although_postgresql_is_down(
    postgres_class: PostgresClass, api: KubeApi, operator: RunningOperator
) -> None:
    with a_postgres_team(api, postgres_class) as team:
        team.served("one")
        team.serve("unfinished")
        team.migration_pod("unfinished")
        name = team.database("one")
        with stopped(postgres_class):
            api.delete(NAMESPACE, None, team.namespace)
            wait_until(
                lambda: api.find(NAMESPACE, None, team.namespace) is None,
                SECONDS_TO_COLLECT,
                "the namespace is gone",
            )
        wait_until(
            lambda: not postgres_class.postgres.lets_in(name),
            SECONDS_TO_RECOVER,
            "the access is taken away",
        )


def mark_of(postgres: RealPostgres, name: str) -> object:
    """The comment on a database."""
    return postgres.sql(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", name
    )[0][0]
