"""The Secrets and users of servers with a login, on a real API server; MLflow is a stand-in that knows its users."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.test_operator_access import NOWHERE, serve
from tests.kube_api import KubeApi
from tests.operator_fixtures import OperatorCalls, RunningOperator, Team, a_class
from tests.service_proxy import Asked, Said, ServiceProxy
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import REVOKE_NOW_ANNOTATION, ROTATE_CREDENTIALS_ANNOTATION
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import DEPLOYMENT, NETWORK_POLICY, SECRET, KubeObject, name_of

SECONDS = 15.0


@dataclass
class Mlflow:
    """A tracking server's users."""

    users: dict[str, str] = field(default_factory=dict)

    def respond(self, asked: Asked, body: bytes) -> Said:
        scheme, _, encoded = asked.authorization.partition(" ")
        name, _, password = (
            base64.b64decode(encoded).decode().partition(":") if scheme == "Basic" else ("", "", "")
        )
        if not password or self.users.get(name) != password:
            return Said(401)
        said = json.loads(body) if body else {}
        if asked.path.endswith("/users/create") and said["username"] in self.users:
            return Said(400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "There is one."})
        if asked.path.endswith(("/users/create", "/users/update-password")):
            self.users[said["username"]] = said["password"]
        return Said()


@pytest.fixture(scope="module")
def class_name(installation: Path, api: KubeApi) -> Iterator[str]:
    """A class with a login, where teams may do without."""
    offer: KubeObject = {"authentication": {"basic": {}}}
    with a_class(api, {"access": offer, "permissions": {"anonymousAccess": True}}) as name:
        yield name


@pytest.fixture
def mlflow(team: Team, servers: ServiceProxy) -> Iterator[Mlflow]:
    """The users of the team's server."""
    service, found = f"mlflow.{team.namespace}.svc", Mlflow()
    servers.act(service, found.respond)
    yield found
    servers.forget(service)


def contents(team: Team, name: str) -> dict[str, str]:
    """What is in a Secret; nothing if there is none."""
    secret = team.find(SECRET, name) or {}
    return {key: base64.b64decode(text).decode() for key, text in secret.get("data", {}).items()}


def begun(team: Team, mlflow: Mlflow, class_name: str) -> dict[str, str]:
    """A server whose pod has made its admin, and whose users are as they should be; its passwords."""
    team.apply({"className": class_name, **NOWHERE})
    team.wait_for(SECRET, "mlflow-auth")
    mlflow.users["admin"] = contents(team, "mlflow-auth")["password"]
    serve(team)
    team.wait_for_condition("Exposed", status="True", seconds=SECONDS)
    return contents(team, "mlflow-auth")


def test_passwords_are_made_before_the_pods_and_the_user_once_they_serve(
    team: Team, operator: RunningOperator, mlflow: Mlflow, class_name: str, calls: OperatorCalls
) -> None:
    known = begun(team, mlflow, class_name)
    assert mlflow.users == {"admin": known["password"], known["clientUsername"]: known["clientPassword"]}
    assert contents(team, "mlflow-client") == {
        "MLFLOW_TRACKING_USERNAME": known["clientUsername"],
        "MLFLOW_TRACKING_PASSWORD": known["clientPassword"],
    }
    assert team.server()["status"]["client"]["secretName"] == "mlflow-client"

    calls.mark()
    team.api.patch(SECRET, team.namespace, "mlflow-auth", {"metadata": {"labels": {"of": "a-person"}}})
    team.api.delete(SECRET, team.namespace, "mlflow-client")
    team.wait_for(SECRET, "mlflow-client")
    assert contents(team, "mlflow-client")["MLFLOW_TRACKING_PASSWORD"] == known["clientPassword"]
    assert contents(team, "mlflow-auth") == known


def test_other_passwords_come_on_request_and_roll_no_pod(
    team: Team, operator: RunningOperator, mlflow: Mlflow, class_name: str
) -> None:
    old = begun(team, mlflow, class_name)
    generation = team.get(DEPLOYMENT)["metadata"]["generation"]

    team.patch_server({"metadata": {"annotations": {ROTATE_CREDENTIALS_ANNOTATION: "now"}}})

    def is_done() -> bool:
        now = contents(team, "mlflow-auth")
        return now["password"] != old["password"] and "nextPassword" not in now

    wait_until(is_done, SECONDS, "the Secret has other passwords, and no next ones")
    new = contents(team, "mlflow-auth")
    assert mlflow.users == {"admin": new["password"], "team": new["clientPassword"]}
    assert new["clientPassword"] != old["clientPassword"]
    assert new["secretKey"] == old["secretKey"]
    wait_until(
        lambda: contents(team, "mlflow-client")["MLFLOW_TRACKING_PASSWORD"] == new["clientPassword"],
        SECONDS,
        "clients get the new one",
    )
    assert team.get(DEPLOYMENT)["metadata"]["generation"] == generation


def test_a_revocation_replaces_all_that_lets_in_and_rolls_the_pods_once(
    team: Team, operator: RunningOperator, mlflow: Mlflow, class_name: str
) -> None:
    old = begun(team, mlflow, class_name)
    before = team.settled()
    generation = team.get(DEPLOYMENT)["metadata"]["generation"]
    asked = {"metadata": {"annotations": {REVOKE_NOW_ANNOTATION: "leaked"}}}

    team.patch_server(asked)

    wait_until(
        lambda: team.get(DEPLOYMENT)["metadata"]["generation"] > generation, SECONDS, "pods are made anew"
    )
    condition = team.wait_for_condition("Exposed", status="False", reason="RevokingAccess", seconds=SECONDS)
    assert "earlier passwords" in condition["message"]
    serve(team)
    done = {"backendStore": "leaked", "artifactStore": "leaked", "pods": "leaked", "login": "leaked"}
    wait_until(
        lambda: team.server()["status"].get("revocation") == done,
        SECONDS,
        lambda: f"all is revoked; {team.server()['status']}",
    )
    new = contents(team, "mlflow-auth")
    assert mlflow.users == {"admin": new["password"], "team": new["clientPassword"]}
    assert not set(new.values()) & {old["password"], old["clientPassword"], old["secretKey"]}
    wait_until(
        lambda: contents(team, "mlflow-client")["MLFLOW_TRACKING_PASSWORD"] == new["clientPassword"],
        SECONDS,
        "clients are told the new password",
    )
    team.wait_for_condition("Exposed", status="True", seconds=SECONDS)
    wait_until(
        lambda: (
            {"RevokingAccess", "AccessRevoked"} <= {one["reason"] for one in team.api.events(team.server())}
        ),
        SECONDS,
        "the Events are there",
    )
    assert team.get(DEPLOYMENT)["metadata"]["generation"] == generation + 1

    team.patch_server({"metadata": {"annotations": {REVOKE_NOW_ANNOTATION: None}}})
    team.patch_server(asked)
    team.patch_server({"metadata": {"annotations": {"example.com/look": "again"}}})
    team.settled()
    assert contents(team, "mlflow-auth") == new
    assert team.get(DEPLOYMENT)["metadata"]["generation"] == generation + 1
    assert before["spec"] == team.server()["spec"]


def test_an_admin_whose_password_was_changed_by_hand_is_let_in_again_by_the_secret(
    team: Team, operator: RunningOperator, mlflow: Mlflow, class_name: str
) -> None:
    begun(team, mlflow, class_name)
    mlflow.users["admin"] = "changed by hand"

    team.patch_server({"metadata": {"annotations": {ROTATE_CREDENTIALS_ANNOTATION: "now"}}})
    team.wait_until_so(
        SECRET, "mlflow-auth", lambda secret: "nextPassword" in secret["data"], "the next passwords are noted"
    )

    condition = team.wait_for_condition("Exposed", status="False", reason="LoginRefused", seconds=SECONDS)
    assert "Secret mlflow-auth" in condition["message"]
    assert mlflow.users["admin"] == "changed by hand"

    right = base64.b64encode(b"changed by hand").decode()
    team.patch(SECRET, {"data": {"password": right}}, "mlflow-auth")
    team.wait_for_condition("Exposed", status="True", seconds=2 * SECONDS)
    assert mlflow.users["admin"] == contents(team, "mlflow-auth")["password"] != "changed by hand"


def test_a_login_that_goes_takes_the_clients_secret_along_and_keeps_the_admins(
    team: Team, operator: RunningOperator, mlflow: Mlflow, class_name: str
) -> None:
    known = begun(team, mlflow, class_name)
    team.patch_server({"spec": {"access": {"authentication": {"none": {}}}}})
    team.wait_until_gone(SECRET, "mlflow-client")
    assert contents(team, "mlflow-auth") == known
    assert "secretName" not in team.settled()["status"]["client"]


def test_a_secret_of_somebody_elses_is_left_alone_and_no_pod_reads_it(
    team: Team, operator: RunningOperator, class_name: str
) -> None:
    metadata = {"name": "mlflow-auth", "namespace": team.namespace}
    team.api.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": "x"}}
    )
    team.made({"className": class_name, **NOWHERE})
    condition = team.wait_for_condition("Exposed", status="False", reason="Conflict")
    assert "mlflow-auth" in condition["message"]
    assert team.find(DEPLOYMENT) is None
    assert contents(team, "mlflow-auth") == {"password": "x"}


def test_a_path_where_mlflow_asks_nobody_is_refused(
    team: Team, operator: RunningOperator, class_name: str
) -> None:
    team.made({"suspend": True, "className": class_name, "access": {"path": "/static-analysis"}})
    condition = team.wait_for_condition("SpecValid", status="False", reason="InvalidSpec")
    assert "/static-analysis" in condition["message"]


def test_a_team_does_without_only_where_the_class_allows_it(team: Team, operator: RunningOperator) -> None:
    with a_class(team.api, {"access": {"authentication": {"basic": {}}}}) as name:
        spec = {"suspend": True, "className": name, "access": {"authentication": {"none": {}}}}
        team.made(spec)
        condition = team.wait_for_condition("SpecValid", status="False", reason="NotPermitted")
        assert "permissions.anonymousAccess" in condition["message"]


def test_where_the_class_has_nobody_asked_a_job_gives_the_users_their_passwords(
    team: Team, operator: RunningOperator, api: KubeApi, servers: ServiceProxy
) -> None:
    offer: KubeObject = {"authentication": {"basic": {}}, "probe": "None"}
    with a_class(api, {"access": offer}) as class_name:
        team.apply({"className": class_name, **NOWHERE})
        team.wait_for(SECRET, "mlflow-auth")
        serve(team)
        first = team.job_pod(what="reset-login")
        waits = team.wait_for_condition("Exposed", status="False", reason="Unschedulable", seconds=SECONDS)
        assert "mlflow-reset-login" in waits["message"], "what keeps the Job from running is told"
        team.end(first)
        condition = team.wait_for_condition("Exposed", status="True", reason="NotProbed", seconds=SECONDS)
        assert "access.probe: None" in condition["message"]
        old = contents(team, "mlflow-auth")

        team.patch_server({"metadata": {"annotations": {ROTATE_CREDENTIALS_ANNOTATION: "now"}}})
        second = team.job_pod(what="reset-login", but=[name_of(first)])
        new = contents(team, "mlflow-auth")
        assert not set(new.values()) & {old["password"], old["clientPassword"]}
        assert "nextPassword" not in new
        team.end(second)
        wait_until(
            lambda: contents(team, "mlflow-client")["MLFLOW_TRACKING_PASSWORD"] == new["clientPassword"],
            SECONDS,
            "clients get the new one",
        )
        team.wait_for_condition("Exposed", status="True", reason="NotProbed", seconds=SECONDS)

        asked = [one for one in servers.asked if one.service == f"mlflow.{team.namespace}.svc"]
        assert asked == [], "the operator sends no request"
        peers = team.get(NETWORK_POLICY)["spec"]["ingress"][0]["from"]
        assert peers == [{"podSelector": {}}], "so nobody lets it in"
        team.delete_server()
        team.wait_until_gone(TRACKING_SERVER)
