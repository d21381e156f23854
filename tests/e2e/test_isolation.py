"""The isolation matrix on real servers: every attempt of one team against another, and what was seen.

The operator is installed as for teams that do not trust each other (manifests/overlays/multi-tenant).
It uses the operator, the stores and the Ingress controller that other modules of this group use.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from secrets import token_hex

import pytest

from dev.database import ClusterPostgres
from dev.deploy import BASE, deploy
from dev.development_cluster import DevelopmentCluster
from dev.ingress import ClusterIngress
from dev.ingress.manifests import HTTP_PORT
from dev.local_cluster.progress import say
from dev.object_store import ClusterObjectStore
from tests.conftest import is_set
from tests.e2e.conftest import RESTRICTED
from tests.e2e.mlflow import wait_until_ready
from tests.e2e.small_pods import start_pod_with_metadata_address
from tests.kube_api import KubeApi
from tests.operator_fixtures import a_class, a_team
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.isolation.attempts import Area, Verdict
from tracking_operator.isolation.in_pod.network import METADATA
from tracking_operator.isolation.runner import Matrix, Options, run_matrix
from tracking_operator.isolation.table import as_markdown, as_text, summary
from tracking_operator.kube.client import KubeClient

pytest_plugins = ["tests.cluster_ingress", "tests.cluster_object_store", "tests.cluster_postgres"]

pytestmark = pytest.mark.skipif(
    not is_set("TRACKING_OPERATOR_TEST_ISOLATION"), reason="made by `make test-isolation`"
)

TABLE = "ISOLATION_TABLE"
"""The variable that names a file for the table, as Markdown: docs/explanation/security.md, for example, whose head is kept."""
MULTI_TENANT = BASE.parent / "overlays" / "multi-tenant"
HEADING = "## The table\n"
DOMAIN = "isolation.example.com"
LABEL = token_hex(4)
AT_LEAST = 60
SECONDS_TO_START = 400.0
SMALL = {"requests": {"cpu": "50m", "memory": "400Mi"}, "limits": {"memory": "1Gi"}}


@pytest.fixture(scope="module")
def offer(
    cluster_postgres: ClusterPostgres,
    cluster_object_store: ClusterObjectStore,
    cluster_ingress: ClusterIngress,
) -> dict[str, object]:
    """The demo's class, with finite limits and with all that is off unless it is permitted."""
    return {
        "allowedNamespaces": {"matchLabels": {"isolation": LABEL}},
        "naming": {"host": f"{{{{ name }}}}.{{{{ namespace }}}}.{DOMAIN}"},
        "access": {
            "ingress": {"className": cluster_ingress.class_name},
            "publicURL": f"http://{{{{ host }}}}:{HTTP_PORT}",
            "authentication": {"basic": {}},
            "networkPolicy": {"ingressFrom": [cluster_ingress.peer]},
        },
        "permissions": {
            "hosts": [f"*.{DOMAIN}"],
            "deletionPolicyDelete": False,
            "externalStores": False,
            # Other tests' classes permit all of it.
            "podTemplate": {"scheduling": False, "env": False, "labels": [], "annotations": []},
        },
        "limits": {
            "maxServersPerNamespace": 3,
            "maxReplicas": 3,
            "maxConnections": 80,
            "maxResources": {"cpu": "2", "memory": "2Gi"},
        },
        "postgres": cluster_postgres.class_spec(),
        "s3": cluster_object_store.class_spec(),
    }


@pytest.fixture(scope="module")
def deployed(cluster: DevelopmentCluster, api: KubeApi, no_operator_beside_the_pods: None) -> Iterator[None]:
    """The operator as two pods. The overlay's own class names stores that are not here, and ends with the module."""
    deploy(cluster, MULTI_TENANT)
    yield
    api.delete(TRACKING_SERVER_CLASS, None, "standard")


@pytest.fixture(scope="module")
def matrix(
    api: KubeApi, cluster: DevelopmentCluster, deployed: None, offer: dict[str, object]
) -> Iterator[Matrix]:
    """Everything that was tried between three teams, and what was seen."""
    with ExitStack() as stack:
        name = stack.enter_context(a_class(api, offer))
        teams = [
            stack.enter_context(a_team(api, isolation=LABEL, mlflow="true", **RESTRICTED)) for _ in range(3)
        ]
        elsewhere = stack.enter_context(a_team(api))
        metadata = start_pod_with_metadata_address(cluster, elsewhere, "metadata", METADATA[0], [METADATA[1]])
        *serving, third = teams
        for team in serving:
            team.apply({"className": name, "resources": SMALL})
        third.apply({"className": name, "resources": SMALL, "suspend": True})
        for team in serving:
            wait_until_ready(team, seconds=SECONDS_TO_START)
        third.wait_for_condition("Ready", reason="Suspended", seconds=SECONDS_TO_START)
        metadata.running()
        found = asyncio.run(run(cluster, Options(name, *(team.namespace for team in teams))))
        report(found)
        yield found


async def run(cluster: DevelopmentCluster, options: Options) -> Matrix:
    async with await KubeClient.connect(cluster.kubeconfig_path) as platform:
        return await run_matrix(platform, options, say)


def report(matrix: Matrix) -> None:
    """Print the table, and write it where somebody wants it."""
    say(as_text(matrix.rows, matrix.names))
    say(summary(matrix.rows))
    if path := os.environ.get(TABLE):
        file = Path(path)
        head = file.read_text(encoding="utf-8").partition(HEADING)[0] if file.exists() else ""
        harmless = sum(row.attempt.harmless for row in matrix.rows)
        made = (
            f"{len(matrix.rows)} attempts, made on {date.today()} by `make test-isolation ISOLATION_TABLE=docs/explanation/security.md` on the\n"
            f"development cluster, with manifests/overlays/multi-tenant. {harmless} of them are harmless: `tracking-operator check isolation`\n"
            "makes those where teams work."
        )
        table = as_markdown(matrix.rows, matrix.names)
        file.write_text(f"{head}{HEADING}\n{made}\n\n{table}", encoding="utf-8")


@pytest.mark.parametrize("area", list(Area))
def test_nobody_gets_what_is_another_teams(matrix: Matrix, area: Area) -> None:
    wrong = [row for row in matrix.rows if row.attempt.area is area and not row.is_as_expected]
    assert not wrong, summary(wrong)


def test_every_attempt_was_made(matrix: Matrix) -> None:
    left_out = [row.attempt.id for row in matrix.rows if row.seen.verdict is Verdict.NOT_APPLICABLE]
    assert left_out == []
    assert len(matrix.rows) >= AT_LEAST
