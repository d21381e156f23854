"""``kubectl tracking rotate``: other credentials for a server, without an interruption or, after a leak, at once."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime

from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.labels_and_annotations import REVOKE_NOW_ANNOTATION, ROTATE_CREDENTIALS_ANNOTATION
from tracking_operator.api.placement import ArtifactStoreKind
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.cli.changes import RIGHTS, Change, add_change_arguments, execute_change
from tracking_operator.cli.cluster import CommandError, called
from tracking_operator.kube.client import KubeClient

SUMMARY = "Replace the credentials that the operator has made for a TrackingServer."
EXAMPLES = f"""examples:
  %(prog)s tracking -n team-a                   # what was handed out before goes on working until pods have the new ones
  %(prog)s tracking -n team-a --revoke-now      # after a leak: all that was handed out before ends at once

It sets the annotation {ROTATE_CREDENTIALS_ANNOTATION}, or
{REVOKE_NOW_ANNOTATION}, to the time of this moment. Credentials that a team has brought, such as those of
external stores, are not replaced. {RIGHTS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_change_arguments(parser)
    parser.add_argument(
        "--revoke-now",
        action="store_true",
        help="end all access by what was handed out before at once; requests fail until new pods serve",
    )


def execute(options: argparse.Namespace) -> int:
    """Ask for new credentials."""
    return execute_change(options, _decide)


async def _decide(_client: KubeClient, server: TrackingServer, options: argparse.Namespace) -> Change:
    return rotation(server, datetime.now(UTC), at_once=options.revoke_now)


def rotation(server: TrackingServer, now: datetime, *, at_once: bool) -> Change:
    """What asks for new credentials, and what will become of which. Pure. Raises CommandError: the operator has made none."""
    replaced = list(_what_is_revoked(server) if at_once else _what_is_replaced(server))
    if not replaced:
        raise CommandError(
            f"{called(server)} has no credentials that the operator has made, so there is nothing to replace: its stores are "
            "volumes, or somebody else's, and nobody logs in."
        )
    annotation = REVOKE_NOW_ANNOTATION if at_once else ROTATE_CREDENTIALS_ANNOTATION
    asked = {"metadata": {"annotations": {annotation: now.isoformat(timespec="microseconds")}}}
    what = "All access by what was handed out before ends" if at_once else "The credentials are replaced"
    told = [f"{what} for {called(server)}:", *(f"- {one}" for one in replaced), *_obstacles(server)]
    return Change(asked, "\n".join(told))


def _what_is_replaced(server: TrackingServer) -> Iterator[str]:
    if server.status.database is not None:
        yield "The other login of the database is let in with a new password. No pod restarts, and no request fails."
    if _may_have_keys(server):
        yield "Where the operator makes the keys of the prefix, pods are replaced by some with new ones."
    if _has_login(server):
        yield (
            "admin and team get other passwords in MLflow. Programs that run with the old one are refused after 30 seconds at "
            f"most: have them read Secret {server.status.client and server.status.client.secret_name} again."
        )


def _what_is_revoked(server: TrackingServer) -> Iterator[str]:
    if server.status.database is not None:
        yield "Both logins of the database lose their passwords, and every session ends."
    if _may_have_keys(server):
        yield "Keys of the prefix that the operator has made are void."
    if _has_login(server):
        yield "admin and team get other passwords in MLflow, and pods another key to sign sessions with."
    if server.status.database is not None or _may_have_keys(server) or _has_login(server):
        yield "Requests fail until new pods serve. The Events RevokingAccess and AccessRevoked say what is done."


def _obstacles(server: TrackingServer) -> Iterator[str]:
    """Why it does not begin at once."""
    valid = server.status.condition(ConditionType.SPEC_VALID)
    if valid is not None and not valid.is_true:
        yield f"It begins when SpecValid is true, which it is not ({valid.reason}): {valid.message}"


def _may_have_keys(server: TrackingServer) -> bool:
    store = server.status.artifact_store
    return store is not None and store.kind is ArtifactStoreKind.S3


def _has_login(server: TrackingServer) -> bool:
    return server.status.login_revision is not None
