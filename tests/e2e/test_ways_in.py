"""Other ways in than an Ingress without TLS: a certificate of the server's own, and a Gateway. Traefik serves both."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from dev.deploy import deploy
from dev.development_cluster import DevelopmentCluster
from dev.ingress import ClusterIngress
from dev.ingress.manifests import HTTP_PORT, HTTPS_PORT
from dev.stores.deployment import new_certificate
from tests.e2e.conftest import RESTRICTED
from tests.e2e.mlflow import API, Tracking, uids, wait_until_ready
from tests.e2e.short_timings import SHORT
from tests.kube_api import KubeApi
from tests.operator_fixtures import HOSTS, Team, a_class, a_team
from tests.waiting import patient, wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import HTTP_ROUTE, INGRESS

pytest_plugins = ["tests.cluster_ingress"]

EXPERIMENTS = f"{API}/experiments/search?max_results=1"
SECONDS = 120.0


@dataclass(frozen=True)
class Way:
    """A team's server, whose class leads to it."""

    api: KubeApi
    team: Team
    class_name: str
    ingress: ClusterIngress

    @property
    def host(self) -> str:
        return f"mlflow.{self.team.namespace}.example.com"

    def status_by_tls(self, ca: Path) -> int | None:
        """What the API answers by TLS to somebody who trusts this CA only; None while the certificate is another."""
        pool = urllib3.HTTPSConnectionPool(
            self.ingress.node_address,
            HTTPS_PORT,
            ca_certs=str(ca),
            server_hostname=self.host,
            assert_hostname=self.host,
            retries=False,
            timeout=patient(10.0),
        )
        try:
            return pool.request("GET", EXPERIMENTS, headers={"Host": self.host}).status
        except urllib3.exceptions.HTTPError:
            return None

    def status_by_http(self) -> int:
        """What the API answers without TLS."""
        tracking = Tracking(HTTP_PORT, self.ingress.node_address, self.host)
        return tracking.answer("GET", EXPERIMENTS).status


@pytest.fixture(scope="module")
def way(api: KubeApi, cluster: DevelopmentCluster, cluster_ingress: ClusterIngress) -> Iterator[Way]:
    """A server whose class has an Ingress with TLS; nobody has made the certificate yet."""
    for host in HOSTS:
        host.stop_all()
    deploy(cluster, timings=SHORT)
    spec = {
        "naming": {"host": "{{ name }}.{{ namespace }}.example.com"},
        "access": {
            "ingress": {
                "className": cluster_ingress.class_name,
                "annotations": {"traefik.ingress.kubernetes.io/router.entrypoints": "websecure"},
                "tls": {"secretName": "{{ name }}-tls"},
            },
            "networkPolicy": {"ingressFrom": [cluster_ingress.peer]},
        },
    }
    with a_class(api, spec) as name, a_team(api, **RESTRICTED) as team:
        team.apply({"className": name})
        yield Way(api, team, name, cluster_ingress)


def test_an_ingress_encrypts_with_the_certificate_of_the_servers_own(way: Way, tmp_path: Path) -> None:
    missing = way.team.wait_for_condition("Exposed", reason="TlsSecretNotFound", seconds=SECONDS)
    assert "mlflow-tls" in missing["message"]
    made = new_certificate("a team's server", [way.host])
    ca = tmp_path / "ca.crt"
    ca.write_text(made.ca_certificate)
    contents = {"tls.crt": made.certificate, "tls.key": made.key}
    way.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": "mlflow-tls", "namespace": way.team.namespace},
            "stringData": contents,
        }
    )
    server = wait_until_ready(way.team, seconds=SECONDS)
    assert server["status"]["url"] == f"https://{way.host}"
    wait_until(lambda: way.status_by_tls(ca) == 200, SECONDS, f"https://{way.host} answers")
    assert way.status_by_http() == 404


def test_a_gateway_takes_the_place_of_an_ingress_and_no_pod_is_replaced(way: Way) -> None:
    pods = uids(way.team)
    gateway = {"parentRef": way.ingress.gateway}
    access = {"ingress": None, "gateway": gateway, "publicURL": f"http://{{{{ host }}}}:{HTTP_PORT}"}
    way.api.patch(TRACKING_SERVER_CLASS, None, way.class_name, {"spec": {"access": access}})
    route = way.team.wait_for(HTTP_ROUTE, "mlflow", SECONDS)
    assert route["spec"]["hostnames"] == [way.host]
    way.team.wait_until_gone(INGRESS, "mlflow", SECONDS)
    wait_until(lambda: way.status_by_http() == 200, SECONDS, "the API answers through the Gateway")
    way.team.wait_for_condition("Exposed", status="True", reason="Reachable", seconds=SECONDS)
    server = wait_until_ready(way.team, seconds=SECONDS)
    assert server["status"]["url"] == f"http://{way.host}:{HTTP_PORT}"
    assert uids(way.team) == pods
