"""Clients in other namespaces, on a real API server, with the operator's own rights; MLflow is a stand-in that knows its users."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.test_operator_login import Mlflow, begun, contents
from tests.kube_api import KubeApi, Refused
from tests.operator_fixtures import RunningOperator, Team, a_class, a_team, condition_of
from tests.service_proxy import Asked, Said, ServiceProxy
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLIENT
from tracking_operator.kube.objects import CONFIG_MAP, NAMESPACE, NETWORK_POLICY, SECRET, KubeObject

SECONDS = 15.0


@dataclass
class MlflowWithClients(Mlflow):
    """One that also tells its users, and deletes them."""

    def respond(self, asked: Asked, body: bytes) -> Said:
        answer = super().respond(asked, body)
        if answer.status != Said().status:
            return answer
        if "/users/list" in asked.path:
            return Said(body={"users": [{"username": name} for name in self.users]})
        if asked.path.endswith("/users/delete"):
            del self.users[json.loads(body)["username"]]
        return answer


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


def ask(consumer: Team, team: Team, permission: str = "EDIT", **metadata: object) -> KubeObject:
    """Ask for the team's server."""
    return consumer.api.apply(
        {
            "apiVersion": API_VERSION,
            "kind": "TrackingServerClient",
            "metadata": {"name": "runs", "namespace": consumer.namespace, **metadata},
            "spec": {"serverRef": {"namespace": team.namespace, "name": "mlflow"}, "permission": permission},
        }
    )


def grant(team: Team, clients: KubeObject | None) -> None:
    """Let these in, and nobody else."""
    team.patch_server({"spec": {"access": {"clients": clients}}})


def wait_for_reason(consumer: Team, reason: str) -> KubeObject:
    """Return Ready once it gives this reason."""

    def ready() -> KubeObject | None:
        return condition_of(consumer.get(TRACKING_SERVER_CLIENT, "runs"), "Ready")

    def fits() -> KubeObject | None:
        found = ready()
        return found if found and found["reason"] == reason else None

    return wait_until(fits, SECONDS, lambda: f"Ready says {reason}; it is {ready()}")


def test_a_grant_and_an_ask_give_a_namespace_a_login_that_ends_with_the_grant(
    team: Team, consumer: Team, operator: RunningOperator, mlflow: Mlflow, class_name: str
) -> None:
    begun(team, mlflow, class_name)
    ask(consumer, team)
    refused = wait_for_reason(consumer, "NotGranted")
    assert (refused["status"], consumer.find(SECRET, "runs-client")) == ("False", None)

    grant(team, {"namespaces": [{"name": consumer.namespace, "permission": "EDIT"}]})
    assert wait_for_reason(consumer, "AsExpected")["status"] == "True"
    login = contents(consumer, "runs-client")
    username = consumer.get(TRACKING_SERVER_CLIENT, "runs")["status"]["username"]
    assert login == {"MLFLOW_TRACKING_USERNAME": username, "MLFLOW_TRACKING_PASSWORD": mlflow.users[username]}
    settings = consumer.get(CONFIG_MAP, "runs-client")["data"]
    assert settings["MLFLOW_TRACKING_URI"] == f"http://mlflow.{team.namespace}.svc"
    uid = consumer.api.get(NAMESPACE, None, consumer.namespace)["metadata"]["uid"]
    assert team.server()["status"]["grantedNamespaces"] == [{"name": consumer.namespace, "uid": uid}]
    assert consumer.namespace in json.dumps(team.get(NETWORK_POLICY)["spec"]["ingress"])

    consumer.api.delete(SECRET, consumer.namespace, "runs-client")
    consumer.wait_for(SECRET, "runs-client", SECONDS)
    assert contents(consumer, "runs-client")["MLFLOW_TRACKING_PASSWORD"] == mlflow.users[username]

    grant(team, None)
    wait_for_reason(consumer, "NotGranted")
    consumer.wait_until_gone(SECRET, "runs-client", SECONDS)
    consumer.wait_until_gone(CONFIG_MAP, "runs-client", SECONDS)
    wait_until(lambda: username not in mlflow.users, SECONDS, "MLflow has not the user any more")
    assert {"admin", "team"} <= set(mlflow.users)
    wait_until(
        lambda: consumer.namespace not in json.dumps(team.get(NETWORK_POLICY)["spec"]["ingress"]),
        SECONDS,
        "the policy does not name the namespace any more",
    )


def test_a_client_that_is_deleted_leaves_no_user_and_a_foreign_secret_stays(
    team: Team, consumer: Team, operator: RunningOperator, mlflow: Mlflow, class_name: str
) -> None:
    begun(team, mlflow, class_name)
    grant(team, {"namespaces": [{"name": consumer.namespace, "permission": "EDIT"}]})
    foreign = {"name": "runs-client", "namespace": consumer.namespace}
    data = {"mine": base64.b64encode(b"mine").decode()}
    consumer.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": foreign, "data": data})
    ask(consumer, team)
    wait_for_reason(consumer, "Conflict")
    assert contents(consumer, "runs-client") == {"mine": "mine"}
    consumer.api.delete(SECRET, consumer.namespace, "runs-client")
    consumer.api.patch(
        TRACKING_SERVER_CLIENT, consumer.namespace, "runs", {"metadata": {"labels": {"looked": "at"}}}
    )
    wait_for_reason(consumer, "AsExpected")
    username = contents(consumer, "runs-client")["MLFLOW_TRACKING_USERNAME"]

    consumer.api.delete(TRACKING_SERVER_CLIENT, consumer.namespace, "runs")
    wait_until(lambda: username not in mlflow.users, SECONDS, "MLflow has not the user any more")
    consumer.wait_until_gone(SECRET, "runs-client", SECONDS)


def test_what_cannot_be_meant_is_refused_by_the_api_server(
    team: Team, consumer: Team, installation: Path
) -> None:
    ask(consumer, team)
    change = {"spec": {"serverRef": {"name": "another"}}}
    with pytest.raises(Refused, match="serverRef cannot be changed"):
        consumer.api.patch(TRACKING_SERVER_CLIENT, consumer.namespace, "runs", change)
    for clients, sentence in (
        ({"namespaceSelector": {}, "permission": "EDIT"}, "must name at least one label"),
        ({"namespaceSelector": {"matchLabels": {"a": "b"}}}, "write both, or neither"),
        ({"namespaces": [{"name": "Not_A_Name", "permission": "EDIT"}]}, "must be the name of a namespace"),
    ):
        with pytest.raises(Refused, match=sentence):
            team.apply({"access": {"clients": clients}})
