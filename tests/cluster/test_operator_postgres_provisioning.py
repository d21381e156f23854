"""A server of a class with PostgreSQL gets a database that nobody else can open, and a schema before its pods."""

import psycopg2
import pytest

from tests.kube_api import KubeApi
from tests.mlflow_versions import NEWEST_VERSION
from tests.operator_fixtures import OperatorCalls, OperatorHost, RunningOperator
from tests.operator_postgres import (
    MARK_OF_A_LOOK_FOR_WHAT_IS_LEFT,
    MARK_OF_A_PROBE,
    PostgresClass,
    PostgresTeam,
    RealPostgres,
    a_postgres_class,
    a_postgres_team,
)
from tests.operator_stores import HOST, NOWHERE
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import API_VERSION, FIELD_MANAGER, FINALIZER
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import DEPLOYMENT, NAMESPACE, SECRET, uid_of
from tracking_operator.stores.ownership_mark import Mark


def test_a_server_gets_a_database_roles_and_a_secret_as_decided(
    postgres_team: PostgresTeam, postgres_class: PostgresClass, operator: RunningOperator
) -> None:
    postgres, team = postgres_class.postgres, postgres_team
    deployment = team.served()

    name = team.database()
    server = team.server()
    assert server["status"]["database"] == {
        "host": HOST,
        "port": postgres.port,
        "name": name,
        "role": name,
        "loginRole": f"{name}_a",
    }
    assert server["status"]["backendStore"] == {"kind": "postgres"}
    assert FINALIZER in server["metadata"]["finalizers"]
    assert team.placement()["database"] == {"host": HOST, "port": postgres.port, "name": name}
    assert deployment["spec"]["template"]["spec"]["volumes"]

    roles = postgres.sql(
        "SELECT rolname, rolcanlogin, rolconnlimit, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication "
        "OR rolbypassrls, coalesce(left(rolpassword, 14), '') FROM pg_authid "
        "WHERE rolname = ANY(%s) ORDER BY rolname",
        [name, f"{name}_a", f"{name}_b"],
    )
    assert roles == [
        (name, False, -1, False, ""),
        (f"{name}_a", True, 40, False, "SCRAM-SHA-256$"),
        (f"{name}_b", False, 40, False, ""),
    ]
    members = postgres.sql(
        "SELECT r.rolname, m.rolname FROM pg_auth_members JOIN pg_roles r ON r.oid = roleid "
        "JOIN pg_roles m ON m.oid = member WHERE r.rolname = ANY(%s) AND m.rolname <> %s ORDER BY 2",
        [name, f"{name}_a", f"{name}_b"],
        postgres_class.admin,
    )
    assert members == [(name, f"{name}_a"), (name, f"{name}_b")]
    assert postgres.sql(
        "SELECT pg_get_userbyid(datdba), datallowconn, datacl::text FROM pg_database WHERE datname = %s", name
    ) == [
        (
            postgres_class.admin,
            True,
            f"{{{postgres_class.admin}=CTc/{postgres_class.admin},{name}=Tc/{postgres_class.admin}}}",
        )
    ]
    cluster = uid_of(team.api.get(NAMESPACE, None, "kube-system")) or ""
    namespace_uid = uid_of(team.api.get(NAMESPACE, None, team.namespace)) or ""
    mark = Mark(cluster, team.namespace, "mlflow", uid_of(server) or "", namespace_uid)
    assert marks(postgres, name) == [mark.text] * 4


def test_the_secret_opens_its_database_and_what_is_made_there_belongs_to_the_owner_role(
    postgres_team: PostgresTeam, operator: RunningOperator
) -> None:
    team = postgres_team
    team.served("one")
    team.served("two")

    with team.connected("one") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE runs (id int); INSERT INTO runs VALUES (1)")
        cursor.execute(
            "SELECT tableowner, current_user, session_user FROM pg_tables WHERE tablename = 'runs'"
        )
        owner = team.database("one")
        assert cursor.fetchone() == (owner, owner, f"{owner}_a")
        assert connection.info.ssl_in_use
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        team.connected("one", team.database("two")).__enter__()
    assert team.service_file("one")["password"] != team.service_file("two")["password"]


def test_pods_are_made_only_after_the_migration_has_succeeded(
    postgres_team: PostgresTeam, operator: RunningOperator
) -> None:
    team = postgres_team
    team.serve()
    pod = team.migration_pod()
    team.wait_for_condition("BackendStoreReady", status="True")
    assert team.find(DEPLOYMENT) is None
    condition = team.condition("SchemaReady")
    assert condition is not None
    assert condition["status"] == "False"
    team.set_revision("aaaa")
    assert team.find(DEPLOYMENT) is None

    team.end_migration(pod, revision="aaaa")

    team.wait_for(DEPLOYMENT, "mlflow", seconds=10)
    team.wait_for_condition("SchemaReady", status="True")
    status = team.server()["status"]
    assert (status["schemaRevision"], status["version"]) == ("aaaa", NEWEST_VERSION)


def test_a_server_on_the_oldest_postgresql_is_provisioned_and_dropped(
    api: KubeApi, old_postgres: RealPostgres, operator: RunningOperator
) -> None:
    with (
        a_postgres_class(api, old_postgres, sslMode="disable", caConfigMapRef=None) as class_,
        a_postgres_team(api, class_) as team,
    ):
        message = class_.wait_for("AsExpected")["message"]
        assert "pg_execute_server_program" in message
        assert "not encrypted" in message
        team.served(deletionPolicy="Delete")
        name = team.database()
        assert old_postgres.logins(name) == ["a"]

        team.delete_server()

        wait_until(lambda: not old_postgres.has_database(name), 20, "the database is gone")
        wait_until(lambda: not team.api.list(SECRET, team.namespace), 30, "the Secret is gone")
        assert not old_postgres.sql("SELECT 1 FROM pg_roles WHERE rolname LIKE %s", f"{name}%")


def test_another_connection_limit_reaches_the_logins_and_the_pods(
    postgres_team: PostgresTeam, postgres_class: PostgresClass, operator: RunningOperator
) -> None:
    team = postgres_team
    before = team.served()["spec"]["template"]
    logins = [f"{team.database()}_{letter}" for letter in "ab"]

    postgres_class.change(connectionLimit=20)

    wait_until(
        lambda: (
            postgres_class.postgres.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = ANY(%s)", logins)
            == [(20,), (20,)]
        ),
        10,
        "both logins may have fewer connections",
    )
    team.wait_until_so(
        DEPLOYMENT, "mlflow", lambda live: live["spec"]["template"] != before, "pods have smaller pools"
    )
    team.wait_for_condition("SchemaReady", status="True")


def test_a_settled_server_costs_no_statement_and_no_write(
    postgres_team: PostgresTeam,
    postgres_class: PostgresClass,
    operators: OperatorHost,
    calls: OperatorCalls,
) -> None:
    operators.share()
    team, postgres = postgres_team, postgres_class.postgres
    team.served()
    users = (postgres_class.admin, *(f"{team.database()}_{letter}" for letter in "ab"))
    team.wait_for_condition("Ready", reason="Unschedulable")
    team.wait_until_so(
        TRACKING_SERVER, "mlflow", lambda live: live["status"]["replicas"] == 1, "its pod is counted"
    )
    quiet_since = postgres.log_size()
    calls.mark()

    for number in range(5):
        team.patch_server({"metadata": {"annotations": {"example.com/number": str(number)}}})
    wait_until(
        lambda: postgres.log_since(quiet_since).count(MARK_OF_A_PROBE) >= 2,
        20,
        "the class's server was probed twice",
    )

    assert not about(team, postgres.statements(*users, since=quiet_since))
    assert not calls.writes(team.namespace)


def test_a_server_that_is_applied_under_the_operators_own_name_keeps_its_specification_and_goes(
    postgres_team: PostgresTeam, postgres_class: PostgresClass, operator: RunningOperator
) -> None:
    team = postgres_team
    spec = {"className": postgres_class.name, "podTemplate": NOWHERE}
    server = {
        "apiVersion": API_VERSION,
        "kind": "TrackingServer",
        "metadata": {"name": "mlflow", "namespace": team.namespace},
        "spec": spec,
    }
    stored = team.api.apply(server, manager=FIELD_MANAGER)["spec"]
    team.migrate()
    team.wait_for_condition("SchemaReady", status="True")
    held = team.server()
    assert FINALIZER in held["metadata"]["finalizers"]
    assert held["spec"] == stored

    team.delete_server()

    team.wait_until_gone(TRACKING_SERVER, "mlflow")


def test_a_resync_verifies_a_server_with_few_statements(
    postgres_team: PostgresTeam, postgres_class: PostgresClass, operators: OperatorHost
) -> None:
    operators.share()
    team, postgres = postgres_team, postgres_class.postgres
    team.served()
    users = (postgres_class.admin, *(f"{team.database()}_{letter}" for letter in "ab"))
    operators.make_room()
    before = postgres.log_size()

    operators.start().wait_until_active()

    def statements() -> list[str]:
        return about(team, postgres.statements(*users, since=before))

    # The catalog; as the server itself its role, and the revision in one transaction, which locks the table and looks
    # whether it is a plain one.
    expected = 1 + 1 + 5
    wait_until(
        lambda: len(statements()) >= expected, 20, lambda: f"the schema was read again: {statements()}"
    )
    assert len(statements()) == expected, "\n".join(statements())


def test_a_server_with_sqlite_keeps_it_when_its_class_gets_a_postgresql(
    api: KubeApi, postgres: RealPostgres, operator: RunningOperator
) -> None:
    with a_postgres_class(api, postgres) as class_, a_postgres_team(api, class_) as team:
        offer = team.api.get(TRACKING_SERVER_CLASS, None, class_.name)["spec"]["postgres"]
        team.api.patch(TRACKING_SERVER_CLASS, None, class_.name, {"spec": {"postgres": None}})
        team.serve()
        before = team.wait_for(DEPLOYMENT, "mlflow")
        assert team.settled()["status"]["backendStore"] == {"kind": "sqlite"}

        class_.change(**offer)
        class_.wait_for("AsExpected")

        condition = team.wait_for_condition("SpecValid", reason="ResolvedDiffers")
        assert "sqlite" in condition["message"]
        assert team.get(DEPLOYMENT)["spec"] == before["spec"]
        assert team.find(SECRET, "mlflow-database") is None


def about(team: PostgresTeam, statements: list[str]) -> list[str]:
    """Those that are neither about the databases that earlier tests have left, nor about the class as a whole.

    A class is looked through for what servers have left when it is new, and again when its first look was in vain.
    """
    return [
        one
        for one in statements
        if team.database() in one
        or ("mlflow_team_" not in one and MARK_OF_A_LOOK_FOR_WHAT_IS_LEFT not in one)
    ]


def marks(postgres: RealPostgres, name: str) -> list[str]:
    """The marks of a database and its three roles."""
    comments = postgres.sql(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = ANY(%s) "
        "UNION ALL SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        [name, f"{name}_a", f"{name}_b"],
        name,
    )
    assert len(comments) == 4
    return [str(comment) for (comment,) in comments]
