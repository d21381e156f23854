"""A PostgreSQL in the test cluster, for tests whose pods need one. Like the cluster it stays, for the next run.

A test module that needs it says `pytest_plugins = ["tests.cluster_postgres"]`.
"""

import pytest

from dev.database import ClusterPostgres, deploy_postgres
from dev.development_cluster import DevelopmentCluster


@pytest.fixture(scope="session")
def cluster_postgres(cluster: DevelopmentCluster) -> ClusterPostgres:
    """A server at `postgres.postgres.svc`; `class_spec()` is what a TrackingServerClass says to use it."""
    return deploy_postgres(cluster)
