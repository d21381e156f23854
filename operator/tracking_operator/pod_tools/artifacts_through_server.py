"""Loaded by MLflow as an artifact repository, so that artifacts go through the server and not around it.

A server that proxies artifacts tells clients by itself (3.17.2: mlflow/server/handlers.py, server-info) that its object
store can be read, and in large parts written, by pre-signed URLs. Clients then go there on their own: a laptop that does
not reach the store, or does not know its CA, tries for ten minutes and fails. There is no setting against it. A repository
without these abilities, registered by MLflow's own plug-in mechanism, is served through the server, as promised.

What goes to S3 and comes from there is not kept in the pod on its way (streamed_artifacts.py).
"""

import asyncio
import posixpath
import shutil
import tempfile
from collections.abc import AsyncIterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from mlflow.store.artifact.artifact_repo import ArtifactRepository, StreamUploadMixin
from mlflow.store.artifact.azure_blob_artifact_repo import AzureBlobArtifactRepository
from mlflow.store.artifact.azure_data_lake_artifact_repo import AzureDataLakeArtifactRepository
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

from tracking_operator.pod_tools.streamed_artifacts import (
    CAN_STREAM_ANSWER,
    LENGTH,
    STREAMS,
    OpenedArtifact,
    OpeningClient,
    PulledBody,
    Streams,
    UploadingClient,
    part_size,
)

if TYPE_CHECKING:
    from mlflow.entities import FileInfo
    from types_boto3_s3 import S3Client

REPOSITORIES = {
    "s3": S3ArtifactRepository,
    "gs": GCSArtifactRepository,
    "wasbs": AzureBlobArtifactRepository,
    "abfss": AzureDataLakeArtifactRepository,
}
"""MLflow's own repository for each scheme."""

STREAMED = Streams()
UPLOADERS = ThreadPoolExecutor(STREAMS, "artifact-upload")


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


class WithClient(S3ArtifactRepository):  # type: ignore[misc]
    """MLflow's repository of S3 with another client: which object is meant, and with which settings, is decided there."""

    client: "UploadingClient | OpeningClient | None" = None

    def _get_s3_client(self) -> "S3Client | UploadingClient | OpeningClient":
        return self.client or self.real_client()

    def real_client(self) -> "S3Client":
        """S3's client as MLflow makes it."""
        return super()._get_s3_client()  # type: ignore[no-any-return]


class S3ThroughServer(ArtifactsThroughServer, StreamUploadMixin):  # type: ignore[misc]
    """MLflow's repository of S3, without pre-signed URLs, and without a file in the pod for what goes through it."""

    async def log_artifact_from_async_stream(
        self, chunks: AsyncIterable[bytes], artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """Upload the body of a request while it comes in."""
        name = posixpath.basename(artifact_file_name)
        size = part_size(LENGTH.get())
        with STREAMED.one_of(size) as is_streamed:
            if is_streamed:
                await self._upload_at_once(PulledBody(aiter(chunks)), size, name, artifact_path)
            else:
                await self._upload_by_file(chunks, name, artifact_path)

    async def _upload_at_once(
        self, body: PulledBody, size: int, name: str, artifact_path: str | None
    ) -> None:
        uploading = WithClient(self.artifact_uri)
        uploading.client = UploadingClient(uploading.real_client(), body, size)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(UPLOADERS, uploading.log_artifact, name, artifact_path)

    async def _upload_by_file(
        self, chunks: AsyncIterable[bytes], name: str, artifact_path: str | None
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            with file.open("wb") as opened:
                async for chunk in chunks:
                    await asyncio.to_thread(opened.write, chunk)
            await asyncio.to_thread(self.log_artifact, str(file), artifact_path)

    def log_artifact_from_stream(
        self, stream: BinaryIO, artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        """Upload what a file holds that cannot be read twice."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / posixpath.basename(artifact_file_name)
            with file.open("wb") as opened:
                shutil.copyfileobj(stream, opened)
            self.log_artifact(str(file), artifact_path)

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Download a file or a folder; a file that answers a request is opened instead.

        Raises:
            OpenedArtifact: it answers the request that is being handled.
        """
        if CAN_STREAM_ANSWER.get() and (opened := self._open(artifact_path)):
            raise opened
        return str(super().download_artifacts(artifact_path, dst_path))

    def _open(self, artifact_path: str) -> OpenedArtifact | None:
        """Open an object. Where that fails, MLflow's own way will tell why."""
        from botocore.exceptions import BotoCoreError, ClientError

        repository = WithClient(self.artifact_uri)
        client = OpeningClient(repository.real_client())
        repository.client = client
        try:
            repository._download_file(artifact_path, "")
        except (BotoCoreError, ClientError):
            return None
        return client.opened
