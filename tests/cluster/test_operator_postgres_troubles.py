"""Whatever is wrong with a PostgreSQL has a reason within ten seconds, and what runs is not touched."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from psycopg2.sql import SQL, Identifier

from tests.cluster.troubles import Trouble, change, listening
from tests.kube_api import KubeApi
from tests.operator_fixtures import (
    LEASE_NAME,
    OPERATOR_NAMESPACE,
    OperatorCalls,
    OperatorHost,
    RunningOperator,
)
from tests.operator_postgres import (
    PostgresClass,
    PostgresTeam,
    RealPostgres,
    a_postgres_class,
    a_postgres_team,
)
from tests.waiting import wait_until
from tracking_operator.api.tracking_server_class import DEFAULT_CONNECTION_LIMIT
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import DEPLOYMENT, LEASE, NAMESPACE, SECRET, KubeObject, uid_of
from tracking_operator.stores.ownership_mark import Mark

SECONDS_TO_SAY_SO = 10.0
SECONDS_TO_RECOVER = 10.0
SECONDS_TO_LOOK_AGAIN = 20.0
"""For what only the server's own look finds out: nothing reports that it was put right."""
SECONDS_FOR_ANOTHER_CLASS = 5.0
MANY = 30


def lose_password(class_: PostgresClass) -> None:
    """Remove a key from the admin's Secret."""
    class_.api.patch(SECRET, OPERATOR_NAMESPACE, class_.secret, {"data": {"password": None}})


def restore_password(class_: PostgresClass) -> None:
    """Write the key again."""
    class_.give_admin(class_.admin, class_.password)


TROUBLES: list[Trouble[PostgresClass]] = [
    Trouble("the admin's password is wrong", "LoginRefused", "Correct username and password in Secret",
            lambda class_: class_.give_admin(class_.admin, "wrong"), restore_password),
    Trouble("the host does not resolve", "HostNotFound", "Correct postgres.host",
            change(host="no-such-host.invalid"), change(host="127.0.0.1")),
    Trouble("nothing listens at the port", "StoreUnreachable", "Check the server",
            change(port=1), lambda class_: class_.change(port=class_.postgres.port)),
    Trouble("the CA has not signed the certificate", "TlsFailed", "caConfigMapRef", PostgresClass.use_another_ca, PostgresClass.use_own_ca),
    Trouble("the CA is missing", "SecretNotFound", "postgres.caConfigMapRef",
            change(caConfigMapRef={"name": "missing"}), PostgresClass.use_own_ca),
    Trouble("the admin's Secret is missing", "SecretNotFound", "postgres.adminSecretRef",
            change(adminSecretRef={"name": "missing"}), PostgresClass.use_own_secret),
    Trouble("a key is missing", "SecretKeyMissing", "password", lose_password, restore_password),
    Trouble("the maintenance database is missing", "InvalidSpec", "postgres.maintenanceDatabase",
            change(maintenanceDatabase="missing"), change(maintenanceDatabase=None)),
]  # fmt: skip


@pytest.fixture(scope="module")
def living(
    api: KubeApi, operators: OperatorHost, postgres: RealPostgres
) -> Iterator[tuple[PostgresClass, PostgresTeam]]:
    """A class and a team with a server that has a database, for one trouble after the other."""
    operators.share()
    with a_postgres_class(api, postgres) as class_, a_postgres_team(api, class_) as team:
        team.served()
        yield class_, team


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.what)
def test_trouble_with_a_class_has_its_reason_on_class_and_server_and_touches_nothing(
    trouble: Trouble[PostgresClass], living: tuple[PostgresClass, PostgresTeam], operator: RunningOperator
) -> None:
    class_, team = living
    team.wait_for_condition("BackendStoreReady", status="True")
    before = team.untouched()

    trouble.cause(class_)
    try:
        condition = class_.wait_for(trouble.reason, words=trouble.words)
        assert condition["status"] == "False"
        team.wait_for_condition(
            "BackendStoreReady", status="False", reason=trouble.reason, seconds=SECONDS_TO_SAY_SO
        )
        ready = class_.condition("Ready")
        assert ready is not None
        assert (ready["status"], ready["reason"]) == ("False", trouble.reason)
        assert team.untouched() == before
        team.wait_for_warnings(trouble.reason)
    finally:
        trouble.cure(class_)
    class_.wait_for("AsExpected")
    team.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_TO_RECOVER)
    assert team.untouched() == before


def test_what_happens_to_the_admin_in_postgresql_is_noticed(
    living: tuple[PostgresClass, PostgresTeam], operator: RunningOperator
) -> None:
    class_, team = living
    before, admin = team.untouched(), Identifier(class_.admin)
    for attributes, reason, words in (
        ("SUPERUSER", "SuperuserRefused", "allowSuperuser"),
        ("NOSUPERUSER NOCREATEDB", "InsufficientPrivileges", "CREATEDB"),
        ("CREATEDB CONNECTION LIMIT 0", "TooManyConnections", "max_connections"),
    ):
        class_.postgres.sql(SQL(f"ALTER ROLE {{}} {attributes}").format(admin))
        class_.wait_for(reason, words=words)
        team.wait_for_condition("BackendStoreReady", status="False", reason=reason, seconds=SECONDS_TO_SAY_SO)
        assert team.untouched() == before
    class_.postgres.sql(SQL("ALTER ROLE {} CONNECTION LIMIT -1").format(admin))
    class_.wait_for("AsExpected")
    team.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_TO_RECOVER)


def test_a_superuser_is_taken_where_the_class_allows_it(
    api: KubeApi, postgres: RealPostgres, operator: RunningOperator
) -> None:
    admin = postgres.make_admin("SUPERUSER")
    with a_postgres_class(api, postgres, admin=admin) as class_, a_postgres_team(api, class_) as team:
        class_.wait_for("SuperuserRefused")
        team.serve()
        team.wait_for_condition("BackendStoreReady", reason="SuperuserRefused", seconds=SECONDS_TO_SAY_SO)
        assert databases_of(class_) == []

        class_.change(allowSuperuser=True)

        assert "superuser" in class_.wait_for("AsExpected")["message"]
        team.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_TO_RECOVER)


def test_a_server_without_tls_is_refused_by_a_class_that_verifies(
    api: KubeApi, postgres: RealPostgres, old_postgres: RealPostgres, operator: RunningOperator
) -> None:
    with a_postgres_class(api, old_postgres, caConfigMapRef=None) as class_:
        assert "verify-full" in class_.wait_for("TlsFailed")["message"]


def test_a_database_without_our_mark_is_a_conflict_and_left_alone(
    living: tuple[PostgresClass, PostgresTeam], operator: RunningOperator
) -> None:
    class_, team = living
    postgres = class_.postgres
    with a_postgres_team(team.api, class_) as other:
        other.serve()
        other.wait_for_condition("BackendStoreReady", status="True")
        mine = Identifier(other.database())
        other.delete_server()
        other.wait_until_gone(TRACKING_SERVER)
        # Closed and without a mark it would be one of ours, whose creation was interrupted.
        postgres.sql(SQL("COMMENT ON DATABASE {} IS NULL").format(mine))
        postgres.sql(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(mine))

        other.serve()

        condition = other.wait_for_condition(
            "BackendStoreReady", reason="Conflict", seconds=SECONDS_TO_SAY_SO
        )
        assert other.database() in condition["message"]
        assert postgres.logins(other.database()) == []
        assert other.find(DEPLOYMENT) is None
        class_.wait_for("AsExpected")

        postgres.sql(SQL("DROP DATABASE {}").format(mine))
        other.patch_server({"metadata": {"annotations": {"example.com/look": "again"}}})
        other.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_TO_RECOVER)


def test_an_admin_who_does_not_own_the_databases_is_told_what_to_grant(
    api: KubeApi, postgres: RealPostgres, operator: RunningOperator
) -> None:
    with a_postgres_class(api, postgres) as class_, a_postgres_team(api, class_) as team:
        team.served()
        before = team.untouched()
        new, password = postgres.make_admin("CREATEROLE", "CREATEDB")

        class_.give_admin(new, password)

        grant = f'GRANT "{class_.admin}" TO "{new}"'
        condition = team.wait_for_condition(
            "BackendStoreReady", reason="AdminIsNotOwner", seconds=SECONDS_TO_SAY_SO
        )
        assert grant in condition["message"]
        assert team.untouched() == before
        class_.wait_for("AsExpected")

        postgres.sql(grant)
        team.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_TO_LOOK_AGAIN)
        assert team.untouched() == before


def test_a_class_that_names_another_host_leaves_its_servers_where_they_are(
    living: tuple[PostgresClass, PostgresTeam], operator: RunningOperator
) -> None:
    class_, team = living
    before = team.untouched()
    class_.change(host="localhost")
    try:
        class_.wait_for("AsExpected", words="localhost")
        condition = team.wait_for_condition(
            "BackendStoreReady", reason="ResolvedDiffers", seconds=SECONDS_TO_SAY_SO
        )
        assert "127.0.0.1" in condition["message"]
        assert team.untouched() == before
    finally:
        class_.change(host="127.0.0.1")
    team.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_TO_RECOVER)


def test_a_placement_that_names_another_host_never_brings_the_admin_there(
    living: tuple[PostgresClass, PostgresTeam], operator: RunningOperator
) -> None:
    _, team = living
    before = team.untouched()
    with put_back(team) as placement, listening("127.0.0.2") as trap:
        evil = placement["database"] | {"host": "127.0.0.2", "port": trap.port}
        team.edit_placement(placement | {"database": evil})
        team.wait_for_condition("BackendStoreReady", reason="ResolvedDiffers", seconds=SECONDS_TO_SAY_SO)
        team.edit_placement(placement | {"database": placement["database"] | {"port": trap.port}})
        wait_until(
            lambda: str(trap.port) in str(team.condition("BackendStoreReady")),
            SECONDS_TO_SAY_SO,
            "it says which port",
        )
        assert team.untouched() == before
        assert trap.visitors == []
    team.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_TO_RECOVER)


def test_a_placement_that_names_the_database_of_somebody_else_opens_nothing_and_loses_nothing(
    living: tuple[PostgresClass, PostgresTeam], operator: RunningOperator
) -> None:
    class_, team = living
    postgres = class_.postgres
    with a_postgres_team(team.api, class_) as victim, put_back(team) as placement:
        victim.served()
        theirs, secret = victim.database(), victim.secret()
        before = team.untouched()

        team.edit_placement(placement | {"database": placement["database"] | {"name": theirs}})

        condition = team.wait_for_condition("BackendStoreReady", reason="Conflict", seconds=SECONDS_TO_SAY_SO)
        assert "belongs to another tracking server" in condition["message"]
        assert team.untouched() == before
        assert team.logs_in()
        assert postgres.logins(theirs) == ["a"]
        assert victim.secret()["data"] == secret["data"]
        assert victim.logs_in()

        team.patch_server({"spec": {"deletionPolicy": "Delete"}})
        team.edit_placement(placement | {"database": placement["database"] | {"name": "postgres"}})
        wait_until(
            lambda: "The role postgres exists" in str(team.condition("BackendStoreReady")),
            SECONDS_TO_SAY_SO,
            lambda: f"it says that the database is not its own: {team.condition('BackendStoreReady')}",
        )
        assert team.untouched() == before
    team.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_TO_RECOVER)
    assert team.untouched() == before


@contextmanager
def put_back(team: PostgresTeam) -> Iterator[KubeObject]:
    """Where the server is, which is where it is again afterwards, whatever was written meanwhile and found."""
    placement = team.placement()
    try:
        yield placement
    finally:
        team.patch_server({"spec": {"deletionPolicy": None}})
        team.edit_placement(placement)


@contextmanager
def stopped(postgres: RealPostgres) -> Iterator[None]:
    """Nothing listens."""
    postgres.running.stop()
    try:
        yield
    finally:
        postgres.running.start()


@contextmanager
def hanging(postgres: RealPostgres) -> Iterator[None]:
    """Connections are accepted, and nobody answers."""
    postgres.running.pause()
    try:
        yield
    finally:
        postgres.running.resume()


@pytest.mark.parametrize("outage", [stopped, hanging])
def test_an_outage_is_said_in_time_touches_nothing_and_is_over_in_time(
    outage: Callable[[RealPostgres], AbstractContextManager[None]],
    living: tuple[PostgresClass, PostgresTeam],
    operator: RunningOperator,
) -> None:
    class_, team = living
    team.wait_for_condition("BackendStoreReady", status="True")
    before = team.untouched()
    with outage(class_.postgres):
        class_.wait_for("StoreUnreachable", seconds=SECONDS_TO_SAY_SO)
        team.wait_for_condition("BackendStoreReady", reason="StoreUnreachable", seconds=SECONDS_TO_SAY_SO)
        assert team.condition("SchemaReady") is not None
        team.patch_server({"spec": {"resources": {"limits": {"memory": "2Gi"}}}})
        team.wait_until_so(
            DEPLOYMENT, "mlflow", lambda live: "2Gi" in str(live["spec"]), "other changes go on"
        )
        team.patch_server({"spec": {"resources": None}})
        wait_until(lambda: team.untouched() == before, SECONDS_TO_SAY_SO, "all is as it was")
    class_.wait_for("AsExpected", seconds=SECONDS_TO_RECOVER)
    team.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_TO_RECOVER)
    assert team.untouched() == before
    assert team.logs_in()


def test_a_class_whose_server_hangs_does_not_delay_servers_of_another(
    api: KubeApi,
    living: tuple[PostgresClass, PostgresTeam],
    old_postgres: RealPostgres,
    operator: RunningOperator,
) -> None:
    hung, team = living
    with (
        a_postgres_class(api, old_postgres, sslMode="disable", caConfigMapRef=None) as well,
        a_postgres_team(api, well) as lucky,
        hanging(hung.postgres),
    ):
        well.wait_for("AsExpected")
        for number in range(12):
            team.serve(f"unlucky-{number}", suspend=True)
        lucky.serve()

        lucky.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_FOR_ANOTHER_CLASS)
        team.wait_for_condition("BackendStoreReady", reason="StoreUnreachable", name="unlucky-11", seconds=20)
    for number in range(12):
        team.wait_for_condition("BackendStoreReady", status="True", name=f"unlucky-{number}", seconds=30)


def test_an_operator_that_starts_while_postgresql_is_down_touches_nothing(
    api: KubeApi, postgres: RealPostgres, operators: OperatorHost, calls: OperatorCalls
) -> None:
    operators.share()
    with a_postgres_class(api, postgres) as class_, a_postgres_team(api, class_) as team:
        team.served()
        before = team.untouched()
        operators.make_room()
        with stopped(postgres):
            calls.mark()
            operators.share()
            class_.wait_for("StoreUnreachable", seconds=SECONDS_TO_SAY_SO)
            team.wait_for_condition("BackendStoreReady", reason="StoreUnreachable", seconds=SECONDS_TO_SAY_SO)
            assert team.untouched() == before
        team.wait_for_condition("BackendStoreReady", status="True", seconds=SECONDS_TO_RECOVER)
        assert {(call.resource, call.subresource) for call in calls.writes(team.namespace)} == {
            ("trackingservers", "status")
        }


def test_many_servers_at_once_are_whole_although_the_operator_is_killed_in_the_middle(
    api: KubeApi, postgres: RealPostgres, operators: OperatorHost
) -> None:
    operators.make_room()
    operator = operators.start()
    operator.wait_until_active()
    with a_postgres_class(api, postgres) as class_, a_postgres_team(api, class_) as team:
        well = class_.wait_for("AsExpected")
        names = [f"server-{number}" for number in range(MANY)]
        for name in names:
            team.serve(name, suspend=True)
        wait_until(
            lambda: len(databases_of(class_)) >= MANY // 3, 60, "a third has a database", interval=0.01
        )
        operator.kill()
        assert len(databases_of(class_)) < MANY
        api.delete(LEASE, OPERATOR_NAMESPACE, LEASE_NAME)

        operators.start().wait_until_active()

        for name in names:
            team.wait_for_condition("BackendStoreReady", status="True", name=name, seconds=60)
        cluster, namespace = (
            uid_of(api.get(NAMESPACE, None, one)) or "" for one in ("kube-system", team.namespace)
        )
        beginning, _ = Mark(cluster, team.namespace, "", namespace_uid=namespace).beginnings_of_namespace
        found = databases_of(class_)
        expected = {team.database(name) for name in names}
        assert {name for name, *_ in found} == expected
        for name, is_open, limit, mark, acl in found:
            assert is_open, name
            assert limit == DEFAULT_CONNECTION_LIMIT
            assert mark.startswith(beginning)
            assert acl == f"{{{class_.admin}=CTc/{class_.admin},{name}=Tc/{class_.admin}}}"
            assert postgres.logins(name) == ["a"]
        for name in names[:: MANY // 5]:
            assert team.logs_in(name)
        # Its message adds up what the servers may connect, so that it changes with their number.
        now = class_.condition() or {}
        assert now | {"message": ""} == well | {"message": ""}, "being at work for many is no trouble"
    operators.make_room()


def databases_of(class_: PostgresClass) -> list[tuple[str, bool, int, str, str]]:
    """All databases that a class's admin owns."""
    rows = class_.postgres.sql(
        "SELECT datname, datallowconn, datconnlimit, shobj_description(oid, 'pg_database'), datacl::text "
        "FROM pg_database WHERE pg_get_userbyid(datdba) = %s",
        class_.admin,
    )
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]
