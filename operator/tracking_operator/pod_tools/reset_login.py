"""Runs in a Job when MLflow knows none of the admin's passwords: gives the admin, and the user of the team's programs,
those of the Secret, while the server serves.

    reset-login sqlite FILE --version 3.17.2 --login
    reset-login postgres SERVICE_FILE --version 3.17.2 --login

MLflow's own code writes the password (mlflow/server/auth/sqlalchemy_store.py: ``update_user``, 3.17.2), in one short transaction.
Servers ask the database at each login that they do not remember, so that none has to be started again. SQLite keeps the two
processes apart by its file locks, for which both have to be on one node. Somebody else's database is never touched.
"""

import argparse
from pathlib import Path

from tracking_operator.pod_tools import migrate_backend_store as migration
from tracking_operator.pod_tools.checks import CheckFailed, report
from tracking_operator.pod_tools.programs import PREPARE_LOGIN, URI_VARIABLE, command_line
from tracking_operator.pod_tools.schema_revision import require_version
from tracking_operator.pod_tools.sqlite_file import run_mlflow

REQUIRE_USERS = "--users"


def main(arguments: list[str] | None = None) -> int:
    """Reset the admin's password and report; return the exit code."""
    options = parse_arguments(arguments)
    try:
        require_version(options.version)
        reset(options)
    except migration.Killed as killed:
        report("MigrationFailed", killed.message)
        return migration.KILLED + killed.signal
    except CheckFailed as failure:
        return report(failure.reason, failure.message)
    return report("", "MLflow's users have the passwords of the Secret.")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["sqlite", "postgres"])
    parser.add_argument("place", help="the database file, or libpq's service file")
    parser.add_argument("--version", required=True, help="the MLflow version that the image must hold")
    parser.add_argument("--login", action="store_true", help="as for the other programs of the backend store")
    return parser.parse_args(arguments)


def reset(options: argparse.Namespace) -> None:
    """Give the admin of the server's own database the password."""
    if options.kind == "sqlite":
        database = Path(options.place)
        if not database.is_file():
            raise CheckFailed("SchemaMissing", f"There is no database {database}.")
        variables = {URI_VARIABLE: f"sqlite:///{database}"}
        command = command_line(PREPARE_LOGIN, "--own-store", REQUIRE_USERS)
        run_mlflow(command, database, "The reset of the login", variables)
        return
    store = migration.store_of(options)
    with migration.locked(store):
        migration.prepare_login(store, REQUIRE_USERS)
