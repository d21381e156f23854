"""Brings the tables of MLflow's own login up to date in the backend store, and sees to it that the admin can log in.

    prepare-login               makes the admin, and the user of the team's programs, where there is none
    prepare-login --own-store   the same; who has another password than the Secret's gets the Secret's
    prepare-login --reset       the same, in a pod that serves: for somebody who has lost the password

The first two are started by ``migrate_backend_store.py`` (under its lock, which keeps two runs apart) and by
``sqlite_file.py`` (on SQLite, which no other pod has open), with the database's URI in their environment. In a
database that is the server's own, the Secret is right: an earlier server of the same name may have left an admin behind.
In somebody else's, nobody's password is changed, unless a person says so.

This program imports mlflow, which takes seconds.
"""

import argparse
import os
import tempfile
from pathlib import Path

from tracking_operator.pod_tools import start_server as start
from tracking_operator.pod_tools.collection import collect_seldom
from tracking_operator.pod_tools.programs import CREDENTIALS, URI_VARIABLE

CONFIG_VARIABLE = "MLFLOW_AUTH_CONFIG_PATH"


def main(arguments: list[str] | None = None) -> None:
    """Prepare the login; what goes wrong is a traceback, of which the caller reads the last line."""
    options = parse_arguments(arguments)
    collect_seldom()
    for contradicting in start.CONTRADICTING_VARIABLES:
        os.environ.pop(contradicting, None)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / start.LOGIN_FILE
        start.write_login_file(file, database_uri(reset=options.reset), CREDENTIALS)
        os.environ[CONFIG_VARIABLE] = str(file)
        takes_over = options.own_store or options.reset
        ensure(passwords(CREDENTIALS / "login"), takes_over=takes_over)
        try_user(CREDENTIALS / "login", takes_over=takes_over, is_required=options.users)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--own-store", action="store_true", help="the database is the server's own")
    parser.add_argument("--users", action="store_true", help="fail if the team's user cannot be made")
    parser.add_argument("--reset", action="store_true", help="give the admin the password of the Secret")
    return parser.parse_args(arguments)


def database_uri(*, reset: bool) -> str:
    """Where the tables are: a pod that serves has written it into its settings."""
    if not reset:
        return os.environ[URI_VARIABLE]
    import configparser

    settings = configparser.ConfigParser()
    settings.read(Path(tempfile.gettempdir()) / start.LOGIN_FILE)
    return settings["mlflow"]["database_uri"]


def passwords(folder: Path, *names: str) -> list[str]:
    """A password, by default the admin's, and the next one while they rotate."""
    files = [folder / name for name in names or ("password", "nextPassword")]
    return [file.read_text().strip() for file in files if file.is_file()]


def ensure(known: list[str], *, takes_over: bool) -> None:
    """Upgrade the tables and make the admin; both are MLflow's own doing, as at each start of a server."""
    from mlflow.server import auth

    auth.bootstrap_admin_user()
    username = auth.auth_config.admin_username
    print(f"The tables of the login are up to date, and there is a user {username}.", flush=True)
    is_admin = auth.store.get_user(username).is_admin
    is_known = any(auth.store.authenticate_user(username, one) for one in known)
    if takes_over and not (is_admin and is_known):
        # The next one while they rotate: the other may be out of an old backup, and revoked.
        auth.store.update_user(username, password=known[-1], is_admin=True)
        print(f"User {username} has the password of the Secret now.", flush=True)


def try_user(folder: Path, *, takes_over: bool, is_required: bool) -> None:
    """Make the user of the team's programs. A name or password that MLflow does not take keeps no server from starting."""
    from mlflow.exceptions import MlflowException

    try:
        ensure_user(folder, takes_over=takes_over)
    except MlflowException:
        if is_required:
            raise
        print("MLflow does not take the user of the team's programs as the Secret says.", flush=True)


def ensure_user(folder: Path, *, takes_over: bool) -> None:
    """Make the user of the team's programs; an ordinary one, as the operator makes by MLflow's API where it may ask."""
    from mlflow.server import auth

    known = passwords(folder, "clientPassword", "nextClientPassword")
    if not known or not (folder / "clientUsername").is_file():
        return  # made by an operator that does it later
    username = (folder / "clientUsername").read_text().strip()
    if not auth.store.has_user(username):
        auth.store.create_user(username, known[-1])
        print(f"There is a user {username} now.", flush=True)
    elif takes_over and not any(auth.store.authenticate_user(username, one) for one in known):
        auth.store.update_user(username, password=known[-1])
        print(f"User {username} has the password of the Secret now.", flush=True)
