"""One address for each server: what leads to it, who may have it, and how it changes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dev.development_cluster import DevelopmentCluster
from dev.ingress.gateway_api import definitions
from tests.kube_api import KubeApi
from tests.operator_fixtures import (
    OperatorCalls,
    OperatorHost,
    RunningOperator,
    Team,
    a_class,
    a_team,
    condition_of,
)
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    GATEWAY,
    HTTP_ROUTE,
    INGRESS,
    INGRESS_CLASS,
    POD,
    KubeObject,
    name_of,
)

HOST = "{{ name }}.{{ namespace }}.example.com"
INGRESS_FOR_ALL = {"naming": {"host": HOST}, "access": {"ingress": {"className": "nowhere"}}}
ANY_HOST = {"permissions": {"hosts": ["*.example.com"]}}
NOWHERE = {"podTemplate": {"nodeSelector": {"no-such-node": "true"}}}
"""Pods that are made, and that no node takes: a test says that they serve."""
REPLACED_ONE_BY_ONE = {
    "artifactStore": {"external": {"uri": "s3://bucket/path"}},
    "backendStore": {"external": {"uriSecretRef": {"name": "db", "key": "uri"}}},
    **NOWHERE,
}


@pytest.fixture(scope="module")
def ingress_class(installation: Path, api: KubeApi) -> Iterator[str]:
    """The name of a class with an Ingress and a host for each server, that lets teams choose names under example.com."""
    with a_class(api, INGRESS_FOR_ALL | ANY_HOST) as name:
        yield name


def rules(ingress: KubeObject) -> dict[str, list[str]]:
    """Host → paths of an Ingress."""
    return {
        rule["host"]: [path["path"] for path in rule["http"]["paths"]] for rule in ingress["spec"]["rules"]
    }


def arguments(team: Team, name: str = "mlflow") -> list[str]:
    (container,) = team.get(DEPLOYMENT, name)["spec"]["template"]["spec"]["containers"]
    found: list[str] = container["args"]
    return found


def hosts_answered(team: Team, name: str = "mlflow") -> set[str]:
    option = "--allowed-hosts="
    return set(next(one for one in arguments(team, name) if one.startswith(option))[len(option) :].split(","))


class TestIngress:
    def test_leads_to_the_server_and_follows_its_address(
        self, team: Team, operator: RunningOperator, ingress_class: str
    ) -> None:
        decided = f"mlflow.{team.namespace}.example.com"
        server = team.made({"suspend": True, "className": ingress_class})
        assert server["status"]["url"] == f"http://{decided}"
        assert rules(team.get(INGRESS)) == {decided: ["/"]}

        server = team.made(
            {
                "suspend": True,
                "className": ingress_class,
                "access": {"host": "ml.example.com", "path": "/a/b", "allowedHosts": ["extra.example.com:*"]},
            }
        )

        assert server["status"]["url"] == "http://ml.example.com/a/b"
        assert server["status"]["address"]["url"] == f"http://mlflow.{team.namespace}.svc/a/b"
        team.wait_until_so(
            INGRESS, "mlflow", lambda live: rules(live) == {"ml.example.com": ["/a/b"]}, "the new rule"
        )
        assert "--static-prefix=/a/b" in arguments(team)
        assert {"ml.example.com", "ml.example.com:*", "extra.example.com:*"} <= hosts_answered(team)
        assert team.get(CONFIG_MAP, "mlflow-client")["data"]["MLFLOW_TRACKING_URI"].endswith(".svc/a/b")

        server = team.made({"suspend": True, "className": ingress_class})
        assert server["status"]["url"] == f"http://{decided}"

    def test_goes_when_the_class_has_none_any_more(self, team: Team, operator: RunningOperator) -> None:
        with a_class(team.api, INGRESS_FOR_ALL) as name:
            team.made({"suspend": True, "className": name})
            team.wait_for(INGRESS, "mlflow")
            team.api.patch(TRACKING_SERVER_CLASS, None, name, {"spec": {"access": {"ingress": None}}})
            team.wait_until_gone(INGRESS)

    def test_that_somebody_changes_or_deletes_is_put_right(
        self, team: Team, operator: RunningOperator, ingress_class: str, calls: OperatorCalls
    ) -> None:
        team.made({"suspend": True, "className": ingress_class})
        before = team.get(INGRESS)["spec"]
        calls.mark()
        team.patch(INGRESS, {"spec": {"rules": [{"host": "elsewhere.example.com"}]}})
        team.wait_until_so(INGRESS, "mlflow", lambda live: live["spec"] == before, "the rules are back")
        team.patch(INGRESS, {"spec": {"tls": [{"hosts": ["elsewhere.example.com"]}]}})
        team.wait_until_so(INGRESS, "mlflow", lambda live: live["spec"] == before, "the tls is gone")
        team.api.delete(INGRESS, team.namespace, "mlflow")
        team.wait_until_so(INGRESS, "mlflow", lambda live: live["spec"] == before, "the Ingress is back")
        assert [call.resource for call in calls.writes(team.namespace)] == ["ingresses"] * 3


class TestRefusal:
    def test_of_a_host_leaves_everything_as_it_was(
        self, team: Team, operator: RunningOperator, ingress_class: str
    ) -> None:
        before = team.made({"suspend": True, "className": ingress_class})
        objects = (team.get(INGRESS)["spec"], team.get(DEPLOYMENT)["spec"])

        team.patch_server({"spec": {"access": {"host": "mlflow.elsewhere.com"}, "workers": 2}})

        condition = team.wait_for_condition("SpecValid", status="False", reason="NotPermitted")
        assert "permissions.hosts" in condition["message"]
        after = team.settled()
        assert after["status"]["url"] == before["status"]["url"]
        assert (team.get(INGRESS)["spec"], team.get(DEPLOYMENT)["spec"]) == objects

    def test_of_a_class_that_has_an_ingress_and_names_no_host(
        self, team: Team, operator: RunningOperator
    ) -> None:
        with a_class(team.api, {"access": {"ingress": {}}}) as name:
            team.apply({"className": name})
            condition = team.wait_for_condition("SpecValid", status="False", reason="InvalidSpec")
            assert "naming.host" in condition["message"]
            assert not team.children()


class TestConflict:
    def test_between_namespaces_is_won_by_who_has_the_address_also_after_a_restart(
        self, operators: OperatorHost, team: Team, ingress_class: str
    ) -> None:
        operator = operators.share()
        shared = {"suspend": True, "className": ingress_class}
        with a_team(team.api) as other:
            holder = {"access": {"host": "shared.example.com", "path": "/"}}
            team.made(shared | holder)
            before = other.made(shared)

            # Older, but it does not have the address.
            other.patch_server({"spec": {"access": {"host": "shared.example.com", "path": "/b"}}})

            condition = other.wait_for_condition("SpecValid", status="False", reason="Conflict")
            assert team.namespace not in condition["message"]
            assert rules(other.get(INGRESS)) == {f"mlflow.{other.namespace}.example.com": ["/"]}
            assert other.server()["status"]["url"] == before["status"]["url"]

            operator.stop()
            operators.share()
            team.wait_for_condition("SpecValid", status="True")
            other.wait_for_condition("SpecValid", status="False", reason="Conflict")

            team.delete_server()
            team.wait_until_gone(INGRESS)
            other.wait_for_condition("SpecValid", status="True")
            wait_until(
                lambda: rules(other.get(INGRESS)) == {"shared.example.com": ["/b"]}, 10, "the other has it"
            )

    def test_between_two_that_have_nothing_yet_is_won_by_the_older(
        self, operators: OperatorHost, team: Team, ingress_class: str
    ) -> None:
        operators.make_room()
        spec = {"suspend": True, "className": ingress_class, "access": {"host": "one.example.com"}}
        with ExitStack() as stack:
            teams = [team, *(stack.enter_context(a_team(team.api)) for _ in range(3))]
            made = [(one.apply(spec)["metadata"], one) for one in teams]
            ages = sorted(
                made,
                key=lambda pair: (pair[0]["creationTimestamp"], pair[0]["uid"]),
            )
            oldest, *younger = (one for _, one in ages)
            operators.share()
            oldest.wait_for_condition("SpecValid", status="True")
            for one in younger:
                one.wait_for_condition("SpecValid", status="False", reason="Conflict")
                assert not one.children()


class TestExposed:
    def test_says_step_by_step_what_is_missing_on_the_way(
        self, team: Team, operator: RunningOperator
    ) -> None:
        offer = {"className": f"absent-{team.namespace}", "tls": {"secretName": "certificate"}}
        with a_class(team.api, {"naming": {"host": HOST}, "access": {"ingress": offer}}) as name:
            team.apply({"className": name, **NOWHERE})
            serve(team)
            condition = team.wait_for_condition("Exposed", reason="IngressClassNotFound")
            assert offer["className"] in condition["message"]

            with an_ingress_class(team, str(offer["className"])):
                team.wait_for_condition("Exposed", reason="AddressPending")
                give_address(team)
                team.wait_for_condition("Exposed", reason="TlsSecretNotFound")
                team.api.create(secret(team, "certificate"))
                condition = team.wait_for_condition("Exposed", status="True", reason="Reachable")
                assert f"mlflow.{team.namespace}.example.com" in condition["message"]

    def test_says_that_neither_the_class_nor_the_cluster_has_an_ingress_class(
        self, team: Team, operator: RunningOperator
    ) -> None:
        with a_class(team.api, {"naming": {"host": HOST}, "access": {"ingress": {}}}) as name:
            wait_until(lambda: reason_of_class(team, name) == "IngressClassNotFound", 10, "the class says so")
            assert "platform team" not in message_of_class(team, name)
            team.apply({"className": name, **NOWHERE})
            serve(team)
            condition = team.wait_for_condition("Exposed", reason="IngressClassNotFound")
            assert "ask the platform team to set access.ingress.className" in condition["message"]

            default = f"default-{team.namespace}"
            with an_ingress_class(team, default, is_default=True):
                wait_until(lambda: reason_of_class(team, name) == "AsExpected", 30, "the class is well")
            access = {"ingress": {"className": default}}
            with an_ingress_class(team, default):
                team.api.patch(TRACKING_SERVER_CLASS, None, name, {"spec": {"access": access}})
                team.wait_for_condition("Exposed", reason="AddressPending")


class TestMove:
    def test_leads_to_both_addresses_until_all_pods_answer_at_the_new_one(
        self, team: Team, ingress_class: str, operators: OperatorHost
    ) -> None:
        operator = operators.share()
        old, new = f"mlflow.{team.namespace}.example.com", f"new-{team.namespace}.example.com"
        team.api.create(secret(team, "db", uri="postgresql+psycopg2://u:p@db/mlflow"))
        team.apply({"className": ingress_class, **REPLACED_ONE_BY_ONE})
        team.end_migration(team.migration_pod(), revision="abc")
        serve(team)
        first = team.get(DEPLOYMENT)["metadata"]["generation"]

        team.patch_server({"spec": {"access": {"host": new}}})
        team.wait_until_so(INGRESS, "mlflow", lambda live: set(rules(live)) == {old, new}, "both hosts")
        wait_until(lambda: {old, new} <= hosts_answered(team), 10, "the pods are told of both")
        assert team.settled()["status"]["url"] == f"http://{old}"
        events = wait_until(lambda: moves(team), 5, "an Event")
        assert f"http://{old}" in events[0]["message"]
        assert f"http://{new}" in events[0]["message"]

        operator.stop()
        running = operators.share()
        serve(team)
        team.wait_until_so(INGRESS, "mlflow", lambda live: set(rules(live)) == {new}, "the new host alone")
        wait_until(lambda: team.server()["status"]["url"] == f"http://{new}", 10, "the new URL")
        assert team.get(DEPLOYMENT)["metadata"]["generation"] == first + 1, "one rolling update"
        running.require_running()


class TestGatewayApi:
    def test_may_come_and_go_while_the_operator_runs(
        self, team: Team, operator: RunningOperator, cluster: DevelopmentCluster
    ) -> None:
        remove_gateway_api(cluster)
        gateway = {"parentRef": {"name": "public", "namespace": team.namespace, "sectionName": "web"}}
        with a_class(team.api, {"naming": {"host": HOST}, "access": {"gateway": gateway}}) as name:
            team.apply({"className": name, **NOWHERE})
            serve(team)
            condition = team.wait_for_condition("Exposed", reason="GatewayApiMissing")
            assert "Gateway public" in condition["message"]
            wait_until(lambda: reason_of_class(team, name) == "GatewayApiMissing", 10, "the class says so")
            try:
                cluster.kubectl("apply", "--server-side", "-f", str(definitions()))
                self.gateway_is_looked_for(team, name, cluster)
                self.route_is_followed(team)
            finally:
                remove_gateway_api(cluster)
            team.wait_for_condition("Exposed", reason="GatewayApiMissing")
            assert team.server()["status"]["url"] == f"https://mlflow.{team.namespace}.example.com"

    def gateway_is_looked_for(self, team: Team, class_name: str, cluster: DevelopmentCluster) -> None:
        condition = team.wait_for_condition("Exposed", reason="GatewayNotFound")
        assert f"Gateway {team.namespace}/public" in condition["message"]
        wait_until(lambda: reason_of_class(team, class_name) == "GatewayNotFound", 30, "the class says so")
        assert "does not exist" in message_of_class(team, class_name)
        cluster.kubectl(
            "wait", "--for=condition=Established", "--timeout=30s", f"crd/{GATEWAY.plural}.{GATEWAY.group}"
        )
        gateway = team.api.create(a_gateway(team, "other"))
        wait_until(lambda: "it has: other" in message_of_class(team, class_name), 30, "no such listener")
        renamed = {"op": "replace", "path": "/spec/listeners/0/name", "value": "web"}
        team.api.json_patch(GATEWAY, team.namespace, name_of(gateway), [renamed])
        wait_until(lambda: reason_of_class(team, class_name) == "AsExpected", 30, "the class is well")

    def route_is_followed(self, team: Team) -> None:
        route = team.wait_for(HTTP_ROUTE, "mlflow")
        assert route["spec"]["hostnames"] == [f"mlflow.{team.namespace}.example.com"]
        team.patch(HTTP_ROUTE, {"spec": {"hostnames": ["elsewhere.example.com"]}})
        team.wait_until_so(HTTP_ROUTE, "mlflow", lambda live: live["spec"] == route["spec"], "it is back")
        team.wait_for_condition("Exposed", reason="AddressPending")
        say_of_route(team, "False", "NotAllowedByListeners")
        condition = team.wait_for_condition("Exposed", reason="RouteNotAccepted")
        assert "NotAllowedByListeners" in condition["message"]
        say_of_route(team, "True", "Accepted")
        team.wait_for_condition("Exposed", status="True", reason="Reachable")


def serve(team: Team, name: str = "mlflow") -> None:
    """Say of all pods of a Deployment that they serve, until it is rolled out."""

    def is_rolled_out() -> bool:
        deployment = team.find(DEPLOYMENT, name)
        if deployment is None:
            return False
        for pod in team.api.list(
            POD, team.namespace, f"{SERVER_LABEL}={name},app.kubernetes.io/component=server"
        ):
            if pod["status"].get("phase") == "Pending":
                now = "2026-01-01T00:00:00Z"
                ready = [
                    {"type": type_, "status": "True", "lastTransitionTime": now}
                    for type_ in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
                ]
                team.api.patch_status(
                    POD, team.namespace, name_of(pod), {"phase": "Running", "conditions": ready}
                )
        status = deployment.get("status", {})
        counts = [status.get(field) for field in ("replicas", "updatedReplicas", "availableReplicas")]
        is_current = status.get("observedGeneration") == deployment["metadata"]["generation"]
        return is_current and counts == [1, 1, 1]

    wait_until(is_rolled_out, 30, lambda: f"{name} serves; {team.server(name).get('status')}")


def moves(team: Team) -> list[KubeObject]:
    events = team.api.events(team.server())
    return [event for event in events if event["reason"] == "AddressChanging"]


def secret(team: Team, name: str, **values: str) -> KubeObject:
    metadata = {"name": name, "namespace": team.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


@contextmanager
def an_ingress_class(team: Team, name: str, *, is_default: bool = False) -> Iterator[None]:
    """An IngressClass whose controller is the test."""
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"} if is_default else {}
    team.api.create(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"controller": "example.com/test"},
        }
    )
    try:
        yield
    finally:
        team.api.delete(INGRESS_CLASS, None, name)


def give_address(team: Team) -> None:
    """Do what an Ingress controller does."""
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    team.api.patch_status(INGRESS, team.namespace, "mlflow", status)


def say_of_route(team: Team, accepted: str, reason: str) -> None:
    """Do what a Gateway's controller does."""
    route = team.get(HTTP_ROUTE)
    condition = {
        "type": "Accepted",
        "status": accepted,
        "reason": reason,
        "message": "",
        "observedGeneration": route["metadata"]["generation"],
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    parent = {
        "parentRef": route["spec"]["parentRefs"][0],
        "controllerName": "example.com/test",
        "conditions": [condition],
    }
    team.api.patch_status(HTTP_ROUTE, team.namespace, "mlflow", {"parents": [parent]})


def a_gateway(team: Team, listener: str) -> KubeObject:
    """A Gateway whose controller is the test."""
    return {
        "apiVersion": GATEWAY.api_version,
        "kind": GATEWAY.kind,
        "metadata": {"name": "public", "namespace": team.namespace},
        "spec": {
            "gatewayClassName": "test",
            "listeners": [{"name": listener, "port": 80, "protocol": "HTTP"}],
        },
    }


def remove_gateway_api(cluster: DevelopmentCluster) -> None:
    cluster.kubectl("delete", "--ignore-not-found", "--wait", "-f", str(definitions()))


def reason_of_class(team: Team, name: str) -> str | None:
    condition = condition_of_class(team, name)
    return condition["reason"] if condition else None


def message_of_class(team: Team, name: str) -> str:
    condition = condition_of_class(team, name)
    return str(condition["message"]) if condition else ""


def condition_of_class(team: Team, name: str) -> KubeObject | None:
    return condition_of(team.api.get(TRACKING_SERVER_CLASS, None, name), "SpecValid")
