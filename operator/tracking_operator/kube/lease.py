"""Who of several operators is active: leader election on a ``coordination.k8s.io/v1`` Lease.

``kubernetes.aio.leaderelection`` was not enough: it never gives the Lease back, so that a successor waits
for 15 s after every orderly stop; it takes the wall clock for time that has passed; and it renews with
requests that may outlast the deadline.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from tracking_operator.api.labels_and_annotations import OPERATOR_VERSION_ANNOTATION
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import LEASE, KubeObject

logger = logging.getLogger(__name__)

_NOBODY: Final = ""


@dataclass(frozen=True)
class LeaseTimes:
    """All in seconds; the defaults are those of Kubernetes' own controllers."""

    duration: float = 15.0
    """After how long without a renewal others may take the Lease."""
    renew_deadline: float = 10.0
    """After how long without a successful renewal the holder must stop."""
    renew_period: float = 2.0
    poll_period: float = 1.0
    """How often the others look: at most this long does a released Lease stay without a holder."""


class LeaderElection:
    """Tries to hold a Lease, and keeps it.

    ``on_started`` is called when the Lease is ours, ``on_lost`` when it is not any more, or may not be:
    by then another operator may be at work, so the process has to end at once.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        on_started: Callable[[], None],
        on_lost: Callable[[], None],
        times: LeaseTimes | None = None,
        version: str = "",
    ) -> None:
        """``version`` is the operator's own, which the Lease tells while it is ours; empty: none."""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._version = version
        self._on_started = on_started
        self._on_lost = on_lost
        self._times = times or LeaseTimes()
        self._held: KubeObject | None = None
        self._renewed = 0.0
        self._rival: str | None = None
        self._rival_seen = 0.0
        self._releasing = False

    @property
    def runs_out_at(self) -> float | None:
        """When others may take the Lease, in seconds of ``time.monotonic``; None while it is not ours."""
        return self._renewed + self._times.duration if self._held is not None else None

    async def run(self) -> None:
        """Wait for the Lease, then renew it until it is released (returns) or lost (calls ``on_lost``)."""
        while not await self._try_to_acquire():  # noqa: ASYNC110 — the event is in another process
            await asyncio.sleep(self._seconds_to_next_try())
        logger.info("This operator is active now: it holds the Lease %s/%s.", self._namespace, self._name)
        self._on_started()
        while await self._keep():  # noqa: ASYNC110 — nothing to wait for but time
            await asyncio.sleep(self._times.renew_period)
        if not self._releasing:
            self._held = None
            logger.error("The Lease %s/%s is lost.", self._namespace, self._name)
            self._on_lost()

    async def release(self) -> None:
        """Give the Lease back, so that another operator takes over at once. Does nothing when it is not ours."""
        lease, self._held, self._releasing = self._held, None, True
        if lease is None:
            return
        try:
            await self._give_back(lease)
        except ApiError as error:
            logger.warning(
                "Could not release the Lease %s/%s, so it runs out by itself: %s",
                self._namespace,
                self._name,
                error.message,
            )
        else:
            logger.info("Released the Lease %s/%s.", self._namespace, self._name)

    async def _give_back(self, lease: KubeObject) -> None:
        try:
            await self._client.replace(self._lease(lease, holder=_NOBODY))
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            # A renewal was under way whose answer nobody waited for.
            found = await self._client.get(LEASE, self._namespace, self._name)
            if found is not None and found["spec"].get("holderIdentity") == self._identity:
                await self._client.replace(self._lease(found, holder=_NOBODY))

    async def _try_to_acquire(self) -> bool:
        try:
            found = await self._client.get(LEASE, self._namespace, self._name)
            if found is not None and not self._is_free(found):
                return False
            started = time.monotonic()
            if found is None:
                self._held = await self._client.create(self._lease(None, holder=self._identity))
            else:
                self._held = await self._client.replace(self._lease(found, holder=self._identity))
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:  # somebody else was faster
                logger.warning(
                    "Could not get the Lease %s/%s: %s", self._namespace, self._name, error.message
                )
            return False
        self._renewed = started
        return True

    def _is_free(self, lease: KubeObject) -> bool:
        """Whether nobody holds the Lease, judged by how long *we* have not seen it renewed: clocks differ."""
        holder = lease["spec"].get("holderIdentity") or _NOBODY
        if holder in (_NOBODY, self._identity):
            return True
        version = lease["metadata"]["resourceVersion"]
        if version != self._rival:
            self._rival, self._rival_seen = version, time.monotonic()
            return False
        return time.monotonic() >= self._rival_seen + self._times.duration

    def _seconds_to_next_try(self) -> float:
        if self._rival is None:
            return self._times.poll_period
        expiry = self._rival_seen + self._times.duration - time.monotonic()
        return max(0.01, min(self._times.poll_period, expiry))

    async def _keep(self) -> bool:
        """Renew the Lease, trying until the deadline; return whether it is still ours."""
        while self._held is not None and (left := self._seconds_left()) > 0:
            started = time.monotonic()
            try:
                async with asyncio.timeout(left):
                    renewed = await self._client.replace(self._lease(self._held, holder=self._identity))
            except ApiError as error:
                if error.status == HTTPStatus.CONFLICT and not await self._is_still_ours():
                    return False
                logger.warning(
                    "Could not renew the Lease %s/%s: %s", self._namespace, self._name, error.message
                )
                await asyncio.sleep(min(self._times.poll_period, max(0.0, self._seconds_left())))
            except TimeoutError:
                return False
            else:
                self._renewed = started
                if self._held is not None:  # not released meanwhile
                    self._held = renewed
                return self._held is not None
        return False

    async def _is_still_ours(self) -> bool:
        """After a conflict: somebody edited the Lease (go on with the new version) or took it (stop)."""
        try:
            found = await self._client.get(LEASE, self._namespace, self._name)
        except ApiError:
            return True  # not known; the deadline decides
        if found is None or found["spec"].get("holderIdentity") != self._identity:
            return False
        self._held = found
        return True

    def _seconds_left(self) -> float:
        return self._renewed + self._times.renew_deadline - time.monotonic()

    def _lease(self, before: KubeObject | None, *, holder: str) -> KubeObject:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: KubeObject = dict(before["spec"]) if before else {}
        if spec.get("holderIdentity") != holder and holder != _NOBODY:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = spec.get("leaseTransitions", 0) + (1 if before else 0)
        spec |= {
            "holderIdentity": holder,
            "renewTime": now,
            "leaseDurationSeconds": 1 if holder == _NOBODY else max(1, round(self._times.duration)),
        }
        metadata: KubeObject = (
            before["metadata"] if before else {"namespace": self._namespace, "name": self._name}
        )
        if holder != _NOBODY:
            metadata = _telling(metadata, self._version)
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}


def _telling(metadata: KubeObject, version: str) -> KubeObject:
    """The metadata of a Lease with the version of its new holder, and without that of the holder before."""
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(OPERATOR_VERSION_ANNOTATION, None)
    if version:
        annotations[OPERATOR_VERSION_ANNOTATION] = version
    return metadata | {"annotations": annotations}
