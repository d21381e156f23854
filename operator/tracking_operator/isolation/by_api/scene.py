"""What attempts at the Kubernetes API share: who asks, and how the operator's answer to a resource is read."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.isolation.attempts import CannotTryError, Refused
from tracking_operator.isolation.in_pod.scene import Side
from tracking_operator.isolation.pods import Attacker
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import POD, Kind, KubeObject, register

SECONDS_TO_ANSWER: Final = 40.0
SECONDS_TO_GO: Final = 90.0
AT_REST: Final = (Reason.SUSPENDED, Reason.AS_EXPECTED)
ROLE_BINDING: Final = register(Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"))


@dataclass(frozen=True)
class ApiScene:
    """Everything that the attempts at the API need.

    Attributes:
        tenant: an administrator of the attacker's namespace.
        platform: whoever runs the matrix; it looks at what came of an attempt, and cleans up.
        own: the attacker's side.
        other: the side that is attacked.
        class_name: of the class of both servers.
        operator_namespace: the operator's own.
        pods: starts pods in the attacker's namespace.
        third: somebody in a third namespace, whose server may be harmed; None: only harmless attempts are made.
        mark: a word in everything that this run writes.
        before: the operator's restarts before the first attempt, by pod.
    """

    tenant: KubeClient
    platform: KubeClient
    own: Side
    other: Side
    class_name: str
    operator_namespace: str
    pods: Attacker
    third: "ApiScene | None" = None
    mark: str = "isolation-check"
    before: dict[str, int] = field(default_factory=dict)

    @property
    def victim(self) -> "ApiScene":
        """The scene whose server may be harmed. Raises CannotTryError: there is none."""
        if self.third is None:
            raise CannotTryError("there is no server that may be harmed")
        return self.third

    def with_kept_credentials(self, kept: str) -> Attacker:
        """Who starts pods with credentials of a server that is gone: in Secrets whose names begin with ``kept``."""
        return replace(self.pods, kept=kept)

    def server(self, name: str, spec: KubeObject, annotations: dict[str, str] | None = None) -> KubeObject:
        """A TrackingServer of the attacker's, whose pods do not run."""
        return {
            "apiVersion": API_VERSION,
            "kind": "TrackingServer",
            "metadata": {"name": name, "namespace": self.own.namespace, "annotations": annotations or {}},
            "spec": {"className": self.class_name, "suspend": True} | spec,
        }

    async def ask_for(
        self, spec: KubeObject, annotations: dict[str, str] | None = None, name: str = "isolation-attempt"
    ) -> TrackingServer:
        """Make a server as the team, and return it once the operator has accepted it; it is removed in any case.

        Raises:
            ApiError: the API server has refused it.
            Refused: the operator has; the text is its reason and message.
        """
        async with self.a_server(name, spec, annotations) as server:
            return server

    @asynccontextmanager
    async def a_server(
        self, name: str, spec: KubeObject | None = None, annotations: dict[str, str] | None = None
    ) -> AsyncIterator[TrackingServer]:
        """A server that the team makes for the time of the block, accepted by the operator. Raises as ``ask_for``."""
        await self.tenant.create(self.server(name, spec or {}, annotations))
        try:
            yield await self.accepted(name)
        finally:
            await self.remove(name)

    @asynccontextmanager
    async def class_like(self, word: str, fields: Mapping[str, object]) -> AsyncIterator["ApiScene"]:
        """The scene with another class, which the platform offers for the time of the block.

        It is like the one of both servers, but for ``fields``: values by their paths in the specification, None to leave
        a field out.
        """
        live = await self.platform.get(TRACKING_SERVER_CLASS, None, self.class_name)
        if live is None:
            raise CannotTryError(f"TrackingServerClass {self.class_name} is gone")
        name = f"{self.mark}-{word}"
        await self.platform.delete(TRACKING_SERVER_CLASS, None, name)
        await self.platform.create(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServerClass",
                "metadata": {"name": name},
                "spec": with_fields(live["spec"], fields),
            }
        )
        try:
            await self._class_seen(name)
            yield replace(self, class_name=name)
        finally:
            await self.platform.delete(TRACKING_SERVER_CLASS, None, name)

    async def _class_seen(self, name: str) -> None:
        """Wait until the operator has looked at a class. Raises CannotTryError: it does not."""
        deadline = time.monotonic() + SECONDS_TO_ANSWER
        while not (await self.platform.get(TRACKING_SERVER_CLASS, None, name) or {}).get("status"):
            if time.monotonic() > deadline:
                raise CannotTryError(f"the operator has not looked at TrackingServerClass {name}")
            await asyncio.sleep(0.2)

    async def accepted(self, name: str) -> TrackingServer:
        """Wait for the operator's answer to the server as it is now. Raises Refused: the answer is no."""
        server = await self.until(name, lambda found: _refusal_in(found) or _is_accepted(found), "answered")
        if answer := _refusal_in(server):
            raise Refused(answer)
        return server

    async def until(
        self,
        name: str,
        is_so: Callable[[TrackingServer], object],
        what: str,
        seconds: float = SECONDS_TO_ANSWER,
    ) -> TrackingServer:
        """A server of the attacker's as soon as something is so of it. Raises CannotTryError: it is not in time."""
        deadline = time.monotonic() + seconds
        while not is_so(server := await self.read(name)):
            if time.monotonic() > deadline:
                ready = server.status.condition(ConditionType.READY)
                said = f"{ready.reason}: {ready.message}" if ready else "nobody has looked at it"
                raise CannotTryError(f"TrackingServer {name} is not {what} in time. {said}")
            await asyncio.sleep(0.2)
        return server

    async def read(self, name: str) -> TrackingServer:
        """A server of the attacker's as it is now. Raises CannotTryError: it is gone."""
        found = await self.tenant.get(TRACKING_SERVER, self.own.namespace, name)
        if found is None:
            raise CannotTryError(f"TrackingServer {name} is gone")
        return TrackingServer.model_validate(found)

    async def remove(self, name: str) -> None:
        """Delete a server of the attacker's and wait until it is gone."""
        await self.tenant.delete(TRACKING_SERVER, self.own.namespace, name)
        deadline = time.monotonic() + SECONDS_TO_GO
        while await self.tenant.get(TRACKING_SERVER, self.own.namespace, name) is not None:
            if time.monotonic() > deadline:
                raise CannotTryError(f"TrackingServer {name} of an earlier attempt does not go away")
            await asyncio.sleep(0.2)

    async def operator_restarts(self) -> dict[str, int]:
        """How often each pod of the operator was restarted."""
        pods = await self.platform.list(
            POD, self.operator_namespace, "app.kubernetes.io/name=tracking-operator"
        )
        return {
            pod["metadata"]["name"]: sum(
                status["restartCount"] for status in pod["status"].get("containerStatuses", [])
            )
            for pod in pods
        }


def with_fields(spec: KubeObject, fields: Mapping[str, object]) -> KubeObject:
    """The specification with other values at some paths, such as ``naming.host``; None leaves the field out."""
    changed = deepcopy(spec)
    for path, value in fields.items():
        *folders, field_name = path.split(".")
        folder = changed
        for one in folders:
            folder = folder.setdefault(one, {})
        folder.pop(field_name, None)
        if value is not None:
            folder[field_name] = value
    return changed


def _refusal_in(server: TrackingServer) -> str:
    """The operator's words about why the server, as it is now, is not carried out; empty while there are none."""
    stalled = server.status.condition(ConditionType.STALLED)
    if stalled is None or not stalled.is_true or stalled.observed_generation != server.metadata.generation:
        return ""
    # Stalled names the condition that has the words; Ready quotes it.
    quoting = server.status.condition(ConditionType.READY)
    return f"{stalled.reason}: {quoting.message if quoting else stalled.message}"


def _is_accepted(server: TrackingServer) -> bool:
    ready = server.status.condition(ConditionType.READY)
    return (
        ready is not None
        and ready.observed_generation == server.metadata.generation
        and ready.reason in AT_REST
    )
