"""The tests of this group start the operators that they need; no other one may act on their servers."""

from collections.abc import Iterator

import pytest

from dev.development_cluster import DevelopmentCluster
from tests.kube_api import KubeApi
from tests.operator_fixtures import HOSTS, remove_operator_pods
from tests.operator_postgres import (  # noqa: F401 — fixtures
    old_postgres,
    postgres,
    postgres_class,
    postgres_team,
)


@pytest.fixture(scope="session", autouse=True)
def nobody_enforces_policies(cluster: DevelopmentCluster) -> Iterator[None]:
    """No pod of these tests runs, and for each policy of theirs all rules of the node would be written anew."""
    with cluster.without_policies():
        yield


@pytest.fixture(scope="session", autouse=True)
def no_operator_in_the_cluster(api: KubeApi) -> None:
    """An earlier run of the end-to-end tests has left its operator there."""
    remove_operator_pods(api)


@pytest.fixture(scope="module", autouse=True)
def no_operator_for_tests_without_one(
    request: pytest.FixtureRequest, no_operator_in_the_cluster: None
) -> None:
    """The operator that the modules about it share ends before the first module about something else."""
    if not request.path.name.startswith("test_operator_"):
        for host in HOSTS:
            host.stop_all()
