"""A SQLite store: the only kind whose schema the pod itself changes.

The Deployment's strategy Recreate guarantees that no other pod has the file open.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tracking_operator.pod_tools.checks import CheckFailed
from tracking_operator.pod_tools.programs import CREDENTIALS, PREPARE_LOGIN, URI_VARIABLE, command_line
from tracking_operator.pod_tools.schema_revision import (
    LOGIN_TABLE,
    REVISION,
    SCHEMA_TABLE,
    Migrations,
    require_known,
    too_new,
)

EMPTY_DATABASE = Path(
    os.environ.get("TRACKING_OPERATOR_EMPTY_DATABASE", "/usr/local/share/tracking-operator/empty.db")
)
"""A database without a run in it, at the image's own schema; our image has one, others may not."""
LOGIN_CREDENTIALS = CREDENTIALS / "login"
FULL_DISK = ("disk is full", "No space left on device", "disk I/O error")


def prepare_sqlite(database: Path, migrations: Migrations, version: str) -> str:
    """Create or upgrade the database file; return its revision."""
    try:
        return bring_to_head(database, migrations, version)
    except (OSError, sqlite3.Error) as error:
        if is_full(error):
            raise full_volume(database) from error
        raise CheckFailed("StoreUnreachable", f"{database} cannot be used: {error}.") from error


def bring_to_head(database: Path, migrations: Migrations, version: str) -> str:
    """Make ``database`` a file at the image's newest revision, whatever it is now."""
    discard_unfinished(database)
    try:
        if not database.exists() or database.stat().st_size == 0:
            create(database, migrations)
        found = sqlite_revision(database)
        if found == migrations.head:
            return found
        if found is not None and found not in migrations.revisions:
            raise too_new(found, version)
        migrate(database, found, version)
    finally:
        discard_unfinished(database)
    return migrations.head


def create(database: Path, migrations: Migrations) -> None:
    """Put a new database in place, in one step that a crash cannot leave half done."""
    unfinished = working_copy(database)
    if EMPTY_DATABASE.exists() and sqlite_revision(EMPTY_DATABASE, "ro") == migrations.head:
        shutil.copyfile(EMPTY_DATABASE, unfinished)
    else:
        upgrade(unfinished)
    unfinished.replace(database)


def migrate(database: Path, found: str | None, version: str) -> None:
    """Upgrade a copy, keep the old file beside it, then put the copy in its place."""
    unfinished = copy_of(database)
    upgrade(unfinished)
    aside = database.with_name(f"{database.name}.{found or 'unversioned'}.before-{version}")
    aside.unlink(missing_ok=True)
    os.link(database, aside)
    unfinished.replace(database)
    print(f"The database was upgraded from {found}; the old one is kept as {aside.name}.", flush=True)


def prepare_sqlite_login(database: Path, migrations: Migrations, version: str) -> str:
    """Bring up the tables of MLflow's login in the database file, and see to its admin; return their revision."""
    try:
        found = sqlite_revision(database, table=LOGIN_TABLE)
        if found is not None:
            require_known(found, migrations, version)
        if found != migrations.head or not is_admin_known(database):
            prepare_login_in_copy(database)
        return migrations.head
    except (OSError, sqlite3.Error) as error:
        if is_full(error):
            raise full_volume(database) from error
        raise CheckFailed("StoreUnreachable", f"{database} cannot be used: {error}.") from error
    finally:
        discard_unfinished(database)


def is_admin_known(database: Path) -> bool:
    """Whether the admin can log in with what the Secret holds; what MLflow itself would ask costs seconds."""
    from werkzeug.security import check_password_hash  # MLflow's own

    name = (LOGIN_CREDENTIALS / "username").read_text().strip()
    files = [LOGIN_CREDENTIALS / "password", LOGIN_CREDENTIALS / "nextPassword"]
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        query = "SELECT password_hash FROM users WHERE username = ? AND is_admin"
        row = connection.execute(query, [name]).fetchone()
    passwords = [file.read_text().strip() for file in files if file.is_file()]
    return row is not None and any(check_password_hash(row[0], one) for one in passwords)


def prepare_login_in_copy(database: Path) -> None:
    """Let MLflow prepare its login in a copy, then put that in its place: SQLite has no migrations that a crash undoes."""
    unfinished = copy_of(database)
    run_mlflow(
        command_line(PREPARE_LOGIN, "--own-store"),
        database,
        "The preparation of the login",
        {URI_VARIABLE: f"sqlite:///{unfinished}"},
    )
    with contextlib.closing(sqlite3.connect(unfinished)) as copy:
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    unfinished.replace(database)


def upgrade(database: Path) -> None:
    """Run MLflow's own migrations on a file that nobody else has open."""
    run_mlflow(
        [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{database}"],
        database,
        "mlflow db upgrade",
    )


def run_mlflow(
    command: list[str], database: Path, what: str, variables: Mapping[str, str] | None = None
) -> None:
    """Run what changes a file that nobody else has open."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | dict(variables or {})
    )
    if done.returncode == 0:
        return
    print(done.stderr, file=sys.stderr, flush=True)
    if any(sign in done.stderr for sign in FULL_DISK):
        raise full_volume(database)
    last_line = (done.stderr.strip().splitlines() or ["no output"])[-1]
    raise CheckFailed("MigrationFailed", f"{what} failed on {database.name}: {last_line}")


def copy_of(database: Path) -> Path:
    """Copy the whole database to where it is made ready."""
    unfinished = working_copy(database)
    with contextlib.closing(sqlite3.connect(database)) as source:
        # Also writes back what a killed server may have left in its write-ahead log.
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with contextlib.closing(sqlite3.connect(unfinished)) as copy:
            source.backup(copy)
    return unfinished


def working_copy(database: Path) -> Path:
    """Where a database is made ready before it takes its place."""
    return database.with_name(f"{database.name}.unfinished")


def discard_unfinished(database: Path) -> None:
    """Remove a working copy that an interrupted or failed run left behind: it takes the room of the real one."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        unfinished = working_copy(database)
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)


def sqlite_revision(database: Path, mode: str = "rw", table: str = SCHEMA_TABLE) -> str | None:
    """Read a revision from a SQLite file; None if it has none.

    ``rw``, because a transaction that a killed server left half done is rolled back by whoever opens the file next.
    """
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode={mode}", uri=True)) as connection:
        try:
            row = connection.execute(REVISION[table]).fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
    return str(row[0]) if row else None


def is_full(error: Exception) -> bool:
    """Whether an error means that the volume has no room left."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(
        sign in str(error) for sign in FULL_DISK
    )


def full_volume(database: Path) -> CheckFailed:
    """Say that there is no room, and what to do."""
    free = shutil.disk_usage(database.parent).free // 1024
    return CheckFailed(
        "VolumeFull",
        f"The volume of the backend store is full ({free} KiB free): raise spec.backendStore.sqlite.size "
        "where the storage class can expand volumes, or remove files from it.",
    )
