"""From nothing to a database of one's own: the same end, wherever it was interrupted."""

from dataclasses import replace

import psycopg2
import pytest
from psycopg2.sql import SQL, Identifier, Literal

from tests.stores.postgres.world import (
    ADMIN,
    ADMIN_PASSWORD,
    CLUSTER,
    Crashed,
    World,
    crash_before,
    desired,
    tenant,
)
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid, Unavailable, Waiting
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.database_server import Login
from tracking_operator.stores.postgres.finalize import retain
from tracking_operator.stores.postgres.provision import provision
from tracking_operator.stores.postgres.schema_revision import read_schema
from tracking_operator.stores.postgres.statements import text_of
from tracking_operator.stores.postgres.tenant import Tenant

STATEMENTS_FROM_NOTHING = 20
"""Thirteen steps and a longer time-out, two looks at the privileges in between, a look before and after, and at each
session's search path."""


def test_from_nothing_to_a_database_of_its_own(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine))
    state = world.state(mine)
    assert [row[:2] for row in state["roles"]] == [  # type: ignore[attr-defined]
        ("mlflow_team_a", False),
        ("mlflow_team_a_a", True),
        ("mlflow_team_a_b", False),
    ]
    assert [row[6] for row in state["database"]] == [  # type: ignore[attr-defined]
        "{admin=CTc/admin,mlflow_team_a=Tc/admin}"
    ]
    assert world.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", ADMIN) == [(0,)]


def test_tables_belong_to_the_role_whichever_login_makes_them(world: World) -> None:
    mine = tenant()
    first, second = mine.logins
    world.provision(desired(mine, "one"))
    with world.connected(first, "one", mine.database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE experiments (id int)")
    world.provision(desired(mine, "two", login=second))
    with world.connected(second, "two", mine.database) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE experiments ADD name text")
        cursor.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'experiments'")
        assert cursor.fetchall() == [(mine.role,)]
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchall() == [("5min",)]
        cursor.execute("DROP TABLE experiments")


def test_a_settled_tenant_costs_one_query_and_changes_nothing(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine))
    before = world.state(mine)
    sent: list[str] = []
    with world.sessions(watch=lambda statement: sent.append(text_of(statement))) as sessions:
        assert provision(sessions, desired(mine)).steps == ()
    assert [statement.split()[0] for statement in sent] == [
        "SELECT",
        "SET",
    ]  # a look at the session comes first
    assert all(look.startswith("SET TRANSACTION READ ONLY; \nSELECT") for look in sent[1:])
    assert world.state(mine) == before


@pytest.mark.parametrize("number", range(STATEMENTS_FROM_NOTHING))
def test_a_crash_at_any_statement_leads_to_the_same_end(
    world: World, number: int, finished: dict[str, dict[str, object]]
) -> None:
    mine = tenant()
    with world.sessions(watch=crash_before(number)) as sessions, pytest.raises(Crashed):
        provision(sessions, desired(mine))
    world.provision(desired(mine))
    assert world.state(mine) == finished[world.version]
    world.assert_lets_in(mine)


def test_no_statement_is_left_out_of_the_crashes(world: World) -> None:
    with world.sessions(watch=crash_before(STATEMENTS_FROM_NOTHING)) as sessions:
        provision(sessions, desired(tenant()))


DRIFT = {
    "everybody may connect": "GRANT CONNECT ON DATABASE {database} TO PUBLIC",
    "somebody else may connect": "GRANT CONNECT ON DATABASE {database} TO stranger",
    "the role may grant": "GRANT CONNECT ON DATABASE {database} TO {role} WITH GRANT OPTION",
    "the role may make schemas": "GRANT CREATE ON DATABASE {database} TO {role}",
    "the role may not connect": "REVOKE CONNECT ON DATABASE {database} FROM {role}",
    "the owner may not connect": "REVOKE CONNECT ON DATABASE {database} FROM admin",
    "the role can log in": "ALTER ROLE {role} LOGIN",
    "a login has powers": "ALTER ROLE {login} CREATEDB",
    "a login has no limit": "ALTER ROLE {login} CONNECTION LIMIT -1",
    "the database has no limit": "ALTER DATABASE {database} CONNECTION LIMIT -1",
    "a login is not a member": "REVOKE {role} FROM {login} GRANTED BY {grantor}",
    "a login is its own role": "ALTER ROLE {login} IN DATABASE {database} RESET role",
    "a login has no time-outs": "ALTER ROLE {login} IN DATABASE {database} RESET ALL",
    "a login has been taken away": "ALTER ROLE {login} NOLOGIN PASSWORD NULL",
    "a login is gone": "DROP ROLE {login}",
    "the database is closed": "ALTER DATABASE {database} ALLOW_CONNECTIONS false",
    "the mark names an older resource": "COMMENT ON DATABASE {database} IS '{mark}'",
}


@pytest.mark.parametrize("statement", DRIFT.values(), ids=DRIFT.keys())
def test_what_others_change_is_put_right(edge_world: World, statement: str) -> None:
    world = edge_world
    mine = tenant()
    world.sql("CREATE ROLE stranger LOGIN")
    world.provision(desired(mine))
    before = world.state(mine)
    names = {
        "database": f'"{mine.database}"',
        "role": f'"{mine.role}"',
        "login": f'"{mine.logins[0]}"',
        "grantor": ADMIN,
        "mark": replace(mine.mark, uid="an older one").text,
    }
    world.sql(statement.format_map(names))
    assert world.state(mine) != before
    world.provision(desired(mine))
    assert world.state(mine) == before
    world.assert_lets_in(mine)


def test_a_strangers_membership_is_taken_away_or_reported(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine))
    world.sql("CREATE ROLE stranger LOGIN")
    world.sql(f'GRANT "{mine.role}" TO stranger')
    if world.version == "15":
        world.provision(desired(mine))
        assert world.sql("SELECT pg_has_role('stranger', %s, 'MEMBER')", mine.role) == [(False,)]
        return
    # Since 16 only the grantor, here the superuser, can take back what it granted.
    with pytest.raises(Unavailable, match="stranger") as caught:
        world.provision(desired(mine))
    assert caught.value.reason is Reason.ISOLATION_NOT_PROVED


def test_limits_follow_the_class(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine))
    changed = desired(mine, connection_limit=7)
    with world.sessions() as sessions:
        assert len(provision(sessions, changed).steps) == 3
        assert provision(sessions, changed).steps == ()


def test_the_other_login_is_left_alone(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine, "one"))
    with world.sessions() as sessions:
        done = provision(sessions, desired(mine, "two", login=mine.logins[1]))
        assert done.is_rotating
    for login, password in zip(mine.logins, ("one", "two"), strict=True):
        assert read_schema(world.server, Login(login, password), mine).revision is None


def test_a_lost_password_is_set_again(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine, "lost"))
    new = Login(mine.logins[0], "found", "the Secret team-a/mlflow-database")
    world.provision(desired(mine, "found"))
    with pytest.raises(Waiting, match="the Secret team-a/mlflow-database") as caught:
        read_schema(world.server, new, mine)
    assert caught.value.reason is Reason.LOGIN_REFUSED
    world.provision(desired(mine, "found", set_password=True))
    assert read_schema(world.server, new, mine).revision is None


def test_the_schema_revision_is_read_with_the_tenants_own_login(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine, "one"))
    login = Login(mine.logins[0], "one")
    with world.connected(login.username, "one", mine.database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE alembic_version (version_num varchar(32))")
        assert read_schema(world.server, login, mine).revision is None
        cursor.execute("INSERT INTO alembic_version VALUES ('dc11669786a5')")
        assert read_schema(world.server, login, mine).revision == "dc11669786a5"
    with world.connected(ADMIN, ADMIN_PASSWORD, mine.database) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("SELECT * FROM alembic_version")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(f'SET ROLE "{mine.role}"')


def test_the_server_is_sent_what_it_stores_and_never_the_password(world: World) -> None:
    mine, password = tenant(), "päss\u00adwörd Ⅸ with a soft hyphen"
    world.sql(f"ALTER ROLE {ADMIN} SET log_statement = 'all'")
    # What a server stores depends on this setting, unless it is sent as what is stored.
    world.sql(f"ALTER ROLE {ADMIN} SET password_encryption = 'md5'")
    try:
        world.provision(desired(mine, password))
    finally:
        world.sql(f"ALTER ROLE {ADMIN} RESET ALL")
    stored = world.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %s", mine.logins[0])[0][0]
    assert stored.startswith("SCRAM-SHA-256$4096:")
    logged = world.running.log.read_text()
    assert stored in logged
    assert password not in logged
    assert read_schema(world.server, Login(mine.logins[0], password), mine).revision is None


# Whose is it?


def test_a_database_without_our_mark_is_a_conflict(world: World) -> None:
    mine = tenant()
    world.sql(f'CREATE DATABASE "{mine.database}" TEMPLATE template0')
    refused_and_untouched(world, mine, "The database mlflow_team_a exists and was not made by this operator")


def test_the_admins_own_database_without_our_mark_is_a_conflict(world: World) -> None:
    mine = tenant()
    world.sql(f'CREATE DATABASE "{mine.database}" OWNER {ADMIN} TEMPLATE template0')
    refused_and_untouched(world, mine, "was not made by this operator")


def test_a_role_without_our_mark_is_a_conflict(world: World) -> None:
    mine = tenant()
    world.sql(f'CREATE ROLE "{mine.logins[1]}" LOGIN')
    refused_and_untouched(world, mine, "The role mlflow_team_a_b exists")


@pytest.mark.parametrize(
    "other",
    [
        Mark("another-cluster", "team-a", "mlflow"),
        Mark(CLUSTER, "team-b", "mlflow"),
        Mark(CLUSTER, "team-a", "other"),
    ],
)
def test_what_belongs_to_another_server_is_a_conflict(one_world: World, other: Mark) -> None:
    theirs = Tenant.named(tenant().database, other)
    one_world.provision(desired(theirs))
    refused_and_untouched(one_world, tenant(), "exists and belongs to another tracking server")


def test_what_is_kept_for_an_earlier_namespace_of_the_same_name_is_a_conflict(one_world: World) -> None:
    mark = tenant().mark
    earlier, later = (
        Tenant.named(tenant().database, replace(mark, namespace_uid=uid)) for uid in ("one", "two")
    )
    one_world.provision(desired(earlier))
    refused_and_untouched(one_world, later, "is kept for an earlier namespace of that name")


def test_a_mark_of_an_earlier_operator_is_written_anew_with_the_uid_of_the_namespace(
    one_world: World,
) -> None:
    mine = tenant()
    one_world.provision(desired(mine))
    renewed = Tenant.named(mine.database, replace(mine.mark, namespace_uid="one"))
    one_world.provision(desired(renewed))
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    assert one_world.sql(comment, mine.database) == [(renewed.mark.text,)]
    refused_and_untouched(one_world, mine, "is kept for an earlier namespace of that name")


def test_a_mark_with_names_is_the_servers_and_is_written_anew_without_them(one_world: World) -> None:
    mine = tenant()
    one_world.provision(desired(mine))
    mark = mine.mark
    named = (
        f'{{"managedBy": "tracking-operator.dev", "cluster": "{mark.cluster}", "namespace": "{mark.namespace}", '
        f'"namespaceUid": "", "name": "{mark.name}", "uid": "{mark.uid}"}}'
    )
    one_world.sql(SQL("COMMENT ON DATABASE {} IS {}").format(Identifier(mine.database), Literal(named)))
    for role in mine.roles:
        one_world.sql(SQL("COMMENT ON ROLE {} IS {}").format(Identifier(role), Literal(named)))
    one_world.provision(desired(mine))
    comments = one_world.sql(
        "SELECT DISTINCT description FROM pg_shdescription WHERE description LIKE '%uid-1%'"
    )
    assert comments == [(mark.text,)]


def test_an_unmarked_database_is_ours_only_while_it_is_unfinished(world: World) -> None:
    mine = tenant()
    with world.sessions(watch=crash_before(7)) as sessions, pytest.raises(Crashed):
        provision(sessions, desired(mine))
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    assert world.sql(comment, mine.database) == [(None,)]
    world.sql(f'ALTER DATABASE "{mine.database}" ALLOW_CONNECTIONS true')
    refused_and_untouched(world, mine, "was not made by this operator")
    world.sql(f'ALTER DATABASE "{mine.database}" ALLOW_CONNECTIONS false')
    world.provision(desired(mine))


def test_a_server_created_again_takes_its_database_back(world: World) -> None:
    world.provision(desired(tenant(uid="first"), "one"))
    again = tenant(uid="second")
    world.provision(desired(again, "two", set_password=True))
    assert read_schema(world.server, Login(again.logins[0], "two"), again).revision is None


def test_a_lost_database_is_not_replaced_by_an_empty_one(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine))
    world.sql(f'DROP DATABASE "{mine.database}"')
    with world.sessions() as sessions, pytest.raises(Invalid, match="Restore it") as caught:
        provision(sessions, desired(mine), must_exist=True)
    assert caught.value.reason is Reason.DATABASE_LOST
    assert world.sql("SELECT count(*) FROM pg_database WHERE datname = %s", mine.database) == [(0,)]


def test_the_remains_of_a_drop_are_replaced(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine))
    before = world.state(mine)
    world.sql("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", mine.database)
    world.provision(desired(mine))
    assert world.state(mine) == before


def refused_and_untouched(world: World, mine: Tenant, sentence: str) -> None:
    names = world.names()
    with world.sessions() as sessions, pytest.raises(Invalid, match=sentence) as caught:
        provision(sessions, desired(mine))
    assert caught.value.reason is Reason.CONFLICT
    assert world.names() == names


# Another admin


def test_another_admin_is_told_what_to_do_and_then_can_go_on(world: World) -> None:
    mine = tenant()
    world.provision(desired(mine))
    world.sql("CREATE ROLE new_admin LOGIN CREATEROLE CREATEDB PASSWORD 'new'")
    with world.sessions(login=Login("new_admin", "new")) as sessions:
        with pytest.raises(Invalid, match='GRANT "admin" TO "new_admin"') as caught:
            provision(sessions, desired(mine))
        assert caught.value.reason is Reason.ADMIN_IS_NOT_OWNER
    world.sql('GRANT "admin" TO "new_admin"')
    changed = desired(mine, connection_limit=9)
    with world.sessions(login=Login("new_admin", "new")) as sessions:
        provision(sessions, changed)
        assert provision(sessions, changed).steps == ()
    world.sql(f'GRANT CONNECT ON DATABASE "{mine.database}" TO PUBLIC')
    with world.sessions(login=Login("new_admin", "new")) as sessions:
        assert len(provision(sessions, changed).steps) == 1


def test_a_namespace_cannot_fill_the_server_with_databases_that_it_leaves_behind(world: World) -> None:
    """Servers that are made and deleted under ever new names leave a database each."""

    def make(name: str, namespace: str) -> None:
        mine = tenant(f"mlflow_{namespace}_{name}".replace("-", "_"), namespace=namespace)
        mine = replace(mine, mark=replace(mine.mark, name=name))
        with world.sessions() as sessions:
            provision(sessions, desired(mine), most_databases=2)
            retain(sessions, mine)

    make("one", "team-a")
    make("two", "team-a")
    with pytest.raises(Invalid) as refused:
        make("three", "team-a")
    assert refused.value.reason is Reason.LIMIT_EXCEEDED
    assert "team-a" in refused.value.message
    make("two", "team-a")  # its own, taken up again
    make("three", "team-a-b")
