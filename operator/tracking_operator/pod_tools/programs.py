"""The programs in the archive, what all of them find in a pod, and how one starts another."""

import os
import sys
from pathlib import Path

ARCHIVE = Path(__file__).parents[2]
"""What Python runs: in a pod the archive, of which this file is a part."""

CREDENTIALS = Path(os.environ.get("TRACKING_OPERATOR_CREDENTIALS", "/etc/mlflow"))
"""Below it Secrets are mounted."""
BACKUP_FOLDER = "backup"
BACKUP_URLS = "urls.json"
"""Where the Secret with the URLs of a backup is mounted, and its key: the URL of each object, by its name, and the headers that were
signed with it."""
URI_VARIABLE = "TRACKING_OPERATOR_DATABASE_URI"
"""Where a program that another one starts finds which database is meant."""
METRICS_PORT_VARIABLE = "TRACKING_OPERATOR_METRICS_PORT"
"""Where a server's container finds on which port its metrics are told."""
LAST_REQUEST_VARIABLE = "TRACKING_OPERATOR_LAST_REQUEST"
"""Where a server's container finds the file whose time is that of the last request; absent where nobody asks for it."""
IDLE_HEADER = "X-Tracking-Operator-Idle-Seconds"
"""In the answer to a probe at a pod's own address: how long ago it was asked something else."""
OPERATORS_AGENT = "tracking-operator"
"""The User-Agent of the operator's own requests."""


SINGLE_SIGN_ON_VARIABLE = "TRACKING_OPERATOR_SINGLE_SIGN_ON"
"""Where a server's container finds who may do what that logs in at an identity provider (JSON); absent where nobody does."""
SINGLE_SIGN_ON_FOLDER = "sso"
"""Where below the credentials stands what the server and its proxy have in common."""
ADMIN = "ADMIN"
"""What a group is given that makes its members admins; other groups are given one of MLflow's permissions."""
PERMISSIONS = ("NO_PERMISSIONS", "READ", "EDIT", "MANAGE", ADMIN)
"""From the least to the most."""
TOKEN_HEADER = "X-Tracking-Operator-Token"  # noqa: S105 - the name of a header
GROUPS_HEADER = "X-Forwarded-Groups"
"""Where the proxy says who asks, besides ``Authorization``."""
PASSWORD_GROUP = "tracking-operator/password"  # noqa: S105 - no password
"""The group that the proxy gives to those who log in by a password of the server's own."""

S3_ENDPOINT_VARIABLES = ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Where MLflow and botocore find the URL of an S3 server that is not AWS's."""
SETTINGS_OF_OTHER_SERVERS = {
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
}
"""Since 1.36 botocore adds checksums to every request that many S3 servers do not understand."""

BACK_UP = "back-up"
CHECK_ARTIFACT_STORE = "check-artifact-store"
CHECK_BACKEND_STORE = "check-backend-store"
CHECK_IDENTITY_PROVIDER = "check-identity-provider"
COLLECT_GARBAGE = "collect-garbage"
DELETE_ARTIFACTS = "delete-artifacts"
IN_CLEAN_ENVIRONMENT = "in-clean-environment"
MIGRATE_BACKEND_STORE = "migrate-backend-store"
MOVE_ENCRYPTION = "move-encryption"
PREPARE_LOGIN = "prepare-login"
RESET_LOGIN = "reset-login"
RESTORE_BACKUP = "restore-backup"
SERVE_METRICS = "serve-metrics"
START_SERVER = "start-server"

PROGRAMS = (
    BACK_UP,
    CHECK_ARTIFACT_STORE,
    CHECK_BACKEND_STORE,
    CHECK_IDENTITY_PROVIDER,
    COLLECT_GARBAGE,
    DELETE_ARTIFACTS,
    IN_CLEAN_ENVIRONMENT,
    MIGRATE_BACKEND_STORE,
    MOVE_ENCRYPTION,
    PREPARE_LOGIN,
    RESET_LOGIN,
    RESTORE_BACKUP,
    SERVE_METRICS,
    START_SERVER,
)
"""Each is the ``main`` of the module that is called like it, with underscores."""


def command_line(program: str, *arguments: str) -> list[str]:
    """Say how a program is started by another one."""
    return [sys.executable, str(ARCHIVE), program, *arguments]
