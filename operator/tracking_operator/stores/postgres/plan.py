"""What to do so that a tenant's database and roles are as desired: pure, in the order of facts.md.

The admin login owns the database, so that the tenant cannot let others in. All objects belong to a role
that cannot log in, which both logins become on connecting, so that they can take turns.

The admin enters the database once, before the tenant's role may: whatever is in there later is the tenant's (decision 0019).
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from psycopg2.sql import SQL, Composable, Identifier, Literal

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.observe import (
    PUBLIC,
    Grant,
    Membership,
    Observed,
    ObservedDatabase,
    ObservedRole,
)
from tracking_operator.stores.postgres.statements import Password, Step, text_of
from tracking_operator.stores.postgres.tenant import Desired, Tenant

logger = logging.getLogger(__name__)

ROLE_ON_DATABASE: Final = frozenset({"CONNECT", "TEMPORARY"})
OWNER_ON_DATABASE: Final = frozenset({"CONNECT", "TEMPORARY", "CREATE"})


def plan(observed: Observed, desired: Desired) -> tuple[Step, ...]:
    """Return the steps that lead from what is to what is desired; none when all is as it should be.

    Raises:
        Invalid: something of a needed name belongs to somebody else, or to another admin login.

    """
    check_ownership(observed, desired.tenant)
    return tuple(
        step
        for part in (
            _plan_roles,
            _plan_memberships,
            _plan_database,
            _plan_entry,
            _plan_login,
        )
        for step in part(observed, desired)
    )


def check_ownership(observed: Observed, tenant: Tenant) -> None:
    """Refuse to touch what is not this tenant's, or what the admin login cannot change.

    An unmarked database is our own unfinished one only if the admin owns it, nobody can connect to it,
    and the tenant's role carries our mark: CREATE DATABASE and COMMENT cannot share a transaction.

    Raises:
        Invalid: with the reason Conflict or AdminIsNotOwner.

    """
    for role in observed.roles.values():
        if not tenant.mark.is_same_owner(Mark.read(role.comment)):
            raise _conflict(f"The role {role.name}", tenant.mark, role.comment)
    database = observed.database
    if database and not is_own_database(database, observed, tenant):
        raise _conflict(f"The database {database.name}", tenant.mark, database.comment)
    for role in observed.roles.values():
        if not role.administered:
            raise another_admin(f"The role {role.name}", _admin_of(role, observed), observed.admin)
    if database and not database.owned:
        raise another_admin(f"The database {database.name}", database.owner, observed.admin)


def expected_grants(database_owner: str, tenant: Tenant) -> frozenset[Grant]:
    """Who may have which privilege on a tenant's database: its owner and the tenant's role, nobody else."""
    return owner_only(database_owner) | {Grant(tenant.role, privilege) for privilege in ROLE_ON_DATABASE}


def owner_only(database_owner: str) -> frozenset[Grant]:
    """Who may have which privilege on a database that no tenant has been let into: its owner."""
    return frozenset(Grant(database_owner, privilege) for privilege in OWNER_ON_DATABASE)


def is_expected_membership(membership: Membership, observed: Observed, tenant: Tenant) -> bool:
    """Whether a membership is one that we make, or that PostgreSQL makes for whoever creates a role."""
    if membership.role == tenant.role and membership.member in tenant.logins:
        return not membership.admin
    if membership.role not in tenant.roles:
        return False
    made_by_createrole = observed.has_membership_options and membership.grantor != observed.admin
    return membership.trusted or (membership.member == observed.admin and made_by_createrole)


def is_own_database(database: ObservedDatabase, observed: Observed, tenant: Tenant) -> bool:
    """Whether a database is the tenant's: by its mark, or one that was being made when the operator ended."""
    if database.comment is not None:
        return tenant.mark.is_same_owner(Mark.read(database.comment))
    return database.owned and not database.open and tenant.role in observed.roles


def _conflict(what: str, mark: Mark, comment: str | None) -> Invalid:
    """What the team is told: whose it is stands in the operator's log only."""
    other = Mark.read(comment)
    if other:
        logger.warning("%s, asked for by %s, is marked as that of %s.", what, mark, other)
    if mark.is_of_earlier_namespace(other):
        return Invalid(
            Reason.CONFLICT,
            f"{what} is kept for an earlier namespace of that name, whose UID was another one. It is left alone: give the "
            "server another name, or ask the platform team to hand it over (handOver of the class).",
        )
    whose = "belongs to another tracking server" if other else "was not made by this operator"
    return Invalid(
        Reason.CONFLICT,
        f"{what} exists and {whose}. It is left alone: rename or remove it, or choose other names by "
        "naming.database of the class.",
    )


def another_admin(what: str, old: str, now: str) -> Invalid:
    """Say that something belongs to an earlier admin login of the class, and how the one of now gets at it."""
    return Invalid(
        Reason.ADMIN_IS_NOT_OWNER,
        f"{what} belongs to the admin login {old}, and the class names {now} now. Run "
        f"{text_of(SQL('GRANT {} TO {}').format(Identifier(old), Identifier(now)))} as {old} or a "
        "superuser, or name the old login in the class's admin Secret.",
    )


def _admin_of(role: ObservedRole, observed: Observed) -> str:
    admins = sorted(one.member for one in observed.memberships if one.role == role.name and one.admin)
    return admins[0] if admins else "that created it"


# Roles


def _plan_roles(observed: Observed, desired: Desired) -> Iterator[Step]:
    tenant = desired.tenant
    for name in tenant.roles:
        role = observed.roles.get(name)
        if role is None:
            yield _create_role(name, observed, desired)
        else:
            yield from _correct_role(role, desired)


def _create_role(name: str, observed: Observed, desired: Desired) -> Step:
    tenant = desired.tenant
    role = Identifier(name)
    statements: list[Composable] = []
    if observed.has_membership_options:
        # The admin manages the role without becoming it, whatever the server's default is.
        statements.append(SQL("SET LOCAL createrole_self_grant = ''"))
    if name == tenant.role:
        statements.append(SQL("CREATE ROLE {} NOLOGIN").format(role))
    else:
        limit = Literal(desired.connection_limit)
        statements.append(SQL("CREATE ROLE {} NOLOGIN CONNECTION LIMIT {}").format(role, limit))
    statements.append(_comment("ROLE", name, tenant.mark))
    if name != tenant.role:
        statements.append(SQL("GRANT {} TO {}").format(Identifier(tenant.role), role))
    return Step(f"create role {name}", tuple(statements))


def _correct_role(role: ObservedRole, desired: Desired) -> Iterator[Step]:
    tenant = desired.tenant
    if role.comment != tenant.mark.text:
        yield Step(f"renew the mark of role {role.name}", (_comment("ROLE", role.name, tenant.mark),))
    wrong = [SQL(f"NO{power}") for power in sorted(role.powers)]
    if role.name == tenant.role:
        if role.can_login:
            wrong.append(SQL("NOLOGIN"))
    elif role.connection_limit != desired.connection_limit:
        wrong.append(SQL(f"CONNECTION LIMIT {desired.connection_limit:d}"))
    if wrong:
        statement = SQL("ALTER ROLE {} {}").format(Identifier(role.name), SQL(" ").join(wrong))
        yield Step(f"put right role {role.name}", (statement,))


def _plan_memberships(observed: Observed, desired: Desired) -> Iterator[Step]:
    tenant = desired.tenant
    for membership in sorted(observed.memberships, key=lambda one: (one.role, one.member, one.grantor)):
        if not is_expected_membership(membership, observed, tenant):
            statement = SQL("REVOKE {} FROM {}").format(
                Identifier(membership.role), Identifier(membership.member)
            )
            yield Step(f"take role {membership.role} away from {membership.member}", (statement,))
    for login in tenant.logins:
        if login in observed.roles and not _is_full_member(login, observed, tenant):
            options = SQL(" WITH INHERIT TRUE, SET TRUE" if observed.has_membership_options else "")
            grant = SQL("GRANT {} TO {}").format(Identifier(tenant.role), Identifier(login)) + options
            yield Step(f"let {login} become {tenant.role}", (grant,))


def _is_full_member(login: str, observed: Observed, tenant: Tenant) -> bool:
    return any(
        membership.role == tenant.role
        and membership.member == login
        and is_expected_membership(membership, observed, tenant)
        and membership.set
        and membership.inherit
        for membership in observed.memberships
    )


# Database


def _plan_database(observed: Observed, desired: Desired) -> Iterator[Step]:
    tenant = desired.tenant
    database = observed.database
    name = Identifier(tenant.database)
    if database and database.invalid:
        yield Step(
            f"remove the remains of database {tenant.database}",
            (SQL("DROP DATABASE {}").format(name),),
            slow=True,
        )
        database = None
    if database is None:
        create = SQL("CREATE DATABASE {} ALLOW_CONNECTIONS false TEMPLATE template0 ENCODING 'UTF8'")
        yield Step(f"create database {tenant.database}", (create.format(name),), slow=True)
    if database is None or database.connection_limit != desired.connection_limit:
        yield limit_connections_to(tenant.database, desired.connection_limit)
    if database is None or database.comment != tenant.mark.text:
        yield Step(f"mark database {tenant.database}", (_comment("DATABASE", tenant.database, tenant.mark),))


def _plan_entry(observed: Observed, desired: Desired) -> Iterator[Step]:
    """Who may enter the database; and what the admin does in there as long as nobody else may."""
    tenant = desired.tenant
    database = None if observed.database and observed.database.invalid else observed.database
    if database and _has_been_opened(database, tenant):
        yield from _plan_grants(database, tenant)
        yield from _plan_sessions(observed, desired)
        yield from _plan_opening(database, tenant)
        return
    yield from _plan_owner_only(database, database.owner if database else observed.admin, tenant)
    yield from _plan_sessions(observed, desired)
    yield from _plan_opening(database, tenant)
    yield _grant_on_schema(tenant)
    yield _let_in_role(tenant, database.owner if database else observed.admin)


def _has_been_opened(database: ObservedDatabase, tenant: Tenant) -> bool:
    """Whether the tenant's role may have been in there. It may connect from when all is ready, and not before."""
    return database.in_use or Grant(tenant.role, "CONNECT") in {
        Grant(grant.grantee, grant.privilege) for grant in database.grants
    }


def _plan_grants(database: ObservedDatabase, tenant: Tenant) -> Iterator[Step]:
    expected = expected_grants(database.owner, tenant)
    if database.grants != expected:
        statements = (*_corrections(database, expected, tenant), _connect_for_role(tenant))
        yield Step(
            f"let only {tenant.role} into database {tenant.database}", statements, grants_after=expected
        )


def _plan_owner_only(database: ObservedDatabase | None, owner: str, tenant: Tenant) -> Iterator[Step]:
    expected = owner_only(owner)
    if database and database.grants == expected:
        return
    if database:
        statements = tuple(_corrections(database, expected, tenant))
    else:
        statements = (SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(Identifier(tenant.database)),)
    yield Step(f"keep everybody out of database {tenant.database}", statements, grants_after=expected)


def _corrections(
    database: ObservedDatabase, expected: frozenset[Grant], tenant: Tenant
) -> Iterator[Composable]:
    name = Identifier(tenant.database)
    too_much = {grant.grantee for grant in database.grants - expected}
    # What the tenant's role may have passed on goes first, with CASCADE.
    for grantee in sorted(too_much, key=lambda one: (one != tenant.role, one)):
        who = SQL("PUBLIC") if grantee == PUBLIC else Identifier(grantee)
        yield SQL("REVOKE ALL ON DATABASE {} FROM {} CASCADE").format(name, who)
    yield SQL("GRANT ALL ON DATABASE {} TO {}").format(name, Identifier(database.owner))


def _let_in_role(tenant: Tenant, owner: str) -> Step:
    return Step(
        f"let only {tenant.role} into database {tenant.database}",
        (_connect_for_role(tenant),),
        grants_after=expected_grants(owner, tenant),
    )


def _connect_for_role(tenant: Tenant) -> Composable:
    return SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(
        Identifier(tenant.database), Identifier(tenant.role)
    )


def _plan_sessions(observed: Observed, desired: Desired) -> Iterator[Step]:
    tenant = desired.tenant
    database = Identifier(tenant.database)
    is_new = observed.database is None or observed.database.invalid
    for login in tenant.logins:
        found = {} if is_new else observed.settings.get(login, {})
        changes: list[Composable] = []
        if found is None:
            changes.append(SQL("ALTER ROLE {} IN DATABASE {} RESET ALL").format(Identifier(login), database))
        changes += [
            SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}").format(
                Identifier(login), database, SQL(setting), Literal(value)
            )
            for setting, value in desired.settings_of_logins()
            if (found or {}).get(setting) != value
        ]
        if changes:
            yield Step(f"make sessions of {login} those of {tenant.role}", tuple(changes))


def _plan_opening(database: ObservedDatabase | None, tenant: Tenant) -> Iterator[Step]:
    if database is None or not database.open:
        yield Step(
            f"open database {tenant.database}",
            (SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(Identifier(tenant.database)),),
        )


def _grant_on_schema(tenant: Tenant) -> Step:
    return Step(
        f"let {tenant.role} create tables",
        (SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(Identifier(tenant.role)),),
        in_database=tenant.database,
    )


def _plan_login(observed: Observed, desired: Desired) -> Iterator[Step]:
    role = observed.roles.get(desired.login)
    if role is None or not role.can_login or desired.set_password:
        yield let_in(desired.login, desired.password)
    elif role.valid_until is not None:
        yield expire(desired.login, None)
    yield from _plan_other_login(observed, desired)


def _plan_other_login(observed: Observed, desired: Desired) -> Iterator[Step]:
    """PostgreSQL itself keeps when a login that is on its way out has to be gone: no tenant can change that."""
    other = observed.roles.get(desired.tenant.other_login(desired.login))
    if other is None or desired.other_until is None or not is_in_use(other):
        return
    if other.valid_until is None or other.valid_until > desired.other_until:
        yield expire(other.name, desired.other_until)


def is_in_use(role: ObservedRole) -> bool:
    """Whether somebody can log in by a role, or is still logged in."""
    return role.can_login or role.sessions > 0


def let_in(login: str, password: str) -> Step:
    """The step after which ``login`` can log in with the password, for ever."""
    statement = SQL("ALTER ROLE {} LOGIN PASSWORD {} VALID UNTIL 'infinity'")
    return Step(f"let {login} log in", (statement.format(Identifier(login), Password(password, login)),))


def expire(login: str, at: float | None) -> Step:
    """The step after which the password of ``login`` works until ``at``, in seconds since 1970; None: for ever."""
    until = "infinity" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    statement = SQL("ALTER ROLE {} VALID UNTIL {}").format(Identifier(login), Literal(until))
    return Step(f"let {login} log in until {until}", (statement,))


def limit_connections_to(database: str, limit: int) -> Step:
    """The step that bounds the sessions in a database: both logins share it, as the tenant may know both passwords.

    It counts all but superusers; the admin goes in there only before the tenant may.
    """
    return Step(
        f"limit the connections to database {database}",
        (SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(Identifier(database), Literal(limit)),),
    )


def no_login(login: str) -> Step:
    """The step after which ``login`` cannot log in; sessions that it has go on."""
    return Step(
        f"take the login of {login} away",
        (SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(Identifier(login)),),
    )


def _comment(kind: str, name: str, mark: Mark) -> Composable:
    return SQL("COMMENT ON {} {} IS {}").format(SQL(kind), Identifier(name), Literal(mark.text))
