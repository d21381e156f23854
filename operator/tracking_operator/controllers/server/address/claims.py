"""Whose an address is: no two servers get each other's requests.

Who has an address has it in its status, so that a restart of the operator takes it from nobody. Claiming asks
nothing and waits for nothing: two servers that are looked at side by side cannot both be given one address.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from tracking_operator import naming
from tracking_operator.api.conditions import Reason
from tracking_operator.api.kubernetes_types import ObjectMeta
from tracking_operator.api.placement import AddressPlacement, Placement
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.address.change import wanted_address
from tracking_operator.controllers.server.address.desired import address_of, routing_of
from tracking_operator.controllers.server.spec.inputs import classes_in, labels_of_namespace, readable_server
from tracking_operator.controllers.server.spec.permissions import may_have_host, require_namespace_allowed
from tracking_operator.controllers.server.spec.placement import (
    host_today,
    named_host,
    named_path,
    placement_of,
)
from tracking_operator.controllers.server_class.class_of_server import ChosenClass, choose_class
from tracking_operator.failures import Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import KubeObject, uid_of
from tracking_operator.resources.server_address import overlap
from tracking_operator.resources.server_model import ServerModel

logger = logging.getLogger(__name__)

Place = tuple[str, str]
"""A host and a path under it."""


@dataclass(frozen=True)
class AddressClaim:
    """A server that has addresses, or asks for some."""

    namespace: str
    name: str
    uid: str
    created: str
    """When, in a form whose order is that of time."""
    held: frozenset[Place] = frozenset()
    asked: frozenset[Place] = frozenset()

    @property
    def hosts(self) -> set[str]:
        """The hosts that it has something to do with."""
        return {host for host, _ in self.held | self.asked}

    def comes_before(self, other: "AddressClaim", place: Place) -> bool:
        """Whether it keeps a place that the other one wants too: who has it, then who is older, then by UID."""
        has_it, other_has_it = (any(overlap(place, one) for one in each.held) for each in (self, other))
        if has_it != other_has_it:
            return has_it
        return (self.created, self.uid) < (other.created, other.uid)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ClaimsByHost:
    """All claims, by the hosts that they are about."""

    def __init__(self) -> None:
        self._claims: defaultdict[str, set[AddressClaim]] = defaultdict(set)

    def of(self, host: str) -> tuple[AddressClaim, ...]:
        """The claims that have something to do with a host."""
        return tuple(self._claims.get(host, ()))

    def add(self, claim: AddressClaim) -> None:
        """Enter a claim."""
        for host in claim.hosts:
            self._claims[host].add(claim)

    def remove(self, claim: AddressClaim) -> None:
        """Strike a claim out."""
        for host in claim.hosts & self._claims.keys():
            self._claims[host].discard(claim)
            if not self._claims[host]:
                del self._claims[host]


@dataclass
class AddressMemory:
    """What one server claims. What it claims is among all claims, and only that."""

    everybody: ClaimsByHost = field(default_factory=ClaimsByHost)
    claim: AddressClaim | None = None

    def write(self, claim: AddressClaim) -> None:
        """Claim this, and nothing else."""
        self.evict()
        self.claim = claim
        self.everybody.add(claim)

    def evict(self) -> None:
        """Claim nothing."""
        if self.claim:
            self.everybody.remove(self.claim)
        self.claim = None


class AddressClaims:
    """Which server has which address; written anew from the servers' records after a restart."""

    def __init__(
        self,
        cache: ObjectCache,
        cluster_name: str,
        memory_of: Callable[[ObjectMeta], AddressMemory],
        *,
        has_built_in_class: bool,
    ) -> None:
        """``memory_of`` gives the memory of any server."""
        self._cache = cache
        self._cluster_name = cluster_name
        self._memory_of = memory_of
        self._has_built_in_class = has_built_in_class
        self._is_begun = False

    def claim(self, resource: TrackingServer, server: ServerModel) -> None:
        """Give the server the addresses of its model, and take back what it no longer names.

        Raises Invalid: another server comes first; then this one keeps what it has.
        """
        wanted = frozenset(place for address in server.access.addresses for place in address.places)
        memory = self._memory_of(resource.metadata)
        if not wanted:
            memory.evict()
            return
        self._begin()
        held = memory.claim.held if memory.claim else frozenset()
        me = _claimant(resource, held=held, asked=wanted)
        memory.write(me)
        for place in sorted(wanted):
            for rival in self._rivals(me, place, memory.everybody):
                if rival.comes_before(me, place):
                    logger.warning("%s asks for %s%s, which %s has.", me, *place, rival)
                    raise Invalid(Reason.CONFLICT, _taken(place))
        memory.write(replace(me, held=wanted, asked=frozenset()))

    def withdraw(self, resource: TrackingServer) -> None:
        """Note that a server cannot have what it asks for, so that it keeps nobody else from that."""
        self._begin()
        memory = self._memory_of(resource.metadata)
        if memory.claim:
            memory.write(replace(memory.claim, asked=frozenset()))

    def _rivals(self, me: AddressClaim, place: Place, everybody: ClaimsByHost) -> Iterator[AddressClaim]:
        """Other servers that live and have something to do with the place."""
        for rival in everybody.of(place[0]):
            if rival.uid == me.uid or not any(overlap(place, one) for one in rival.held | rival.asked):
                continue
            live = self._cache.get(TRACKING_SERVER, rival.namespace, rival.name)
            if live is None or uid_of(live) != rival.uid:
                everybody.remove(rival)
            else:
                yield rival

    def _begin(self) -> None:
        """Write down what the records say, and who waits, before the first address is given away."""
        if self._is_begun:
            return
        self._is_begun = True
        classes = classes_in(self._cache)
        for live in self._cache.list(TRACKING_SERVER):
            resource = readable_server(live)
            if resource is None:
                self._write_record_of(live)
            else:
                labels = labels_of_namespace(resource.metadata.namespace, self._cache)
                self._memory_of(resource.metadata).write(
                    _standing(
                        resource,
                        classes,
                        labels,
                        self._cluster_name,
                        has_built_in_class=self._has_built_in_class,
                    )
                )

    def _write_record_of(self, live: KubeObject) -> None:
        """Write down which addresses a server keeps that this version of the operator cannot read."""
        if record := _record_in(live):
            claim = _claimant(record, held=_own_places(placement_of(record)))
            self._memory_of(record.metadata).write(claim)


def _record_in(live: KubeObject) -> TrackingServer | None:
    """A server of which only where it is can be read; None if not even that."""
    status = {"placement": (live.get("status") or {}).get("placement")}
    with suppress(ValidationError):
        return TrackingServer.model_validate({"metadata": live["metadata"], "status": status})
    return None


def _standing(
    resource: TrackingServer,
    classes: Sequence[TrackingServerClass],
    namespace_labels: dict[str, str],
    cluster_name: str,
    *,
    has_built_in_class: bool,
) -> AddressClaim:
    """What a server has and asks for that nobody has looked at yet; one with a mistake in it asks for nothing."""
    recorded = placement_of(resource)
    held = _own_places(recorded)
    try:
        chosen = choose_class(resource, recorded, classes, has_built_in=has_built_in_class)
        values = naming.TemplateValues(
            resource.metadata.namespace,
            resource.metadata.name,
            chosen.name,
            cluster_name,
            namespace_labels,
        )
        held |= _places(recorded.addresses if recorded else (), chosen, values)
        wanted = _wanted(resource, recorded, chosen, values)
        asked = (wanted,) if _may_ask(resource, recorded, wanted, chosen, values) else ()
        return _claimant(resource, held=held, asked=_places(asked, chosen, values))
    except Invalid:
        return _claimant(resource, held=held)


def _may_ask(
    resource: TrackingServer,
    recorded: Placement | None,
    wanted: AddressPlacement,
    chosen: ChosenClass,
    values: naming.TemplateValues,
) -> bool:
    """Whether the class would let the server have what it asks for; if not, it stands in nobody's way. Raises Invalid."""
    if resource.metadata.is_being_deleted:
        return False
    require_namespace_allowed(chosen, values.namespace, values.namespace_labels)
    once_given = recorded.host if recorded else ""
    return wanted.host in ("", host_today(chosen, values)) or may_have_host(
        chosen, values, wanted.host, once_given
    )


def _own_places(recorded: Placement | None) -> frozenset[Place]:
    """What a record says by itself: all but the class's public URL."""
    addresses = recorded.addresses if recorded else ()
    return frozenset((one.host, one.path) for one in addresses if one.host)


def _wanted(
    resource: TrackingServer, recorded: Placement | None, chosen: ChosenClass, values: naming.TemplateValues
) -> AddressPlacement:
    if recorded is not None:
        return wanted_address(resource, recorded)
    asked = resource.spec.access
    host, path = asked.host or named_host(chosen, values), asked.path or named_path(chosen, values)
    return AddressPlacement(host=host, path=path)


def _places(
    addresses: Sequence[AddressPlacement], chosen: ChosenClass, values: naming.TemplateValues
) -> frozenset[Place]:
    routing = routing_of(chosen, values)
    found = (address_of(one, routing, chosen, values) for one in addresses)
    return frozenset(place for address in found for place in address.places)


def _claimant(
    resource: TrackingServer,
    *,
    held: frozenset[Place] = frozenset(),
    asked: frozenset[Place] = frozenset(),
) -> AddressClaim:
    metadata = resource.metadata
    created = metadata.creation_timestamp.isoformat() if metadata.creation_timestamp else ""
    return AddressClaim(metadata.namespace, metadata.name, metadata.uid, created, held, asked)


def _taken(place: Place) -> str:
    """What the team is told: whose the address is stands in the operator's log only."""
    host, path = place
    return (
        f"Path {path} of host {host} belongs to another server, or overlaps with a path of one: set spec.access.host or "
        "spec.access.path to an address of this server's own."
    )
