"""What commands share that change a server: how the change is written, tried out and told, and what Git will do about it."""

import argparse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.cli.cluster import (
    CommandError,
    add_server_arguments,
    called,
    execute_in_cluster,
    find_server,
)
from tracking_operator.cli.terminal import say
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import KubeObject

RIGHTS: Final = "The kubeconfig's user needs the verbs get and patch on trackingservers, as the roles admin and edit of a namespace have them."
ARGO_APPLICATION: Final = "argocd.argoproj.io/tracking-id"
"""The annotation by which Argo CD knows what it has applied: https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/."""
FLUX_KUSTOMIZATION: Final = "kustomize.toolkit.fluxcd.io/name"
"""The label of what Flux has applied: https://fluxcd.io/flux/components/kustomize/kustomizations/."""
HELM_RELEASE: Final = "meta.helm.sh/release-name"
"""The annotation of what Helm has applied."""


@dataclass(frozen=True)
class Change:
    """What is written to a server, and the sentences that say what will happen. Without changes: what is so already."""

    fields: KubeObject
    told: str


Decide = Callable[[KubeClient, TrackingServer, argparse.Namespace], Awaitable[Change]]


def add_change_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which server is changed, and whether the change is only tried."""
    add_server_arguments(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="have the API server judge the change, and store nothing"
    )


def execute_change(options: argparse.Namespace, decide: Decide) -> int:
    """Read the server, decide what to change, write that and say what will happen."""

    async def work(client: KubeClient, namespace: str) -> None:
        server = await find_server(client, namespace, options.name)
        change = await decide(client, server, options)
        if change.fields:
            await _write(client, server, change, is_tried=options.dry_run)
        else:
            say(change.told)

    return execute_in_cluster(options, work)


async def _write(client: KubeClient, server: TrackingServer, change: Change, *, is_tried: bool) -> None:
    metadata = server.metadata
    try:
        await client.merge_patch(
            TRACKING_SERVER, metadata.namespace, metadata.name, change.fields, dry_run=is_tried
        )
    except ApiError as error:
        raise CommandError(refusal(server, error)) from error
    say(change.told)
    if "spec" in change.fields and (owner := owner_of(server)):
        say(f"{owner} has written this server and may take the change back: make it there, too.")
    if is_tried:
        say("This was a dry run: the API server accepts the change, and nothing was stored.")


def refusal(server: TrackingServer, error: ApiError) -> str:
    """Why the API server does not take a change, and what to do."""
    if error.is_missing_permission:
        return f"{called(server)} is not changed, because the rights for it are missing: {error.message}. {RIGHTS}"
    if error.status == HTTPStatus.NOT_FOUND:
        return f"{called(server)} is gone: somebody has deleted it in this moment."
    return f"{called(server)} is not changed: the API server refused, or did not answer: {error.message}"


def owner_of(server: TrackingServer) -> str:
    """What has written the server and writes it again, such as a Git repository's agent; empty if nobody is known to."""
    metadata = server.metadata
    if application := metadata.annotations.get(ARGO_APPLICATION):
        return f"Application {application.partition(':')[0]} of Argo CD"
    if kustomization := metadata.labels.get(FLUX_KUSTOMIZATION):
        return f"Kustomization {kustomization} of Flux"
    if release := metadata.annotations.get(HELM_RELEASE):
        return f"Release {release} of Helm"
    return ""


def wait_command(server: TrackingServer, condition: str) -> str:
    """What waits in a shell until a condition of the server is true."""
    metadata = server.metadata
    return (
        f"kubectl --namespace {metadata.namespace} wait --for=condition={condition} --timeout=10m "
        f"trackingserver/{metadata.name}"
    )
