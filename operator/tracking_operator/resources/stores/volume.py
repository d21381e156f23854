"""Artifacts on a volume of the server's own."""

from dataclasses import dataclass

from tracking_operator.api.tracking_server import ArtifactVolume
from tracking_operator.resources.stores.inputs import StoreInputs
from tracking_operator.resources.stores.interface import (
    ArtifactParts,
    ArtifactStore,
    ClientParts,
    Evidence,
    FoundBy,
    StoreMount,
    Volume,
)
from tracking_operator.resources.stores.paths import ARTIFACT_STORE


@dataclass(frozen=True)
class VolumeArtifacts(ArtifactStore):
    """Artifacts on a volume, served by the tracking server itself."""

    volume: Volume

    def evidence(self) -> Evidence:
        """The claim."""
        return Evidence(FoundBy.VOLUME_CLAIM)

    def claims(self) -> tuple[Volume, ...]:
        """The volume with the files."""
        return (self.volume,)

    def pod_parts(self) -> ArtifactParts:
        """The folder."""
        source = {"persistentVolumeClaim": {"claimName": self.volume.claim}}
        return ArtifactParts(
            place=ARTIFACT_STORE,
            mounts=(StoreMount("artifact-store", ARTIFACT_STORE, source, read_only=False),),
        )

    def client_parts(self) -> ClientParts:
        """Clients reach it through the server only."""
        return ClientParts(root="mlflow-artifacts:/", are_admitted=False)


def volume_artifacts(inputs: StoreInputs) -> VolumeArtifacts:
    """The files of a server, on a volume as the team asks for it."""
    asked = inputs.server.spec.artifact_store.volume or ArtifactVolume()
    usual = inputs.class_spec.defaults.volumes.artifact_store
    is_asked = "size" in asked.model_fields_set
    return VolumeArtifacts(
        Volume(
            inputs.names.artifact_store,
            asked.size if is_asked else usual.size or asked.size,
            asked.storage_class_name or usual.storage_class_name,
            asked.access_mode,
            field="spec.artifactStore.volume.size",
            size_is_asked=is_asked,
        )
    )
