"""What MLflow encrypts in its database: moved to the server's own keys before it starts."""

import argparse
import contextlib
import os
import sqlite3
import subprocess
from pathlib import Path

from tracking_operator.pod_tools.checks import CheckFailed, with_retries
from tracking_operator.pod_tools.database_servers import (
    CONNECT_TIMEOUT_SECONDS,
    EXTERNAL,
    POSTGRES,
    SERVICE,
    SERVICE_URI,
    connected,
    connection_failure,
    sqlstate_of,
)
from tracking_operator.pod_tools.database_uri import read_uri
from tracking_operator.pod_tools.programs import CREDENTIALS, MOVE_ENCRYPTION, URI_VARIABLE, command_line

ENCRYPTION_CREDENTIALS = CREDENTIALS / "encryption"
ENCRYPTED_ROWS = "SELECT COUNT(*) FROM secrets"
"""The table of the AI gateway's API keys."""
UNREADABLE = 3
"""How ``move_encryption.py`` ends where the keys of the Secret do not open everything."""


def move_encryption(options: argparse.Namespace) -> str:
    """See to it that what is encrypted in the database can be read with the keys of the Secret; say it if it cannot be."""
    if not (ENCRYPTION_CREDENTIALS / "kekPassphrase").is_file():
        return ""
    match options.kind:
        case "sqlite":
            uri, rows = f"sqlite:///{options.place}", encrypted_in_sqlite(Path(options.place))
        case "postgres":
            uri, rows = SERVICE_URI, with_retries(encrypted_in_postgres)
        case _:
            uri = read_uri(Path(options.place))
            rows = with_retries(lambda: encrypted_in_external(uri))
    if not rows:
        return ""
    moved = subprocess.run(
        command_line(MOVE_ENCRYPTION),
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {URI_VARIABLE: uri},
    )
    if moved.returncode == UNREADABLE:
        return (
            "API keys of MLflow's AI gateway in the database cannot be read with the keys of the Secret for encryption: restore that "
            "Secret from a backup, or delete these API keys in MLflow and enter them again."
        )
    if moved.returncode != 0:
        last_line = (moved.stderr.strip().splitlines() or ["no output"])[-1]
        raise CheckFailed(
            "MigrationFailed", f"What is encrypted could not be moved to the server's own key: {last_line}"
        )
    print("What is encrypted in the database is the server's own.", flush=True)
    return ""


def encrypted_in_sqlite(database: Path) -> bool:
    """Whether a file holds encrypted rows."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True)) as connection:
        try:
            return bool(connection.execute(ENCRYPTED_ROWS).fetchone()[0])
        except sqlite3.Error as error:
            if "no such table" in str(error):
                return False
            raise CheckFailed("StoreUnreachable", f"{database} cannot be used: {error}.") from error


def encrypted_in_postgres() -> bool:
    """Whether the server's own database holds encrypted rows."""
    import psycopg2

    try:
        with contextlib.closing(
            psycopg2.connect(service=SERVICE, connect_timeout=CONNECT_TIMEOUT_SECONDS)
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(ENCRYPTED_ROWS)
                row = cursor.fetchone()
    except psycopg2.errors.UndefinedTable:
        return False
    except psycopg2.Error as error:
        raise connection_failure(str(error), None, POSTGRES, sqlstate_of(error)) from error
    return bool(row and row[0])


def encrypted_in_external(uri: str) -> bool:
    """Whether somebody else's database holds encrypted rows."""
    import sqlalchemy

    with connected(uri, EXTERNAL) as connection:
        is_there = sqlalchemy.inspect(connection).has_table("secrets")
        return is_there and bool(connection.scalar(sqlalchemy.text(ENCRYPTED_ROWS)))
