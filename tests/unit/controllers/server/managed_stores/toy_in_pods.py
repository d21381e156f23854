"""A kind of store that the operator makes and has never heard of, as pods have it: a file like those of ``resources/stores``."""

from dataclasses import dataclass, replace
from typing import ClassVar

from tests.unit.resources.stores.toy import ToyArtifacts, ToyBackend
from tracking_operator.resources.stores.inputs import StoreInputs
from tracking_operator.resources.stores.interface import (
    ArtifactParts,
    BackendParts,
    Evidence,
    FoundBy,
    StartSecret,
    StoreMount,
    Volume,
)


@dataclass(frozen=True)
class MadeToyBackend(ToyBackend):
    """A database behind a port, whose login is in a Secret that the operator writes."""

    is_managed: ClassVar[bool] = True

    secret: str

    def evidence(self) -> Evidence:
        return Evidence(FoundBy.STEP, awaited="the toy service", place="The toy database")

    def claims(self) -> tuple[Volume, ...]:
        return ()

    def secrets(self) -> tuple[StartSecret, ...]:
        return (StartSecret(self.secret),)

    def pod_parts(self) -> BackendParts:
        source = {"secret": {"secretName": self.secret}}
        return replace(super().pod_parts(), mounts=(StoreMount("toy-login", "/toy/login", source),))


@dataclass(frozen=True)
class MadeToyArtifacts(ToyArtifacts):
    """An object store that a Job tries out and empties, whose key is in a Secret that the operator writes."""

    is_managed: ClassVar[bool] = True

    secret: str

    def evidence(self) -> Evidence:
        return Evidence(FoundBy.STEP, awaited="the toy service", place="toy://box")

    def secrets(self) -> tuple[StartSecret, ...]:
        return (StartSecret(self.secret),)

    def pod_parts(self) -> ArtifactParts:
        source = {"secret": {"secretName": self.secret}}
        return replace(super().pod_parts(), mounts=(StoreMount("toy-key", "/toy/key", source),))


def made_toy_backend(inputs: StoreInputs) -> MadeToyBackend:
    """The database of a server."""
    return MadeToyBackend(Volume("", "", None), inputs.names.database)


def made_toy_artifacts(inputs: StoreInputs) -> MadeToyArtifacts:
    """The box of a server."""
    return MadeToyArtifacts(inputs.names.artifacts)
