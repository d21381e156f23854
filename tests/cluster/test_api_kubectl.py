"""What people see of the API through kubectl: columns, short names, the category, ``explain``, and what is stored."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from tests.cluster.api_manifests import (
    ApiServer,
    Cluster,
    Manifest,
    tracking_server,
    tracking_server_class,
)
from tracking_operator.api.tracking_server import TrackingServer

SAMPLES = sorted(
    path
    for path in (Path(__file__).parents[2] / "manifests" / "samples").glob("*.yaml")
    if path.name != "kustomization.yaml"
)

CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "AsExpected",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
STATUS: Manifest = {
    "version": "3.17.2",
    "url": "http://mlflow.team-a.svc",
    "className": "standard",
    "replicas": 2,
    "conditions": [CONDITION],
}
CLASS_STATUS = {"versions": ["3.16.1", "3.17.2"], "defaultVersion": "3.17.2", "conditions": [CONDITION]}


@pytest.fixture(scope="module")
def api_server(cluster: Cluster) -> Iterator[ApiServer]:
    """The API server with the CRDs, and a namespace of its own with one server in it."""
    namespace = f"api-kubectl-{uuid4().hex[:8]}"
    api = ApiServer(cluster, namespace)
    created = api.kubectl("create", "namespace", namespace)
    assert created.returncode == 0, created.stderr
    api.install()
    a_class = tracking_server_class({"access": {"authentication": {"basic": {}}}}, name=namespace)
    with api.holding(tracking_server({}), status=STATUS), api.holding(a_class, status=CLASS_STATUS):
        yield api
    api.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ("get", "trk"),
            ("NAME", "READY", "REASON", "VERSION", "URL", "AGE", "True", "AsExpected", "3.17.2"),
            id="short name",
        ),
        pytest.param(
            ("get", "trk", "-o", "wide"), ("CLASS", "REPLICAS", "standard", " 2 "), id="wide columns"
        ),
        pytest.param(("get", "mlflow"), ("http://mlflow.team-a.svc",), id="category"),
        pytest.param(
            ("get", "trkc"),
            ("READY", "REASON", "DEFAULT", "VERSION", "VERSIONS", "3.17.2", '["3.16.1","3.17.2"]'),
            id="short name of the class",
        ),
        pytest.param(
            ("explain", "trackingserver.spec.backendStore.sqlite.size"),
            ("The size of the volume.", "1Gi"),
            id="explain a field",
        ),
        pytest.param(
            ("explain", "trackingserver"), ("An MLflow tracking server for one team",), id="explain the kind"
        ),
        pytest.param(
            ("explain", "trackingserverclass.spec.limits"), ("maxReplicas",), id="explain the class"
        ),
        pytest.param(
            ("wait", "--for=condition=Ready", "trk/mlflow", "--timeout=10s"), ("condition met",), id="wait"
        ),
    ],
)
def test_kubectl_prints(api_server: ApiServer, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    result = api_server.kubectl(*arguments)
    assert result.returncode == 0, result.stderr
    for word in words:
        assert word in result.stdout


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_sample_is_let_in(api_server: ApiServer, path: Path) -> None:
    for sample in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        sample["metadata"].pop("namespace", None)
        assert api_server.refusal(sample) is None


def test_nothing_is_defaulted_into_a_stored_object(api_server: ApiServer) -> None:
    assert api_server.stored(tracking_server({}))["spec"] == {}


def test_a_stored_object_can_be_read(api_server: ApiServer) -> None:
    server = TrackingServer.model_validate(api_server.stored(tracking_server({})))
    assert server.metadata.name == "mlflow"
    assert server.metadata.generation == 1
    assert [condition.reason for condition in server.status.conditions] == ["AsExpected"]
    assert server.spec.backend_store.kind is None


def test_fields_set_to_null_are_not_stored(api_server: ApiServer) -> None:
    manifest = tracking_server({"suspend": None, "backendStore": {"sqlite": None}}, name="null")
    with api_server.holding(manifest):
        spec = api_server.stored(manifest)["spec"]
    assert spec == {"backendStore": {}}


def test_owners_of_one_variable_each_do_not_take_the_others(api_server: ApiServer) -> None:
    """Lists that people own together are maps: server-side apply merges them by name."""
    for manager, variable in (("team", "A"), ("platform", "B")):
        manifest = tracking_server(
            {"podTemplate": {"env": [{"name": variable, "value": "1"}]}}, name="shared"
        )
        applied = api_server.kubectl(
            "apply", "--server-side", f"--field-manager={manager}", "-f", "-", manifest=manifest
        )
        assert applied.returncode == 0, applied.stderr
    env = api_server.stored(tracking_server({}, name="shared"))["spec"]["podTemplate"]["env"]
    assert [variable["name"] for variable in env] == ["A", "B"]
