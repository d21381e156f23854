"""The whole loop for a server whose people log in at an identity provider: its Secrets, its pods, what is missing, and the way there and back."""

import base64
import hashlib
import json

import pytest

from dev.classes import generous
from tests.certificates import make_certificates
from tests.unit.controllers.live import INITIALIZING, PASSED, pod, said, terminated, waiting
from tests.unit.controllers.server.test_reconciler import World
from tests.unit.examples import Manifest, secret
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.kube.objects import CONFIG_MAP, DEPLOYMENT, NETWORK_POLICY, SECRET
from tracking_operator.outcomes import EXIT_CODES
from tracking_operator.resources.secret import text_in

OIDC: Manifest = {
    "image": "oauth2-proxy",
    "issuer": "http://idp.idp.svc:8080",
    "clientId": "mlflow.{{ namespace }}.{{ name }}",
    "clientSecretRef": {"name": "{{ name }}-sso"},
    "allowedGroups": ["mlflow-{{ namespace }}"],
}
CLIENT = secret("mlflow-sso", clientSecret="of-the-client")


def offer(world: World, authentication: Manifest, **permissions: object) -> None:
    """What the platform team says."""
    spec = generous({"access": {"authentication": authentication}, "permissions": permissions})
    annotations = {"tracking-operator.dev/is-default-class": "true"}
    world.put(
        {
            "apiVersion": API_VERSION,
            "kind": "TrackingServerClass",
            "metadata": {"name": "standard", "annotations": annotations},
            "spec": spec,
        }
    )


def a_world(**oidc: object) -> World:
    world = World()
    offer(world, {"oidc": OIDC | oidc})
    return world


async def serving(**oidc: object) -> World:
    world = a_world(**oidc)
    world.put(CLIENT)
    await world.reconcile()
    world.roll_out()
    await world.reconcile()
    assert world.condition("Ready") == ("True", "AsExpected"), world.resource["status"]
    return world


def containers(world: World) -> list[str]:
    spec = world.child(DEPLOYMENT)["spec"]["template"]["spec"]
    return [one["name"] for one in (*spec["initContainers"], *spec["containers"])]


async def test_a_server_gets_a_proxy_and_the_secret_that_it_needs_and_is_asked_with_the_teams_password() -> (
    None
):
    world = await serving()
    assert containers(world)[-3:] == ["check-identity-provider", "login", "mlflow"]
    passwords = text_in(world.child(SECRET, "mlflow-oidc"), "htpasswd")
    client = text_in(world.child(SECRET, "mlflow-client"), "MLFLOW_TRACKING_PASSWORD")
    digest = base64.b64encode(hashlib.sha1(client.encode()).digest()).decode()  # noqa: S324 - what htpasswd knows
    assert f"team:{{SHA}}{digest}\n" in passwords
    assert client not in passwords
    settings = json.loads(text_in(world.child(SECRET, "mlflow-oidc"), "proxy.yaml"))
    (provider,) = settings["providers"]
    assert provider["allowedGroups"] == ["tracking-operator/password", "mlflow-team-a"]
    await world.reconcile()
    assert world.api.calls == []


async def test_nothing_secret_is_in_a_deployment() -> None:
    world = await serving()
    written = json.dumps(world.child(DEPLOYMENT))
    for name in ("mlflow-oidc", "mlflow-auth", "mlflow-sso"):
        held = world.child(SECRET, name)
        for key in held["data"]:
            text = text_in(held, key).strip()
            if key in ("username", "clientUsername", "noClientSecret"):
                continue
            assert text not in written, key


async def test_pods_may_go_to_the_provider() -> None:
    world = await serving()
    egress = world.child(NETWORK_POLICY)["spec"]["egress"]
    assert {"port": 8080, "protocol": "TCP"} in [port for rule in egress for port in rule["ports"]]


async def test_a_secret_of_the_proxy_that_is_lost_is_made_again_as_it_was() -> None:
    world = await serving()
    before = world.child(SECRET, "mlflow-oidc")["data"]
    template = world.child(DEPLOYMENT)["spec"]["template"]
    del world.api.objects[(SECRET, "team-a", "mlflow-oidc")]
    await world.reconcile()
    assert world.child(SECRET, "mlflow-oidc")["data"] == before
    assert world.child(DEPLOYMENT)["spec"]["template"] == template


async def test_other_passwords_reach_the_proxy_without_a_restart() -> None:
    world = await serving()
    before, template = (
        world.child(SECRET, "mlflow-oidc")["data"],
        world.child(DEPLOYMENT)["spec"]["template"],
    )
    world.edit({}, annotations={"tracking-operator.dev/rotate-credentials": "now"})
    await world.reconcile()
    after = world.child(SECRET, "mlflow-oidc")["data"]
    assert [key for key in before if before[key] != after[key]] == ["htpasswd"]
    assert world.child(DEPLOYMENT)["spec"]["template"] == template


async def test_a_revocation_ends_sessions_too() -> None:
    world = await serving()
    before, template = (
        world.child(SECRET, "mlflow-oidc")["data"],
        world.child(DEPLOYMENT)["spec"]["template"],
    )
    world.edit({}, annotations={"tracking-operator.dev/revoke-now": "now"})
    await world.reconcile()
    after = world.child(SECRET, "mlflow-oidc")["data"]
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"htpasswd", "cookieSecret", "proxyPassword"}
    assert world.child(DEPLOYMENT)["spec"]["template"] != template
    world.roll_out()
    await world.reconcile()
    await world.reconcile()
    assert world.resource["status"]["revocation"]["login"] == "now"


async def test_a_client_secret_that_is_missing_is_named_and_what_runs_goes_on() -> None:
    world = a_world()
    await world.reconcile()
    assert (DEPLOYMENT, "team-a", "mlflow") not in world.api.objects
    assert world.condition("Exposed") == ("False", Reason.SECRET_NOT_FOUND)
    assert "clientSecretRef" in world.message("Exposed")
    running = await serving()
    template = running.child(DEPLOYMENT)["spec"]["template"]
    del running.api.objects[(SECRET, "team-a", "mlflow-sso")]
    await running.reconcile(resync=True)
    assert running.condition("Exposed") == ("False", Reason.SECRET_NOT_FOUND)
    assert running.child(DEPLOYMENT)["spec"]["template"] == template


async def test_a_ca_that_is_missing_or_none_is_named() -> None:
    world = a_world(caBundleRef={"name": "idp-ca"})
    world.put(CLIENT)
    await world.reconcile()
    assert world.condition("Exposed") == ("False", Reason.SECRET_NOT_FOUND)
    assert "caBundleRef" in world.message("Exposed")
    assert (DEPLOYMENT, "team-a", "mlflow") not in world.api.objects
    place: Manifest = {"name": "idp-ca", "namespace": "tracking-operator-system"}
    world.put(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": place, "data": {"ca.crt": "no certificate"}}
    )
    await world.reconcile(resync=True)
    assert world.condition("Exposed") == ("False", Reason.TLS_FAILED)
    authority, _, _ = make_certificates("idp.example.com")
    world.api.objects[CONFIG_MAP, place["namespace"], place["name"]]["data"] = {"ca.crt": authority}
    await world.reconcile(resync=True)
    assert text_in(world.child(SECRET, "mlflow-oidc"), "ca.crt") == authority
    assert (DEPLOYMENT, "team-a", "mlflow") in world.api.objects


@pytest.mark.parametrize("reason", ["IdentityProviderUnreachable", "IdentityProviderRefusesClient"])
async def test_what_a_pod_finds_at_the_provider_is_said_in_its_words(reason: str) -> None:
    world = a_world()
    world.put(CLIENT)
    await world.reconcile()
    looking = {
        "name": "check-identity-provider",
        "state": terminated(EXIT_CODES[reason], "Error", said(reason, "Why.")),
    }
    failing = pod(check=PASSED, server=INITIALIZING)
    failing["status"]["initContainerStatuses"].append(looking)
    world.put(failing)
    await world.reconcile()
    assert world.condition("WorkloadReady") == ("False", reason)
    assert world.message("WorkloadReady") == "Why."
    assert reason in (Reason.IDENTITY_PROVIDER_UNREACHABLE, Reason.IDENTITY_PROVIDER_REFUSES_CLIENT)


async def test_a_proxy_that_does_not_start_is_told() -> None:
    world = a_world()
    world.put(CLIENT)
    await world.reconcile()
    failing = pod(check=PASSED, server=INITIALIZING)
    failing["status"]["initContainerStatuses"].append(
        {"name": "login", "state": waiting("CrashLoopBackOff"), "lastState": terminated(1, "Error")}
    )
    world.put(failing)
    await world.reconcile()
    assert world.condition("WorkloadReady") == ("False", Reason.CRASH_LOOPING)
    assert "-c login" in world.message("WorkloadReady")


async def test_a_server_goes_from_no_login_to_passwords_to_the_provider_and_back_with_its_users() -> None:
    world = await serving()
    auth = world.child(SECRET, "mlflow-auth")["data"]
    offer(world, {"basic": {}})
    await world.reconcile()
    assert containers(world) == ["check-backend-store", "mlflow"]
    world.roll_out()
    await world.reconcile()
    assert (SECRET, "team-a", "mlflow-oidc") not in world.api.objects
    assert world.child(SECRET, "mlflow-auth")["data"] == auth
    offer(world, {"none": {}})
    await world.reconcile()
    assert containers(world) == ["check-backend-store", "mlflow"]
    world.roll_out()
    await world.reconcile()
    offer(world, {"oidc": OIDC})
    await world.reconcile()
    assert containers(world)[-2:] == ["login", "mlflow"]
    assert world.child(SECRET, "mlflow-auth")["data"] == auth
