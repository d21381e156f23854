"""``kubectl tracking upgrade``: another MLflow version for a server."""

import argparse
import re
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from pydantic import ValidationError

from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.api.tracking_server import AccessMode, TrackingServer
from tracking_operator.api.tracking_server_class import BUILT_IN_CLASS, TrackingServerClass
from tracking_operator.cli.changes import (
    RIGHTS,
    Change,
    add_change_arguments,
    execute_change,
    wait_command,
)
from tracking_operator.cli.cluster import CommandError, called
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.controllers.server.spec.permissions import image_for, require_no_downgrade
from tracking_operator.controllers.server_class.class_of_server import (
    ChosenClass,
    default_version,
    offered_images,
    version_order,
)
from tracking_operator.failures import Invalid
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.naming import ChildNames

SUMMARY = "Upgrade a TrackingServer to another MLflow version; without one, show which there are."
EXAMPLES = f"""examples:
  %(prog)s tracking -n team-a                   # which versions the class offers; nothing is changed
  %(prog)s tracking 3.18.0 -n team-a
  %(prog)s tracking 3.18.0 -n team-a --dry-run

It sets spec.version. An older version is refused, as it cannot read the data of a newer one. {RIGHTS} The class is read,
too, where that is allowed (get on trackingserverclasses)."""

_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
MOST_LETTERS: Final = 32
"""Of a version, as the API allows."""


@dataclass(frozen=True)
class Offer:
    """What a class offers to its servers."""

    chosen: ChosenClass
    images: dict[str, str]
    default: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_change_arguments(parser)
    parser.add_argument("version", nargs="?", type=_version, metavar="VERSION", help="such as 3.18.0")
    parser.add_argument("--image", help="an image of your own that has this version (spec.image)")


def execute(options: argparse.Namespace) -> int:
    """Set the version, or print which there are."""
    return execute_change(options, _decide)


async def _decide(client: KubeClient, server: TrackingServer, options: argparse.Namespace) -> Change:
    offer = await _offer(client, server)
    if options.version is None:
        return Change({}, overview(server, offer))
    return upgrade(server, options.version, offer, image=options.image)


def overview(server: TrackingServer, offer: Offer | None) -> str:
    """Which version runs and which there are. Pure."""
    running = f"{called(server)} runs MLflow {server.status.version or 'not yet'}."
    if offer is None:
        return f"{running} Its class cannot be read with these rights: the platform team knows which versions it offers."
    versions = ", ".join(_described(one, server, offer) for one in sorted(offer.images, key=version_order))
    title = offer.chosen.title
    return f"{running} {title[0].upper()}{title[1:]} offers {versions}."


def upgrade(server: TrackingServer, version: str, offer: Offer | None, *, image: str | None) -> Change:
    """What brings a server to a version, and what will happen then. Pure. Raises CommandError."""
    if (server.spec.version, server.status.version) == (version, version) and image in (
        None,
        server.spec.image,
    ):
        return Change({}, f"{called(server)} runs MLflow {version} already.")
    if server.spec.image and not image:
        raise CommandError(
            f"{called(server)} has an image of its own, {server.spec.image}, which holds the version that it runs: name one "
            "that holds the other version with --image."
        )
    try:
        require_no_downgrade(server, version)
        if offer is not None:
            image_for(server, version, offer.chosen, offer.images)
    except Invalid as refused:
        raise CommandError(refused.message) from refused
    spec: dict[str, Any] = {"version": version} | ({"image": image} if image else {})
    told = [_what_happens(server, version)]
    if offer is None:
        told.append(
            "Its class cannot be read with these rights. If that does not offer the version, SpecValid says so, and what runs "
            "is left alone."
        )
    told.append(
        f"This waits until all pods are new:\n\n    {wait_command(server, ConditionType.WORKLOAD_READY)}"
    )
    return Change({"spec": spec}, " ".join(told))


def _what_happens(server: TrackingServer, version: str) -> str:
    running = server.status.version
    goes = f"{called(server)} goes from MLflow {running or 'none'} to {version}."
    if running == version:
        return f"{called(server)} stays at MLflow {version}, which spec.version says from now on."
    if server.spec.suspend or server.spec.replicas == 0:
        return f"{goes} It is suspended: this happens when it is woken."
    store = server.status.backend_store
    if store is not None and store.kind is BackendStoreKind.SQLITE:
        return (
            f"{goes} Its pod ends, the schema is brought up on a copy of the SQLite file, the old file is kept beside it, and "
            "requests fail until the new pod serves."
        )
    job = ChildNames(server.metadata.name).migration(version)
    replaced = (
        "its pod ends, and requests fail until the new one serves"
        if _shares_no_volume(server)
        else "they are replaced one after the other"
    )
    return (
        f"{goes} Job {job} brings the database schema up while what runs goes on serving; then {replaced}. An older MLflow "
        "cannot read that schema: there is no way back."
    )


def _shares_no_volume(server: TrackingServer) -> bool:
    """Whether its artifacts are on a volume that a second pod might not get, so that the first one has to end before."""
    status, asked = server.status.artifact_store, server.spec.artifact_store.volume
    is_shared = asked is not None and asked.access_mode is AccessMode.READ_WRITE_MANY
    return status is not None and status.kind is ArtifactStoreKind.VOLUME and not is_shared


async def _offer(client: KubeClient, server: TrackingServer) -> Offer | None:
    """What the server's class offers; None if the class may not be read. Raises CommandError: nobody knows the class."""
    placement = server.status.placement
    if placement is None:
        raise CommandError(
            f"{called(server)} has not been looked at yet, so that its class is not known: `kubectl tracking status` says more."
        )
    if not placement.class_name:
        return _offer_of(ChosenClass("", BUILT_IN_CLASS))
    try:
        found = await client.get(TRACKING_SERVER_CLASS, None, placement.class_name)
    except ApiError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return None
        raise
    if found is None:
        raise CommandError(
            f"TrackingServerClass {placement.class_name} of {called(server)} is gone, and with it what it offers: ask the "
            "platform team."
        )
    try:
        known = TrackingServerClass.model_validate(found)
    except ValidationError as error:
        raise CommandError(
            f"TrackingServerClass {placement.class_name} has fields that this version of the command does not know: take the "
            "version that the operator has."
        ) from error
    return _offer_of(ChosenClass(placement.class_name, known.spec), known.status.versions)


def _offer_of(chosen: ChosenClass, said: Collection[str] = ()) -> Offer:
    """What a class offers: what its status says, whose operator may know other versions than this command, else its spec."""
    images = offered_images(chosen.spec, "")
    images = {version: images.get(version, "") for version in said or images}
    return Offer(chosen, images, default_version(chosen.spec, images))


def _described(version: str, server: TrackingServer, offer: Offer) -> str:
    marks = [
        word
        for word, is_so in (("runs", version == server.status.version), ("default", version == offer.default))
        if is_so
    ]
    return f"{version} ({', '.join(marks)})" if marks else version


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text) or len(text) > MOST_LETTERS:
        raise argparse.ArgumentTypeError(
            f"a version of MLflow is three numbers, such as 3.18.0, and not {text!r}"
        )
    return text
