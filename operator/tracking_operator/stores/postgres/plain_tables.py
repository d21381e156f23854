"""Whether a table of a tenant's is one as MLflow makes it, so that reading it runs nothing that the tenant has put there.

In place of a table there may be a view, or one with rules, policies, columns that are computed, or indexes and statistics
of expressions, which are evaluated when a query is planned.
"""

from collections.abc import Sequence
from typing import Final

from psycopg2.sql import SQL

from tracking_operator.stores.postgres.connection import Session


def is_plain(
    session: Session, table: str, columns: Sequence[str], types: Sequence[str], *, doing: str
) -> bool:
    """Whether ``public.table`` is a plain one, in which each of these columns has one of these types of ``pg_catalog``.

    It is not where there is no such table. ``doing`` is as in ``Session.rows``. Raises Failure.
    """
    parameters = {
        "relation": f"public.{table}",
        "columns": list(columns),
        "types": [f"pg_catalog.{name}" for name in types],
    }
    return session.rows(_IS_PLAIN, parameters, doing=doing) == [(True,)]


_IS_PLAIN: Final = SQL("""
SELECT c.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog."char"
       AND NOT c.relhasrules AND NOT c.relrowsecurity AND NOT c.relhassubclass AND NOT c.relispartition
       AND (
           SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute AS a
           WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0
             AND a.attname OPERATOR(pg_catalog.=) ANY (%(columns)s::pg_catalog.name[])
             AND a.atttypid OPERATOR(pg_catalog.=) ANY (%(types)s::pg_catalog.regtype[]::pg_catalog.oid[])
             AND a.attgenerated OPERATOR(pg_catalog.=) ''::pg_catalog."char")
           OPERATOR(pg_catalog.=) pg_catalog.cardinality(%(columns)s::pg_catalog.name[])
       AND NOT EXISTS (
           SELECT FROM pg_catalog.pg_index AS i
           WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
       AND NOT EXISTS (
           SELECT FROM pg_catalog.pg_statistic_ext AS x WHERE x.stxrelid OPERATOR(pg_catalog.=) c.oid)
FROM pg_catalog.pg_class AS c
WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%(relation)s::pg_catalog.text)::pg_catalog.oid
""")
