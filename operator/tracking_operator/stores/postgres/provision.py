"""Brings one tenant's database and roles to the desired state: observe, plan, apply, look again."""

from dataclasses import dataclass, replace
from typing import Final

from psycopg2.sql import SQL

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid, Unavailable
from tracking_operator.stores.postgres.apply import apply
from tracking_operator.stores.postgres.observe import Observed, observe
from tracking_operator.stores.postgres.plan import check_ownership, is_in_use, plan
from tracking_operator.stores.postgres.sessions import Sessions
from tracking_operator.stores.postgres.statements import Step
from tracking_operator.stores.postgres.tenant import Desired, Tenant


@dataclass(frozen=True)
class Provisioned:
    """What was done, and what else was seen.

    ``is_rotating`` means that a rotation has begun and not ended: the other login can log in, or has sessions.
    ``other_until`` is when that has to end, in seconds since 1970.
    """

    steps: tuple[Step, ...]
    is_rotating: bool
    other_until: float | None = None


def provision(
    sessions: Sessions, desired: Desired, *, must_exist: bool = False, most_databases: int | None = None
) -> Provisioned:
    """Make a tenant's database and roles as desired; sends nothing but a query or two if they are.

    With ``must_exist`` a database that is gone is not replaced by an empty one. A namespace that has ``most_databases``
    gets no further one; those of deleted servers count.

    Raises:
        Failure: of any kind. Calling again goes on from what is there.

    """
    observed = observe(sessions.session(), desired.tenant)
    steps = plan(observed, desired)
    if must_exist and observed.database is None:
        raise _lost(sessions, desired.tenant)
    if observed.database is None and most_databases is not None:
        _require_room(sessions, desired.tenant, most_databases)
    if steps:
        apply(sessions, desired.tenant, steps)
        observed = observe(sessions.session(), desired.tenant)
        _prove_settled(observed, desired)
    other = observed.roles.get(desired.tenant.other_login(desired.login))
    if other is None or not is_in_use(other):
        return Provisioned(steps, is_rotating=False)
    return Provisioned(steps, is_rotating=True, other_until=other.valid_until)


def require_own(sessions: Sessions, tenant: Tenant, *, must_exist: bool) -> None:
    """Make sure that ``provision`` would not be refused, with one query and without a change.

    Raises:
        Failure: something of a needed name is not the tenant's; or the database is gone, and ``must_exist``.

    """
    observed = observe(sessions.session(), tenant)
    check_ownership(observed, tenant)
    if must_exist and observed.database is None:
        raise _lost(sessions, tenant)


def _require_room(sessions: Sessions, tenant: Tenant, most: int) -> None:
    """Make sure that the namespace may have one more database. Raises Invalid."""
    today, earlier = tenant.mark.beginnings_of_namespace
    beginnings = {"beginning": today, "earlier_beginning": earlier}
    rows = sessions.session().rows(_COUNT_MARKED, beginnings, doing="count the databases of a namespace")
    count = int(rows[0][0])
    if count >= most:
        raise Invalid(
            Reason.LIMIT_EXCEEDED,
            f"Namespace {tenant.mark.namespace!r} has {count} databases on PostgreSQL at {sessions.server}, with those of "
            f"deleted servers that were kept, and the class allows {most}: ask the platform team to drop what nobody "
            "needs any more, or for more.",
        )


_COUNT_MARKED: Final = SQL(
    "SELECT pg_catalog.count(*) FROM pg_catalog.pg_shdescription AS c "
    "WHERE c.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_database'::pg_catalog.regclass::pg_catalog.oid "
    "AND (pg_catalog.starts_with(c.description, %(beginning)s::pg_catalog.text) "
    "OR pg_catalog.starts_with(c.description, %(earlier_beginning)s::pg_catalog.text))"
)


def _prove_settled(observed: Observed, desired: Desired) -> None:
    left = plan(observed, replace(desired, set_password=False))
    if left:
        raise Unavailable(
            Reason.ISOLATION_NOT_PROVED,
            f"PostgreSQL accepted every statement for database {desired.tenant.database}, and yet this is left to do: "
            f"{left[0].what}. Run it as a superuser: {left[0]}; the operator looks again by itself.",
        )


def _lost(sessions: Sessions, tenant: Tenant) -> Invalid:
    return Invalid(
        Reason.DATABASE_LOST,
        f"The database {tenant.database} is gone from PostgreSQL at {sessions.server}, and the data with it. Restore it "
        "under this name, or let the server begin with an empty store.",
    )
