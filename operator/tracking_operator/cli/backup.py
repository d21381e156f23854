"""``kubectl tracking backup``: have a server backed up, and, where that is wanted, wait until all is stored."""

import argparse
import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.cli.cluster import (
    CommandError,
    add_server_arguments,
    called,
    execute_in_cluster,
    find_server,
)
from tracking_operator.cli.terminal import say
from tracking_operator.controllers.kinds import TRACKING_SERVER_BACKUP
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import KubeObject, describe, name_of, namespace_of
from tracking_operator.kube.quantities import readable_bytes

RIGHTS: Final = (
    "The kubeconfig's user needs the verbs get on trackingservers and trackingserverbackups and create on trackingserverbackups, as "
    "the roles admin and edit of a namespace have them."
)
SUMMARY = "Back up a TrackingServer: its database and its artifacts, together."
EXAMPLES = f"""examples:
  %(prog)s tracking -n team-a             # begins, and says how to wait for its end
  %(prog)s tracking -n team-a --wait      # tells how it gets on, and at the end what is stored
  %(prog)s tracking -n team-a --dry-run

It makes a TrackingServerBackup that is called like the server, with date and time (UTC). Deleting that removes what is
stored. Ctrl-C ends the waiting, and not the backup. {RIGHTS}"""

NAMED_BY: Final = "%Y%m%d-%H%M%S"
SECONDS_BETWEEN_LOOKS = 2.0
NOT_LOOKED_AT: Final = "Waits for the operator."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_server_arguments(parser)
    parser.add_argument(
        "--wait",
        action="store_true",
        help="until all of it is stored, or it is given up, which is an exit code of 1",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="have the API server judge the backup, and store nothing"
    )


def execute(options: argparse.Namespace) -> int:
    """Make a backup; the exit code is 0 if there is one then, and, with ``--wait``, if all of it is stored."""

    async def work(client: KubeClient, namespace: str) -> None:
        wanted = backup_of(await find_server(client, namespace, options.name), datetime.now(UTC))
        await _make(client, wanted, is_tried=options.dry_run)
        if options.dry_run:
            say(f"{describe(wanted)} can be made. This was a dry run: nothing was stored.")
        elif options.wait:
            say(f"{describe(wanted)} is made.")
            say(what_is_stored(await _completed(client, wanted)))
        else:
            say(
                f"{describe(wanted)} is made. This waits until all of it is stored:\n\n    {_waiting(wanted)}"
            )

    return execute_in_cluster(options, work)


def backup_of(server: TrackingServer, now: datetime) -> KubeObject:
    """The TrackingServerBackup of a server that is made at this moment. Pure. Raises CommandError: it would never be complete."""
    if why := why_not(server):
        raise CommandError(why)
    metadata = server.metadata
    return {
        "apiVersion": API_VERSION,
        "kind": TRACKING_SERVER_BACKUP.kind,
        "metadata": {
            "name": f"{metadata.name}-{now.astimezone(UTC):{NAMED_BY}}",
            "namespace": metadata.namespace,
        },
        "spec": {"serverRef": {"name": metadata.name}},
    }


def why_not(server: TrackingServer) -> str | None:
    """Why a backup of the server would wait, or be given up; None where nothing is known against it. Pure."""
    placement = server.status.placement
    if server.metadata.is_being_deleted:
        return f"{called(server)} is being deleted, so that it cannot be backed up any more."
    if placement is None or not server.status.schema_revision:
        return f"{called(server)} has no database yet: it can be backed up once it has been ready."
    stores = placement.backend_store, placement.artifact_store
    if stores != (BackendStoreKind.POSTGRES, ArtifactStoreKind.S3):
        return (
            f"{called(server)} has no database on its class's PostgreSQL, or no prefix in its class's bucket: other stores are not "
            "backed up yet."
        )
    return None


def what_is_stored(backup: TrackingServerBackup) -> str:
    """What a complete backup holds, and what becomes of it. Pure."""
    status = backup.status
    return (
        f"TrackingServerBackup {backup.metadata.name} is complete: {status.runs or 0} runs and {status.objects or 0} artifacts of MLflow "
        f"{status.mlflow_version}, {readable_bytes(status.size or 0)}, in s3://{status.bucket}/{status.folder}. A new server starts from it "
        f"with spec.bootstrap.fromBackup.name: {backup.metadata.name}."
    )


async def _make(client: KubeClient, wanted: KubeObject, *, is_tried: bool) -> None:
    try:
        await client.create(wanted, dry_run=is_tried)
    except ApiError as error:
        raise CommandError(_refusal(wanted, error)) from error


def _refusal(wanted: KubeObject, error: ApiError) -> str:
    """Why the API server does not take a backup, and what to do."""
    if error.is_missing_permission:
        return f"{describe(wanted)} is not made, because the rights for it are missing: {error.message}. {RIGHTS}"
    if error.status == HTTPStatus.CONFLICT:
        return f"{describe(wanted)} is there already: somebody else has asked for one in this very second."
    if error.status == HTTPStatus.NOT_FOUND:
        return (
            f"{describe(wanted)} is not made: the API server knows no such kind, as the operator's definitions in this cluster are "
            "older than this command. Ask the platform team."
        )
    return f"{describe(wanted)} is not made: the API server refused, or did not answer: {error.message}"


async def _completed(client: KubeClient, wanted: KubeObject) -> TrackingServerBackup:
    """Tell how it gets on until all of it is stored. Raises CommandError: it is given up, gone, or cannot be read any more."""
    told = ""
    while True:
        backup = await _read(client, wanted)
        if backup.is_complete:
            return backup
        found = backup.status.condition(ConditionType.COMPLETE)
        message = found.message if found else NOT_LOOKED_AT
        stalled = backup.status.condition(ConditionType.STALLED)
        if stalled is not None and stalled.is_true:
            raise CommandError(f"{describe(wanted)} is not complete ({stalled.reason}): {message}")
        if message != told:
            say(message)
            told = message
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)


async def _read(client: KubeClient, wanted: KubeObject) -> TrackingServerBackup:
    try:
        found = await client.get(TRACKING_SERVER_BACKUP, namespace_of(wanted), name_of(wanted))
    except ApiError as error:
        raise CommandError(
            f"{describe(wanted)} goes on, and cannot be read: {error.message}. This waits for it:\n\n    {_waiting(wanted)}"
        ) from error
    if found is None:
        raise CommandError(f"{describe(wanted)} is gone: somebody has deleted it, and what it had stored.")
    return TrackingServerBackup.model_validate(found)


def _waiting(wanted: KubeObject) -> str:
    """What waits in a shell until all of a backup is stored."""
    return (
        f"kubectl --namespace {namespace_of(wanted)} wait --for=condition=Complete --timeout=30m "
        f"trackingserverbackup/{name_of(wanted)}"
    )
