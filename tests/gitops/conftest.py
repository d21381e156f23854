"""Argo CD, a Git server and the operator as pods, in a cluster of their own: both have much to do, and other tests count calls.

`make campaign` runs this folder. The cluster is removed afterwards, unless TRACKING_OPERATOR_KEEP_TEST_CLUSTER=true.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from dev.classes import generous
from dev.database import ClusterPostgres, deploy_postgres
from dev.demo.server import CLASS
from dev.deploy import deploy, load_images
from dev.development_cluster import DevelopmentCluster, development_cluster
from dev.gitops import ArgoCd, deploy_argo_cd
from dev.gitops.files import platform_files
from dev.images import build_images
from dev.images.recipes import mlflow_recipe
from dev.ingress import deploy_ingress_controller
from dev.object_store import deploy_object_store
from tests.conftest import TEST_CLUSTER, is_set
from tests.e2e.mlflow import Tracking
from tests.e2e.short_timings import SHORT
from tests.gitops.git_team import GitTeam
from tests.kube_api import KubeApi
from tests.mlflow_versions import NEWEST_VERSION, VERSION_BEFORE
from tests.operator_fixtures import condition_of
from tests.waiting import wait_until
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import KubeObject

HERE = Path(__file__).parent
DOMAIN = "example.com"
SECONDS_FOR_THE_PLATFORM = 300.0

MakeTeam = Callable[..., GitTeam]
AS_IT_WAS: KubeObject = {"version": NEWEST_VERSION}
"""What the shared team has in Git."""
ASLEEP: KubeObject = {"suspend": True}
"""A server without pods, which is enough where nobody asks it anything."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder takes long."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.campaign)


@pytest.fixture(scope="session")
def cluster() -> Iterator[DevelopmentCluster]:
    """A cluster for Argo CD."""
    cluster = development_cluster(f"{TEST_CLUSTER}-git")
    cluster.create()
    yield cluster
    if not is_set("TRACKING_OPERATOR_KEEP_TEST_CLUSTER"):
        cluster.delete()


@pytest.fixture(scope="session")
def api(cluster: DevelopmentCluster) -> KubeApi:
    """The API server of this cluster, as an administrator."""
    return KubeApi(cluster.kubeconfig_path)


@pytest.fixture(scope="session")
def cluster_postgres(cluster: DevelopmentCluster) -> ClusterPostgres:
    """The PostgreSQL of the class."""
    return deploy_postgres(cluster)


@pytest.fixture(scope="session")
def argo_cd(cluster: DevelopmentCluster, api: KubeApi, cluster_postgres: ClusterPostgres) -> ArgoCd:
    """Argo CD, with a class from Git that gives each server a database, a prefix and a host."""
    deploy(cluster, timings=SHORT)
    deploy_object_store(cluster)
    deploy_ingress_controller(cluster)
    argo_cd = deploy_argo_cd(cluster)
    url = argo_cd.repository.url_of_pods
    wanted = class_of_tests()
    argo_cd.repository.commit("The class", platform_files(url, wanted))
    argo_cd.look_again()

    def is_there() -> bool:
        found = api.find(TRACKING_SERVER_CLASS, None, wanted["metadata"]["name"]) or {"spec": {}}
        ready = condition_of(found, "Ready") or {}
        is_new = found["spec"].get("naming") == wanted["spec"]["naming"]
        return is_new and (ready.get("status"), ready.get("observedGeneration")) == (
            "True",
            found["metadata"]["generation"],
        )

    wait_until(
        is_there,
        SECONDS_FOR_THE_PLATFORM,
        lambda: f"the class from Git is Ready: {argo_cd.applications()}",
        interval=1.0,
    )
    return argo_cd


@pytest.fixture(scope="session")
def older_mlflow(cluster: DevelopmentCluster) -> str:
    """The release before the newest, whose image the node has."""
    load_images(cluster, build_images([mlflow_recipe(VERSION_BEFORE)]))
    return VERSION_BEFORE


def class_of_tests() -> KubeObject:
    """The class of the samples, with a host for each server, and whatever a team may ask for."""
    class_: KubeObject = yaml.safe_load(CLASS.read_text())
    spec = generous(class_["spec"])
    spec["naming"] = {"host": f"{{{{ name }}}}.{{{{ namespace }}}}.{DOMAIN}"}
    spec["access"].pop("publicURL")
    spec["permissions"]["hosts"] = [f"*.{DOMAIN}"]
    spec["limits"] |= {"maxServersPerNamespace": 4}
    return {**class_, "spec": spec}


@pytest.fixture
def new_team(argo_cd: ArgoCd, api: KubeApi) -> Iterator[Callable[[], GitTeam]]:
    """Teams that are in Git for the time of a test; nothing is committed yet."""
    teams: list[GitTeam] = []

    def make() -> GitTeam:
        teams.append(GitTeam(argo_cd, api, f"team-{uuid4().hex[:6]}"))
        return teams[-1]

    yield make
    for team in teams:
        team.end()


@pytest.fixture
def make_team(new_team: Callable[[], GitTeam]) -> MakeTeam:
    """Commit a new team, with a server of this specification, and wait until Argo CD says so of its health."""

    def make(spec: KubeObject, health: str = "Healthy", **metadata: object) -> GitTeam:
        team = new_team()
        team.begin(spec, health, metadata)
        return team

    return make


@pytest.fixture(scope="session")
def team_that_runs(argo_cd: ArgoCd, api: KubeApi) -> Iterator[GitTeam]:
    """A team with a server that serves, for all tests that leave it as it was."""
    team = GitTeam(argo_cd, api, f"team-{uuid4().hex[:6]}")
    team.begin(AS_IT_WAS)
    yield team
    team.end()


def status_of(tracking: Tracking) -> int:
    """What the API answers to the team's programs."""
    return tracking.answer("GET", "/api/2.0/mlflow/experiments/search?max_results=1").status
