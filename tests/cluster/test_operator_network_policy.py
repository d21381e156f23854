"""What a server's NetworkPolicies let through: as class, team, Services and Secrets say it, and as long as they do."""

import pytest

from tests.kube_api import KubeApi
from tests.operator_fixtures import RunningOperator, Team, a_class, a_team
from tests.waiting import wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import DEPLOYMENT, NETWORK_POLICY, SECRET, KubeObject, KubeObjects

SECONDS_TO_FOLLOW = 5.0
TRAEFIK: KubeObject = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "traefik"}}}
PROMETHEUS: KubeObject = {"podSelector": {"matchLabels": {"app": "prometheus"}}, "namespaceSelector": {}}
PROXY: KubeObject = {
    "to": [{"ipBlock": {"cidr": "10.0.0.9/32"}}],
    "ports": [{"port": 3128, "protocol": "TCP"}],
}
OWN_NAMESPACE_AND_OPERATOR = 2


@pytest.fixture(autouse=True)
def _operator(operator: RunningOperator) -> None:
    """An operator that is active."""


def peers(team: Team, name: str = "mlflow") -> KubeObjects:
    """Who may connect to a server, beside its own namespace and the operator."""
    (rule,) = team.get(NETWORK_POLICY, name)["spec"]["ingress"]
    found: KubeObjects = rule["from"]
    return found[OWN_NAMESPACE_AND_OPERATOR:]


def ways_out(team: Team, name: str = "mlflow") -> KubeObjects:
    """Where the pods may connect to, beside DNS."""
    found: KubeObjects = team.get(NETWORK_POLICY, name)["spec"]["egress"]
    return found[1:]


def external(team: Team, uri: str) -> KubeObject:
    """A Secret with the URI of a database, and the specification of a server that uses it."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "database",
            "namespace": team.namespace,
            "labels": {"tracking-operator.dev/watch": "true"},
        },
        "stringData": {"uri": uri},
    }
    team.api.apply(secret)
    return {
        "suspend": True,
        "backendStore": {"external": {"uriSecretRef": {"name": "database", "key": "uri"}}},
        "artifactStore": {"volume": {}},
    }


def test_policies_follow_class_and_team_and_no_pod_is_rolled_for_it(api: KubeApi, team: Team) -> None:
    with a_class(api, {"access": {"networkPolicy": {"ingressFrom": [TRAEFIK]}}}) as class_name:
        team.made({"className": class_name, "suspend": True})
        team.wait_for(DEPLOYMENT, "mlflow")
        generation = team.get(DEPLOYMENT)["metadata"]["generation"]
        assert (peers(team), ways_out(team)) == ([TRAEFIK], [])

        more = {"access": {"networkPolicy": {"ingressFrom": [TRAEFIK, PROMETHEUS], "egress": [PROXY]}}}
        api.patch(TRACKING_SERVER_CLASS, None, class_name, {"spec": more})
        team.patch_server(
            {"spec": {"networkPolicy": {"from": [{"podSelector": {}, "namespaceSelector": {}}]}}}
        )
        wait_until(
            lambda: len(peers(team)) == 3 and ways_out(team) == [PROXY],
            SECONDS_TO_FOLLOW,
            lambda: f"the policy follows: {peers(team)}, {ways_out(team)}",
        )

        team.patch_server({"spec": {"networkPolicy": None}})
        api.patch(TRACKING_SERVER_CLASS, None, class_name, {"spec": {"access": {"networkPolicy": None}}})
        wait_until(lambda: (peers(team), ways_out(team)) == ([], []), SECONDS_TO_FOLLOW, "nobody is left")
        assert team.get(DEPLOYMENT)["metadata"]["generation"] == generation


def test_a_database_behind_a_service_is_the_pods_that_it_selects(api: KubeApi, team: Team) -> None:
    with a_team(api) as database:
        api.create(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "pg", "namespace": database.namespace},
                "spec": {"selector": {"app": "pg"}, "ports": [{"port": 5432, "targetPort": "postgres"}]},
            }
        )
        spec = external(team, f"postgresql+psycopg2://me:secret@pg.{database.namespace}.svc/mlflow")
        team.made(spec)
        pods = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": database.namespace}},
            "podSelector": {"matchLabels": {"app": "pg"}},
        }
        expected = [{"to": [pods], "ports": [{"port": "postgres", "protocol": "TCP"}]}]

        team.wait_for(NETWORK_POLICY, "mlflow")
        assert ways_out(team) == expected
        assert ways_out(team, "mlflow-migrate") == expected
        assert team.get(NETWORK_POLICY, "mlflow-migrate")["spec"].get("ingress", []) == []


def test_a_policy_stays_as_it_is_while_the_secret_of_its_store_is_missing(team: Team) -> None:
    spec = external(team, "postgresql+psycopg2://me:secret@db.example.com:6543/mlflow")
    team.made(spec)
    team.wait_for(NETWORK_POLICY, "mlflow")

    def ports() -> list[int]:
        return [port["port"] for rule in ways_out(team) for port in rule["ports"]]

    assert ports() == [6543]
    before = team.get(NETWORK_POLICY)["metadata"]["resourceVersion"]
    team.api.delete(SECRET, team.namespace, "database")
    team.wait_for_condition("BackendStoreReady", status="False", reason="SecretNotFound")
    team.patch_server({"spec": {"workers": 2}})
    team.settled()
    assert team.get(NETWORK_POLICY)["metadata"]["resourceVersion"] == before

    external(team, "postgresql+psycopg2://me:secret@db.example.com:7654/mlflow")
    wait_until(lambda: ports() == [7654], SECONDS_TO_FOLLOW, lambda: f"port 7654; it is {ports()}")
