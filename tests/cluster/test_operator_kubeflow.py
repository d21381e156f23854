"""What Kubeflow is told of a client, on a real API server: a definition of PodDefaults, and a ConfigMap that others write, too."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.test_operator_clients import MlflowWithClients, grant, wait_for_reason
from tests.cluster.test_operator_login import Mlflow, begun, contents
from tests.kube_api import KubeApi, Refused
from tests.operator_fixtures import RunningOperator, Team, a_class, a_team
from tests.service_proxy import ServiceProxy
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.operator_admission import LAUNCHER, LAUNCHER_KEY, PIPELINES_SECRET
from tracking_operator.controllers.kinds import POD_DEFAULT, TRACKING_SERVER_CLIENT
from tracking_operator.kube.objects import CONFIG_MAP, Kind, KubeObject, register

SECONDS = 15.0
EDITS = 10
DEFINITION = register(
    Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
)
POD_DEFAULTS: KubeObject = {
    "apiVersion": DEFINITION.api_version,
    "kind": DEFINITION.kind,
    "metadata": {"name": "poddefaults.kubeflow.org"},
    "spec": {
        "group": "kubeflow.org",
        "scope": "Namespaced",
        "names": {"kind": "PodDefault", "plural": "poddefaults", "singular": "poddefault"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def class_name(installation: Path, api: KubeApi) -> Iterator[str]:
    """A class with a login."""
    with a_class(api, {"access": {"authentication": {"basic": {}}}}) as name:
        yield name


@pytest.fixture
def mlflow(team: Team, servers: ServiceProxy) -> Iterator[Mlflow]:
    """The users of the team's server."""
    service, found = f"mlflow.{team.namespace}.svc", MlflowWithClients()
    servers.act(service, found.respond)
    yield found
    servers.forget(service)


@pytest.fixture
def consumer(api: KubeApi) -> Iterator[Team]:
    """Somebody with another namespace."""
    with a_team(api) as found:
        yield found


def is_served(consumer: Team) -> bool:
    """Whether the API server knows PodDefaults."""
    try:
        consumer.api.list(POD_DEFAULT, consumer.namespace)
    except Refused:
        return False
    return True


def launcher(consumer: Team) -> dict[str, str]:
    """What the ConfigMap says."""
    return dict(consumer.get(CONFIG_MAP, LAUNCHER).get("data") or {})


def test_kubeflow_is_told_by_one_key_a_secret_and_a_pod_default_until_the_grant_ends(
    team: Team,
    consumer: Team,
    operator: RunningOperator,
    mlflow: Mlflow,
    class_name: str,
) -> None:
    begun(team, mlflow, class_name)
    grant(team, {"namespaces": [{"name": consumer.namespace, "permission": "EDIT"}]})
    place = {"name": LAUNCHER, "namespace": consumer.namespace, "labels": {"of": "kubeflow"}}
    root = {"defaultPipelineRoot": "minio://mlpipeline/v2/artifacts"}
    consumer.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": place, "data": root})
    consumer.api.apply(
        {
            "apiVersion": API_VERSION,
            "kind": "TrackingServerClient",
            "metadata": {"name": "runs", "namespace": consumer.namespace},
            "spec": {
                "serverRef": {"namespace": team.namespace, "name": "mlflow"},
                "permission": "EDIT",
                "integrations": {"kubeflow": {"podDefault": True, "pipelines": True}},
            },
        }
    )
    wait_for_reason(consumer, "KubeflowMissing")
    assert contents(consumer, "runs-client")

    consumer.api.apply(POD_DEFAULTS)
    try:
        wait_until(lambda: is_served(consumer), SECONDS, "PodDefaults can be made")
        consumer.api.patch(
            TRACKING_SERVER_CLIENT, consumer.namespace, "runs", {"metadata": {"labels": {"looked": "at"}}}
        )
        wait_for_reason(consumer, "AsExpected")
        login = contents(consumer, "runs-client")
        assert contents(consumer, PIPELINES_SECRET) == login
        sources = consumer.get(POD_DEFAULT, "runs-client")["spec"]["envFrom"]
        assert sources == [{"configMapRef": {"name": "runs-client"}}, {"secretRef": {"name": "runs-client"}}]
        settings = json.loads(launcher(consumer)[LAUNCHER_KEY])["settings"]
        assert [login[settings["credentialSecretRef"][key]] for key in ("usernameKey", "passwordKey")] == [
            login["MLFLOW_TRACKING_USERNAME"],
            login["MLFLOW_TRACKING_PASSWORD"],
        ]
        for number in range(EDITS):
            consumer.api.patch(
                CONFIG_MAP, consumer.namespace, LAUNCHER, {"data": {f"another-{number}": "value"}}
            )
        others = root | {f"another-{number}": "value" for number in range(EDITS)}
        assert {key: value for key, value in launcher(consumer).items() if key != LAUNCHER_KEY} == others

        grant(team, None)
        wait_for_reason(consumer, "NotGranted")
        wait_until(lambda: launcher(consumer) == others, SECONDS, "the key is gone, and others are there")
        assert consumer.find(POD_DEFAULT, "runs-client") is None
        assert contents(consumer, PIPELINES_SECRET) == {}
        assert consumer.get(CONFIG_MAP, LAUNCHER)["metadata"]["labels"] == {"of": "kubeflow"}
    finally:
        consumer.api.delete(DEFINITION, None, "poddefaults.kubeflow.org")
