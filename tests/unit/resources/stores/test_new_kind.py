"""A new kind of store is one file and one entry in the registry: every object follows."""

from typing import cast

import pytest

from tests.unit.controllers.live import PASSED, RUNNING, claim, deployment, pod
from tests.unit.examples import Manifest, plan_of, server
from tests.unit.resources.stores.toy import (
    DATABASE_PORT,
    IDENTITY_PORT,
    OBJECT_PORT,
    toy_artifacts,
    toy_backend,
)
from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server.children.mounted_secrets import references_of
from tracking_operator.controllers.server.workload.condition_results import condition_results_of, observe
from tracking_operator.resources import build_objects
from tracking_operator.resources.client_secret import has_client_secret
from tracking_operator.resources.pod.artifact_jobs import (
    build_artifact_check_job,
    build_artifact_deletion_job,
)
from tracking_operator.resources.pod.environment import reserved
from tracking_operator.resources.pod.migration_job import build_migration_job
from tracking_operator.resources.server_model import ServerModel, model_server
from tracking_operator.resources.stores import registry

DIRECT: Manifest = {"artifactStore": {"proxied": False, "external": {"uri": "s3://unused"}}}
"""Clients reach artifacts by themselves."""


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ServerModel:
    """A server that was placed in the toy stores."""
    backend, artifacts = cast(BackendStoreKind, "toy"), cast(ArtifactStoreKind, "toy")
    monkeypatch.setitem(registry.BACKEND_STORES, backend, toy_backend)
    monkeypatch.setitem(registry.ARTIFACT_STORES, artifacts, toy_artifacts)
    resource = server(DIRECT)
    plan = plan_of(resource)
    return model_server(
        resource,
        plan.placement.updated(backend_store=backend, artifact_store=artifacts),
        plan.chosen.spec,
        version=plan.model.version,
        image=plan.model.image,
        cluster_domain=plan.model.cluster_domain,
        credentials_digest="",
        access=plan.model.access,
    )


def objects(toy: ServerModel) -> dict[tuple[str, str], Manifest]:
    return {(one["kind"], one["metadata"]["name"]): one for one in build_objects(toy)}


def pod_spec(toy: ServerModel) -> Manifest:
    spec: Manifest = objects(toy)["Deployment", "mlflow"]["spec"]["template"]["spec"]
    return spec


def mounts(container: Manifest) -> set[str]:
    """The paths of the toy stores that a container sees."""
    return {one["mountPath"] for one in container["volumeMounts"] if one["mountPath"].startswith("/toy")}


def variables(container: Manifest) -> set[str]:
    return {one["name"] for one in container["env"] if one["name"].startswith("TOY")}


def ports_to(policy: Manifest) -> set[int]:
    """The ports of stores that a policy lets pods out to."""
    ports = {port["port"] for rule in policy["spec"]["egress"] if "to" in rule for port in rule["ports"]}
    return ports & {DATABASE_PORT, OBJECT_PORT, IDENTITY_PORT}


def test_the_pod_that_serves_has_both_stores(toy: ServerModel) -> None:
    (container,) = pod_spec(toy)["containers"]
    assert {"--backend-store-uri=toy://", "--default-artifact-root=toy://box"} <= set(container["args"])
    assert mounts(container) == {"/toy/cache", "/toy/login", "/toy/key"}
    assert variables(container) == {"TOY_HOME", "TOY_BOX"}
    volumes = {one["name"] for one in pod_spec(toy)["volumes"]}
    assert {one["name"] for one in container["volumeMounts"]} == volumes


def test_each_check_before_it_reaches_its_own_store_only(toy: ServerModel) -> None:
    backend, artifacts = pod_spec(toy)["initContainers"]
    assert (backend["command"][-3:-1], mounts(backend)) == (["toy", "/toy"], {"/toy/cache", "/toy/login"})
    assert (artifacts["command"][-2:], mounts(artifacts)) == (["toy", "box"], {"/toy/key"})


def test_its_volume_is_claimed_and_lets_one_pod_at_a_time_run(toy: ServerModel) -> None:
    known = objects(toy)
    (name,) = [name for kind, name in known if kind == "PersistentVolumeClaim"]
    assert name == "mlflow-toy"
    assert known["Deployment", "mlflow"]["spec"]["strategy"]["type"] == "Recreate"


def test_network_policies_let_each_pod_out_to_where_it_has_to_go(toy: ServerModel) -> None:
    ports = {name: ports_to(one) for (kind, name), one in objects(toy).items() if kind == "NetworkPolicy"}
    assert ports == {
        toy.names.workload: {DATABASE_PORT, OBJECT_PORT, IDENTITY_PORT},
        toy.names.migration_policy: {DATABASE_PORT},
        toy.names.artifact_jobs_policy: {OBJECT_PORT, IDENTITY_PORT},
    }


def test_its_jobs_are_made(toy: ServerModel) -> None:
    jobs = (build_migration_job(toy), build_artifact_check_job(toy), build_artifact_deletion_job(toy))
    containers = [job["spec"]["template"]["spec"]["containers"][0] for job in jobs]
    backend, artifacts = {"/toy/cache", "/toy/login"}, {"/toy/key"}
    assert [mounts(one) for one in containers] == [backend, artifacts, artifacts]
    assert variables(containers[0]) == {"TOY_HOME", "TOY_PATIENCE"}


def test_the_account_and_the_clients_are_told(toy: ServerModel) -> None:
    known = objects(toy)
    assert known["ServiceAccount", "mlflow"]["metadata"]["annotations"]["toys.example.com/role"] == "player"
    assert known["ConfigMap", "mlflow-client"]["data"]["TOY_BOX"] == "box"
    assert toy.artifact_root == "toy://box"
    assert not (has_client_secret(toy) and toy.login is None)


def test_its_variables_are_nobody_elses_and_what_webhooks_set_stays(toy: ServerModel) -> None:
    assert "TOY_KEY" in reserved(toy)
    assert any("TOY_TOKEN" in word for word in pod_spec(toy)["containers"][0]["command"])


def test_pods_are_made_anew_for_its_secret(toy: ServerModel) -> None:
    (reference,) = references_of(toy)
    assert (reference.name, reference.field, reference.condition) == (
        "toy-login",
        "spec.toy",
        ConditionType.BACKEND_STORE_READY,
    )


def test_its_condition_is_read_from_where_it_says(toy: ServerModel) -> None:
    started = [deployment(), pod(check=PASSED, server=RUNNING), claim("mlflow-toy")]
    backend, artifacts = stores(toy, started)
    assert (backend.verdict, backend.message) == (Verdict.OK, "The toy database is in use.")
    assert "the toy box" in artifacts.message
    backend, _ = stores(toy, [])
    assert "the first pod that plays" in backend.message


def stores(toy: ServerModel, children: list[Manifest]) -> list[ConditionResult]:
    observed = observe(children, toy)
    return [
        one
        for one in condition_results_of(toy, observed, lambda _: None)
        if one.type in (ConditionType.BACKEND_STORE_READY, ConditionType.ARTIFACT_STORE_READY)
    ]
