"""A prefix of the server's own in a bucket: used through the server and around it, rotated, out of reach, and taken away."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from secrets import token_hex, token_urlsafe
from uuid import uuid4

import pytest

from dev.database import ClusterPostgres
from dev.demo.prefixes import require_own_prefixes, try_all_prefixes
from dev.development_cluster import DevelopmentCluster
from dev.object_store import ClusterObjectStore
from dev.object_store.admin_api import User
from tests.e2e.conftest import RESTRICTED
from tests.e2e.mlflow import (
    API,
    ARTIFACTS,
    BEGIN_WHEN_LET_IN,
    SECONDS_TO_READY,
    age_of,
    assert_no_container_failed,
    assert_says_nothing_of,
    clients,
    forwarded,
    output_of,
    start_pod,
    staying_ready,
    uids,
    wait_until_ready,
)
from tests.kube_api import KubeApi
from tests.operator_fixtures import Team, a_class, a_team, condition_of
from tests.operator_object_store import keys_in
from tests.waiting import wait_until
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import DEPLOYMENT, SECRET, KubeObject
from tracking_operator.stores.s3.bucket_address import Keys
from tracking_operator.stores.s3.tenant import OWN_FOLDER, mark_key

pytest_plugins = ["tests.cluster_object_store", "tests.cluster_postgres"]

PROXIED, DIRECT = "mlflow", "direct"
SMALL = {"requests": {"cpu": "50m", "memory": "400Mi"}, "limits": {"memory": "1Gi"}}

SECONDS_TO_START = 400.0
"""For four pods, three migrations and three checks of prefixes, all at once."""
SECONDS_TO_NOTICE = 10.0
SECONDS_OF_OUTAGE = 30.0
SECONDS_TO_ROTATE = 240.0
"""The old keys work for two minutes after the new ones were written."""
SECONDS_TO_DELETE = 240.0
SECONDS_FOR_A_LARGE_ARTIFACT = 180.0
LARGE = 200 * 2**20

LOG_AND_READ_BACK = """
import json, os, pathlib, mlflow
from sklearn.linear_model import LinearRegression

folder = pathlib.Path("/tmp/results")
(folder / "plots").mkdir(parents=True)
(folder / "summary.txt").write_text("all is well")
(folder / "plots" / "one.svg").write_text("<svg/>")
mlflow.set_experiment("prefix")
with mlflow.start_run() as run:
    mlflow.log_text("hello", "note.txt")
    mlflow.log_artifacts(str(folder), "results")
    model = mlflow.sklearn.log_model(
        LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]), name="line", pip_requirements=["scikit-learn"]
    )

back = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="results"))
print(json.dumps(dict(
    note=mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/note.txt"),
    files={str(file.relative_to(back)): file.read_text() for file in back.rglob("*.*")},
    predicted=float(mlflow.sklearn.load_model(model.model_uri).predict([[2.0]])[0]),
    root=run.info.artifact_uri,
    settings=[name for name in os.environ if name.startswith("AWS_") or "S3" in name],
)))
"""

UP_AND_DOWN = f"""
import hashlib, json, os, pathlib, time, mlflow

def digest(file):
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

file = pathlib.Path("/tmp/large.bin")
file.write_bytes(os.urandom({LARGE}))
with mlflow.start_run() as run:
    begun = time.monotonic()
    mlflow.log_artifact(str(file))
    up = time.monotonic()
back = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=file.name)
down = time.monotonic()
print(json.dumps(dict(
    root=run.info.artifact_uri, size=os.path.getsize(back), is_equal=digest(file) == digest(back),
    seconds_up=round(up - begun, 1), seconds_down=round(down - up, 1),
)))
"""

UP_AND_DOWN_AGAIN_AND_AGAIN = f"""{BEGIN_WHEN_LET_IN}
import json, os, pathlib
url = os.environ["MLFLOW_TRACKING_URI"] + "{ARTIFACTS}/load/note.txt"
answers, failures = 0, []
begin_when_let_in(os.environ["MLFLOW_TRACKING_URI"] + "{API}/experiments/get?experiment_id=0")
while not pathlib.Path("/tmp/stop").exists() and len(failures) < 10:
    content = str(answers).encode()
    try:
        for method, body in (("PUT", content), ("GET", None)):
            request = urllib.request.Request(url, data=body, method=method)
            with urllib.request.urlopen(request, timeout=30) as answer:
                found = answer.read()
        if found != content:
            failures.append(f"put {{content!r}}, got {{found!r}}")
        answers += 1
    except Exception as error:
        failures.append(f"{{error!r}} {{getattr(error, 'fp', None) and error.fp.read()}}")
    time.sleep(0.2)
print(json.dumps(dict(answers=answers, failures=failures)))
"""


@dataclass(frozen=True)
class Servers:
    """Two teams: one with two pods that proxy; the other with one that does, and one whose clients go to S3 themselves."""

    team: Team
    other: Team


@pytest.fixture(scope="module")
def store(cluster_object_store: ClusterObjectStore) -> ClusterObjectStore:
    """The S3 server, with a bucket that nobody else uses; the operator makes it."""
    return replace(cluster_object_store, bucket=f"ml-artifacts-{token_hex(4)}")


@pytest.fixture(scope="module")
def class_name(
    api: KubeApi, deployed: None, cluster_postgres: ClusterPostgres, store: ClusterObjectStore
) -> Iterator[str]:
    """A class with a PostgreSQL, and a bucket that keeps versions."""
    bucket = {"bucket": store.bucket, "create": {"versioning": True}}
    spec = {"postgres": cluster_postgres.class_spec(), "s3": store.class_spec() | bucket}
    with a_class(api, spec) as name:
        yield name


@pytest.fixture(scope="module")
def servers(api: KubeApi, class_name: str) -> Iterator[Servers]:
    """All servers that tests share, Ready; they start together."""
    with a_team(api, **RESTRICTED) as team, a_team(api, **RESTRICTED) as other:
        small = {"className": class_name, "resources": SMALL}
        team.apply({"className": class_name, "replicas": 2})
        other.apply(small)
        other.apply(small | {"artifactStore": {"s3": {}, "proxied": False}}, DIRECT)
        for owner, name in ((team, PROXIED), (other, PROXIED), (other, DIRECT)):
            wait_until_ready(owner, name, SECONDS_TO_START)
        yield Servers(team, other)


def test_clients_without_keys_log_and_read_artifacts_that_lie_under_the_prefix(
    servers: Servers, store: ClusterObjectStore
) -> None:
    team = servers.team
    assert team.server()["status"]["artifactRoot"] == f"s3://{store.bucket}/{team.namespace}/{PROXIED}"
    elsewhere = outside(store, team)

    found = run_client(team, LOG_AND_READ_BACK)

    assert found["note"] == "hello"
    assert found["files"] == {"summary.txt": "all is well", "plots/one.svg": "<svg/>"}
    assert found["predicted"] == pytest.approx(5.0)
    assert found["settings"] == []
    assert found["root"].startswith("mlflow-artifacts:/")
    files = {key.rpartition("/")[2] for key in store.keys(folder(team))}
    assert {"note.txt", "summary.txt", "one.svg", "MLmodel"} <= files
    assert outside(store, team) == elsewhere


def test_each_servers_keys_open_its_own_prefix_and_nothing_else(
    servers: Servers, cluster: DevelopmentCluster
) -> None:
    all_three = [
        TrackingServer.model_validate(live)
        for live in (servers.team.server(), servers.other.server(), servers.other.server(DIRECT))
    ]

    attempts = try_all_prefixes(cluster, all_three)

    require_own_prefixes(attempts)
    allowed = [attempt for attempt in attempts if attempt.refusal is None]
    assert (len(allowed), len(attempts)) == (3 * 4, 3 * 4 * 4)


def test_a_large_artifact_goes_through_the_server_within_its_memory_limit(servers: Servers) -> None:
    team = servers.team
    before = uids(team)

    found = run_client(team, UP_AND_DOWN, SECONDS_FOR_A_LARGE_ARTIFACT)

    assert (found["size"], found["is_equal"]) == (LARGE, True)
    assert found["root"].startswith("mlflow-artifacts:/")
    assert uids(team) == before
    assert_no_container_failed(team)


def test_a_large_artifact_goes_straight_to_the_store_where_the_server_does_not_proxy(
    servers: Servers, store: ClusterObjectStore
) -> None:
    other = servers.other

    found = run_client(other, UP_AND_DOWN, SECONDS_FOR_A_LARGE_ARTIFACT, settings_of_direct_clients())

    assert (found["size"], found["is_equal"]) == (LARGE, True)
    assert found["root"].startswith(f"s3://{store.bucket}/{folder(other, DIRECT)}")
    assert any(key.endswith("/large.bin") for key in store.keys(folder(other, DIRECT)))
    assert_no_container_failed(other, DIRECT)


def test_an_outage_of_the_store_is_reported_and_restarts_nobody(
    servers: Servers, store: ClusterObjectStore, class_name: str, cluster: DevelopmentCluster
) -> None:
    team = servers.team
    before = uids(team)
    with forwarded(cluster, team) as tracking:
        run = tracking.log_run("before the outage")

    with stopped(store):
        wait_for_class(team.api, class_name, "False", "StoreUnreachable")
        failed = team.wait_for_condition(
            "ArtifactStoreReady", status="False", reason="StoreUnreachable", seconds=SECONDS_TO_NOTICE
        )
        assert store.endpoint in failed["message"]
        wait_until(
            lambda: age_of(team, "ArtifactStoreReady") >= SECONDS_OF_OUTAGE,
            2 * SECONDS_OF_OUTAGE,
            "half a minute",
        )
        assert uids(team) == before

    wait_for_class(team.api, class_name, "True", "AsExpected")
    wait_until_ready(team, seconds=SECONDS_TO_NOTICE)
    with forwarded(cluster, team) as tracking:
        tracking.assert_has(run, "before the outage")
    assert uids(team) == before
    assert_no_container_failed(team)


def test_an_external_store_is_tried_out_before_the_server_starts(
    servers: Servers, class_name: str, store: ClusterObjectStore, cluster: DevelopmentCluster
) -> None:
    other, name = servers.other, "external"
    with a_bucket_of_somebody_else(store) as (bucket, keys):
        wrong = replace(keys, secret_access_key="not-the-secret-of-anybody")
        make_secret(other, store, wrong)
        external = {"uri": f"s3://{bucket}/of/others", "credentialsSecretRef": {"name": "keys"}}
        wanted = {"className": class_name, "artifactStore": {"external": external}, "resources": SMALL}
        other.apply(wanted, name)
        refused = other.wait_for_condition(
            "ArtifactStoreReady", status="False", reason="LoginRefused", name=name, seconds=SECONDS_TO_READY
        )
        assert "SignatureDoesNotMatch" in refused["message"]
        assert "spec.artifactStore.external.credentialsSecretRef" in refused["message"]
        assert wrong.secret_access_key not in refused["message"]

        change = {"stringData": {"secretAccessKey": keys.secret_access_key}}
        other.patch(SECRET, change, "keys")
        wait_until_ready(other, name)
        with forwarded(cluster, other, name) as tracking:
            run = tracking.log_run("in a bucket of somebody else")
            tracking.assert_has(run, "in a bucket of somebody else")
        assert replace(store, bucket=bucket).keys("of/others/")
        other.delete_server(name)
        other.wait_until_gone(TRACKING_SERVER, name, SECONDS_TO_DELETE)


def test_keys_rotate_under_load_without_a_failed_request(
    servers: Servers, cluster: DevelopmentCluster, store: ClusterObjectStore
) -> None:
    team = servers.team
    wait_until_ready(team)
    before, old, revision = uids(team), keys(team), revision_of(team)

    with clients(team, cluster, UP_AND_DOWN_AGAIN_AND_AGAIN) as seen, staying_ready(team):
        metadata = {"annotations": {"tracking-operator.dev/rotate-credentials": uuid4().hex}}
        team.patch_server({"metadata": metadata})
        team.wait_for_condition(
            "ArtifactStoreReady", status="True", reason="RotatingCredentials", seconds=SECONDS_TO_READY
        )
        team.wait_for_condition(
            "ArtifactStoreReady", status="True", reason="AsExpected", seconds=SECONDS_TO_ROTATE
        )

    assert seen["failures"] == []
    assert seen["answers"] >= 10, seen
    new = keys(team)
    assert new.access_key_id != old.access_key_id
    assert users(store, team) == [new.access_key_id]
    assert len(uids(team)) == 2
    assert not before & uids(team)
    assert revision_of(team) == revision + 1
    assert_no_container_failed(team)
    for known in (old, new):
        assert_says_nothing_of(known.secret_access_key, team)


def test_delete_takes_objects_user_statements_and_mark_and_leaves_the_neighbour_alone(
    servers: Servers, store: ClusterObjectStore
) -> None:
    other = servers.other
    assert traces(store, other, DIRECT).keys() == {"objects", "versions", "users", "statements", "mark"}
    neighbours = [traces(store, servers.team), traces(store, other)]

    other.patch_server({"spec": {"deletionPolicy": "Delete"}}, DIRECT)
    other.delete_server(DIRECT)
    other.wait_until_gone(TRACKING_SERVER, DIRECT, SECONDS_TO_DELETE)

    assert traces(store, other, DIRECT) == {}
    assert [traces(store, servers.team), traces(store, other)] == neighbours


def test_a_successor_of_the_same_name_reads_what_was_retained(
    servers: Servers, class_name: str, store: ClusterObjectStore, cluster: DevelopmentCluster
) -> None:
    other = servers.other
    with forwarded(cluster, other) as tracking:
        run = tracking.log_run("kept")
    before, old = traces(store, other), keys(other)

    other.delete_server()
    other.wait_until_gone(TRACKING_SERVER, PROXIED, SECONDS_TO_DELETE)
    left = {what: before[what] for what in ("objects", "versions", "mark")}
    assert traces(store, other) == left

    other.apply({"className": class_name, "resources": SMALL})
    wait_until_ready(other)
    with forwarded(cluster, other) as tracking:
        tracking.assert_has(run, "kept")
    assert keys(other).secret_access_key != old.secret_access_key


# In the bucket


def folder(team: Team, name: str = PROXIED) -> str:
    """A server's prefix, with the slash at its end."""
    return f"{team.namespace}/{name}/"


def outside(store: ClusterObjectStore, team: Team) -> list[str]:
    """All objects but those of a team's server and the operator's own."""
    everything = store.keys()
    return [key for key in everything if not key.startswith((folder(team), f"{OWN_FOLDER}/"))]


def traces(store: ClusterObjectStore, team: Team, name: str = PROXIED) -> dict[str, list[str]]:
    """What the object store has of a server; nothing is left out but what is empty."""
    prefix = folder(team, name)
    listed = store.policy().get("Statement", [])
    assert isinstance(listed, list)
    statements = [json.dumps(one) for one in listed]
    found = {
        "objects": store.keys(prefix),
        "versions": versions(store, prefix),
        "users": users(store, team, name),
        "statements": [one for one in statements if prefix in one],
        "mark": store.keys(mark_key(prefix.rstrip("/"))),
    }
    return {what: some for what, some in found.items() if some}


def versions(store: ClusterObjectStore, prefix: str) -> list[str]:
    """All versions and delete markers below a prefix."""
    with store.client() as client:
        pages = list(
            client.get_paginator("list_object_versions").paginate(Bucket=store.bucket, Prefix=prefix)
        )
    return [
        f"{one['Key']} {one['VersionId']}"
        for page in pages
        for one in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
    ]


def users(store: ClusterObjectStore, team: Team, name: str = PROXIED) -> list[str]:
    """The users that were made for a server; a user's name is its access key."""
    return [user for user in store.users() if user.startswith(f"mlflow-{team.namespace}-{name}-")]


@contextmanager
def stopped(store: ClusterObjectStore) -> Iterator[None]:
    """Nobody answers at the class's address until the end of the block."""
    store.stop()
    try:
        yield
    finally:
        store.start()


@contextmanager
def a_bucket_of_somebody_else(store: ClusterObjectStore) -> Iterator[tuple[str, Keys]]:
    """A bucket that no class names, and the keys of a user who may use it."""
    bucket = f"elsewhere-{token_hex(4)}"
    user = User(f"somebody-{token_hex(4)}", token_urlsafe(24))
    arn = f"arn:aws:s3:::{bucket}"
    statement = {"Effect": "Allow", "Principal": {"AWS": [user.access_key_id]}, "Action": "s3:*"}
    statement["Resource"] = [arn, f"{arn}/*"]
    with store.admin_api() as admin:
        admin.keep(user)
    with store.client() as client:
        client.create_bucket(Bucket=bucket)
        client.put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        )
    yield bucket, user.keys
    with store.admin_api() as admin:
        admin.remove(user.access_key_id)


# In the cluster


def make_secret(team: Team, store: ClusterObjectStore, keys: Keys) -> None:
    """Make the Secret of an external store: keys, address, and the authority that the server shall trust."""
    contents = {
        "accessKeyId": keys.access_key_id,
        "secretAccessKey": keys.secret_access_key,
        "MLFLOW_S3_ENDPOINT_URL": store.endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CA_BUNDLE": "/etc/mlflow/artifact-store/ca.crt",
        "ca.crt": store.ca_certificate,
    }
    labels = {"tracking-operator.dev/watch": "true"}
    metadata = {"name": "keys", "namespace": team.namespace, "labels": labels}
    team.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": contents})


def run_client(
    team: Team, script: str, seconds: float = SECONDS_TO_READY, settings: KubeObject | None = None
) -> KubeObject:
    """Run Python in a pod of the team's, and return what it printed last."""
    start_pod(team, "client", ["python", "-c", script], **(settings or {}))
    return dict(json.loads(output_of(team, "client", seconds).splitlines()[-1]))


def settings_of_direct_clients() -> KubeObject:
    """What a pod says to reach the object store itself: address and keys by `envFrom`, and the CA, which is a file."""
    return {
        "envFrom": [
            {"configMapRef": {"name": f"{DIRECT}-client"}},
            {"secretRef": {"name": f"{DIRECT}-client"}},
        ],
        "env": [
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 - the pod's own
            {"name": "GIT_PYTHON_REFRESH", "value": "quiet"},
            {"name": "AWS_CA_BUNDLE", "value": "/etc/artifacts/ca.crt"},
        ],
        "volumeMounts": [{"name": "ca", "mountPath": "/etc/artifacts", "readOnly": True}],
        "volumes": [
            {
                "name": "ca",
                "secret": {
                    "secretName": f"{DIRECT}-artifacts",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                },
            }
        ],
    }


def wait_for_class(api: KubeApi, name: str, status: str, reason: str) -> None:
    """Wait until the class says this of its bucket."""

    def found() -> KubeObject:
        return condition_of(api.get(TRACKING_SERVER_CLASS, None, name), "ArtifactStoreReady") or {}

    wait_until(
        lambda: (found().get("status"), found().get("reason")) == (status, reason),
        SECONDS_TO_NOTICE,
        lambda: f"{status} {reason}; it is {found()}",
    )


def keys(team: Team) -> Keys:
    """The keys of a server's pods."""
    return keys_in(team.get(SECRET, f"{PROXIED}-artifacts"))


def revision_of(team: Team) -> int:
    """How often the Deployment's pods were made anew."""
    annotations = team.get(DEPLOYMENT, PROXIED)["metadata"]["annotations"]
    return int(annotations["deployment.kubernetes.io/revision"])
