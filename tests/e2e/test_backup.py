"""A backup of a server with a login, and another server that starts from it: real pods, a real PostgreSQL and a real bucket."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from secrets import token_hex

import pytest
from botocore.exceptions import ClientError

from dev.database import ClusterPostgres
from dev.development_cluster import DevelopmentCluster
from dev.object_store import ClusterObjectStore
from tests.e2e.conftest import RESTRICTED
from tests.e2e.mlflow import API, Tracking, assert_no_container_failed, forwarded, wait_until_ready
from tests.kube_api import KubeApi
from tests.operator_fixtures import Team, a_class, a_team, condition_of
from tests.operator_object_store import keys_in
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_BACKUP
from tracking_operator.kube.objects import JOB, NETWORK_POLICY, SECRET, KubeObject
from tracking_operator.stores.s3.tenant import OWN_FOLDER

pytest_plugins = ["tests.cluster_object_store", "tests.cluster_postgres"]

OLD, NEW, BACKUP = "mlflow", "restored", "nightly"
SMALL = {"requests": {"cpu": "50m", "memory": "400Mi"}, "limits": {"memory": "1Gi"}}
SECONDS_TO_START = 240.0
SECONDS_OF_A_BACKUP = 120.0
SECONDS_TO_DELETE = 60.0
SECONDS_OF_A_TRIAL = 240.0


@pytest.fixture(scope="module")
def store(cluster_object_store: ClusterObjectStore) -> ClusterObjectStore:
    """The S3 server, with a bucket that nobody else uses; the operator makes it."""
    return replace(cluster_object_store, bucket=f"ml-artifacts-{token_hex(4)}")


@pytest.fixture
def team(
    api: KubeApi, deployed: None, cluster_postgres: ClusterPostgres, store: ClusterObjectStore
) -> Iterator[Team]:
    """A team whose server has a login."""
    spec = {
        "postgres": cluster_postgres.class_spec(),
        "s3": store.class_spec() | {"bucket": store.bucket, "create": {}},
        "access": {"authentication": {"basic": {}}},
    }
    with a_class(api, spec) as class_name, a_team(api, **RESTRICTED) as team:
        team.apply({"className": class_name, "resources": SMALL})
        yield team


@dataclass(frozen=True)
class Login:
    """Who logs in, as the Secret for clients says."""

    name: str
    password: str

    @classmethod
    def of(cls, team: Team, server: str) -> "Login":
        data = team.get(SECRET, f"{server}-client")["data"]
        found = (
            base64.b64decode(data[f"MLFLOW_TRACKING_{key}"]).decode() for key in ("USERNAME", "PASSWORD")
        )
        return cls(*found)

    def at(self, tracking: Tracking) -> Tracking:
        return replace(tracking, login=(self.name, self.password))


def test_a_server_that_starts_from_a_backup_has_everything_but_the_passwords(
    team: Team, store: ClusterObjectStore, cluster: DevelopmentCluster, cluster_postgres: ClusterPostgres
) -> None:
    wait_until_ready(team, OLD, SECONDS_TO_START)
    old = Login.of(team, OLD)
    with forwarded(cluster, team, OLD) as tracking:
        run = old.at(tracking).log_run("before the backup")
        register(old.at(tracking), run)

    complete = back_up(team)
    status = complete["status"]
    assert (status["runs"], status["objects"]) == (1, 1)
    assert status["size"] > 0
    assert [team.find(kind, f"{OLD}-backup") for kind in (JOB, SECRET, NETWORK_POLICY)] == [None] * 3
    assert_out_of_reach(team, store, status["folder"])
    with forwarded(cluster, team, OLD) as tracking:
        old.at(tracking).log_run("after the backup")

    class_name = team.server(OLD)["spec"]["className"]
    team.apply(
        {"className": class_name, "resources": SMALL, "bootstrap": {"fromBackup": {"name": BACKUP}}}, NEW
    )
    wait_until_ready(team, NEW, SECONDS_TO_START)

    assert team.server(NEW)["status"]["restoredFrom"] == BACKUP
    assert [team.find(kind, f"{NEW}-restore") for kind in (SECRET, NETWORK_POLICY)] == [None] * 2
    new = Login.of(team, NEW)
    assert new.password != old.password
    with forwarded(cluster, team, NEW) as tracking:
        new.at(tracking).assert_has(run, "before the backup")
        assert_registered(new.at(tracking), run)
        assert new.at(tracking).run_ids() == [run]  # and not what was logged after the backup
        assert old.at(tracking).answer("GET", f"{API}/runs/get?run_id={run}").status == 401
    assert_no_container_failed(team, NEW)

    team.api.delete(TRACKING_SERVER_BACKUP, team.namespace, BACKUP)
    team.wait_until_gone(TRACKING_SERVER_BACKUP, BACKUP, SECONDS_TO_DELETE)
    assert store.keys(f"{OWN_FOLDER}/backups/") == []
    with forwarded(cluster, team, OLD) as tracking:
        old.at(tracking).assert_has(run, "before the backup")
    assert_planned_and_tried(team, cluster_postgres)


def assert_planned_and_tried(team: Team, postgres: ClusterPostgres) -> None:
    """What a plan has made is restored into a database of its own, which is gone afterwards."""
    plan = {"schedule": "@yearly", "verifyEvery": "1h"}
    team.api.patch(TRACKING_SERVER, team.namespace, OLD, {"spec": {"maintenance": {"backup": plan}}})

    def is_planned(server: KubeObject) -> bool:
        return bool((server["status"].get("backups") or {}).get("nextAt"))

    planned = team.wait_until_so(TRACKING_SERVER, OLD, is_planned, "the plan is known", SECONDS_OF_A_BACKUP)
    due = planned["status"]["backups"] | {"nextAt": "2020-01-01T00:00:00Z"}
    team.api.patch_status(TRACKING_SERVER, team.namespace, OLD, {"backups": due})

    def is_restorable(server: KubeObject) -> bool:
        name = server["status"]["backups"].get("lastComplete")
        backup = team.find(TRACKING_SERVER_BACKUP, name) if name else None
        return backup is not None and (condition_of(backup, "Restorable") or {}).get("status") == "True"

    server = team.wait_until_so(
        TRACKING_SERVER, OLD, is_restorable, "the planned backup was restored for a trial", SECONDS_OF_A_TRIAL
    )
    assert (condition_of(server, "BackedUp") or {})["status"] == "True"
    backup = team.get(TRACKING_SERVER_BACKUP, server["status"]["backups"]["lastComplete"])
    assert backup["status"]["runs"] == 2
    assert [team.find(kind, f"{OLD}-trial") for kind in (JOB, SECRET, NETWORK_POLICY)] == [None] * 3
    assert team.find(SECRET, f"{OLD}-trial-database") is None
    left = postgres.query(
        "SELECT datname FROM pg_database WHERE datname LIKE 'trial%' UNION SELECT rolname FROM pg_roles WHERE rolname LIKE 'trial%'"
    )
    assert left == []


def back_up(team: Team) -> KubeObject:
    """Take a backup; return it when it is complete."""
    team.api.apply(
        {
            "apiVersion": API_VERSION,
            "kind": "TrackingServerBackup",
            "metadata": {"name": BACKUP, "namespace": team.namespace},
            "spec": {"serverRef": {"name": OLD}},
        }
    )

    def is_complete(backup: KubeObject) -> bool:
        return (condition_of(backup, "Complete") or {}).get("status") == "True"

    return team.wait_until_so(
        TRACKING_SERVER_BACKUP, BACKUP, is_complete, "the backup is complete", SECONDS_OF_A_BACKUP
    )


def register(tracking: Tracking, run: str) -> None:
    """Register the run's artifact as a model, with an alias."""
    tracking.call("POST", "/registered-models/create", {"name": "model"})
    source = f"mlflow-artifacts:/0/{run}/artifacts/note.txt"
    tracking.call("POST", "/model-versions/create", {"name": "model", "source": source, "run_id": run})
    tracking.call("POST", "/registered-models/alias", {"name": "model", "alias": "champion", "version": "1"})


def assert_registered(tracking: Tracking, run: str) -> None:
    """The model is there by its alias, and leads to the artifact."""
    found = tracking.call("GET", "/registered-models/alias?name=model&alias=champion")["model_version"]
    assert (found["version"], found["run_id"]) == ("1", run)
    place = tracking.call("GET", "/model-versions/get-download-uri?name=model&version=1")["artifact_uri"]
    assert json.dumps(place).endswith(f'/0/{run}/artifacts/note.txt"')


def assert_out_of_reach(team: Team, store: ClusterObjectStore, folder: str) -> None:
    """The server's own keys can neither read, list, overwrite nor delete what is stored."""
    stored = store.keys(folder)
    assert f"{folder}manifest.json" in stored
    with store.client(keys_in(team.get(SECRET, f"{OLD}-artifacts"))) as client:
        refused = []
        for key in stored:
            for attempt in (
                lambda key=key: client.get_object(Bucket=store.bucket, Key=key),
                lambda key=key: client.put_object(Bucket=store.bucket, Key=key, Body=b"mine"),
                lambda key=key: client.delete_object(Bucket=store.bucket, Key=key),
            ):
                with pytest.raises(ClientError) as denied:
                    attempt()
                refused.append(denied.value.response["Error"]["Code"])
        with pytest.raises(ClientError) as denied:
            client.list_objects_v2(Bucket=store.bucket, Prefix=folder)
        refused.append(denied.value.response["Error"]["Code"])
    assert set(refused) == {"AccessDenied"}, refused
    assert store.keys(folder) == stored
