"""A versitygw that runs in the cluster, as whoever develops meets it: stop it, start it, look into it."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from dev.development_cluster import DevelopmentCluster
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.waiting import wait_until
from dev.object_store.admin_api import AdminApi, User
from dev.object_store.clients import s3_client
from dev.object_store.manifests import (
    BUCKET,
    CA_KEY,
    LABELS,
    NAME,
    PORT,
    build_class_spec,
    endpoint_of,
    host_of,
)
from tracking_operator.artifact_store.place import Keys

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

LOOPBACK = "127.0.0.1"
SECONDS_TO_START = 180
SECONDS_TO_STOP = 90
CONNECT_TIMEOUT = 5
LAST_LINES = 20
NOT_THERE = ("NoSuchBucket", "NoSuchBucketPolicy")


@dataclass(frozen=True)
class ClusterObjectStore:
    """A running S3 server, whose admin API is at the same port.

    Attributes:
        namespace: its own; it is called `s3` there.
        root: may do everything, and is no user.
        admin: a user whose role lets it make users, and use all buckets whatever their policies say.
        ca_certificate: of the authority that signed its certificate, PEM text.
        tls: whether it speaks HTTPS, and nothing else.
        bucket: the one that `class_spec` names; the operator makes it.
    """

    cluster: DevelopmentCluster = field(repr=False)
    namespace: str
    root: Keys
    admin: Keys
    ca_certificate: str = field(repr=False)
    tls: bool = True
    bucket: str = BUCKET

    @property
    def endpoint(self) -> str:
        """The URL by which pods reach it."""
        return endpoint_of(self.namespace, tls=self.tls)

    def class_spec(self) -> dict[str, object]:
        """What a TrackingServerClass says in `spec.s3` to use it."""
        return build_class_spec(self.namespace, tls=self.tls)

    def keys(self, prefix: str = "") -> list[str]:
        """The keys of all objects of the bucket below a prefix; none if there is no bucket."""
        with self.client() as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            try:
                return [item["Key"] for page in pages for item in page.get("Contents", [])]
            except ClientError as error:
                _must_be_missing(error)
                return []

    def policy(self) -> dict[str, object]:
        """The bucket's policy; empty if it has none, or if there is no bucket."""
        with self.client() as client:
            try:
                return dict(json.loads(client.get_bucket_policy(Bucket=self.bucket)["Policy"]))
            except ClientError as error:
                _must_be_missing(error)
                return {}

    def users(self) -> list[str]:
        """The access key ids of all users; the admin is one of them, and root is not."""
        with self.admin_api() as api:
            return sorted(api.users())

    @contextmanager
    def client(self, keys: Keys | None = None) -> Iterator["S3Client"]:
        """An S3 client with these keys, or with the admin's, from this machine to the server."""
        with self._forwarded() as (url, ca_file):
            yield s3_client(url, keys or self.admin, ca_file)

    @contextmanager
    def admin_api(self, keys: Keys | None = None) -> Iterator[AdminApi]:
        """What makes and removes users, with these keys, or with the admin's."""
        with self._forwarded() as (url, ca_file):
            yield AdminApi(url, keys or self.admin, ca_file)

    def stop(self) -> None:
        """Shut it down and wait until its pod is gone; its volume stays."""
        self._scale(0)
        wait_until(
            lambda: not self._pods(),
            seconds=SECONDS_TO_STOP,
            otherwise=lambda: f"versitygw in namespace {self.namespace} did not end: {self._pods()}",
            interval=0.2,
        )

    def start(self) -> None:
        """Start it after `stop`, and wait until it answers."""
        self._scale(1)
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        """Wait until it answers here and in pods, by its name, and has its admin.

        Raises:
            ClusterError: not within three minutes; the message has the last lines of its log.
        """
        try:
            self._kubectl("rollout", "status", f"deployment/{NAME}", f"--timeout={SECONDS_TO_START}s")
        except subprocess.CalledProcessError as error:
            raise ClusterError(self._why_not(error.stderr)) from error
        self._wait_until_it_works(self._keep_admin)
        # The node learns of a Service's new address a moment after the pod is ready.
        self._wait_until_it_works(self._connect_by_name)

    def _keep_admin(self) -> None:
        with self.admin_api(self.root) as api:
            api.keep(User(self.admin.access_key_id, self.admin.secret_access_key, "admin"))

    def _connect_by_name(self) -> None:
        """Open a connection to the Service from the server's own pod."""
        connect = f"exec 3<>/dev/tcp/{host_of(self.namespace)}/{PORT}"
        self._kubectl("exec", f"deployment/{NAME}", "--", "timeout", "5", "bash", "-c", connect)

    def _wait_until_it_works(self, use: Callable[[], object]) -> None:
        problem = ""

        def works() -> bool:
            nonlocal problem
            try:
                use()
            except subprocess.CalledProcessError as error:
                problem = error.stderr
            except (BotoCoreError, ClusterError) as error:
                problem = str(error)
            else:
                return True
            return False

        wait_until(works, seconds=SECONDS_TO_START, otherwise=lambda: self._why_not(problem), interval=0.2)

    @contextmanager
    def _forwarded(self) -> Iterator[tuple[str, str | None]]:
        """The URL of a port of this machine, and the path of the authority's certificate, if one is needed."""
        where = ("--namespace", self.namespace, f"--pod-running-timeout={CONNECT_TIMEOUT}s")
        with (
            self.cluster.port_forward(f"service/{NAME}", PORT, *where) as port,
            tempfile.NamedTemporaryFile("w", suffix=f"-{CA_KEY}") as ca,
        ):
            ca.write(self.ca_certificate)
            ca.flush()
            scheme, ca_file = ("https", ca.name) if self.tls else ("http", None)
            yield f"{scheme}://{LOOPBACK}:{port}", ca_file

    def _scale(self, replicas: int) -> None:
        self._kubectl("scale", f"deployment/{NAME}", f"--replicas={replicas}")

    def _pods(self) -> str:
        selector = ",".join(f"{key}={value}" for key, value in LABELS.items())
        return self._kubectl("get", "pods", f"--selector={selector}", "--output=name")

    def _why_not(self, problem: str) -> str:
        events = self._kubectl("events").splitlines()[-LAST_LINES:]
        try:
            log = self._kubectl("logs", f"deployment/{NAME}", f"--tail={LAST_LINES}")
        except subprocess.CalledProcessError as error:
            log = error.stderr
        return "\n".join(
            [
                f"versitygw in namespace {self.namespace} does not answer: {problem.strip()}",
                *events,
                log.strip(),
            ]
        )

    def _kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments)


def _must_be_missing(error: ClientError) -> None:
    """Raise the error again unless it says that there is no such thing."""
    if error.response["Error"]["Code"] not in NOT_THERE:
        raise error
