"""An S3 server in the test cluster, for tests whose pods need one. Like the cluster it stays, for the next run.

A test module that needs it says `pytest_plugins = ["tests.cluster_object_store"]`.
"""

import pytest

from dev.development_cluster import DevelopmentCluster
from dev.object_store import ClusterObjectStore, deploy_object_store


@pytest.fixture(scope="session")
def cluster_object_store(cluster: DevelopmentCluster) -> ClusterObjectStore:
    """A server at `s3.s3.svc`; `class_spec()` is what a TrackingServerClass says to use it."""
    return deploy_object_store(cluster)
