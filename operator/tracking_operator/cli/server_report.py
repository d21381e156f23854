"""What is to be said of one server: how it is, what it waits for, and what has happened to it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tracking_operator.api.conditions import Condition, ConditionType, Reason
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.kube.objects import KubeObject
from tracking_operator.outcomes import OUTCOMES, Blamed, RetryClass

MOST_EVENTS: Final = 10
"""How many Events are told, the latest ones."""

WHO: Final = {
    Blamed.TEAM: "the team",
    Blamed.PLATFORM: "the platform team",
    Blamed.STORE: "the store, and who runs it",
    Blamed.CLUSTER: "the cluster, and who runs it",
    Blamed.NOBODY: "the operator",
}
NO_OPERATOR: Final = "Nobody has looked at it yet: does the operator run?"
NOT_SEEN: Final = "The operator has not looked at the latest change yet."


@dataclass(frozen=True)
class Wait:
    """Whom a server waits for, and why."""

    who: str
    message: str
    condition: str = ""
    reason: str = ""

    def as_json(self) -> dict[str, str]:
        """What a program reads."""
        return {
            "for": self.who,
            "condition": self.condition,
            "reason": self.reason,
            "message": self.message,
        }


@dataclass(frozen=True)
class Happening:
    """One Event."""

    type: str
    reason: str
    message: str
    count: int
    at: str
    """When it happened last, as RFC 3339; empty if it does not say."""

    @classmethod
    def of(cls, event: KubeObject) -> "Happening":
        """Read an Event of either API: it has been made with whatever its writer chose."""
        series = event.get("series") or {}
        at = event.get("lastTimestamp") or series.get("lastObservedTime") or event.get("eventTime")
        return cls(
            type=str(event.get("type") or ""),
            reason=str(event.get("reason") or ""),
            message=str(event.get("message") or ""),
            count=int(event.get("count") or series.get("count") or 1),
            at=str(at or (event.get("metadata") or {}).get("creationTimestamp") or ""),
        )

    def as_json(self) -> dict[str, object]:
        """What a program reads."""
        return {
            "type": self.type,
            "reason": self.reason,
            "message": self.message,
            "count": self.count,
            "at": self.at,
        }


@dataclass(frozen=True)
class ServerReport:
    """A server, and the Events about it; None where they may not be read."""

    server: TrackingServer
    events: Sequence[Happening] | None

    @property
    def conditions(self) -> list[Condition]:
        """All conditions, in the order in which a server comes about; those of newer operators at the end."""
        known: dict[str, int] = {word: place for place, word in enumerate(ConditionType)}
        return sorted(self.server.status.conditions, key=lambda one: known.get(one.type, len(known)))

    def as_json(self) -> dict[str, object]:
        """What a program reads."""
        server, status = self.server, self.server.status
        wait = waits_for(server)
        ready = status.condition(ConditionType.READY)
        return {
            "namespace": server.metadata.namespace,
            "name": server.metadata.name,
            "ready": ready is not None and ready.is_true,
            "reason": ready.reason if ready else "",
            "generation": server.metadata.generation,
            "observedGeneration": status.observed_generation,
            "waits": wait.as_json() if wait else None,
            "url": status.url,
            "addressInCluster": status.address.url if status.address else None,
            "className": status.class_name,
            "version": status.version,
            "schemaRevision": status.schema_revision,
            "replicas": status.replicas,
            "backendStore": _backend_store(server),
            "artifactStore": _artifact_store(server),
            "client": status.client.as_kubernetes() if status.client else None,
            "clientsElsewhere": [one.as_kubernetes() for one in status.clients],
            "conditions": [one.as_kubernetes() for one in self.conditions],
            "events": None if self.events is None else [one.as_json() for one in self.events],
        }


def latest(events: Sequence[KubeObject]) -> list[Happening]:
    """The latest Events, in the order in which they happened."""
    return sorted((Happening.of(one) for one in events), key=lambda one: one.at)[-MOST_EVENTS:]


def waits_for(server: TrackingServer) -> Wait | None:
    """Whom the server waits for; None if it is as it is to be."""
    ready = server.status.condition(ConditionType.READY)
    if ready is None:
        return Wait("the operator", NO_OPERATOR)
    if (server.status.observed_generation or 0) < server.metadata.generation:
        return Wait("the operator", NOT_SEEN)
    condition = next(_unfinished(server), None)
    if condition is None:
        return None
    return Wait(_who(condition.reason), condition.message, condition.type, condition.reason)


def _unfinished(server: TrackingServer) -> Iterator[Condition]:
    """The conditions that say why the server is not as it is to be, the one that says most first.

    Reconciling and Stalled name the reason; the sentence is in the condition that has the same one.
    """
    marks = [server.status.condition(one) for one in (ConditionType.STALLED, ConditionType.RECONCILING)]
    reasons = [one.reason for one in marks if one is not None and one.is_true]
    concerns = [one for one in server.status.conditions if not one.is_true]
    yield from (one for one in concerns if one.reason in reasons and one.type != ConditionType.READY)
    yield from (one for one in concerns if one.type == ConditionType.READY)
    yield from (one for one in marks if one is not None and one.is_true)


def _who(reason: str) -> str:
    """Who has to act; the operator of a newer version may give reasons that are not known here."""
    if reason == Reason.SUSPENDED:
        return "somebody who wakes it"
    outcome = OUTCOMES.get(reason)
    if outcome is None:
        return "what its conditions say"
    if outcome.blames is Blamed.NOBODY and outcome.retry is not RetryClass.OPERATOR:
        return "what the message says"
    return WHO[outcome.blames]


def _backend_store(server: TrackingServer) -> dict[str, Any] | None:
    status = server.status
    if status.backend_store is None:
        return None
    return status.backend_store.as_kubernetes() | {
        "database": status.database.as_kubernetes() if status.database else None
    }


def _artifact_store(server: TrackingServer) -> dict[str, Any] | None:
    status = server.status
    if status.artifact_store is None:
        return None
    return status.artifact_store.as_kubernetes() | {"root": status.artifact_root}
