"""A stand-in for an MLflow image: a package called mlflow with migrations, which the pod scripts look into."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.pod_programs import CHECK_STORE
from tests.waiting import patient

CHAIN = ("aaa111", "bbb222", "ccc333")
"""The revisions that the stand-in knows, the oldest first."""
HEAD = CHAIN[-1]

MIGRATION = '''"""A migration.

Revision ID: {revision}
"""

from alembic import op

revision = "{revision}"
down_revision = {down_revision}
branch_labels = None
'''

MLFLOW_PACKAGE = """import sys

assert sys.argv[0] in ("-m", "mlflow"), "the check must not import mlflow, which takes seconds"
"""

MLFLOW_MAIN = '''"""Migrates as Alembic does: on SQLite one commit per step, so that a kill leaves a half-migrated file; on PostgreSQL one
transaction."""

import os
import sqlite3
import sys

CHAIN = {chain!r}

assert sys.argv[1:3] == ["db", "upgrade"], sys.argv
if sys.argv[3].startswith("postgresql"):
    from mlflow.on_postgres import upgrade

    sys.exit(upgrade(sys.argv[3], CHAIN))
database = sqlite3.connect(sys.argv[3].removeprefix("sqlite:///"), isolation_level=None)
if failure := os.environ.get("FAKE_MIGRATION_FAILURE"):
    sys.exit(failure)
database.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT NOT NULL)")
row = database.execute("SELECT version_num FROM alembic_version").fetchone()
done = CHAIN.index(row[0]) + 1 if row else 0
for number, revision in enumerate(CHAIN[done:]):
    database.execute(f"CREATE TABLE added_in_{{revision}} (value TEXT)")
    if os.environ.get("FAKE_MIGRATION_DIES"):
        os.kill(os.getpid(), 9)
    database.execute("DELETE FROM alembic_version")
    database.execute("INSERT INTO alembic_version VALUES (?)", [revision])
'''

MLFLOW_ON_POSTGRES = """import os
import time
from pathlib import Path

import psycopg2


def upgrade(uri, chain):
    say("RUNS", Path("/proc/self/cmdline").read_bytes().replace(bytes(1), b" ").decode())
    try:
        with psycopg2.connect(uri.replace("+psycopg2", "")) as database, database.cursor() as cursor:
            migrate(cursor, chain)
    except psycopg2.Error as error:
        kind = "Operational" if isinstance(error, psycopg2.OperationalError) else "Internal"
        name = f"{type(error).__module__}.{type(error).__name__}"
        return f"sqlalchemy.exc.{kind}Error: ({name}) {error}\\n[SQL: ...]\\n(Background on this error at: ...)"


def migrate(cursor, chain):
    cursor.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) NOT NULL)")
    cursor.execute("SELECT version_num FROM alembic_version")
    row = cursor.fetchone()
    for revision in chain[chain.index(row[0]) + 1 if row else 0 :]:
        cursor.execute(f"CREATE TABLE added_in_{revision} (value text)")
        print(f"Running upgrade to {revision}")
    cursor.execute("DELETE FROM alembic_version")
    cursor.execute("INSERT INTO alembic_version VALUES (%s)", [chain[-1]])
    if statement := os.environ.get("FAKE_MIGRATION_STATEMENT"):
        cursor.execute(statement)
    if gate := os.environ.get("FAKE_MIGRATION_GATE"):
        print("At the gate")
        while not Path(gate).exists():
            time.sleep(0.02)


def say(what, line):
    if file := os.environ.get(f"FAKE_MIGRATION_{what}"):
        with open(file, "a") as lines:
            print(line, file=lines)
"""


@dataclass(frozen=True)
class Answer:
    """How the check ended."""

    exit_code: int
    reason: str
    message: str
    revision: str
    output: str


@dataclass(frozen=True)
class MlflowImage:
    """Where the stand-in is, and what a container of it finds around itself."""

    folder: Path

    @classmethod
    def build(cls, folder: Path, version: str = "3.17.2", chain: Sequence[str] = CHAIN) -> "MlflowImage":
        """Write the package, its metadata and its migrations."""
        versions = folder / "mlflow" / "store" / "db_migrations" / "versions"
        versions.mkdir(parents=True)
        (folder / "mlflow" / "__init__.py").write_text(MLFLOW_PACKAGE)
        (folder / "mlflow" / "__main__.py").write_text(MLFLOW_MAIN.format(chain=tuple(chain)))
        (folder / "mlflow" / "on_postgres.py").write_text(MLFLOW_ON_POSTGRES)
        for down, revision in zip((None, *chain), chain, strict=False):
            script = MIGRATION.format(
                revision=revision, down_revision=json.dumps(down).replace("null", "None")
            )
            (versions / f"{revision}_step.py").write_text(script)
        metadata = folder / f"mlflow-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mlflow\nVersion: {version}\n")
        return cls(folder)

    @property
    def termination_log(self) -> Path:
        """Where the check leaves its last words."""
        return self.folder / "termination-log"

    @property
    def empty_database(self) -> Path:
        """Where an image may have a database that is ready for use."""
        return self.folder / "empty.db"

    def environment(self) -> dict[str, str]:
        """The variables of a container."""
        return os.environ | {
            "PYTHONPATH": str(self.folder),
            "TRACKING_OPERATOR_TERMINATION_LOG": str(self.termination_log),
            "TRACKING_OPERATOR_EMPTY_DATABASE": str(self.empty_database),
        }

    def check(self, *arguments: str, version: str = "3.17.2", **environment: str) -> Answer:
        """Run the check as the init container does."""
        done = subprocess.run(
            [sys.executable, *CHECK_STORE, *arguments, f"--version={version}"],
            env=self.environment() | environment,
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )
        return self.answer(done.returncode, done.stdout + done.stderr)

    def answer(self, exit_code: int, output: str = "") -> Answer:
        """Read what the check left behind."""
        said = json.loads(self.termination_log.read_text()) if self.termination_log.exists() else {}
        return Answer(
            exit_code, said.get("reason", ""), said.get("message", ""), said.get("revision", ""), output
        )


def write_database(path: Path, revision: str | None = HEAD, chain: Sequence[str] = CHAIN) -> None:
    """Write a SQLite store with a run in it, as `mlflow db upgrade` of some version left it."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE runs (name TEXT)")
        database.execute("INSERT INTO runs VALUES ('precious')")
        if revision is not None:
            database.execute("CREATE TABLE alembic_version (version_num TEXT NOT NULL)")
            database.execute("INSERT INTO alembic_version VALUES (?)", [revision])
            known = chain[: chain.index(revision) + 1] if revision in chain else ()
            for step in known:
                database.execute(f"CREATE TABLE added_in_{step} (value TEXT)")


def tables_of(path: Path) -> set[str]:
    """The tables of a SQLite file."""
    with closing(sqlite3.connect(path)) as database:
        return {
            str(row[0]) for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }


def revision_of(path: Path) -> str:
    """The revision of a SQLite file."""
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def runs_of(path: Path) -> list[str]:
    """The runs in a SQLite file."""
    with closing(sqlite3.connect(path)) as database:
        return [str(row[0]) for row in database.execute("SELECT name FROM runs")]
