"""How each server and each class is, as series: made from what the watches have reported, and never by asking anybody.

A series of a server has the server's namespace and name in it, both of which a team chooses. So there are at most
``SERIES_OF_A_SERVER`` for each, and at most so many servers of a namespace, and in all, have any. Values of labels are
names, and words of our own status: whatever else comes is left empty, so that nothing has to be escaped.

The lines are written here and not by prometheus_client, which takes 10 µs for each: 0.2 s for a thousand servers.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeVar

from tracking_operator.api.conditions import PRESENT_WHILE_TRUE, ConditionType, Reason
from tracking_operator.api.tracking_server_class import DEFAULT_MOST_SERVERS
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import KubeObject, kind_of, name_of, namespace_of
from tracking_operator.kube.quantities import parse_quantity

SERIES_OF_A_SERVER: Final = 20
MOST_SERVERS_OF_A_NAMESPACE: Final = 100
"""How many servers of one namespace have series; a class allows ten by default."""
MOST_SERVERS: Final = 5_000
"""How many servers have series in all. Where there are more, namespaces with few keep theirs."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_MOST_COMBINATIONS: Final = 4096

Place = tuple[str, str]
"""Namespace and name."""
Statuses = tuple[tuple[ConditionType, str], ...]
"""The status of each condition, in the order of the types."""
State = TypeVar("State")


class ServerState(NamedTuple):
    """As much of a server as is told."""

    class_name: str
    version: str
    conditions: tuple[str, ...]
    """The ends of their lines, which servers that are alike share."""
    is_suspended: bool
    is_rotating: bool
    deleted_at: float | None
    """When its deletion was asked for, in seconds since 1970."""
    usage: "Usage"
    backed_up_at: float | None
    """When the newest backup was complete, in seconds since 1970."""


class Usage(NamedTuple):
    """How much a server has in its stores; None: it was not measured, or could not be told."""

    database_bytes: int | None = None
    runs: int | None = None
    models: int | None = None
    artifact_bytes: int | None = None
    last_activity: float | None = None
    """In seconds since 1970."""


class ClassState(NamedTuple):
    """As much of a class as is told."""

    conditions: tuple[str, ...]
    most_servers: int
    most_database_bytes: float | None
    most_artifact_bytes: float | None


@dataclass(frozen=True)
class Family(Generic[State]):
    """A gauge: ``series`` returns the end of each line, from the labels that it has beside those that name the object."""

    name: str
    meaning: str
    series: Callable[[State], Sequence[str]]

    def lines(self, objects: Iterable[tuple[str, State]]) -> Iterator[str]:
        """The lines of all objects, each with the labels that name it."""
        yield f"# HELP {self.name} {self.meaning}"
        yield f"# TYPE {self.name} gauge"
        for labels, state in objects:
            start = f"{self.name}{{{labels}"
            for end in self.series(state):
                yield start + end


class ResourceMetrics:
    """The series of all servers and classes.

    Objects are noted in the event loop; the page is made in the thread of a scrape. There is one only while ``is_active``:
    of several operators, the one that holds the Lease tells them.
    """

    def __init__(
        self, *, most_of_a_namespace: int = MOST_SERVERS_OF_A_NAMESPACE, most: int = MOST_SERVERS
    ) -> None:
        self.is_active = False
        self._most_of_a_namespace = most_of_a_namespace
        self._most = most
        self._servers: dict[Place, ServerState] = {}
        self._classes: dict[str, ClassState] = {}

    def note(self, obj: KubeObject) -> None:
        """Remember how a server or a class is; let every other object pass."""
        kind = kind_of(obj)
        if kind == TRACKING_SERVER:
            self._servers[_place_of(obj)] = _state_of_server(obj)
        elif kind == TRACKING_SERVER_CLASS:
            self._classes[name_of(obj)] = _state_of_class(obj)

    def note_gone(self, obj: KubeObject) -> None:
        """Forget a server or a class: its series end."""
        kind = kind_of(obj)
        if kind == TRACKING_SERVER:
            self._servers.pop(_place_of(obj), None)
        elif kind == TRACKING_SERVER_CLASS:
            self._classes.pop(name_of(obj), None)

    def page(self) -> bytes:
        """Return all series in Prometheus' text format; empty while another operator tells them."""
        if not self.is_active:
            return b""
        known = list(self._servers.items())
        chosen = self._within_shares(known)
        servers = [(f'namespace="{place[0]}",name="{place[1]}"', state) for place, state in chosen]
        classes = [(f'class="{name}"', state) for name, state in list(self._classes.items())]
        lines = [line for family in SERVER_FAMILIES for line in family.lines(servers)]
        lines += [line for family in CLASS_FAMILIES for line in family.lines(classes)]
        lines += _LEFT_OUT.lines([("", len(known) - len(chosen))])
        return ("\n".join(lines) + "\n").encode()

    def _within_shares(self, known: list[tuple[Place, ServerState]]) -> list[tuple[Place, ServerState]]:
        """Choose the servers that have series: of each namespace those that were seen first."""
        sizes = Counter(namespace for (namespace, _), _ in known)
        share = _fair_share(sizes.values(), self._most_of_a_namespace, self._most)
        taken = Counter[str]()
        chosen = []
        for place, state in known:
            taken[place[0]] += 1
            if taken[place[0]] <= share:
                chosen.append((place, state))
        return chosen[: self._most]


def _fair_share(sizes: Iterable[int], most_of_one: int, most: int) -> int:
    """How many each may have at most so that all together have no more than ``most``; at least 1."""
    left = most
    ascending = sorted(min(size, most_of_one) for size in sizes)
    for others, size in zip(range(len(ascending), 0, -1), ascending, strict=True):
        if size * others > left:
            return max(1, left // others)
        left -= size
    return most_of_one


# What is read of an object


def _place_of(server: KubeObject) -> Place:
    return _name(namespace_of(server)), _name(name_of(server))


def _state_of_server(server: KubeObject) -> ServerState:
    status = server.get("status") or {}
    reasons = {condition.get("type"): condition.get("reason") for condition in _conditions(status)}
    is_going = server["metadata"].get("deletionTimestamp") is not None
    return ServerState(
        class_name=_name(status.get("className")),
        version=_name(status.get("version")),
        conditions=_ends_of_conditions(_told_of_server(server)),
        is_suspended=reasons.get(ConditionType.READY) == Reason.SUSPENDED,
        is_rotating=Reason.ROTATING_CREDENTIALS in reasons.values(),
        deleted_at=_seconds(server["metadata"].get("deletionTimestamp")),
        usage=_usage(status.get("usage") or {}),
        backed_up_at=None if is_going else _seconds((status.get("backups") or {}).get("lastCompletedAt")),
    )


def _told_of_server(server: KubeObject) -> Statuses:
    """The conditions that are told; of one that goes nobody asks how it is backed up, and its series are for its end."""
    found = _statuses(server.get("status") or {})
    if server["metadata"].get("deletionTimestamp") is None:
        return found
    return tuple(one for one in found if one[0] is not ConditionType.BACKED_UP)


def _usage(usage: KubeObject) -> Usage:
    return Usage(
        database_bytes=usage.get("databaseBytes"),
        runs=usage.get("runs"),
        models=usage.get("models"),
        artifact_bytes=usage.get("artifactBytes"),
        last_activity=_seconds(usage.get("lastActivity")),
    )


def _state_of_class(class_: KubeObject) -> ClassState:
    limits = (class_.get("spec") or {}).get("limits") or {}
    most = limits.get("maxServersPerNamespace", DEFAULT_MOST_SERVERS)
    return ClassState(
        conditions=_ends_of_conditions(_statuses(class_.get("status") or {})),
        most_servers=most,
        most_database_bytes=_bytes(limits.get("maxDatabaseSize")),
        most_artifact_bytes=_bytes(limits.get("maxArtifactBytes")),
    )


def _conditions(status: KubeObject) -> list[KubeObject]:
    return list(status.get("conditions") or ())


def _statuses(status: KubeObject) -> Statuses:
    """The status of Ready, which every object has sooner or later, and of the other conditions that it has."""
    found = {condition.get("type"): condition.get("status") for condition in _conditions(status)}
    found.setdefault(ConditionType.READY, "Unknown")
    words = {type_: str(found.get(type_)) for type_ in ConditionType}
    return tuple(
        (type_, word) for type_, word in words.items() if type_ in found or type_ in PRESENT_WHILE_TRUE
    )


def _name(value: object) -> str:
    """A name, or a version, as it is; empty for all else."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else ""


def _bytes(quantity: object) -> float | None:
    return None if quantity is None else float(parse_quantity(quantity))


def _seconds(timestamp: object) -> float | None:
    return datetime.fromisoformat(timestamp).timestamp() if isinstance(timestamp, str) else None


# What is told


@lru_cache(_MOST_COMBINATIONS)
def _ends_of_conditions(statuses: Statuses) -> tuple[str, ...]:
    """For each condition whether it is true, so that `== 0` finds it; for the summary whether it is false, too."""
    return tuple(
        f',type="{type_}",status="{word}"}} {int(status == word)}'
        for type_, status in statuses
        for word in (("True", "False") if type_ is ConditionType.READY else ("True",))
    )


def _end(value: float | None) -> Sequence[str]:
    """The one series of a whole number; none while there is no number."""
    return () if value is None else (f"}} {value:.0f}",)


SERVER_FAMILIES: Final[tuple[Family[ServerState], ...]] = (
    Family(
        "tracking_operator_server_info",
        "1 for each server, with its class (empty: the built-in one) and the MLflow release that it runs.",
        lambda state: (f',class="{state.class_name}",version="{state.version}"}} 1',),
    ),
    Family(
        "tracking_operator_server_status_condition",
        "1 where the condition has this status. Ready has True and False, both 0 where it is Unknown; the others have True only.",
        lambda state: state.conditions,
    ),
    Family(
        "tracking_operator_server_suspended",
        "1 while the server rests because somebody has decided so.",
        lambda state: (f"}} {int(state.is_suspended)}",),
    ),
    Family(
        "tracking_operator_server_credentials_rotating",
        "1 while old and new credentials of the database or the bucket both work.",
        lambda state: (f"}} {int(state.is_rotating)}",),
    ),
    Family(
        "tracking_operator_server_deletion_timestamp_seconds",
        "When the server's deletion was asked for, in seconds since 1970; there only while it is being deleted.",
        lambda state: _end(state.deleted_at),
    ),
    Family(
        "tracking_operator_server_database_bytes",
        "The size of the database that the operator made for the server, as pg_database_size has it, measured once an hour or so.",
        lambda state: _end(state.usage.database_bytes),
    ),
    Family(
        "tracking_operator_server_runs",
        "Runs in that database, with those that are deleted and not removed yet.",
        lambda state: _end(state.usage.runs),
    ),
    Family(
        "tracking_operator_server_models",
        "Registered models in that database.",
        lambda state: _end(state.usage.models),
    ),
    Family(
        "tracking_operator_server_artifact_bytes",
        "Bytes of the objects under the server's prefix in the bucket of its class, without older versions.",
        lambda state: _end(state.usage.artifact_bytes),
    ),
    Family(
        "tracking_operator_server_last_activity_timestamp_seconds",
        "When a run began or ended, a registered model was changed or a trace began, whichever was last, in seconds since 1970.",
        lambda state: _end(state.usage.last_activity),
    ),
    Family(
        "tracking_operator_server_backup_last_success_timestamp_seconds",
        "When the newest backup of the server was complete, in seconds since 1970; none without a backup, and while the server is being deleted.",
        lambda state: _end(state.backed_up_at),
    ),
)

CLASS_FAMILIES: Final[tuple[Family[ClassState], ...]] = (
    Family(
        "tracking_operator_class_status_condition",
        "1 where the condition of the class has this status. Ready has True and False, both 0 where it is Unknown; the others have True only.",
        lambda state: state.conditions,
    ),
    Family(
        "tracking_operator_class_max_servers_per_namespace",
        "How many servers of the class a namespace may have.",
        lambda state: (f"}} {state.most_servers}",),
    ),
    Family(
        "tracking_operator_class_max_database_bytes",
        "How large the database of a server of the class may become before somebody is told.",
        lambda state: _end(state.most_database_bytes),
    ),
    Family(
        "tracking_operator_class_max_artifact_bytes",
        "How many bytes of artifacts a server of the class may have before somebody is told.",
        lambda state: _end(state.most_artifact_bytes),
    ),
)

_LEFT_OUT: Final[Family[int]] = Family(
    "tracking_operator_servers_without_series",
    "Servers that have no series because their namespace, or all together, have too many servers.",
    lambda count: (f"}} {count}",),
)
