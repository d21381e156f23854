"""Before anything starts: are the CRDs there, and may we read and write what we have to?

kopf ends the process when a single list is refused, with a traceback; here it is a sentence.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from tracking_operator.controllers.kinds import (
    TRACKING_SERVER,
    TRACKING_SERVER_BACKUP,
    TRACKING_SERVER_CLASS,
    TRACKING_SERVER_CLIENT,
)
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import EVENT, LEASE, Kind
from tracking_operator.runtime.watched_kinds import Watched

_CUSTOM: Final = (TRACKING_SERVER, TRACKING_SERVER_BACKUP, TRACKING_SERVER_CLASS, TRACKING_SERVER_CLIENT)


class PreflightError(Exception):
    """The operator cannot work here; the message says what to do about it."""


@dataclass(frozen=True)
class Permission:
    """Something that the operator has to be allowed; ``namespace`` None means everywhere."""

    verb: str
    kind: Kind
    namespace: str | None = None

    def __str__(self) -> str:
        where = f"in namespace {self.namespace}" if self.namespace else "in the whole cluster"
        resource = f"{self.kind.plural}.{self.kind.group}" if self.kind.group else self.kind.plural
        return f"{self.verb} {resource} {where}"


async def check(
    client: KubeClient, watched: Sequence[Watched], *, namespaces: tuple[str, ...], own_namespace: str
) -> None:
    """Raise PreflightError unless the CRDs are installed and all permissions are granted."""
    for kind in _CUSTOM:
        await _check_installed(client, kind)
    permissions = list(needed(watched, namespaces, own_namespace))
    granted = await asyncio.gather(*(client.can_i(one.verb, one.kind, one.namespace) for one in permissions))
    missing = [str(one) for one, allowed in zip(permissions, granted, strict=True) if not allowed]
    if missing:
        raise PreflightError(
            f"The operator's ServiceAccount may not {', '.join(missing)}. Apply the RBAC of manifests/base, "
            "or set TRACKING_OPERATOR_WATCH_NAMESPACES to the namespaces that it may serve."
        )


def needed(
    watched: Sequence[Watched], namespaces: tuple[str, ...], own_namespace: str
) -> Iterator[Permission]:
    """Yield the permissions without which the operator cannot even start."""
    for each in watched:
        for namespace in each.namespaces(namespaces):
            for verb in ("list", "watch"):
                yield Permission(verb, each.kind, namespace)
    for verb in ("get", "create", "update"):
        yield Permission(verb, LEASE, own_namespace)
    for namespace in namespaces or (None,):
        yield Permission("create", EVENT, namespace)


async def _check_installed(client: KubeClient, kind: Kind) -> None:
    try:
        await client.list(kind, namespace="default", limit=1)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise PreflightError(
                f"The cluster does not know {kind.plural}.{kind.group}: install the CRDs with "
                "'kubectl apply -f crds/' first."
            ) from error
        if error.status != HTTPStatus.FORBIDDEN:  # permissions have their own sentence
            raise
