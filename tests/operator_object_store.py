"""What tests of the operator with S3 share: a real server, classes that use it, and a kubelet for the Jobs of artifacts.

Pods of these tests are made and never run, so a test says itself how the pod of a Job ended, and does in the bucket
what the script in it would have done. A test module that needs this says `pytest_plugins = ["tests.operator_object_store"]`.
"""

import base64
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.credentials import SharedCredentialProvider
from botocore.exceptions import ClientError

from dev.loopback import free_port
from dev.object_store.admin_api import AdminApi, Role, User
from dev.object_store.clients import s3_client
from dev.versitygw import VersitygwServer, versitygw_server
from tests.certificates import make_certificates
from tests.kube_api import KubeApi
from tests.operator_fixtures import (
    OPERATOR_NAMESPACE,
    OperatorHost,
    a_class,
    a_team,
)
from tests.operator_stores import HOST, StoreClass, StoreTeam, admin_and_authorities
from tracking_operator.kube.objects import (
    DEPLOYMENT,
    JOB,
    SECRET,
    KubeObject,
    name_of,
)
from tracking_operator.resources.stores.certificates import CA_KEY
from tracking_operator.resources.stores.s3 import CREDENTIALS_KEY
from tracking_operator.stores.s3.bucket_address import Keys

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

NOTHING_THERE: Final = ("NoSuchBucket", "NoSuchBucketPolicy")
COLUMNS_OF_A_REQUEST: Final = 7

Document = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A request that the server has answered, from its log."""

    method: str
    path: str
    status: int
    query: str


@dataclass
class RealObjectStore:
    """A versitygw, seen by its root. ``ca_file`` is the path of the authority's certificate; None over plain HTTP."""

    running: VersitygwServer
    ca_file: Path | None

    @property
    def endpoint(self) -> str:
        return self.running.endpoint

    @property
    def ca(self) -> str | None:
        """What a class's ConfigMap has to hold."""
        return self.ca_file.read_text() if self.ca_file else None

    @property
    def root(self) -> Keys:
        return Keys(self.running.root_access, self.running.root_secret, source="root")

    @property
    def admin_api(self) -> AdminApi:
        return AdminApi(self.endpoint, self.root, self._verify)

    def client(self, keys: Keys | None = None) -> "S3Client":
        """A client with these keys, or with root's."""
        return s3_client(self.endpoint, keys or self.root, self._verify)

    def make_user(self, role: Role = "user") -> Keys:
        """Make somebody with new keys."""
        user = User(f"{role}-{secrets.token_hex(4)}", secrets.token_urlsafe(24), role)
        self.admin_api.keep(user)
        return user.keys

    def users(self) -> list[str]:
        """The access key ids of all users, which are their names, too."""
        return sorted(self.admin_api.users())

    def has_bucket(self, bucket: str) -> bool:
        return any(found["Name"] == bucket for found in self.client().list_buckets()["Buckets"])

    def policy(self, bucket: str) -> Document:
        """A bucket's policy; empty if there is none."""
        try:
            return dict(json.loads(self.client().get_bucket_policy(Bucket=bucket)["Policy"]))
        except ClientError as error:
            _must_say_that_nothing_is_there(error)
            return {}

    def set_policy(self, bucket: str, *statements: Document) -> None:
        """Write a bucket's policy, as somebody does who does not know of the operator."""
        policy = {"Version": "2012-10-17", "Statement": statements}
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def statements(self, bucket: str) -> list[Document]:
        """The statements of a bucket's policy."""
        return list(self.policy(bucket).get("Statement", []))

    def object_keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of all objects below a prefix; none if there is no bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        try:
            return [found["Key"] for page in pages for found in page.get("Contents", [])]
        except ClientError as error:
            _must_say_that_nothing_is_there(error)
            return []

    def put(self, bucket: str, *keys: str, body: bytes = b"content") -> None:
        """Write objects."""
        client = self.client()
        for key in keys:
            client.put_object(Bucket=bucket, Key=key, Body=body)

    def remove(self, bucket: str, prefix: str, keys: Keys | None = None) -> None:
        """Remove all objects below a prefix, with all their versions: with these keys, or with root's."""
        client = self.client(keys)
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            for found in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                client.delete_object(Bucket=bucket, Key=found["Key"], VersionId=found["VersionId"])

    def log_size(self) -> int:
        """How long the log is by now."""
        return self.running.log.stat().st_size

    def requests(self, *, since: int, bucket: str = "") -> list[Request]:
        """What the server has answered since the log was so long: about one bucket, or all, the admin API included."""
        with self.running.log.open("rb") as log:
            log.seek(since)
            lines = log.read().decode(errors="replace").splitlines()
        answered = [found for line in lines if (found := _request_in(line))]
        return [one for one in answered if not bucket or f"{one.path}/".startswith(f"/{bucket}/")]

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Nothing listens while the block runs."""
        self.running.stop()
        try:
            yield
        finally:
            self.running.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Connections are accepted while the block runs, and nobody answers."""
        self.running.pause()
        try:
            yield
        finally:
            self.running.resume()

    @property
    def _verify(self) -> str | None:
        return str(self.ca_file) if self.ca_file else None


@dataclass(frozen=True)
class S3Class(StoreClass):
    """A class with a bucket, and what the platform team knows about it."""

    OFFER = "s3"
    CONDITION = "ArtifactStoreReady"

    store: RealObjectStore
    bucket: str
    admin: Keys

    def give_admin(self, keys: Keys) -> None:
        """Write other keys into the admin Secret."""
        change = {"stringData": _words_of(keys)}
        self.api.patch(SECRET, OPERATOR_NAMESPACE, self.secret, change)


@dataclass(frozen=True)
class S3Team(StoreTeam):
    """A team whose servers have prefixes of their own."""

    SECRET_SUFFIX = "artifacts"

    bucket: str
    store: RealObjectStore

    def served(self, name: str = "mlflow", **spec: object) -> KubeObject:
        """Apply a server, say that its prefix was found to be well, and return its Deployment."""
        self.serve(name, metadata=None, **spec)
        self.check(name)
        deployment = self.wait_for(DEPLOYMENT, name)
        self.wait_for_condition("ArtifactStoreReady", status="True", name=name)
        return deployment

    def prefix(self, name: str = "mlflow") -> str:
        """A server's prefix, without a slash at its end."""
        return str(self.placement(name)["artifacts"]["prefix"])

    def statements(self, name: str = "mlflow") -> list[Document]:
        """The statements of the bucket's policy that are about a server's prefix."""
        folder = f"{self.namespace}/{name}/"
        return [found for found in self.store.statements(self.bucket) if folder in json.dumps(found)]

    def users(self, name: str = "mlflow") -> list[str]:
        """The users that were made for a server."""
        pattern = f"mlflow-{self.namespace}-{name}-[0-9a-f]+-[ab]"
        return [user for user in self.store.users() if re.fullmatch(pattern, user)]

    def object_keys(self, name: str = "mlflow") -> list[str]:
        """The keys of the objects below a server's prefix."""
        return self.store.object_keys(self.bucket, f"{self.namespace}/{name}/")

    # The Jobs

    def job(self, name: str = "mlflow", what: str = "check-artifacts") -> KubeObject | None:
        """The Job that tries a server's prefix out, or with `delete-artifacts` the one that empties it."""
        return self.find(JOB, f"{name}-{what}")

    def check(self, name: str = "mlflow") -> None:
        """Say that a server's identity may do what it should, and nothing else."""
        self.end(self.job_pod(name))

    def empty(self, name: str = "mlflow") -> None:
        """Do what the Job of a deleted server does: remove its objects with the server's own keys, and say so."""
        pod = self.job_pod(name, "delete-artifacts")
        self.store.remove(self.bucket, f"{self.namespace}/{name}/", self.keys(name))
        self.end(pod)

    # What its pods can do

    def keys(self, name: str = "mlflow") -> Keys:
        """The keys that a server's pods find."""
        return keys_in(self.secret(name))

    def may(self, action: str, key: str, name: str = "mlflow") -> bool:
        """Whether a server's pods may `put`, `get`, `list` or `delete` at a key, or below it."""
        return may(self.store.client(self.keys(name)), action, self.bucket, key)

    def works(self, name: str = "mlflow") -> bool:
        """Whether a server's pods may write, read and list within its prefix."""
        folder = f"{self.namespace}/{name}/"
        return all(
            self.may(action, key, name)
            for action, key in (("put", f"{folder}tried"), ("get", f"{folder}tried"), ("list", folder))
        )


def keys_in(secret: KubeObject) -> Keys:
    """The keys in a Secret that is mounted in a folder, as AWS's SDKs read them there."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / CREDENTIALS_KEY
        file.write_bytes(base64.b64decode(secret["data"][CREDENTIALS_KEY]))
        found = SharedCredentialProvider(str(file), profile_name="default").load()
        assert found is not None, f"there are no keys in Secret {name_of(secret)}"
        return Keys(found.access_key, found.secret_key, source=f"Secret {name_of(secret)}")


def may(client: "S3Client", action: str, bucket: str, key: str) -> bool:
    """Whether a client may `put`, `get`, `list` or `delete`; fails if something else goes wrong than a denial."""
    try:
        match action:
            case "put":
                client.put_object(Bucket=bucket, Key=key, Body=b"tried")
            case "get":
                client.get_object(Bucket=bucket, Key=key)["Body"].read()
            case "list":
                client.list_objects_v2(Bucket=bucket, Prefix=key)
            case "delete":
                client.delete_object(Bucket=bucket, Key=key)
            case _:
                raise ValueError(f"{action} is no action: put, get, list or delete")
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "NoSuchKey":  # allowed to look, and nothing is there
            return True
        if code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
            return False
        raise
    return True


@contextmanager
def an_object_store(*, tls: bool = True, has_versioning: bool = True) -> Iterator[RealObjectStore]:
    """A new, empty server for the time of the block; classes of ours use it over HTTPS if not told otherwise."""
    with TemporaryDirectory(prefix="versitygw-certificates-") as name:
        folder = Path(name)
        files = ("ca.crt", "server.crt", "server.key")
        for file, text in zip(files, make_certificates("localhost", HOST), strict=True):
            (folder / file).write_text(text)
        with versitygw_server(
            free_port(),
            "root",
            secrets.token_urlsafe(24),
            certificate=(folder / "server.crt", folder / "server.key") if tls else None,
            has_versioning=has_versioning,
        ) as running:
            yield RealObjectStore(running, folder / "ca.crt" if tls else None)


@contextmanager
def an_s3_class(
    api: KubeApi,
    store: RealObjectStore,
    *,
    admin: Keys | None = None,
    bucket: str | None = None,
    is_labelled: bool = True,
    spec: KubeObject | None = None,
    **offer: object,
) -> Iterator[S3Class]:
    """A class with an admin and a bucket of its own, for the time of the block; ``offer`` are fields of `spec.s3`.

    The operator makes the bucket. What is in it afterwards stays there: the server is thrown away at the end.
    """
    keys = admin or replace(store.make_user("admin"), source="the class's admin Secret")
    authorities = {CA_KEY: store.ca} if store.ca else {}
    with admin_and_authorities(api, "s3", _words_of(keys), authorities, is_labelled=is_labelled) as name:
        wanted: KubeObject = {
            "bucket": bucket or name,
            "endpoint": store.endpoint,
            "identity": {"versitygw": {}},
            "adminSecretRef": {"name": name},
            "create": {},
        }
        if store.ca:
            wanted["caConfigMapRef"] = {"name": name}
        with a_class(api, (spec or {}) | {"s3": wanted | offer}) as class_name:
            yield S3Class(api, class_name, name, name, store=store, bucket=str(wanted["bucket"]), admin=keys)


@contextmanager
def an_s3_team(api: KubeApi, class_: S3Class) -> Iterator[S3Team]:
    """A team with a namespace, for the time of the block."""
    with a_team(api) as team:
        yield S3Team(api, team.namespace, class_.name, class_.bucket, class_.store)


@pytest.fixture(scope="session")
def object_store() -> Iterator[RealObjectStore]:
    """A versitygw with TLS; tests that stop it start it again."""
    with an_object_store() as running:
        yield running


@pytest.fixture
def s3_class(api: KubeApi, operators: OperatorHost, object_store: RealObjectStore) -> Iterator[S3Class]:
    """A class whose servers get prefixes in a bucket."""
    with an_s3_class(api, object_store) as class_:
        yield class_


@pytest.fixture
def s3_team(api: KubeApi, s3_class: S3Class) -> Iterator[S3Team]:
    """A team whose servers get prefixes of their own."""
    with an_s3_team(api, s3_class) as team:
        yield team


def _request_in(line: str) -> Request | None:
    """Read a line such as `17:01:47 | vgw | 200 | 317.754µs | 127.0.0.1 | PUT | /bucket | - | versioning=`."""
    words = [word.strip() for word in line.split("|")]
    if len(words) < COLUMNS_OF_A_REQUEST or not words[2].isdigit():
        return None
    return Request(words[5], words[6], int(words[2]), words[-1])


def _must_say_that_nothing_is_there(error: ClientError) -> None:
    if error.response["Error"]["Code"] not in NOTHING_THERE:
        raise error


def _words_of(keys: Keys) -> dict[str, str]:
    return {"accessKeyId": keys.access_key_id, "secretAccessKey": keys.secret_access_key}
