"""How many connections MLflow keeps open, and how many all replicas together need.

How many a pod keeps is in its template, so it must not depend on how many pods there are: who scales a server would replace
the pods that serve. It is what two replicas can keep; a limit that nobody names grows with the replicas instead.

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

SMALLEST_POOL: Final = 1
"""A pool may open more for a moment, so one is enough to work with."""

REPLICAS_OF_MEASURE: Final = 2
"""For so many replicas, and the one more of a roll, what all pools keep stays below the limit."""


def pool_size(connection_limit: int, *, workers: int, has_login: bool = False) -> int:
    """How many connections each engine keeps: a share of the login's limit, whatever the number of replicas.

    MLflow gets it as MLFLOW_SQLALCHEMYSTORE_POOL_SIZE, beside ``UNBOUNDED`` as …_MAX_OVERFLOW.
    """
    fixed = connections_for(0, replicas=REPLICAS_OF_MEASURE, workers=workers, has_login=has_login)
    engines = _engines(REPLICAS_OF_MEASURE, workers, has_login=has_login)
    return max(SMALLEST_POOL, min(MLFLOW_POOL_SIZE, (connection_limit - fixed) // engines))


def usual_limit(*, replicas: int, workers: int, has_login: bool = False) -> int:
    """A limit with which so many replicas, two at least, keep as many connections as MLflow does by itself."""
    counted = max(REPLICAS_OF_MEASURE, replicas)
    return connections_for(MLFLOW_POOL_SIZE, replicas=counted, workers=workers, has_login=has_login)


def connections_for(pool: int, *, replicas: int, workers: int, has_login: bool = False) -> int:
    """How many connections there are when every engine keeps ``pool``, with the pod that a roll adds."""
    fixed = CONNECTIONS_OF_PARENT + (ENGINES_OF_LOGIN if has_login else 0)
    kept = _engines(replicas, workers, has_login=has_login) * pool
    return CONNECTIONS_BESIDE_PODS + (replicas + SURGE) * fixed + kept


def _engines(replicas: int, workers: int, *, has_login: bool) -> int:
    return (replicas + SURGE) * workers * (ENGINES_PER_WORKER + (ENGINES_OF_LOGIN if has_login else 0))


def require_budget(connection_limit: int, *, replicas: int, workers: int, has_login: bool = False) -> None:
    """Require that the limit has room for one connection of each engine.

    Raises:
        Invalid: with the reason ConnectionBudgetTooSmall, if it has not.

    """
    needed = connections_for(SMALLEST_POOL, replicas=replicas, workers=workers, has_login=has_login)
    if needed > connection_limit:
        raise Invalid(
            Reason.CONNECTION_BUDGET_TOO_SMALL,
            f"{_counted(replicas, 'replica')} (and {SURGE} more while they roll) with {_counted(workers, 'worker')} each "
            f"need at least {needed} database connections, and connectionLimit is {connection_limit}: raise it to "
            f"{needed} or more, or lower replicas or workers.",
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
