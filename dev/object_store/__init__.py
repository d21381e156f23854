"""A real S3 server in the development cluster, for the demo, tests and measurements."""

from dev.object_store.deployment import deploy_object_store, remove_object_store
from dev.object_store.object_store import ClusterObjectStore

__all__ = ["ClusterObjectStore", "deploy_object_store", "remove_object_store"]
