"""Runs in the init container: is this backend store one that this image's MLflow may open?

    check-backend-store sqlite FILE --version 3.17.2
    check-backend-store postgres SERVICE_FILE --version 3.17.2
    check-backend-store external URI_FILE --version 3.17.2

With ``--login`` the tables of MLflow's own login are looked at, too; they lie in the same database. A SQLite database is
brought up to the image's schema, after the old file was put aside (``sqlite_file.py``). A database on a server is only
looked at (``database_servers.py``): a Job migrates it (``migrate_backend_store.py``). What was found is written as JSON
(``reason``, ``message``, ``revision``) to the termination log, from where the operator takes it into the server's conditions.

It does not import mlflow, which would cost seconds at every start of a pod.
"""

import argparse
from pathlib import Path

from tracking_operator.pod_tools.checks import CheckFailed, report, with_retries
from tracking_operator.pod_tools.database_servers import (
    check_external,
    check_postgres,
    use_service_file,
)
from tracking_operator.pod_tools.database_uri import read_uri
from tracking_operator.pod_tools.encrypted_rows import move_encryption
from tracking_operator.pod_tools.schema_revision import (
    LOGIN_TABLE,
    Migrations,
    installed_login_migrations,
    installed_migrations,
    require_version,
)
from tracking_operator.pod_tools.sqlite_file import prepare_sqlite, prepare_sqlite_login


def main(arguments: list[str] | None = None) -> int:
    """Check the store that the command line names and report; return the exit code."""
    options = parse_arguments(arguments)
    try:
        require_version(options.version)
        migrations = installed_migrations()
        logins = installed_login_migrations() if options.login else None
        revision, login_revision = check_store(options, migrations, logins)
        unreadable = move_encryption(options)
    except CheckFailed as failure:
        return report(failure.reason, failure.message)
    message = f"The backend store is at revision {revision}."
    if unreadable:
        return report(
            "EncryptionKeyLost",
            f"{message} {unreadable}",
            revision,
            login_revision=login_revision,
            is_remark=True,
        )
    return report("", message, revision, login_revision=login_revision)


def check_store(
    options: argparse.Namespace, migrations: "Migrations", logins: "Migrations | None"
) -> tuple[str, str]:
    """Check the store; return its revision, and that of the login's tables if they are asked for."""
    version = options.version
    match options.kind:
        case "sqlite":
            database = Path(options.place)
            revision = prepare_sqlite(database, migrations, version)
            return revision, prepare_sqlite_login(database, logins, version) if logins else ""
        case "postgres":
            use_service_file(options.place)
            revision = with_retries(lambda: check_postgres(migrations, version))
            return revision, with_retries(
                lambda: check_postgres(logins, version, LOGIN_TABLE)
            ) if logins else ""
        case _:
            uri = read_uri(Path(options.place))
            revision = with_retries(lambda: check_external(uri, migrations, version))
            return revision, with_retries(
                lambda: check_external(uri, logins, version, LOGIN_TABLE)
            ) if logins else ""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["sqlite", "postgres", "external"])
    parser.add_argument(
        "place", help="the SQLite file, libpq's service file, or the file that holds the database URI"
    )
    parser.add_argument("--version", required=True, help="the MLflow version that the image must hold")
    parser.add_argument("--login", action="store_true", help="look at the tables of MLflow's login, too")
    return parser.parse_args(arguments)
