"""The demo's training on a real server: what it leaves there, read from the server's REST API."""

import json
import re
from collections.abc import Iterator
from uuid import uuid4

import pytest

from dev.demo.server import make_namespace, wait_until_ready
from dev.demo.tracking import COMMIT_TAG, Run, TrackingApi, tracking_api
from dev.demo.training import ALIAS, EXPERIMENT, MODEL, predict, train
from dev.development_cluster import DevelopmentCluster
from tracking_operator.api.tracking_server import TrackingServer

ALPHAS = (0.03, 1.0)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PLOT = "predicted-and-measured.png"
PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def server(cluster: DevelopmentCluster, deployed: None) -> Iterator[TrackingServer]:
    """A server with `spec: {}` in a `restricted` namespace, to which two models were logged."""
    namespace = f"test-demo-{uuid4().hex[:8]}"
    make_namespace(cluster, namespace)
    manifest = {
        "apiVersion": "tracking-operator.dev/v1alpha1",
        "kind": "TrackingServer",
        "metadata": {"name": "mlflow", "namespace": namespace},
        "spec": {},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    ready = wait_until_ready(cluster, namespace, "mlflow")
    train(cluster, ready, commit=COMMIT, alphas=ALPHAS)
    yield ready
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def tracking(cluster: DevelopmentCluster, server: TrackingServer) -> Iterator[TrackingApi]:
    with tracking_api(cluster, server.metadata.namespace, server.metadata.name) as api:
        yield api


@pytest.fixture(scope="module")
def runs(tracking: TrackingApi) -> list[Run]:
    """The runs of the first training, best first."""
    return sorted(tracking.runs(EXPERIMENT), key=lambda run: run.metrics["rmse"])


def test_each_model_is_a_finished_run_with_its_parameters(runs: list[Run]) -> None:
    assert [run.info.status for run in runs] == ["FINISHED"] * len(ALPHAS)
    assert sorted(float(run.params["alpha"]) for run in runs) == sorted(ALPHAS)
    assert [run.params["test_size"] for run in runs] == ["0.25"] * len(ALPHAS)


def test_the_metrics_tell_a_model_that_learned_from_one_that_was_penalised_to_a_constant(
    runs: list[Run],
) -> None:
    learned, constant = runs
    assert learned.metrics["rmse"] < constant.metrics["rmse"]
    assert learned.metrics["r2"] > 0.5
    assert constant.metrics["r2"] < 0.1


def test_each_run_has_a_plot(tracking: TrackingApi, runs: list[Run]) -> None:
    for run in runs:
        assert [file.path for file in tracking.artifacts(run)] == [PLOT]
        assert tracking.artifact(run, PLOT).startswith(PNG)


def test_each_run_has_its_model_with_signature_and_example(tracking: TrackingApi, runs: list[Run]) -> None:
    for run in runs:
        (model,) = run.outputs.model_outputs
        files = {file.path for file in tracking.model_files(model.model_id)}
        assert {"MLmodel", "model.skops", "input_example.json", "requirements.txt"} <= files


def test_each_run_names_the_commit_of_the_code(runs: list[Run]) -> None:
    assert {run.tags.get(COMMIT_TAG, "") for run in runs} == {COMMIT}


def test_the_best_model_is_registered_and_has_the_alias(tracking: TrackingApi, runs: list[Run]) -> None:
    staged = tracking.version_with_alias(MODEL, ALIAS)
    assert (staged.version, staged.status, staged.run_id) == ("1", "READY", runs[0].info.run_id)


def test_another_pod_predicts_with_the_model_of_that_alias(
    cluster: DevelopmentCluster, server: TrackingServer, runs: list[Run]
) -> None:
    printed = predict(cluster, server)
    assert f"trained by run {runs[0].info.run_id}" in printed
    pairs = re.findall(r"predicted (\S+) %  measured (\S+) %", printed)
    assert len(pairs) == 3
    assert [float(predicted) for predicted, _ in pairs] == pytest.approx(
        [float(measured) for _, measured in pairs], abs=1.5
    )


def test_training_again_adds_runs_and_moves_the_alias_to_a_new_version(
    cluster: DevelopmentCluster, server: TrackingServer, tracking: TrackingApi, runs: list[Run]
) -> None:
    train(cluster, server, commit=COMMIT, alphas=[0.1])
    newest, *before = tracking.runs(EXPERIMENT)
    assert {run.info.run_id for run in before} == {run.info.run_id for run in runs}
    staged = tracking.version_with_alias(MODEL, ALIAS)
    assert (staged.version, staged.run_id) == ("2", newest.info.run_id)
    assert len(tracking.model_versions(MODEL)) == 2
