"""How many connections MLflow keeps open, so that those of all replicas together stay below the role's limit.

What it opens for a moment beyond that, the role's own limit bounds. MLflow takes a second connection while it holds a first
one (``log_batch`` of mlflow/store/tracking/sqlalchemy_store.py, 3.17.2): in a pool that is bounded, a few requests at a time
wait for each other until SQLAlchemy gives up after 30 s, and MLflow answers 400, which its clients do not try again. A
connection that PostgreSQL refuses becomes a 503 at once, which they do.
"""

from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid

MLFLOW_POOL_SIZE: Final = 5
"""SQLAlchemy's default, which MLflow keeps; more is never asked for."""

UNBOUNDED: Final = -1
"""SQLAlchemy's word for an overflow without a limit."""

ENGINES_PER_WORKER: Final = 2
"""The tracking store and the model registry each have a pool (MLflow 3.17.2)."""

CONNECTIONS_OF_PARENT: Final = 2
"""The process that starts the workers checks both stores, and keeps a connection to each."""

ENGINES_OF_LOGIN: Final = 1
"""With basic-auth, each of these processes has one more pool (mlflow/server/auth/sqlalchemy_store.py, 3.17.2)."""

CONNECTIONS_BESIDE_PODS: Final = 2
"""The check of the init container of the pod that starts, and one of the operator.

A migration Job needs two, for its lock and for the upgrade, but it runs before pods roll, so that it has
those of the pod that a roll adds.
"""

SURGE: Final = 1
"""How many pods more than replicas there are while a Deployment rolls."""

SMALLEST_POOL: Final = 2
"""What one request may need."""


def pool_size(connection_limit: int, *, replicas: int, workers: int, has_login: bool = False) -> int:
    """Divide a login's connection limit among the engines of all pods, that of a roll included.

    MLflow gets it as MLFLOW_SQLALCHEMYSTORE_POOL_SIZE, beside ``UNBOUNDED`` as …_MAX_OVERFLOW.

    Raises:
        Invalid: with the reason ConnectionBudgetTooSmall, if not even the smallest pools fit.

    """
    pods = replicas + SURGE
    further = ENGINES_OF_LOGIN if has_login else 0
    all_engines = pods * workers * (ENGINES_PER_WORKER + further)
    fixed = CONNECTIONS_BESIDE_PODS + pods * (CONNECTIONS_OF_PARENT + further)
    share = (connection_limit - fixed) // all_engines if all_engines else MLFLOW_POOL_SIZE
    if share < SMALLEST_POOL:
        needed = fixed + all_engines * SMALLEST_POOL
        raise Invalid(
            Reason.CONNECTION_BUDGET_TOO_SMALL,
            f"{_counted(replicas, 'replica')} (and {SURGE} more while they roll) with {_counted(workers, 'worker')} each "
            f"need at least {needed} database connections, and connectionLimit is {connection_limit}: raise it to "
            f"{needed} or more, or lower replicas or workers.",
        )
    return min(MLFLOW_POOL_SIZE, share)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
