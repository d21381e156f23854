"""Tries an artifact store out, with the identity and the settings that the server has.

    check-artifact-store s3 --bucket ml-artifacts --prefix team-a/mlflow [--own-keys]
    check-artifact-store external s3://bucket/path

The first runs in a Job: the server's own prefix must be open to it, and everything else shut. The second runs in the
init container before each start: a store of somebody else's must take, list, give and delete an object, through the
library that MLflow uses for it (mlflow/store/artifact, 3.17.2). What was found is written as JSON (``reason``,
``message``) to the termination log; a reason together with the exit code 0 is a remark.
"""

import argparse
import os

from tracking_operator.pod_tools import checks, start_server
from tracking_operator.pod_tools.checks import CheckFailed, report, with_retries
from tracking_operator.pod_tools.external_artifacts import try_external
from tracking_operator.pod_tools.object_trial import Found
from tracking_operator.pod_tools.own_prefix import try_own_prefix
from tracking_operator.pod_tools.programs import CREDENTIALS

PATIENCE_SECONDS = float(os.environ.get("TRACKING_OPERATOR_PATIENCE_SECONDS", "40"))
"""How long a fresh identity may take to become known, and a store to answer."""
ATTEMPT_SECONDS = {"s3": 90.0, "external": checks.ATTEMPT_SECONDS}
"""A prefix is tried out by some twenty requests, each of which has limits of its own: on a busy node that takes a while."""


def main(arguments: list[str] | None = None) -> int:
    """Try out the store that the command line names and report; return the exit code."""
    options = parse_arguments(arguments)
    os.environ.update(start_server.credentials_environment(CREDENTIALS))
    os.environ.update(start_server.settings_of_other_servers(os.environ))
    try:
        found = with_retries(
            lambda: try_out(options),
            what="The object store",
            seconds=PATIENCE_SECONDS,
            attempt_seconds=ATTEMPT_SECONDS[options.kind],
        )
    except CheckFailed as failure:
        return report(failure.reason, failure.message)
    return report(found.reason, found.message, is_remark=True)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    own = kinds.add_parser("s3", help="a prefix of the server's own")
    own.add_argument("--bucket", required=True)
    own.add_argument("--prefix", required=True, help="without a slash at its end")
    own.add_argument(
        "--own-keys", action="store_true", help="the team brought the keys: what they reach is remarked"
    )
    external = kinds.add_parser("external", help="a store of somebody else's")
    external.add_argument("uri", help="s3://, gs://, abfss:// or wasbs://")
    return parser.parse_args(arguments)


def try_out(options: argparse.Namespace) -> Found:
    """Make one attempt at the whole check."""
    if options.kind == "external":
        return try_external(options.uri)
    return try_own_prefix(options.bucket, options.prefix, has_own_keys=options.own_keys)
