"""The demo on real servers: what its training leaves there, read from the REST API, and who may open what."""

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest

from dev.database import ClusterPostgres
from dev.demo.isolation import require_isolation, try_all_databases
from dev.demo.prefixes import place_of, require_own_prefixes, try_all_prefixes
from dev.demo.server import SERVER, apply_class, apply_sample, make_namespace, remove_class, wait_until_ready
from dev.demo.tracking import COMMIT_TAG, Run, TrackingApi, tracking_api
from dev.demo.training import ALIAS, EXPERIMENT, MODEL, predict, train
from dev.development_cluster import DevelopmentCluster
from dev.ingress import ClusterIngress
from dev.object_store import ClusterObjectStore
from tracking_operator.api.tracking_server import TrackingServer

pytest_plugins = ["tests.cluster_ingress", "tests.cluster_object_store", "tests.cluster_postgres"]

ALPHAS = (0.03, 1.0)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PLOT = "predicted-and-measured.png"
PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def servers(
    cluster: DevelopmentCluster,
    deployed: None,
    cluster_postgres: ClusterPostgres,
    cluster_object_store: ClusterObjectStore,
    cluster_ingress: ClusterIngress,
) -> Iterator[list[TrackingServer]]:
    """Two servers with `spec: {}` of the demo's class, each in a `restricted` namespace of its own."""
    apply_class(cluster)
    namespaces = [f"test-demo-{uuid4().hex[:8]}" for _ in range(2)]
    for namespace in namespaces:
        make_namespace(cluster, namespace)
        apply_sample(cluster, namespace)
    yield [wait_until_ready(cluster, namespace, SERVER) for namespace in namespaces]
    cluster.kubectl("delete", "namespace", *namespaces)
    remove_class(cluster)


@pytest.fixture(scope="module")
def server(cluster: DevelopmentCluster, servers: list[TrackingServer]) -> TrackingServer:
    """One of them, to which two models were logged."""
    train(cluster, servers[0], commit=COMMIT, alphas=ALPHAS)
    return servers[0]


@pytest.fixture(scope="module")
def tracking(cluster: DevelopmentCluster, server: TrackingServer) -> Iterator[TrackingApi]:
    with tracking_api(cluster, server) as api:
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


def test_plots_and_models_lie_under_the_prefix_of_their_server(
    server: TrackingServer, runs: list[Run], cluster_object_store: ClusterObjectStore
) -> None:
    keys = cluster_object_store.keys(place_of(server).folder)
    assert len([key for key in keys if key.endswith(f"/{PLOT}")]) == len(runs)
    assert len([key for key in keys if key.endswith("/MLmodel")]) == len(runs)


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
    printed = train(cluster, server, commit=COMMIT, alphas=[0.1])
    assert f"look at the runs: {server.status.url}/#/experiments/" in printed
    assert ".svc" not in printed, "no browser opens an address of the cluster"
    assert "git" not in printed, "whoever has no git is not told so at each start"
    newest, *before = tracking.runs(EXPERIMENT)
    assert {run.info.run_id for run in before} == {run.info.run_id for run in runs}
    staged = tracking.version_with_alias(MODEL, ALIAS)
    assert (staged.version, staged.run_id) == ("2", newest.info.run_id)
    assert len(tracking.model_versions(MODEL)) == 2


def test_each_server_opens_its_own_database_and_prefix_and_no_other(
    cluster: DevelopmentCluster, servers: list[TrackingServer]
) -> None:
    require_isolation(try_all_databases(cluster, servers, "postgres"))
    attempts = try_all_prefixes(cluster, servers)
    require_own_prefixes(attempts)
    teams = [server.metadata.namespace for server in servers]
    allowed = {(attempt.team, attempt.folder) for attempt in attempts if attempt.refusal is None}
    assert allowed == {(team, f"{team}/{SERVER}/") for team in teams}
    assert len(attempts) == len(teams) * (len(teams) + 1) * 4
