"""The admission policy about names of our group, on a real API server, as a tenant meets it."""

from collections.abc import Iterator
from subprocess import CompletedProcess
from uuid import uuid4

import pytest

from tests.cluster.api_manifests import DEADLINE, ApiServer, Cluster, Manifest, tracking_server
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import (
    APPLIED_ANNOTATION,
    RESOLVED_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
    SERVER_LABEL,
    WATCH_LABEL,
)


def config_map(name: str, **metadata: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


def secret(name: str, **metadata: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **metadata}}


@pytest.fixture(scope="module")
def api_server(cluster: Cluster) -> Iterator[ApiServer]:
    """The API server with the policy in force, and a namespace whose ServiceAccount `team` may edit it."""
    namespace = f"reserved-{uuid4().hex[:8]}"
    api = ApiServer(cluster, namespace)
    assert api.kubectl("create", "namespace", namespace).returncode == 0
    api.install()
    for made in (
        ("serviceaccount", "team"),
        ("rolebinding", "team", "--clusterrole=admin", f"--serviceaccount={namespace}:team"),
        ("role", "team", "--verb=*", "--resource=trackingservers.tracking-operator.dev"),
        ("rolebinding", "servers", "--role=team", f"--serviceaccount={namespace}:team"),
    ):
        assert api.kubectl("create", *made).returncode == 0
    probe = config_map("probe", labels={SERVER_LABEL: "mlflow"})
    wait_until(lambda: as_team(api, probe).returncode != 0, DEADLINE, "the policy is in force")
    yield api
    api.kubectl("delete", "namespace", namespace, "--wait=false")


def as_team(api: ApiServer, manifest: Manifest) -> CompletedProcess[str]:
    """What the API server says to the team that creates an object; nothing is stored."""
    user = f"--as=system:serviceaccount:{api.namespace}:team"
    return api.kubectl("create", "--dry-run=server", user, "-f", "-", manifest=manifest)


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        (tracking_server({}, annotations={RESOLVED_ANNOTATION: "{}"}), RESOLVED_ANNOTATION),
        (config_map("theirs", labels={SERVER_LABEL: "mlflow"}), SERVER_LABEL),
        (config_map("theirs", annotations={APPLIED_ANNOTATION: "x"}), APPLIED_ANNOTATION),
        (secret("theirs", labels={WATCH_LABEL: "true", SERVER_LABEL: "mlflow"}), SERVER_LABEL),
    ],
)
def test_a_team_sets_nothing_that_is_the_operator_s(
    api_server: ApiServer, manifest: Manifest, name: str
) -> None:
    said = as_team(api_server, manifest)
    assert said.returncode != 0
    assert f"may not have {name}, because only the operator sets those" in said.stderr


@pytest.mark.parametrize(
    "manifest",
    [
        tracking_server({}),
        tracking_server({}, annotations={ROTATE_CREDENTIALS_ANNOTATION: "now", "theirs": "x"}),
        config_map("theirs", labels={"app": "x"}),
        secret("theirs", labels={WATCH_LABEL: "true"}),
    ],
)
def test_a_team_sets_what_is_for_people(api_server: ApiServer, manifest: Manifest) -> None:
    said = as_team(api_server, manifest)
    assert said.returncode == 0, said.stderr


def test_who_may_write_the_status_passes(api_server: ApiServer) -> None:
    assert api_server.refusal(config_map("ours", labels={SERVER_LABEL: "mlflow"})) is None


def test_a_team_edits_an_object_of_the_operator_that_keeps_its_names(api_server: ApiServer) -> None:
    held = config_map("held", labels={SERVER_LABEL: "mlflow"})
    with api_server.holding(held):
        user = f"--as=system:serviceaccount:{api_server.namespace}:team"
        kept = api_server.kubectl("annotate", user, "--dry-run=server", "configmap/held", "theirs=x")
        changed = api_server.kubectl(
            "label", user, "--dry-run=server", "--overwrite", "configmap/held", f"{SERVER_LABEL}=other"
        )
    assert kept.returncode == 0, kept.stderr
    assert "only the operator sets those" in changed.stderr
