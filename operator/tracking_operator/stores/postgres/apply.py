"""Carries out the steps of a plan, and believes the server only after looking again."""

from collections.abc import Sequence

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Unavailable
from tracking_operator.stores.postgres.observe import PUBLIC, Grant, observe_grants
from tracking_operator.stores.postgres.sessions import Sessions
from tracking_operator.stores.postgres.statements import Step
from tracking_operator.stores.postgres.tenant import Tenant


def apply(sessions: Sessions, tenant: Tenant, steps: Sequence[Step]) -> None:
    """Carry out steps one after the other.

    Raises:
        Failure: a step failed, or the privileges after it are not the expected ones. Planning again from
            what is there then, and applying that, leads to the same end.

    """
    for step in steps:
        session = sessions.session(step.in_database)
        session.execute(step.statement, doing=step.what, slow=step.slow)
        if step.grants_after is not None:
            prove_grants(sessions, tenant, step.grants_after)


def prove_grants(sessions: Sessions, tenant: Tenant, expected: frozenset[Grant]) -> None:
    """Read back who may use a tenant's database.

    Some refused grants and revokes are only a WARNING and change nothing (a REVOKE by somebody who is
    not the owner, on PostgreSQL 16 and later), so success alone proves nothing.

    Raises:
        Unavailable: it is not exactly who is ``expected``.

    """
    owner, found = observe_grants(sessions.session(), tenant.database)
    if found == expected:
        return
    too_much = ", ".join(sorted(_spelled(grant) for grant in found - expected)) or "nothing"
    missing = ", ".join(sorted(_spelled(grant) for grant in expected - found)) or "nothing"
    raise Unavailable(
        Reason.ISOLATION_NOT_PROVED,
        f"The database {tenant.database} grants other privileges than it was told to. Too much: {too_much}; "
        f"missing: {missing}. Put that right as the owner {owner} or a superuser; the operator looks again.",
    )


def _spelled(grant: Grant) -> str:
    grantable = " with grant option" if grant.grantable else ""
    return f"{grant.privilege} for {'PUBLIC' if grant.grantee == PUBLIC else grant.grantee}{grantable}"
