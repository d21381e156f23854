"""How much a tenant's database holds.

Its size is what PostgreSQL tells the admin in the maintenance database. The admin does not enter the tenant's database: rows
are counted with the tenant's own login, in tables that are as MLflow makes them. A tenant may change its tables between the
look at one and its count. What runs then has the rights of the tenant, who can run it at any time, and ends with the
statement; a lock against that would keep autovacuum away from large tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from psycopg2.sql import SQL, Composable, Identifier

from tracking_operator.failures import Failure
from tracking_operator.stores.postgres.connection import Session, Watcher
from tracking_operator.stores.postgres.database_server import Login, PostgresServer, Timeouts
from tracking_operator.stores.postgres.plain_tables import is_plain
from tracking_operator.stores.postgres.sessions import Sessions
from tracking_operator.stores.postgres.tenant import Tenant

PATIENCE: Final = Timeouts(connect=3.0, statement=2.0)
"""A count that takes longer than this is not worth what it takes from others."""


@dataclass(frozen=True)
class RowCounts:
    """What MLflow's tables hold; None: it could not be told."""

    runs: int | None = None
    models: int | None = None
    last_activity: datetime | None = None
    """When a run began or ended, a registered model was changed, or a trace began, whichever was last."""


@dataclass(frozen=True)
class _Table:
    """One of MLflow's tables, and its columns with times, in milliseconds since 1970
    (mlflow/store/tracking/dbmodels/models.py, mlflow/store/model_registry/dbmodels/models.py)."""

    name: str
    times: tuple[str, ...]


_RUNS: Final = _Table("runs", ("start_time", "end_time"))
_MODELS: Final = _Table("registered_models", ("last_updated_time",))
_TRACES: Final = _Table("trace_info", ("timestamp_ms",))


def database_size(sessions: Sessions, tenant: Tenant) -> int:
    """The size of a tenant's database in bytes, as ``pg_database_size`` has it.

    Raises:
        Failure: the server does not answer, or has no such database.

    """
    doing = f"tell the size of database {tenant.database}"
    rows = sessions.session().rows(_SIZE, {"database": tenant.database}, doing=doing)
    return int(rows[0][0])


def count_rows(
    server: PostgresServer, login: Login, tenant: Tenant, *, now: datetime, watch: Watcher | None = None
) -> RowCounts:
    """Log in as the tenant and count what MLflow's tables hold, as far as they are as MLflow makes them.

    What fails or takes too long ends the count, and what was counted before stays: whatever a tenant's database answers is no
    reason to know nothing. Times after ``now`` do not count.
    """
    counts = RowCounts()
    try:
        with Session(server, login, tenant.database, PATIENCE, watch) as session:
            for table in (_RUNS, _MODELS, _TRACES):
                counts = _with(counts, table, _look_at(session, table, tenant, now))
    except Failure:
        return counts
    return counts


@dataclass(frozen=True)
class _Found:
    rows: int
    last_time: int | None


def _look_at(session: Session, table: _Table, tenant: Tenant, now: datetime) -> _Found | None:
    """How many rows a table has, and the last of its times; None if it is not the one that MLflow makes."""
    doing = f"count the rows of {table.name} in database {tenant.database}"
    if not is_plain(session, table.name, table.times, ["int8"], doing=doing):
        return None
    parameters = {"now": int(now.timestamp() * 1000)}
    ((rows, *times),) = session.rows(_count(table), parameters, doing=doing)
    return _Found(int(rows), max((int(time) for time in times if time is not None), default=None))


def _with(counts: RowCounts, table: _Table, found: _Found | None) -> RowCounts:
    if found is None:
        return counts
    counts = replace(counts, last_activity=_later(counts.last_activity, found.last_time))
    if table is _RUNS:
        return replace(counts, runs=found.rows)
    return replace(counts, models=found.rows) if table is _MODELS else counts


def _later(known: datetime | None, milliseconds: int | None) -> datetime | None:
    if milliseconds is None:
        return known
    found = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return max(found, known) if known else found


def _count(table: _Table) -> Composable:
    return SQL("SELECT pg_catalog.count(*), {} FROM ONLY {} AS t").format(
        _latest(table.times), Identifier("public", table.name)
    )


def _latest(columns: Sequence[str]) -> Composable:
    return SQL(", ").join(_LATEST.format(Identifier("t", column)) for column in columns)


_SIZE: Final = SQL("SELECT pg_catalog.pg_database_size(%(database)s::pg_catalog.name)")
_LATEST: Final = SQL(
    "pg_catalog.max({0}) FILTER (WHERE {0} OPERATOR(pg_catalog.>) 0 "
    "AND {0} OPERATOR(pg_catalog.<=) %(now)s::pg_catalog.int8)"
)
