"""People log in at an identity provider in the cluster: through real pods, by what pods and the operator really send."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.development_cluster import DevelopmentCluster
from dev.identity_provider import provider
from dev.oauth2_proxy import IMAGE, oauth2_proxy_archive
from tests.e2e.conftest import RESTRICTED
from tests.e2e.mlflow import (
    IMAGE as MLFLOW_IMAGE,
)
from tests.e2e.mlflow import (
    USER,
    assert_no_container_failed,
    pods_of,
    wait_until_ready,
)
from tests.kube_api import KubeApi
from tests.operator_fixtures import Team, a_class, a_team
from tests.waiting import wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import SECRET, KubeObject
from tracking_operator.resources.secret import data_of, text_in

PREFIX = "/team-a"
CLIENT_SECRET = "a-secret-of-the-client"
SMALL = {"requests": {"cpu": "50m", "memory": "400Mi"}, "limits": {"memory": "1Gi"}}
SECONDS_TO_START = 400.0
USERS = {
    "ann": {"groups": ["team"]},
    "boss": {"groups": ["admins"]},
    "eve": {"groups": ["team-b"]},
}

VISITS = """
import http.cookiejar, json, sys, urllib.error, urllib.parse, urllib.request

class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None

def visit(url, user):
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar), NoRedirect())
    statuses, body, place = [], "", url + "/"
    for _ in range(8):
        request = urllib.request.Request(place, headers={"Cookie": "user=" + user} if "/authorize?" in place else {})
        try:
            answer = opener.open(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        statuses.append(answer.status)
        if answer.status not in (302, 303, 307):
            break
        place = urllib.parse.urljoin(place, answer.headers["Location"])
    try:
        body = opener.open(url + "/api/2.0/mlflow/users/current", timeout=30).read().decode()
    except urllib.error.HTTPError as error:
        body = json.dumps({"status": error.status})
    return {"statuses": statuses, "who": json.loads(body)}

def status(url, **headers):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10).status
    except urllib.error.HTTPError as error:
        return error.status
    except OSError:
        return None
"""


@pytest.fixture(scope="module")
def team(api: KubeApi, cluster: DevelopmentCluster, deployed: None) -> Iterator[Team]:
    """A team with a provider in its namespace, and a server whose people log in there."""
    cluster.load_docker_image(oauth2_proxy_archive())
    with a_team(api, **RESTRICTED) as team:
        start_provider(team)
        with a_class(api, class_spec(team)) as class_name:
            team.apply(server_spec(class_name))
            wait_until_ready(team, seconds=SECONDS_TO_START)
            yield team


def class_spec(team: Team, **oidc: object) -> KubeObject:
    offered: KubeObject = {
        "image": IMAGE,
        "issuer": f"http://idp.{team.namespace}.svc:8080",
        "clientId": "mlflow.{{ namespace }}.{{ name }}",
        "clientSecretRef": {"name": "{{ name }}-sso"},
        "allowedGroups": ["team"],
        "adminGroups": ["admins"],
        "acceptTokens": True,
        "recheckMinutes": 1,
    }
    return {
        "access": {"authentication": {"oidc": offered | oidc}},
        "permissions": {"basicAuthentication": True},
    }


def server_spec(class_name: str) -> KubeObject:
    return {"className": class_name, "access": {"path": PREFIX}, "resources": SMALL}


def start_provider(team: Team) -> None:
    """Run the provider beside the team's servers, in MLflow's image."""
    callback = f"http://mlflow.{team.namespace}.svc{PREFIX}/oauth2/callback"
    clients = {f"mlflow.{team.namespace}.mlflow": {"secret": CLIENT_SECRET, "redirect_uris": [callback]}}
    files = {
        "provider.py": Path(provider.__file__).read_text(),
        "world.json": json.dumps({"users": USERS, "clients": clients}),
    }
    place = {"namespace": team.namespace}
    team.api.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "idp", **place}, "data": files}
    )
    for name in ("mlflow", "another"):
        secret: KubeObject = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{name}-sso", **place},
        }
        right = CLIENT_SECRET if name == "mlflow" else "wrong"
        team.api.create(secret | {"data": data_of({"clientSecret": right})})
    port = {"port": 8080, "protocol": "TCP"}
    team.api.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "idp", **place},
            "spec": {"selector": {"app": "idp"}, "ports": [port]},
        }
    )
    team.api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "idp", "labels": {"app": "idp"}, **place},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": False,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": USER,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "idp",
                        "image": MLFLOW_IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": [
                            "python3",
                            "/idp/provider.py",
                            "8080",
                            f"http://idp.{team.namespace}.svc:8080",
                        ],
                        "env": [{"name": "IDENTITY_PROVIDER_WORLD", "value": "/idp/world.json"}],
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [{"name": "idp", "mountPath": "/idp"}],
                    }
                ],
                "volumes": [{"name": "idp", "configMap": {"name": "idp"}}],
            },
        }
    )


def run(cluster: DevelopmentCluster, team: Team, script: str) -> KubeObject:
    """What a script prints (JSON) that runs in a pod of the team's."""
    words = ("exec", "idp", "--namespace", team.namespace, "--", "python3", "-c", VISITS + script)
    found: KubeObject = json.loads(cluster.kubectl(*words))
    return found


def url_of(team: Team) -> str:
    return f"http://mlflow.{team.namespace}.svc{PREFIX}"


def visits(cluster: DevelopmentCluster, team: Team) -> KubeObject:
    """How it goes for each user, from the server's page to the provider and back."""
    return run(
        cluster, team, f"print(json.dumps({{user: visit({url_of(team)!r}, user) for user in {list(USERS)}}}))"
    )


def test_people_log_in_at_the_provider_and_others_are_refused(
    cluster: DevelopmentCluster, team: Team
) -> None:
    assert_no_container_failed(team)
    found = visits(cluster, team)
    for user, is_admin in (("ann", False), ("boss", True)):
        assert found[user]["statuses"] == [302, 302, 302, 200], found
        who = found[user]["who"]["user"]
        assert (who["username"], who["is_admin"]) == (f"{user}@example.com", is_admin)
    assert found["eve"] == {"statuses": [302, 302, 403], "who": {"status": 401}}


def test_the_teams_programs_go_on_with_their_password_and_nobody_gets_around_the_proxy(
    cluster: DevelopmentCluster, team: Team
) -> None:
    client = team.get(SECRET, "mlflow-client")
    name, password = (text_in(client, f"MLFLOW_TRACKING_{one}") for one in ("USERNAME", "PASSWORD"))
    (pod,) = pods_of(team)
    address = pod["status"]["podIP"]
    script = f"""
import base64
basic = "Basic " + base64.b64encode({f"{name}:{password}"!r}.encode()).decode()
path = "{PREFIX}/api/2.0/mlflow/experiments/search?max_results=1"
forged = {{"X-Forwarded-User": "admin", "X-Forwarded-Groups": "admins", "X-Tracking-Operator-Token": "a.b.c"}}
print(json.dumps({{
    "password": status("http://mlflow" + path, Authorization=basic),
    "nothing": status("http://mlflow" + path),
    "forged": status("http://mlflow" + path, **forged),
    "pod": status("http://{address}:5000" + path, **forged),
    "health": status("http://{address}:5000{PREFIX}/health"),
    "mlflow": status("http://{address}:5002" + path, **forged),
}}))
"""
    assert run(cluster, team, script) == {
        "password": 200,
        "nothing": 401,
        "forged": 401,
        "pod": 401,
        "health": 200,
        "mlflow": None,
    }


def test_what_is_wrong_with_the_provider_is_a_reason_and_a_sentence(api: KubeApi, team: Team) -> None:
    with a_class(api, class_spec(team, issuer=f"http://nowhere.{team.namespace}.svc:8080")) as class_name:
        team.apply(server_spec(class_name) | {"access": {"path": "/b"}}, "another")
        found = team.wait_for_condition(
            "WorkloadReady", reason="IdentityProviderUnreachable", name="another", seconds=SECONDS_TO_START
        )
        assert "does not resolve" in found["message"]
        api.patch(TRACKING_SERVER_CLASS, None, class_name, {"spec": class_spec(team)})
        found = team.wait_for_condition(
            "WorkloadReady", reason="IdentityProviderRefusesClient", name="another", seconds=SECONDS_TO_START
        )
        assert "invalid_client" in found["message"]
        team.delete_server("another")
        wait_until(
            lambda: not pods_of(team, "another"), SECONDS_TO_START, "no pods of the server that failed"
        )


@pytest.mark.campaign
def test_a_server_goes_to_passwords_and_back_with_its_users(cluster: DevelopmentCluster, team: Team) -> None:
    """Two rolling updates of a server on SQLite take minutes."""
    auth = team.get(SECRET, "mlflow-auth")["data"]
    team.patch_server({"spec": {"access": {"authentication": {"basic": {}}}}})
    wait_until_ready(team, seconds=SECONDS_TO_START)
    admin = text_in(team.get(SECRET, "mlflow-auth"), "password")
    script = f"""
import base64
basic = "Basic " + base64.b64encode({f"admin:{admin}"!r}.encode()).decode()
request = urllib.request.Request({url_of(team)!r} + "/api/2.0/mlflow/users/list", headers={{"Authorization": basic}})
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""
    users = {one["username"]: one["is_admin"] for one in run(cluster, team, script)["users"]}
    assert users | {"ann@example.com": False, "boss@example.com": True, "admin": True, "team": False} == users
    team.patch_server({"spec": {"access": {"authentication": None}}})
    wait_until_ready(team, seconds=SECONDS_TO_START)
    assert team.get(SECRET, "mlflow-auth")["data"] == auth
    assert visits(cluster, team)["ann"]["statuses"][-1] == 200
