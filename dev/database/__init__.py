"""A real PostgreSQL in the development cluster, for the demo, tests and measurements."""

from dev.database.deployment import deploy_postgres, remove_postgres
from dev.database.postgres import ClusterPostgres

__all__ = ["ClusterPostgres", "deploy_postgres", "remove_postgres"]
