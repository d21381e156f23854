"""The end-to-end tests use the operator as it is installed: as pods."""

from collections.abc import Iterator

import pytest

from dev.deploy import deploy
from dev.development_cluster import DevelopmentCluster
from tests.e2e.short_timings import SHORT
from tests.kube_api import KubeApi
from tests.operator_fixtures import HOSTS, Team, a_team

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="module", autouse=True)
def no_operator_beside_the_pods() -> None:
    """An operator that an earlier test has started on this machine would hold the Lease."""
    for host in HOSTS:
        host.stop_all()


@pytest.fixture(scope="module")
def deployed(cluster: DevelopmentCluster, no_operator_beside_the_pods: None) -> None:
    """The operator, running in the cluster as two pods."""
    deploy(cluster, timings=SHORT)


@pytest.fixture
def restricted_team(api: KubeApi, deployed: None) -> Iterator[Team]:
    """A team with a new namespace that admits only pods of the `restricted` Pod Security Standard."""
    with a_team(api, **RESTRICTED) as team:
        yield team
