"""Whatever a name is made of: either it is refused with a sentence, or exactly it appears in the catalog."""

import os
import re
from collections.abc import Iterator

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.sql import SQL

from tests.stores.postgres.world import HOST, World, desired, tenant
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid
from tracking_operator.stores.postgres.finalize import drop
from tracking_operator.stores.postgres.identifiers import MAX_BYTES
from tracking_operator.stores.postgres.observe import Observed
from tracking_operator.stores.postgres.plan import plan
from tracking_operator.stores.postgres.provision import provision
from tracking_operator.stores.postgres.tenant import Desired, Tenant

EXAMPLES = int(os.environ.get("TRACKING_OPERATOR_TEST_NAMES", "2000"))
"""`make matrix` takes 10,000."""

RESERVED = ("public", "none", "user", "select", "current_user", "session_user", "all", "pg_monitor", "pg_x")
NASTY = (
    'a"; DROP ROLE admin; --',
    "a'; DROP ROLE admin; --",
    "back\\slash \"and\" 'quotes'",
    "$$dollar$tag$",
    "%s %(name)s %%",
    "SELECT",
    "Ünïcödé-数据库-🐘",
    "x" * 61,
    "é" * 30,
    ' "" ',
)

PIECES = st.sampled_from(
    (*RESERVED, '"', "'", "\\", ";", "--", "/*", "%s", "$$", "\0", "\n", "é", "🐘", "a", "_", " ")
)
NAMES = st.one_of(
    st.text(max_size=70),
    st.lists(PIECES, max_size=12).map("".join),
    st.integers(min_value=55, max_value=70).map(lambda length: "n" * length),
)

IDENTIFIER = r'"(?:[^"]|"")*"'
STRING = r"E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'"
TOKEN = re.compile(f"(?P<identifier>{IDENTIFIER})|(?P<string>{STRING})", re.DOTALL)

PASSWORD = "a password"
NOTHING = Observed(
    server_version=180004,
    admin="admin",
    roles={},
    memberships=frozenset(),
    database=None,
    settings={},
)


def tenant_named(name: str) -> Tenant | None:
    """The tenant of a name; None if the name is refused, as it should be."""
    try:
        return tenant(name)
    except Invalid as refusal:
        assert refusal.reason is Reason.INVALID_SPEC
        assert "naming.database" in refusal.message
        assert is_refusable(name), name
        return None


def is_refusable(name: str) -> bool:
    """Why a name may be refused, in other words than the code's."""
    encoded = f"{name}_a".encode("utf-8", "surrogatepass")
    return (
        len(encoded) > MAX_BYTES
        or name in {"", "public", "none"}
        or name.startswith("pg_")
        or any(not char.isprintable() for char in name)
    )


def skeleton(text: str) -> tuple[str, list[str]]:
    """A statement without its identifiers and strings, and the identifiers as they were meant."""
    identifiers = [
        match["identifier"][1:-1].replace('""', '"') for match in TOKEN.finditer(text) if match["identifier"]
    ]
    return TOKEN.sub("?", text), identifiers


def rendered(of: Tenant, connection: "psycopg2.extensions.connection") -> str:
    """Everything that is sent to make a tenant out of nothing."""
    wanted = Desired(of, of.logins[0], PASSWORD)
    return SQL(";").join(step.statement for step in plan(NOTHING, wanted)).as_string(connection)


@pytest.fixture
def plain(one_world: World) -> Iterator[tuple[str, list[str]]]:
    """What is sent for a name that needs no quoting."""
    one_world.sql("SET scram_iterations = 1")  # ten thousand passwords shall not take a minute
    yield skeleton(rendered(tenant("plain"), one_world.super))
    one_world.sql("RESET scram_iterations")


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
def test_a_name_never_changes_what_a_statement_says(
    one_world: World, plain: tuple[str, list[str]], name: str
) -> None:
    mine = tenant_named(name)
    if mine is None:
        return
    found, names = skeleton(rendered(mine, one_world.super))
    # psycopg2 puts a space before strings with backslashes.
    assert found.replace(" ?", "?") == plain[0].replace(" ?", "?")
    assert names == [other.replace("plain", name) for other in plain[1]]


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(name=NAMES)
def test_exactly_the_named_roles_appear_in_the_catalog(world: World, name: str) -> None:
    mine = tenant_named(name)
    if mine is None:
        return
    before, _ = world.names()
    steps = [
        step
        for step in plan(NOTHING, Desired(mine, mine.logins[0], PASSWORD))
        if step.what.startswith("create role")
    ]
    world.sql("BEGIN")
    try:
        for step in steps:
            statements = [one for one in step.statements if "SET LOCAL" not in one.as_string(world.super)]
            world.sql(SQL("; ").join(statements))
        after, _ = world.names()
        assert after - before == set(mine.roles)
        assert before <= after
    finally:
        world.sql("ROLLBACK")


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_name_works_from_beginning_to_end(edge_world: World, name: str) -> None:
    world = edge_world
    roles, databases = world.names()
    mine = tenant(name)
    login = mine.logins[0]
    with world.sessions() as sessions:
        provision(sessions, desired(mine, "one"))
        assert provision(sessions, desired(mine, "one")).steps == ()
    assert world.names() == (roles | set(mine.roles), databases | {name})
    connection = psycopg2.connect(
        host=HOST, port=world.running.port, user=login, password="one", dbname=name, client_encoding="UTF8"
    )
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int)")
        cursor.execute("SELECT tableowner FROM pg_tables WHERE tablename = 't'")
        assert cursor.fetchall() == [(name,)]
    connection.close()
    with world.sessions() as sessions:
        drop(sessions, mine)
    assert world.names() == (roles, databases)


@pytest.mark.parametrize("name", ["", "x" * 62, "é" * 31, "public", "none", "pg_x", "a\0b", "a\nb", "\ud800"])
def test_a_name_that_cannot_be_used_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        tenant(name)
