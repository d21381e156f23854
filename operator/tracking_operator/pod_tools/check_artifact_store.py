"""Tries an artifact store out, with the identity and the settings that the server has.

    check-artifact-store s3 --bucket ml-artifacts --prefix team-a/mlflow [--own-keys]
    check-artifact-store external s3://bucket/path

The first runs in a Job: the server's own prefix must be open to it, and everything else shut. The second runs in the
init container before each start: a store of somebody else's must take, list, give and delete an object, through the
library that MLflow uses for it (mlflow/store/artifact, 3.17.2). What was found is written as JSON (``reason``,
``message``) to the termination log; a reason together with the exit code 0 is a remark.
"""

import argparse
import contextlib
import importlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from tracking_operator.pod_tools import check_backend_store as check
from tracking_operator.pod_tools import s3, start_server
from tracking_operator.store_answers import object_store_answer

if TYPE_CHECKING:
    from types import ModuleType

    from types_boto3_s3 import S3Client

PATIENCE_SECONDS = float(os.environ.get("TRACKING_OPERATOR_PATIENCE_SECONDS", "40"))
"""How long a fresh identity may take to become known, and a store to answer."""
ATTEMPT_SECONDS = {"s3": 90.0, "external": check.ATTEMPT_SECONDS}
"""A prefix is tried out by some twenty requests, each of which has limits of its own: on a busy node that takes a while."""
CONTENT = b"Written by the tracking operator to try the store out; it can be deleted.\n"
REFUSED_LOGIN = re.compile("Credential|AuthenticationError")
"""In the names of what the libraries of Google and Azure raise before they ask."""
MARK = ".tracking-operator/prefixes/{prefix}/owner.json"
"""Where the operator notes whose a prefix is: an object that exists, outside of the prefix."""

OPERATORS = s3.Identity(
    "The operator makes the identity: the server's condition ArtifactStoreReady says how far it is.",
    may_be_fresh=True,
)
TEAMS = s3.Identity("Correct accessKeyId and secretAccessKey in the Secret.")
EXTERNAL = s3.Identity(
    "Correct the Secret in spec.artifactStore.external.credentialsSecretRef, or the ServiceAccount's annotation."
)


@dataclass(frozen=True)
class Found:
    """How the check ended well; a ``reason`` makes it a remark."""

    message: str
    reason: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Try out the store that the command line names and report; return the exit code."""
    options = parse_arguments(arguments)
    os.environ.update(start_server.credentials_environment(start_server.CREDENTIALS))
    try:
        found = check.with_retries(
            lambda: try_out(options),
            what="The object store",
            seconds=PATIENCE_SECONDS,
            attempt_seconds=ATTEMPT_SECONDS[options.kind],
        )
    except check.CheckFailed as failure:
        return check.report(failure.reason, failure.message)
    return check.report(found.reason, found.message, is_remark=True)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    own = kinds.add_parser("s3", help="a prefix of the server's own")
    own.add_argument("--bucket", required=True)
    own.add_argument("--prefix", required=True, help="without a slash at its end")
    own.add_argument(
        "--own-keys", action="store_true", help="the team brought the keys: what they reach is remarked"
    )
    external = kinds.add_parser("external", help="a store of somebody else's")
    external.add_argument("uri", help="s3://, gs://, abfss:// or wasbs://")
    return parser.parse_args(arguments)


def try_out(options: argparse.Namespace) -> Found:
    """Make one attempt at the whole check."""
    if options.kind == "external":
        return try_external(options.uri)
    return try_own_prefix(options.bucket, options.prefix, has_own_keys=options.own_keys)


# Any store: an object of a random name comes and goes.


class Store(Protocol):
    """A place for objects. Every method raises CheckFailed."""

    def put(self, key: str, content: bytes) -> None:
        """Upload an object."""

    def keys_under(self, prefix: str) -> list[str]:
        """List what begins with a prefix."""

    def get(self, key: str) -> bytes:
        """Download an object."""

    def delete(self, key: str) -> None:
        """Remove an object."""


def put_list_get(store: Store, key: str) -> None:
    """Upload an object, find it in the listing and download it again."""
    store.put(key, CONTENT)
    say(f"Put {key}.")
    if key not in store.keys_under(key):
        raise check.CheckFailed("StoreFailed", f"The store took {key}, but does not list it.")
    say(f"Listed {key}.")
    if store.get(key) != CONTENT:
        raise check.CheckFailed("StoreFailed", f"The store took {key}, but gives another content.")
    say(f"Got {key}.")


def random_name() -> str:
    """The name of an object that nobody else has."""
    return f".tracking-operator-check-{uuid.uuid4().hex}"


def say(line: str) -> None:
    """Tell whoever reads the log how far it is."""
    print(line, flush=True)


# A prefix of the server's own.


@dataclass(frozen=True)
class S3Store:
    """A bucket of an S3 server."""

    client: "S3Client"
    bucket: str
    identity: s3.Identity

    def asking(self, action: str, key: str) -> contextlib.AbstractContextManager[None]:
        """Name a request in the failures of a block."""
        return s3.asking(f"{action} of s3://{self.bucket}/{key}", self.identity)

    def put(self, key: str, content: bytes) -> None:
        """Upload an object."""
        with self.asking("PutObject", key):
            s3.put(self.client, self.bucket, key, content)

    def keys_under(self, prefix: str) -> list[str]:
        """List what begins with a prefix."""
        with self.asking("ListBucket", prefix):
            return s3.keys_under(self.client, self.bucket, prefix)

    def get(self, key: str) -> bytes:
        """Download an object."""
        with self.asking("GetObject", key):
            return s3.get(self.client, self.bucket, key)

    def delete(self, key: str) -> None:
        """Remove an object."""
        with self.asking("DeleteObject", key):
            self.client.delete_object(Bucket=self.bucket, Key=key)


def try_own_prefix(bucket: str, prefix: str, *, has_own_keys: bool) -> Found:
    """Find the prefix open, and everything else shut."""
    store = S3Store(s3.s3_client(), bucket, TEAMS if has_own_keys else OPERATORS)
    require_open(store, f"{prefix}/")
    reached = what_is_open_outside(store, prefix)
    if not reached:
        return Found(f"The identity reaches s3://{bucket}/{prefix}/, and nothing beside it was open.")
    beyond = f"outside of s3://{bucket}/{prefix}/ it is possible to {', to '.join(reached)}"
    if has_own_keys:
        return Found(f"With the keys of the Secret, {beyond}.", "ReachesBeyondPrefix")
    raise check.CheckFailed(
        "IsolationNotProved",
        f"With the server's identity, {beyond}: take that away from the policies of the identity and of the bucket.",
    )


def require_open(store: S3Store, folder: str) -> None:
    """Do everything that MLflow does under the prefix."""
    key = f"{folder}{random_name()}"
    with removed_at_the_end(store, key):
        put_list_get(store, key)
        store.keys_under(folder)
        store.delete(key)
        say(f"Deleted {key}.")


@contextlib.contextmanager
def removed_at_the_end(store: Store, key: str) -> Iterator[None]:
    """Leave nothing behind when the block fails, as far as that is permitted."""
    try:
        yield
    except check.CheckFailed:
        with contextlib.suppress(check.CheckFailed):
            store.delete(key)
        raise


def what_is_open_outside(store: S3Store, prefix: str) -> list[str]:
    """Try what has to be denied, and say what is not; nothing is left behind.

    The neighbour's name begins like the prefix, which a policy on ``prefix*`` instead of ``prefix/*`` would match.
    Where a key does not exist, some stores deny what they would allow otherwise: the mark does exist.
    """
    neighbour = f"{prefix}-tracking-operator-check/{random_name()}"
    mark = MARK.format(prefix=prefix)
    client, bucket = store.client, store.bucket
    attempts: list[tuple[str, str, Callable[[], object]]] = [
        ("list the whole bucket", "", lambda: s3.keys_under(client, bucket, "")),
        (f"list all that begins with {prefix}", prefix, lambda: s3.keys_under(client, bucket, prefix)),
        (f"list {neighbour}", neighbour, lambda: s3.keys_under(client, bucket, neighbour)),
        (f"put {neighbour}", neighbour, lambda: s3.put(client, bucket, neighbour, CONTENT)),
        (f"get {neighbour}", neighbour, lambda: s3.get(client, bucket, neighbour)),
        (
            f"delete {neighbour}",
            neighbour,
            lambda: client.delete_object(Bucket=bucket, Key=neighbour),
        ),
        (f"get {mark}", mark, lambda: s3.get(client, bucket, mark)),
    ]
    reached = [what for what, key, attempt in attempts if is_open(store, what, key, attempt)]
    if f"put {neighbour}" in reached and f"delete {neighbour}" not in reached:
        reached.append(f"but not to delete it again: remove {neighbour}")
    return reached


def is_open(store: S3Store, what: str, key: str, attempt: Callable[[], object]) -> bool:
    """Whether a request that has to be denied is not. "There is no such key" is not a denial."""
    from botocore.exceptions import ClientError

    with store.asking(what, key):
        try:
            attempt()
        except ClientError as error:
            if s3.says(error, s3.DENIED):
                say(f"Denied, as it should be: to {what}.")
                return False
            if not (s3.says(error, s3.NOT_FOUND) and s3.code_of(error) != "NoSuchBucket"):
                raise
    say(f"Open: to {what}.")
    return True


# A store of somebody else's.


def try_external(uri: str) -> Found:
    """Take, list, give and delete an object under the URI. Whoever may not delete is told, and may start all the same."""
    store, folder = external_store(uri)
    key = f"{folder}{random_name()}"
    with removed_at_the_end(store, key):
        put_list_get(store, key)
    try:
        store.delete(key)
    except check.CheckFailed as failure:
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
    raise check.CheckFailed(
        "UnsupportedUri",
        f"{uri} cannot be used: write s3://BUCKET/PATH, gs://BUCKET/PATH, wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/"
        "PATH or abfss://FILESYSTEM@ACCOUNT.dfs.core.windows.net/PATH.",
    )


def library(name: str, extra: str) -> "ModuleType":
    """Import a client library that not every image holds."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise check.CheckFailed(
            "UnsupportedUri",
            f"The image lacks {name}, which MLflow needs for this artifact store: use an image that is built with the "
            f"extra {extra}.",
        ) from error


@contextlib.contextmanager
def asking(request: str) -> Iterator[None]:
    """Turn what a cloud's library raises into a CheckFailed; what they raise has nothing in common but a status."""
    try:
        yield
    except check.CheckFailed:
        raise
    except Exception as error:
        raise failure_of(error, request) from error


def failure_of(error: Exception, request: str) -> check.CheckFailed:
    """Say what an error of Google's or Azure's libraries means."""
    name = type(error).__name__
    said = f"{name}: {s3.shortened(str(error))}"
    if REFUSED_LOGIN.search(name) or "AuthenticationFailed" in said or "RefreshError" in said:
        return check.CheckFailed("LoginRefused", f"{request} was refused ({said}). {EXTERNAL.remedy}")
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    if isinstance(status, int):
        return s3.failure_for(object_store_answer("", int(status)), request, said, EXTERNAL)
    if isinstance(error, ValueError):
        return check.CheckFailed("UnsupportedUri", f"{request} cannot be asked for: {said}.")
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
                raise check.CheckFailed(
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
