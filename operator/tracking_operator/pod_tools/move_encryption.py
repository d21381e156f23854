"""Moves what MLflow's public passphrase has encrypted to the server's own, and looks whether that one opens everything.

Started by ``encrypted_rows.py`` before a server starts, with the database's URI in its environment, where the database
holds encrypted rows. MLflow's own function does the move (3.17.2: mlflow/cli/crypto.py), in one transaction; a second time there is nothing
to move, and two pods that move at once write rows that both can read. The function and not the command: a passphrase would be among the
command's arguments, which everybody on a node may read.

The exit code is 3 where rows cannot be read with the keys of the Secret. This program imports mlflow, which takes seconds.
"""

import os
import sys

from tracking_operator.pod_tools.encrypted_rows import ENCRYPTION_CREDENTIALS, UNREADABLE
from tracking_operator.pod_tools.programs import URI_VARIABLE

PASSPHRASE_VARIABLE = "MLFLOW_CRYPTO_KEK_PASSPHRASE"  # noqa: S105 - a name
VERSION_VARIABLE = "MLFLOW_CRYPTO_KEK_VERSION"
PUBLIC_VERSION = 1
"""The version that MLflow gives the passphrase that is no secret."""


def main(arguments: list[str] | None = None) -> int:
    """Move all rows; what goes wrong on the way is a traceback, of which the caller reads the last line."""
    passphrase = (ENCRYPTION_CREDENTIALS / "kekPassphrase").read_text().strip()
    version = int((ENCRYPTION_CREDENTIALS / "kekVersion").read_text())
    uri = os.environ[URI_VARIABLE]
    if version == PUBLIC_VERSION + 1:
        move(uri, passphrase)
    unreadable = unreadable_rows(uri, passphrase, version)
    print(f"{unreadable} encrypted rows cannot be read.", flush=True)
    return UNREADABLE if unreadable else 0


def move(uri: str, passphrase: str) -> None:
    """Wrap the keys of all rows of the public passphrase by another; rows that it does not open stay as they are."""
    from mlflow.cli.crypto import rotate_kek
    from mlflow.exceptions import MlflowException
    from mlflow.utils.crypto import DEFAULT_KEK_PASSPHRASE

    os.environ[PASSPHRASE_VARIABLE] = DEFAULT_KEK_PASSPHRASE
    os.environ[VERSION_VARIABLE] = str(PUBLIC_VERSION)
    try:
        rotate_kek.callback(new_passphrase=passphrase, backend_store_uri=uri, yes=True)
    except MlflowException as error:
        print(f"Nothing was moved: {error}", file=sys.stderr, flush=True)


def unreadable_rows(uri: str, passphrase: str, version: int) -> int:
    """How many rows the passphrase does not open."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.dbmodels.models import SqlGatewaySecret
    from mlflow.tracking import _get_store
    from mlflow.utils.crypto import KEKManager, unwrap_dek

    key = KEKManager(passphrase=passphrase, kek_version=version).get_kek()
    unreadable = 0
    with _get_store(uri).ManagedSessionMaker() as session:
        for row in session.query(SqlGatewaySecret.wrapped_dek).all():
            try:
                unwrap_dek(row.wrapped_dek, key)
            except MlflowException:
                unreadable += 1
    return unreadable
