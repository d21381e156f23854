"""Carries out the steps of a plan, and believes the server only after looking again."""

import time
from collections.abc import Sequence
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.backend_store.connection import Sessions
from tracking_operator.backend_store.observe import PUBLIC, Grant, observe_grants
from tracking_operator.backend_store.plan import expected_grants
from tracking_operator.backend_store.statements import Step
from tracking_operator.backend_store.tenant import Tenant
from tracking_operator.failures import Unavailable

SECONDS_UNTIL_NONE: Final = 5.0
SECONDS_BETWEEN_LOOKS: Final = 0.05


def apply(sessions: Sessions, tenant: Tenant, steps: Sequence[Step]) -> None:
    """Carry out steps one after the other.

    Raises:
        Failure: a step failed, or the privileges after it are not the expected ones. Planning again from
            what is there then, and applying that, leads to the same end.

    """
    for step in steps:
        _carry_out(sessions, step)
        if step.proves_grants:
            prove_grants(sessions, tenant)


def prove_grants(sessions: Sessions, tenant: Tenant) -> None:
    """Read back who may use a tenant's database.

    Some refused grants and revokes are only a WARNING and change nothing (a REVOKE by somebody who is
    not the owner, on PostgreSQL 16 and later), so success alone proves nothing.

    Raises:
        Unavailable: it is not exactly its owner and the tenant's role.

    """
    owner, found = observe_grants(sessions.session(), tenant.database)
    expected = expected_grants(owner, tenant)
    if found == expected:
        return
    too_much = ", ".join(sorted(_spelled(grant) for grant in found - expected)) or "nothing"
    missing = ", ".join(sorted(_spelled(grant) for grant in expected - found)) or "nothing"
    raise Unavailable(
        Reason.ISOLATION_NOT_PROVED,
        f"The database {tenant.database} grants other privileges than it was told to. Too much: {too_much}; "
        f"missing: {missing}. Put that right as the owner {owner} or a superuser; the operator looks again.",
    )


def _carry_out(sessions: Sessions, step: Step) -> None:
    session = sessions.session(step.in_database)
    if not step.until_none:
        session.rows(step.statement, doing=step.what, slow=step.slow)
        return
    deadline = time.monotonic() + SECONDS_UNTIL_NONE
    while (left := session.rows(step.statement, doing=step.what)[0][0]) > 0:
        if time.monotonic() > deadline:
            raise Unavailable(
                Reason.DELETION_BLOCKED,
                f"PostgreSQL at {sessions.server} did not {step.what}: {left} are left after "
                f"{SECONDS_UNTIL_NONE:g} s. End them as their owner or a superuser; the operator goes on trying.",
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _spelled(grant: Grant) -> str:
    grantable = " with grant option" if grant.grantable else ""
    return f"{grant.privilege} for {'PUBLIC' if grant.grantee == PUBLIC else grant.grantee}{grantable}"
