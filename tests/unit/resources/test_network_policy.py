"""Who may connect to a server's pods and Jobs, and where these may connect to."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.unit.examples import EXTERNAL_DATABASE, Manifest, model, postgres_class, s3_class, tracking_class
from tracking_operator.resources.deployment import build_deployment
from tracking_operator.resources.destinations import Destination, Destinations, Network, Pods, anywhere
from tracking_operator.resources.network_policy import (
    METADATA,
    OPERATOR_PODS,
    build_network_policies,
    build_server_policy,
)
from tracking_operator.resources.pod.artifact_jobs import (
    build_artifact_check_job,
    build_artifact_deletion_job,
)
from tracking_operator.resources.pod.migration_job import build_migration_job
from tracking_operator.resources.server_model import ServerModel

BASE = Path(__file__).parents[3] / "manifests" / "base"
INGRESS: Manifest = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "traefik"}}}
MONITORING: Manifest = {"podSelector": {"matchLabels": {"app": "prometheus"}}, "namespaceSelector": {}}
OFFICE: Manifest = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
DNS: Manifest = {
    "ports": [{"port": port, "protocol": protocol} for port in (53, 5353) for protocol in ("UDP", "TCP")]
}
PG_PODS: Manifest = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "db"}},
    "podSelector": {"matchLabels": {"app": "pg"}},
}


def policies(server: ServerModel) -> dict[str, Manifest]:
    return {policy["metadata"]["name"]: policy["spec"] for policy in build_network_policies(server)}


def with_stores() -> ServerModel:
    """A server with a database and a prefix of its own, in the cluster."""
    offered = s3_class().spec.s3
    assert offered is not None
    server = model({}, postgres_class(spec={"s3": offered.as_kubernetes()}))
    return replace(
        server,
        destinations=Destinations(
            (Destination(("postgres",), Pods("db", {"app": "pg"})),),
            (Destination((7070,), Pods("s3", {"app": "s3"})),),
        ),
    )


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """What the API server does with a selector of matchLabels and operators In."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", [])
    )


def test_own_namespace_operator_and_whom_class_and_team_name_may_connect_to_the_port_of_mlflow() -> None:
    offered = tracking_class(
        {"access": {"networkPolicy": {"ingressFrom": [INGRESS, MONITORING]}}}, is_default=True
    )
    (rule,) = build_server_policy(model({"networkPolicy": {"from": [OFFICE, INGRESS]}}, offered))["spec"][
        "ingress"
    ]

    own, operator, *others = rule["from"]
    assert own == {"podSelector": {}}
    assert operator == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tracking-operator-system"}},
        "podSelector": {"matchLabels": OPERATOR_PODS},
    }
    assert others == [INGRESS, MONITORING, OFFICE], "each once"
    assert rule["ports"] == [{"port": 5000, "protocol": "TCP"}]


def test_the_operators_pods_carry_the_labels_that_are_let_in() -> None:
    deployment = yaml.safe_load((BASE / "deployment.yaml").read_text())
    assert OPERATOR_PODS.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_the_operators_own_policy_lets_it_out_to_the_pods_of_servers() -> None:
    own = yaml.safe_load((BASE / "network-policy.yaml").read_text())
    to_pods = [rule for rule in own["spec"]["egress"] if "to" in rule]
    labels = build_deployment(model())["spec"]["template"]["metadata"]["labels"]
    assert [rule["ports"] for rule in to_pods] == [[{"port": 5000}]]
    assert selects(to_pods[0]["to"][0]["podSelector"], labels)


def test_a_server_on_volumes_may_resolve_names_and_nothing_else() -> None:
    assert policies(model()).keys() == {"mlflow"}
    assert policies(model())["mlflow"]["egress"] == [DNS]


def test_every_pod_is_selected_by_exactly_one_policy_and_may_go_to_the_stores_that_it_uses() -> None:
    server = with_stores()
    database: Manifest = {"to": [PG_PODS], "ports": [{"port": "postgres", "protocol": "TCP"}]}
    bucket: Manifest = {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "s3"}},
                "podSelector": {"matchLabels": {"app": "s3"}},
            }
        ],
        "ports": [{"port": 7070, "protocol": "TCP"}],
    }
    expected = [
        (build_deployment(server), [DNS, database, bucket], True),
        (build_migration_job(server), [DNS, database], False),
        (build_artifact_check_job(server), [DNS, bucket], False),
        (build_artifact_deletion_job(server), [DNS, bucket], False),
    ]
    for owner, egress, is_reached in expected:
        labels = owner["spec"]["template"]["metadata"]["labels"]
        (spec,) = [spec for spec in policies(server).values() if selects(spec["podSelector"], labels)]
        assert spec["egress"] == egress
        assert bool(spec["ingress"]) == is_reached
        assert spec["policyTypes"] == ["Ingress", "Egress"]


def test_what_the_class_adds_holds_for_jobs_too() -> None:
    proxy: Manifest = {"to": [{"ipBlock": {"cidr": "10.0.0.9/32"}}], "ports": [{"port": 3128}]}
    everything: Manifest = {}
    offered = postgres_class(spec={"access": {"networkPolicy": {"egress": [proxy, everything]}}})
    for spec in policies(model({}, offered)).values():
        assert spec["egress"][-2:] == [
            proxy | {"ports": [{"port": 3128, "protocol": "TCP"}]},
            {},
        ]


@pytest.mark.parametrize(
    ("families", "blocks"),
    [(["IPv4"], ["0.0.0.0/0"]), (["IPv6"], ["::/0"]), (["IPv4", "IPv6"], ["0.0.0.0/0", "::/0"])],
)
def test_everywhere_is_everywhere_but_where_nodes_get_their_credentials(
    families: list[str], blocks: list[str]
) -> None:
    server = model({"backendStore": EXTERNAL_DATABASE})
    known = Destinations((anywhere(5432), anywhere(5432, 6543)), (anywhere(443),))
    server = replace(server, network=Network(ip_families=tuple(families)), destinations=known)

    (rule,) = policies(server)["mlflow"]["egress"][1:]

    assert [peer["ipBlock"]["cidr"] for peer in rule["to"]] == blocks
    excepted = [network for peer in rule["to"] for network in peer["ipBlock"]["except"]]
    assert excepted == [network for family in families for network in METADATA[family]]
    assert [port["port"] for port in rule["ports"]] == [5432, 6543, 443]


def test_an_address_of_another_family_is_left_out() -> None:
    agent = Destination((80,), addresses={"IPv4": "169.254.170.23/32"})
    server = replace(model(), destinations=Destinations((), (agent,)))
    assert policies(server)["mlflow"]["egress"][1:] == [
        {"to": [{"ipBlock": {"cidr": "169.254.170.23/32"}}], "ports": [{"port": 80, "protocol": "TCP"}]}
    ]
    only_ipv6 = replace(server, network=Network(ip_families=("IPv6",)))
    assert policies(only_ipv6)["mlflow"]["egress"] == [DNS]


def metrics_of(spec: Manifest, peers: list[Manifest]) -> list[Manifest]:
    """The rules about metrics of a server whose class lets these read them."""
    offered = tracking_class({"access": {"networkPolicy": {"metricsFrom": peers}}}, is_default=True)
    rules: list[Manifest] = policies(model(spec, offered))["mlflow"]["ingress"]
    return [rule for rule in rules if {"port": 5001, "protocol": "TCP"} in rule["ports"]]


def test_metrics_are_read_by_those_whom_the_class_names_and_these_get_to_no_other_port() -> None:
    wanted: Manifest = {"metrics": {"enabled": True}}
    assert metrics_of(wanted, [MONITORING, MONITORING]) == [
        {
            "from": [{"podSelector": {"matchLabels": {"app": "prometheus"}}, "namespaceSelector": {}}],
            "ports": [{"port": 5001, "protocol": "TCP"}],
        }
    ]
    assert metrics_of(wanted, []) == [], "a rule without peers would let everybody in"
    assert metrics_of({}, [MONITORING]) == []


def test_whoever_may_connect_otherwise_reads_no_metrics() -> None:
    offered = tracking_class({"access": {"networkPolicy": {"ingressFrom": [INGRESS]}}}, is_default=True)
    spec: Manifest = {"metrics": {"enabled": True}, "networkPolicy": {"from": [OFFICE]}}
    (rule,) = policies(model(spec, offered))["mlflow"]["ingress"]
    assert rule["ports"] == [{"port": 5000, "protocol": "TCP"}]


def test_an_operator_that_asks_nobody_is_not_let_in() -> None:
    offered = tracking_class({"access": {"probe": "None"}}, is_default=True)
    (rule,) = policies(model({}, offered))["mlflow"]["ingress"]
    assert rule["from"] == [{"podSelector": {}}]
