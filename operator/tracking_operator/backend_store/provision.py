"""Brings one tenant's database and roles to the desired state: observe, plan, apply, look again."""

from dataclasses import dataclass, replace

from tracking_operator.api.conditions import Reason
from tracking_operator.backend_store.apply import apply
from tracking_operator.backend_store.connection import Sessions
from tracking_operator.backend_store.observe import Observed, observe, observe_catalog
from tracking_operator.backend_store.plan import check_ownership, plan
from tracking_operator.backend_store.statements import Step, explain
from tracking_operator.backend_store.tenant import Desired, Tenant
from tracking_operator.failures import Invalid, Unavailable


@dataclass(frozen=True)
class Provisioned:
    """What was done, and what else was seen.

    ``other_login_works`` means that a rotation has begun and not ended: both logins can log in.
    """

    steps: tuple[Step, ...]
    other_login_works: bool


def provision(sessions: Sessions, desired: Desired, *, must_exist: bool = False) -> Provisioned:
    """Make a tenant's database and roles as desired; sends nothing but a query or two if they are.

    With ``must_exist`` a database that is gone is not replaced by an empty one.

    Raises:
        Failure: of any kind. Calling again goes on from what is there.

    """
    observed = observe(sessions, desired.tenant)
    steps = plan(observed, desired)
    if must_exist and observed.database is None:
        raise _lost(sessions, desired.tenant)
    if steps:
        apply(sessions, desired.tenant, steps)
        observed = observe(sessions, desired.tenant)
        _prove_settled(observed, desired)
    return Provisioned(steps, _works(desired.tenant.other_login(desired.login), observed))


def require_own(sessions: Sessions, tenant: Tenant, *, must_exist: bool) -> None:
    """Make sure that ``provision`` would not be refused, with one query and without a change.

    Raises:
        Failure: something of a needed name is not the tenant's; or the database is gone, and ``must_exist``.

    """
    observed = observe_catalog(sessions.session(), tenant)
    check_ownership(observed, tenant)
    if must_exist and observed.database is None:
        raise _lost(sessions, tenant)


def preview(sessions: Sessions, desired: Desired) -> str:
    """Print what ``provision`` would do, without doing it; empty if nothing."""
    return explain(plan(observe(sessions, desired.tenant), desired))


def _works(login: str, observed: Observed) -> bool:
    return login in observed.roles and observed.roles[login].can_login


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
