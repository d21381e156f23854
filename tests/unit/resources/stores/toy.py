"""A kind of store that the operator has never heard of: a file like those of ``resources/stores``."""

from collections.abc import Sequence
from dataclasses import dataclass

from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.resources.destinations import Endpoint, anywhere
from tracking_operator.resources.stores.inputs import StoreInputs
from tracking_operator.resources.stores.interface import (
    ArtifactParts,
    ArtifactStore,
    BackendParts,
    BackendStore,
    ClientParts,
    Evidence,
    FoundBy,
    StartSecret,
    StoreMount,
    Volume,
)

DATABASE_PORT, OBJECT_PORT, IDENTITY_PORT = 7001, 7002, 7003


@dataclass(frozen=True)
class ToyBackend(BackendStore):
    """A database behind a port, with a cache on a volume, whose login is in a Secret."""

    cache: Volume

    def evidence(self) -> Evidence:
        return Evidence(FoundBy.POD, awaited="the first pod that plays", place="The toy database")

    def claims(self) -> tuple[Volume, ...]:
        return (self.cache,)

    def secrets(self) -> tuple[StartSecret, ...]:
        return (StartSecret("toy-login", field="spec.toy", required=("password",)),)

    def endpoints(self, in_secret: Sequence[Endpoint] | None, of_team: PodTemplate) -> tuple[Endpoint, ...]:
        return (Endpoint("toys.example.com", DATABASE_PORT),)

    def pod_parts(self) -> BackendParts:
        claim = {"persistentVolumeClaim": {"claimName": self.cache.claim}}
        return BackendParts(
            program_arguments=("toy", "/toy"),
            server_arguments=("--backend-store-uri=toy://",),
            variables={"TOY_HOME": "/toy"},
            mounts=(
                StoreMount("toy-cache", "/toy/cache", claim, read_only=False),
                StoreMount("toy-login", "/toy/login", {"secret": {"secretName": "toy-login"}}),
            ),
            connection_limit=40,
            migration_variables={"TOY_PATIENCE": "endless"},
        )


@dataclass(frozen=True)
class ToyArtifacts(ArtifactStore):
    """An object store that pods enter with an identity, and that a Job tries out."""

    def evidence(self) -> Evidence:
        return Evidence(FoundBy.STEP, awaited="the toy box")

    def endpoints(self, in_secret: Sequence[Endpoint] | None, of_team: PodTemplate) -> tuple[Endpoint, ...]:
        return (Endpoint("box.example.com", OBJECT_PORT),)

    def pod_parts(self) -> ArtifactParts:
        return ArtifactParts(
            place="toy://box",
            variables={"TOY_BOX": "box"},
            mounts=(StoreMount("toy-key", "/toy/key", {"secret": {"secretName": "toy-key"}}),),
            reserved_variables=frozenset({"TOY_KEY"}),
            variables_of_webhooks=("TOY_TOKEN",),
            account_annotations={"toys.example.com/role": "player"},
            check_arguments=("toy", "box"),
            check_job_arguments=("toy", "--box=box"),
            deletion_job_arguments=("--box=box",),
            identity_destinations=(anywhere(IDENTITY_PORT),),
        )

    def client_parts(self) -> ClientParts:
        return ClientParts(root="toy://box", are_admitted=True, variables={"TOY_BOX": "box"})


def toy_backend(inputs: StoreInputs) -> ToyBackend:
    """The database of a server."""
    return ToyBackend(Volume(f"{inputs.server.metadata.name}-toy", "1Gi", None, field="spec.toy.size"))


def toy_artifacts(inputs: StoreInputs) -> ToyArtifacts:
    """The box of a server."""
    return ToyArtifacts()
