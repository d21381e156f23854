"""Loaded by MLflow as an artifact repository, so that artifacts go through the server and not around it.

A server that proxies artifacts tells clients by itself (3.17.2: mlflow/server/handlers.py, server-info) that its object
store can be read, and in large parts written, by pre-signed URLs. Clients then go there on their own: a laptop that does
not reach the store, or does not know its CA, tries for ten minutes and fails. There is no setting against it. A repository
without these abilities, registered by MLflow's own plug-in mechanism, is served through the server, as promised.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.azure_blob_artifact_repo import AzureBlobArtifactRepository
from mlflow.store.artifact.azure_data_lake_artifact_repo import AzureDataLakeArtifactRepository
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

if TYPE_CHECKING:
    from mlflow.entities import FileInfo

REPOSITORIES = {
    "s3": S3ArtifactRepository,
    "gs": GCSArtifactRepository,
    "wasbs": AzureBlobArtifactRepository,
    "abfss": AzureDataLakeArtifactRepository,
}
"""MLflow's own repository for each scheme."""


class ArtifactsThroughServer(ArtifactRepository):  # type: ignore[misc]
    """MLflow's repository of a scheme, without pre-signed URLs."""

    def __init__(
        self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
    ) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        repository = REPOSITORIES[urlsplit(artifact_uri).scheme]
        self._store = repository(artifact_uri, tracking_uri=tracking_uri, registry_uri=registry_uri)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Upload a file."""
        self._store.log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Upload a folder."""
        self._store.log_artifacts(local_dir, artifact_path)

    def list_artifacts(self, path: str | None = None) -> "list[FileInfo]":
        """List what is directly under a path."""
        return list(self._store.list_artifacts(path))

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete a file, or what is under a path."""
        self._store.delete_artifacts(artifact_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self._store._download_file(remote_file_path, local_path)
