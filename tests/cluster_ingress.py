"""An Ingress controller in the test cluster, for tests that reach servers as people do. Like the cluster it stays, for the next run.

A test module that needs it says `pytest_plugins = ["tests.cluster_ingress"]`.
"""

import pytest

from dev.development_cluster import DevelopmentCluster
from dev.ingress import ClusterIngress, deploy_ingress_controller


@pytest.fixture(scope="session")
def cluster_ingress(cluster: DevelopmentCluster) -> ClusterIngress:
    """Traefik, with a Gateway beside its IngressClass; both are called `traefik`."""
    return deploy_ingress_controller(cluster, gateway=True)
