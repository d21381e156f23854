"""Two teams' servers as people reach them, like the demo's: one host, a path each, an Ingress controller, a login.

They are made once for all modules that say `pytest_plugins = ["tests.e2e.exposed_servers", …]`, and stay until the end.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from dev.database import ClusterPostgres
from dev.deploy import deploy
from dev.development_cluster import DevelopmentCluster
from dev.ingress import ClusterIngress
from dev.ingress.manifests import HTTP_PORT
from dev.object_store import ClusterObjectStore
from dev.stores.manifests import contents_of
from tests.e2e.conftest import RESTRICTED
from tests.e2e.mlflow import Tracking, wait_until_ready
from tests.e2e.short_timings import SHORT
from tests.kube_api import KubeApi
from tests.operator_fixtures import HOSTS, Team, a_class, a_team
from tracking_operator.kube.objects import SECRET

DOMAIN = "example.com"
HOST = f"mlflow.{DOMAIN}"
SMALL = {"requests": {"cpu": "50m", "memory": "400Mi"}, "limits": {"memory": "1Gi"}}
SECONDS_TO_START = 500.0

Login = tuple[str, str]


@dataclass(frozen=True)
class ExposedServer:
    """A team's server, and who may log in to it."""

    team: Team
    ingress: ClusterIngress

    @property
    def url(self) -> str:
        """What people open."""
        return str(self.team.server()["status"]["url"])

    @property
    def member(self) -> Login:
        """The user of the team's jobs."""
        found = contents_of(self.team.get(SECRET, "mlflow-client"))
        return found["MLFLOW_TRACKING_USERNAME"], found["MLFLOW_TRACKING_PASSWORD"]

    @property
    def administrator(self) -> Login:
        """Who may do everything."""
        found = contents_of(self.team.get(SECRET, "mlflow-auth"))
        return found["username"], found["password"]

    def tracking(self, login: Login | None = None) -> Tracking:
        """The server at its URL, through the Ingress controller."""
        return self.tracking_at(self.url, login)

    def tracking_at(self, url: str, login: Login | None = None) -> Tracking:
        """What the Ingress controller leads to at some URL."""
        place = urlsplit(url)
        return Tracking(HTTP_PORT, self.ingress.node_address, place.netloc, place.path.rstrip("/"), login)


@pytest.fixture(scope="session")
def exposed(
    api: KubeApi,
    cluster: DevelopmentCluster,
    cluster_ingress: ClusterIngress,
    cluster_postgres: ClusterPostgres,
    cluster_object_store: ClusterObjectStore,
) -> Iterator[tuple[ExposedServer, ExposedServer]]:
    """The servers of two teams, both Ready."""
    for host in HOSTS:
        host.stop_all()
    deploy(cluster, timings=SHORT)
    spec = {
        "naming": {"host": HOST, "path": "/{{ namespace }}"},
        "limits": {"maxServersPerNamespace": 1},
        "access": {
            "ingress": {"className": cluster_ingress.class_name},
            "publicURL": f"http://{{{{ host }}}}:{HTTP_PORT}",
            "authentication": {"basic": {}},
            "networkPolicy": {"ingressFrom": [cluster_ingress.peer]},
        },
        "permissions": {"hosts": [f"*.{DOMAIN}"]},
        "postgres": cluster_postgres.class_spec(),
        "s3": cluster_object_store.class_spec(),
    }
    with ExitStack() as stack:
        name = stack.enter_context(a_class(api, spec))
        teams = [stack.enter_context(a_team(api, **RESTRICTED)) for _ in range(2)]
        for team in teams:
            team.apply({"className": name, "resources": SMALL})
        for team in teams:
            wait_until_ready(team, seconds=SECONDS_TO_START)
        first, second = (ExposedServer(team, cluster_ingress) for team in teams)
        yield first, second
