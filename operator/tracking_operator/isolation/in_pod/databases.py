"""What a team tries on the class's PostgreSQL, with its server's own login."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, Final

with suppress(
    ImportError
):  # who only starts or lists the attempts has no driver; the pods that make them have
    import psycopg2
    from psycopg2 import errors, sql

from tracking_operator.isolation.attempts import Area, Attempt, Book, By, CannotTryError, Refused
from tracking_operator.isolation.in_pod.scene import DATABASE_SERVICE, SECONDS_TO_CONNECT, Scene

BOOK: Final = Book[Scene](Area.DATABASES)
DENIED: Final = "permission denied|must be (owner|superuser|able|a member)|only roles with|must have"
OTHERS_DATABASE: Final = "another team's database"
OTHERS_ROLE: Final = "another team's role"
WHOLE_SERVER: Final = "the PostgreSQL server"


@contextmanager
def session(**different: str | int) -> Iterator["psycopg2.extensions.connection"]:
    """A session with the server's own credentials, but for what is said here. Raises CannotTryError: it has none."""
    if not os.environ.get("PGSERVICEFILE"):
        raise CannotTryError("the server has no database of its own")
    settings: dict[str, Any] = {
        "service": DATABASE_SERVICE,
        "connect_timeout": SECONDS_TO_CONNECT,
        "options": "-c statement_timeout=10s",
    }
    connection = psycopg2.connect(**settings | different)
    with closing(connection):
        connection.autocommit = True
        yield connection


@contextmanager
def cursor(**different: str | int) -> Iterator["psycopg2.extensions.cursor"]:
    """A cursor of such a session."""
    with session(**different) as connection, connection.cursor() as found:
        yield found


def one(found: "psycopg2.extensions.cursor") -> str:
    """The first value of the first row, as text."""
    row = found.fetchone()
    return "" if row is None else str(row[0])


def ask(scene: Scene, statement: str, *parameters: object) -> str:
    """Run a statement in the own database, with names for the placeholders in braces; return its first value."""
    with cursor() as found:
        found.execute(named(scene, statement), parameters or None)
        return one(found) if found.description else f"{found.statusmessage}"


def named(scene: Scene, statement: str) -> "sql.Composed":
    """Fill names into a statement."""
    names = {
        "own_database": scene.own.database,
        "own_role": scene.own.role,
        "own_login": scene.own.login,
        "other_database": scene.other.database,
        "other_role": scene.other.role,
        "other_login": scene.other.login,
        "table": scene.mark.replace("-", "_"),
    }
    return sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()})


@BOOK.attempt("own", "connect, write a row and read it", against="its own database")
def use_own(scene: Scene) -> str:
    """The control: all of this works where it is allowed."""
    with cursor() as found:
        for statement in (
            "DROP TABLE IF EXISTS {table}",
            "CREATE TABLE {table} (word text)",
            "INSERT INTO {table} VALUES ('kept')",
        ):
            found.execute(named(scene, statement))
        found.execute(named(scene, "SELECT word FROM {table}"))
        word = one(found)
        found.execute(named(scene, "DROP TABLE {table}"))
    return word


@BOOK.attempt(
    "connect", "connect with the own login", against=OTHERS_DATABASE, refusal="permission denied for database"
)
def connect_to_anothers(scene: Scene) -> str:
    """The boundary itself."""
    with cursor(dbname=scene.other.database) as found:
        found.execute("SELECT pg_catalog.current_database()")
        return one(found)


@BOOK.attempt(
    "login-as-another",
    "log in as another team's login with the own password",
    against=OTHERS_DATABASE,
    refusal="password authentication failed|no pg_hba.conf entry",
)
def log_in_as_another(scene: Scene) -> str:
    """Passwords are not shared."""
    with cursor(dbname=scene.other.database, user=scene.other.login) as found:
        found.execute("SELECT SESSION_USER")
        return one(found)


@BOOK.attempt(
    "login-without-password",
    "log in as postgres and as another team, without a password",
    against=WHOLE_SERVER,
    by=By.STRANGER,
    refusal="password|no pg_hba.conf entry|authentication",
)
def log_in_without_a_password(scene: Scene) -> str:
    """Whoever reaches the port needs credentials."""
    said = []
    for user in ("postgres", scene.other.login):
        try:
            with session(user=user, password="", passfile="/nonexistent"):
                return f"logged in as {user}"
        except psycopg2.OperationalError as error:
            said.append(str(error))
    raise Refused(said[-1])


@BOOK.attempt(
    "maintenance",
    "connect with the own login",
    against="the admin's database",
    refusal="permission denied for database",
)
def connect_to_maintenance(scene: Scene) -> str:
    """Where the admin works, nobody leaves anything."""
    with cursor(dbname=scene.maintenance) as found:
        found.execute("SELECT pg_catalog.current_database()")
        return one(found)


@BOOK.attempt(
    "templates",
    "connect to template1 and template0",
    against="what new databases are copied from",
    refusal="permission denied for database|not currently accepting",
)
def connect_to_templates(_scene: Scene) -> str:
    """A function in template1 would be in every database that is made from it."""
    said = []
    for database in ("template0", "template1"):
        try:
            with session(dbname=database):
                return f"connected to {database}"
        except psycopg2.OperationalError as error:
            said.append(str(error))
    raise Refused(said[-1])


STATEMENTS: Final = (
    # name, what is tried, against whom, statement, refusal
    ("set-role", "SET ROLE", OTHERS_ROLE, "SET ROLE {other_role}", DENIED),
    ("set-login", "SET ROLE to the login", OTHERS_ROLE, "SET ROLE {other_login}", DENIED),
    ("set-session", "SET SESSION AUTHORIZATION", OTHERS_ROLE, "SET SESSION AUTHORIZATION {other_login}", DENIED),
    ("password", "set a password", OTHERS_ROLE, "ALTER ROLE {other_login} PASSWORD 'known'", DENIED),
    ("settings", "set a search_path", OTHERS_ROLE, "ALTER ROLE {other_login} SET search_path = public", DENIED),
    ("join", "GRANT the other role to the own login", OTHERS_ROLE, "GRANT {other_role} TO {own_login}", DENIED),
    ("invite", "GRANT the own role to it", OTHERS_ROLE, "GRANT {own_role} TO {other_login}", DENIED),
    ("drop-role", "DROP ROLE", OTHERS_ROLE, "DROP ROLE {other_login}", DENIED),
    ("drop-database", "DROP DATABASE", OTHERS_DATABASE, "DROP DATABASE {other_database}", DENIED),
    (
        "database-settings",
        "set a search_path",
        OTHERS_DATABASE,
        "ALTER DATABASE {other_database} SET search_path = public",
        DENIED,
    ),
    (
        "cross-reference",
        "name a table across databases",
        OTHERS_DATABASE,
        "SELECT count(*) FROM {other_database}.public.experiments",
        "cross-database references are not implemented",
    ),
    ("own-database", "make oneself its owner", "its own database", "ALTER DATABASE {own_database} OWNER TO {own_role}", DENIED),
    ("own-marks", "forge the mark of its owner", "its own database", "COMMENT ON DATABASE {own_database} IS 'mine'", DENIED),
    ("role-marks", "forge the mark of its owner", "its own role", "COMMENT ON ROLE {own_role} IS 'mine'", DENIED),
    ("attributes", "ALTER ROLE … CREATEROLE", "its own login", "ALTER ROLE {own_login} CREATEROLE", DENIED),
    ("superuser", "ALTER ROLE … SUPERUSER", "its own login", "ALTER ROLE {own_login} SUPERUSER", DENIED),
    ("limit", "lift the connection limit", "its own login", "ALTER ROLE {own_login} CONNECTION LIMIT -1", DENIED),
    ("create-database", "CREATE DATABASE", WHOLE_SERVER, "CREATE DATABASE one_more", DENIED),
    ("create-role", "CREATE ROLE", WHOLE_SERVER, "CREATE ROLE one_more", DENIED),
    ("program", "COPY … TO PROGRAM", "the machine of PostgreSQL", "COPY (SELECT 1) TO PROGRAM 'true'", DENIED),
    ("copy-file", "COPY … TO a file", "the machine of PostgreSQL", "COPY (SELECT 1) TO '/tmp/isolation-check'", DENIED),
    ("read-file", "pg_read_file", "the machine of PostgreSQL", "SELECT pg_catalog.pg_read_file('PG_VERSION')", DENIED),
    ("list-files", "pg_ls_dir", "the machine of PostgreSQL", "SELECT pg_catalog.pg_ls_dir('.')", DENIED),
    ("lo-import", "lo_import of a file", "the machine of PostgreSQL", "SELECT pg_catalog.lo_import('/etc/passwd')", DENIED),
    ("large-objects", "read pg_largeobject", "all large objects", "SELECT count(*) FROM pg_catalog.pg_largeobject", DENIED),
    ("authid", "read pg_authid", "all password hashes", "SELECT rolpassword FROM pg_catalog.pg_authid", DENIED),
    ("shadow", "read pg_shadow", "all password hashes", "SELECT passwd FROM pg_catalog.pg_shadow", DENIED),
    ("hba", "read pg_hba_file_rules", WHOLE_SERVER, "SELECT * FROM pg_catalog.pg_hba_file_rules", DENIED),
    ("alter-system", "ALTER SYSTEM", WHOLE_SERVER, "ALTER SYSTEM SET log_statement = 'all'", DENIED),
    ("log-statement", "SET log_statement", WHOLE_SERVER, "SET log_statement = 'none'", DENIED),
    ("preload", "SET session_preload_libraries", WHOLE_SERVER, "SET session_preload_libraries = 'x'", DENIED),
    ("load", "LOAD a library", WHOLE_SERVER, "LOAD '/tmp/x.so'", f"{DENIED}|not allowed"),
    ("reload", "pg_reload_conf", WHOLE_SERVER, "SELECT pg_catalog.pg_reload_conf()", DENIED),
    ("checkpoint", "CHECKPOINT", WHOLE_SERVER, "CHECKPOINT", DENIED),
    (
        "c-function",
        "make a function in C",
        WHOLE_SERVER,
        "CREATE FUNCTION public.shell(text) RETURNS int AS '/lib/x86_64-linux-gnu/libc.so.6', 'system' LANGUAGE c",
        DENIED,
    ),
    (
        "event-trigger",
        "make an event trigger",
        WHOLE_SERVER,
        "CREATE EVENT TRIGGER watching ON ddl_command_start EXECUTE FUNCTION pg_catalog.now()",
        DENIED,
    ),
    (
        "subscription",
        "make a subscription to another database",
        OTHERS_DATABASE,
        "CREATE SUBSCRIPTION following CONNECTION 'dbname=postgres' PUBLICATION everything WITH (connect = false)",
        DENIED,
    ),
    ("replication-slot", "make a replication slot", WHOLE_SERVER,
     "SELECT pg_catalog.pg_create_physical_replication_slot('following')", f"{DENIED}|REPLICATION"),
    ("tablespace", "CREATE TABLESPACE", WHOLE_SERVER, "CREATE TABLESPACE elsewhere LOCATION '/tmp'", DENIED),
    ("schema", "CREATE SCHEMA", "its own database", "CREATE SCHEMA one_more", DENIED),
)  # fmt: skip

EXTENSIONS: Final = ("dblink", "postgres_fdw", "file_fdw", "adminpack", "pg_read_server_files", "plpython3u")


def _run(scene: Scene, statement: str) -> str:
    return ask(scene, statement)


for _name, _tried, _against, _statement, _refusal in STATEMENTS:
    BOOK.add(
        Attempt(f"databases/{_name}", Area.DATABASES, By.TENANT, _against, _tried, _refusal),
        partial(_run, statement=_statement),
    )


@BOOK.attempt(
    "extensions",
    f"CREATE EXTENSION {', '.join(EXTENSIONS)}",
    against=WHOLE_SERVER,
    refusal=f"{DENIED}|not available",
)
def make_extensions(_scene: Scene) -> str:
    """Each leads to other databases, to files, or to a shell."""
    said = []
    for extension in EXTENSIONS:
        with cursor() as found:
            try:
                found.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension)))
                return f"made the extension {extension}"
            except (errors.InsufficientPrivilege, errors.FeatureNotSupported, errors.UndefinedFile) as error:
                said.append(str(error))
    raise Refused(said[0])


@BOOK.attempt(
    "public",
    "GRANT CONNECT on the own database to PUBLIC and to the other team",
    against="its own database",
    refusal="nobody was let in",
)
def let_others_in(scene: Scene) -> str:
    """PostgreSQL only warns where a grant does nothing, so that the database's privileges are read back."""
    with cursor() as found:
        for guest in ("PUBLIC", "{other_login}"):
            for privilege in ("CONNECT", "ALL"):
                try:
                    found.execute(named(scene, f"GRANT {privilege} ON DATABASE {{own_database}} TO {guest}"))
                except errors.InsufficientPrivilege:
                    continue
        found.execute(
            "SELECT pg_catalog.has_database_privilege(%s, %s, 'CONNECT')"
            " OR pg_catalog.has_database_privilege('public', %s, 'CONNECT')",
            (scene.other.login, scene.own.database, scene.own.database),
        )
        let_in = one(found) == "True"
    if not let_in:
        raise Refused("nobody was let in")
    return "the database is open to others"


@BOOK.attempt(
    "become-admin", "SET ROLE to the owner of all databases", against="the class's admin", refusal=DENIED
)
def become_the_admin(_scene: Scene) -> str:
    """The admin's name is in the catalog for everybody to read."""
    with cursor() as found:
        found.execute(
            "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database"
            " WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()"
        )
        found.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(one(found))))
        return "became the admin"


def _sessions_of_others(scene: Scene, column: str) -> list[str]:
    """One column of the other team's sessions. Raises CannotTryError: it has none."""
    with cursor() as found:
        found.execute(
            sql.SQL(
                "SELECT {} FROM pg_catalog.pg_stat_activity WHERE usename OPERATOR(pg_catalog.=) %s"
            ).format(sql.Identifier(column)),
            (scene.other.login,),
        )
        rows = [str(row[0]) for row in found.fetchall()]
    if not rows:
        raise CannotTryError("the other server has no session")
    return rows


@BOOK.attempt(
    "terminate",
    "pg_terminate_backend and pg_cancel_backend",
    against="another team's sessions",
    refusal=DENIED,
)
def end_sessions_of_others(scene: Scene) -> str:
    """Their process numbers are visible to everybody."""
    pids = _sessions_of_others(scene, "pid")
    with cursor() as found:
        try:
            found.execute("SELECT pg_catalog.pg_cancel_backend(%s)", (int(pids[0]),))
        except errors.InsufficientPrivilege:
            found.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (int(pids[0]),))
        return f"ended {one(found)}"


@BOOK.attempt(
    "queries",
    "read pg_stat_activity.query",
    against="another team's sessions",
    refusal="^all hidden: <insufficient privilege>$",
)
def read_queries_of_others(scene: Scene) -> str:
    """Queries hold values."""
    shown = set(_sessions_of_others(scene, "query"))
    if shown == {"<insufficient privilege>"}:
        raise Refused("all hidden: <insufficient privilege>")
    return f"read {len(shown)} queries"


@BOOK.attempt(
    "comments",
    "read the comments of all roles and databases",
    against="the names of other teams",
    refusal="^no comment names the other team$",
)
def read_comments(scene: Scene) -> str:
    """Everybody may read comments on what the whole server shares."""
    with cursor() as found:
        found.execute("SELECT description FROM pg_catalog.pg_shdescription")
        comments = [str(row[0]) for row in found.fetchall()]
    if any(scene.other.namespace in comment for comment in comments):
        return "a comment names the other team's namespace"
    raise Refused("no comment names the other team")


@BOOK.attempt(
    "limit-of-connections",
    "open connections until no more are given",
    against=WHOLE_SERVER,
    refusal="too many connections for role",
    harmless=False,
)
def use_up_connections(_scene: Scene) -> str:
    """A team can use up its own share only."""
    opened: list[psycopg2.extensions.connection] = []
    try:
        for _ in range(150):
            opened.append(psycopg2.connect(service=DATABASE_SERVICE, connect_timeout=SECONDS_TO_CONNECT))
    finally:
        for connection in opened:
            connection.close()
    return f"opened {len(opened)} connections"
