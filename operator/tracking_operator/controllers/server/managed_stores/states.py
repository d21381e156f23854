"""How a store that the operator makes was found, and what is remembered of it between two looks."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeVar

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.resources.artifacts_secret import ArtifactKeys


class StoreState(ABC):
    """How a server's own part of a store was found, once it is as it should be."""

    requeue_after: float | None
    """In how many seconds the rotation of its credentials can go on."""

    @abstractmethod
    def result(self, place: str) -> ConditionResult:
        """Say that the store can be used, and what goes on there; ``place`` is what a sentence calls it."""


@dataclass(frozen=True)
class BackendState(StoreState):
    """How a server's own backend store was found."""

    login: str
    """The login in use; empty for a store that the operator does not log in to."""
    revision: str | None
    """The schema revision; None while there is no schema."""
    login_revision: str | None = None
    """The revision of the tables of MLflow's own login; None while there are none."""
    requeue_after: float | None = None

    def result(self, place: str) -> ConditionResult:
        """Say that the store can be used, and what goes on there; ``place`` is what a sentence calls it."""
        return ConditionResult(
            ConditionType.BACKEND_STORE_READY, Verdict.OK, Reason.AS_EXPECTED, f"{place} is in use."
        )


@dataclass(frozen=True)
class ArtifactState(StoreState):
    """How a server's own artifact store was found."""

    keys: ArtifactKeys | None = None
    """The keys in use, which clients may get, too; None for an identity without keys of the operator's making."""
    requeue_after: float | None = None

    def result(self, place: str) -> ConditionResult:
        """Say that the store can be used, and what goes on there; ``place`` is what a sentence calls it."""
        return ConditionResult(
            ConditionType.ARTIFACT_STORE_READY,
            Verdict.OK,
            Reason.AS_EXPECTED,
            f"Artifacts are under {place}.",
        )


class StoreMemory(ABC):
    """What is remembered of one server's part of a store; made without arguments, when nothing is known yet."""

    @abstractmethod
    def invalidate(self) -> None:
        """Have the store asked again."""


Memory = TypeVar("Memory", bound=StoreMemory)


class StoreMemories:
    """What is remembered of all stores of one server: each knows its own part by its type."""

    def __init__(self) -> None:
        self._parts: dict[type[StoreMemory], StoreMemory] = {}

    def of(self, type_: type[Memory]) -> Memory:
        """One store's part; nothing is known in it before it is asked for the first time."""
        known = self._parts.get(type_)
        if not isinstance(known, type_):
            known = self._parts[type_] = type_()
        return known

    def invalidate(self) -> None:
        """Have all stores asked again."""
        for part in self._parts.values():
            part.invalidate()
