"""An artifact store of somebody else's, through the library that MLflow uses for it (mlflow/store/artifact, 3.17.2)."""

import contextlib
import importlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tracking_operator.pod_tools import s3
from tracking_operator.pod_tools.checks import CheckFailed
from tracking_operator.pod_tools.object_trial import (
    Found,
    Store,
    put_list_get,
    random_name,
    removed_at_the_end,
)
from tracking_operator.pod_tools.s3 import S3Store
from tracking_operator.store_answers import object_store_answer

if TYPE_CHECKING:
    from types import ModuleType


REFUSED_LOGIN = re.compile("Credential|AuthenticationError")
"""In the names of what the libraries of Google and Azure raise before they ask."""
EXTERNAL = s3.Identity(
    "Correct the Secret in spec.artifactStore.external.credentialsSecretRef, or the ServiceAccount's annotation."
)


def try_external(uri: str) -> Found:
    """Take, list, give and delete an object under the URI. Whoever may not delete is told, and may start all the same."""
    store, folder = external_store(uri)
    key = f"{folder}{random_name()}"
    with removed_at_the_end(store, key):
        put_list_get(store, key)
    try:
        store.delete(key)
    except CheckFailed as failure:
        if failure.reason != "AccessDenied":
            raise
        return Found(
            f"{uri} can be used, but nothing can be deleted from it: runs are not cleaned up, and {key} stays behind. "
            f"{failure.message}",
            "AccessDenied",
        )
    return Found(f"{uri} takes, lists, gives and deletes objects.")


def external_store(uri: str) -> tuple[Store, str]:
    """The store that a URI names, and the folder in it: empty, or with a slash at its end."""
    parts = urlsplit(uri)
    path = parts.path.strip("/")
    folder = f"{path}/" if path else ""
    if parts.scheme == "s3":
        return S3Store(s3.s3_client(), parts.netloc, EXTERNAL), folder
    if parts.scheme == "gs":
        return google_store(parts.netloc), folder
    container, _, host = parts.netloc.partition("@")
    if parts.scheme == "wasbs" and host:
        return blob_store(container, host), folder
    if parts.scheme == "abfss" and host:
        return data_lake_store(container, host), unquote(folder)
    raise CheckFailed(
        "UnsupportedUri",
        f"{uri} cannot be used: write s3://BUCKET/PATH, gs://BUCKET/PATH, wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/"
        "PATH or abfss://FILESYSTEM@ACCOUNT.dfs.core.windows.net/PATH.",
    )


def library(name: str, extra: str) -> "ModuleType":
    """Import a client library that not every image holds."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CheckFailed(
            "UnsupportedUri",
            f"The image lacks {name}, which MLflow needs for this artifact store: use an image that is built with the "
            f"extra {extra}.",
        ) from error


@contextlib.contextmanager
def asking(request: str) -> Iterator[None]:
    """Turn what a cloud's library raises into a CheckFailed; what they raise has nothing in common but a status."""
    try:
        yield
    except CheckFailed:
        raise
    except Exception as error:
        raise failure_of(error, request) from error


def failure_of(error: Exception, request: str) -> CheckFailed:
    """Say what an error of Google's or Azure's libraries means."""
    name = type(error).__name__
    said = f"{name}: {s3.shortened(str(error))}"
    if REFUSED_LOGIN.search(name) or "AuthenticationFailed" in said or "RefreshError" in said:
        return CheckFailed("LoginRefused", f"{request} was refused ({said}). {EXTERNAL.remedy}")
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    if isinstance(status, int):
        return s3.failure_for(object_store_answer("", int(status)), request, said, EXTERNAL)
    if isinstance(error, ValueError):
        return CheckFailed("UnsupportedUri", f"{request} cannot be asked for: {said}.")
    return s3.unanswered(said, request)


@dataclass(frozen=True)
class CloudStore:
    """A bucket or container, by the four functions of its library."""

    name: str
    upload: Callable[[str, bytes], object]
    listing: Callable[[str], list[str]]
    download: Callable[[str], bytes]
    remove: Callable[[str], object]

    def put(self, key: str, content: bytes) -> None:
        """Upload an object."""
        with asking(f"The upload of {key} to {self.name}"):
            self.upload(key, content)

    def keys_under(self, prefix: str) -> list[str]:
        """List what begins with a prefix."""
        with asking(f"The listing of {prefix} in {self.name}"):
            return self.listing(prefix)

    def get(self, key: str) -> bytes:
        """Download an object."""
        with asking(f"The download of {key} from {self.name}"):
            return self.download(key)

    def delete(self, key: str) -> None:
        """Remove an object."""
        with asking(f"The deletion of {key} from {self.name}"):
            self.remove(key)


def google_store(name: str) -> CloudStore:
    """A bucket of Google Cloud Storage, with the credentials that MLflow would use."""
    storage = library("google.cloud.storage", "gcs")
    no_credentials = library("google.auth.exceptions", "gcs").DefaultCredentialsError
    with asking(f"A client for {name}"):
        try:
            client = storage.Client()
        except no_credentials as error:
            if (
                "GOOGLE_APPLICATION_CREDENTIALS" in os.environ
            ):  # MLflow would go on without, and be refused later
                raise CheckFailed(
                    "LoginRefused",
                    f"credentials.json cannot be used: {s3.shortened(str(error))}. {EXTERNAL.remedy}",
                ) from error
            client = storage.Client.create_anonymous_client()
        bucket = client.bucket(name)
    once = {"timeout": s3.READ_TIMEOUT_SECONDS, "retry": None}
    return CloudStore(
        f"gs://{name}",
        upload=lambda key, content: bucket.blob(key).upload_from_string(content, **once),
        listing=lambda prefix: [blob.name for blob in client.list_blobs(bucket, prefix=prefix, **once)],
        download=lambda key: bytes(bucket.blob(key).download_as_bytes(**once)),
        remove=lambda key: bucket.blob(key).delete(**once),
    )


def azure_limits() -> dict[str, int]:
    """How long one request to Azure may take."""
    return {
        "retry_total": 0,  # the library waits 15 s before the first; we try again by ourselves
        "connection_timeout": s3.CONNECT_TIMEOUT_SECONDS,
        "read_timeout": s3.READ_TIMEOUT_SECONDS,
    }


def azure_identity() -> object:
    """The identity that the pod's ServiceAccount or the node has."""
    return library("azure.identity", "azure").DefaultAzureCredential()


def blob_store(name: str, host: str) -> CloudStore:
    """A container of Azure Blob Storage: by connection string, account key or identity, in MLflow's order."""
    service = library("azure.storage.blob", "azure").BlobServiceClient
    with asking(f"A client for {name}@{host}"):
        if "AZURE_STORAGE_CONNECTION_STRING" in os.environ:
            text = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
            client = service.from_connection_string(text, **azure_limits())
        else:
            key = os.environ.get("AZURE_STORAGE_ACCESS_KEY") or azure_identity()
            client = service(f"https://{host}", credential=key, **azure_limits())
        container = client.get_container_client(name)
    return CloudStore(
        f"wasbs://{name}@{host}",
        upload=container.upload_blob,
        listing=lambda prefix: [blob.name for blob in container.list_blobs(name_starts_with=prefix)],
        download=lambda key: bytes(container.download_blob(key).readall()),
        remove=container.delete_blob,
    )


def data_lake_store(name: str, host: str) -> CloudStore:
    """A file system of Azure Data Lake: by SAS token or identity. MLflow takes neither account key nor connection string."""
    service = library("azure.storage.filedatalake", "azure").DataLakeServiceClient
    with asking(f"A client for {name}@{host}"):
        if token := os.environ.get("AZURE_STORAGE_SAS_TOKEN"):
            client = service(f"https://{host}?{token}", **azure_limits())
        else:
            client = service(f"https://{host}", credential=azure_identity(), **azure_limits())
        files = client.get_file_system_client(name)
    return CloudStore(
        f"abfss://{name}@{host}",
        upload=lambda key, content: files.get_file_client(key).upload_data(content, overwrite=True),
        listing=lambda prefix: [one.name for one in files.get_paths(path=prefix.rpartition("/")[0] or None)],
        download=lambda key: bytes(files.get_file_client(key).download_file().readall()),
        remove=files.delete_file,
    )
