"""What to do so that a tenant's database and roles are as desired: pure, in the order of facts.md.

The admin login owns the database, so that the tenant cannot let others in. All objects belong to a role
that cannot log in, which both logins become on connecting, so that they can take turns.
"""

from collections.abc import Iterator
from typing import Final

from psycopg2.sql import SQL, Composable, Identifier, Literal

from tracking_operator.api.conditions import Reason
from tracking_operator.backend_store.observe import (
    PUBLIC,
    Grant,
    Membership,
    Observed,
    ObservedDatabase,
    ObservedRole,
)
from tracking_operator.backend_store.statements import Confidential, Step, text_of
from tracking_operator.backend_store.tenant import Desired, Tenant
from tracking_operator.failures import Invalid
from tracking_operator.mark import Mark

ROLE_ON_DATABASE: Final = frozenset({"CONNECT", "TEMPORARY"})
OWNER_ON_DATABASE: Final = frozenset({"CONNECT", "TEMPORARY", "CREATE"})
ROLE_ON_SCHEMA: Final = frozenset({"USAGE", "CREATE"})


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
            _plan_sessions,
            _plan_schema,
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
            raise _conflict(f"The role {role.name}", role.comment)
    database = observed.database
    if database and not _is_ours(database, observed, tenant):
        raise _conflict(f"The database {database.name}", database.comment)
    for role in observed.roles.values():
        if not role.administered:
            raise _another_admin(f"The role {role.name}", _admin_of(role, observed), observed)
    if database and not database.owned:
        raise _another_admin(f"The database {database.name}", database.owner, observed)


def expected_grants(database_owner: str, tenant: Tenant) -> frozenset[Grant]:
    """Who may have which privilege on a tenant's database: its owner and the tenant's role, nobody else."""
    return frozenset(
        {Grant(database_owner, privilege) for privilege in OWNER_ON_DATABASE}
        | {Grant(tenant.role, privilege) for privilege in ROLE_ON_DATABASE}
    )


def is_expected_membership(membership: Membership, observed: Observed, tenant: Tenant) -> bool:
    """Whether a membership is one that we make, or that PostgreSQL makes for whoever creates a role."""
    if membership.role == tenant.role and membership.member in tenant.logins:
        return not membership.admin
    if membership.role not in tenant.roles:
        return False
    made_by_createrole = observed.has_membership_options and membership.grantor != observed.admin
    return membership.trusted or (membership.member == observed.admin and made_by_createrole)


def _is_ours(database: ObservedDatabase, observed: Observed, tenant: Tenant) -> bool:
    if database.comment is not None:
        return tenant.mark.is_same_owner(Mark.read(database.comment))
    return database.owned and not database.open and tenant.role in observed.roles


def _conflict(what: str, comment: str | None) -> Invalid:
    other = Mark.read(comment)
    whose = (
        f"belongs to tracking server {other.namespace}/{other.name} of cluster {other.cluster}"
        if other
        else "was not made by this operator"
    )
    return Invalid(
        Reason.CONFLICT,
        f"{what} exists and {whose}. It is left alone: rename or remove it, or choose other names by "
        "naming.database of the class.",
    )


def _another_admin(what: str, old: str, observed: Observed) -> Invalid:
    return Invalid(
        Reason.ADMIN_IS_NOT_OWNER,
        f"{what} belongs to the admin login {old}, and the class names {observed.admin} now. Run "
        f"{text_of(SQL('GRANT {} TO {}').format(Identifier(old), Identifier(observed.admin)))} as {old} or a "
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
    if database is None or database.comment != tenant.mark.text:
        yield Step(f"mark database {tenant.database}", (_comment("DATABASE", tenant.database, tenant.mark),))
    yield from _plan_grants(database, tenant)


def _plan_grants(database: ObservedDatabase | None, tenant: Tenant) -> Iterator[Step]:
    name = Identifier(tenant.database)
    statements: list[Composable] = []
    if database is None:
        statements.append(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    else:
        expected = expected_grants(database.owner, tenant)
        if database.grants == expected:
            return
        too_much = {grant.grantee for grant in database.grants - expected}
        # What the tenant's role may have passed on goes first, with CASCADE.
        for grantee in sorted(too_much, key=lambda one: (one != tenant.role, one)):
            who = SQL("PUBLIC") if grantee == PUBLIC else Identifier(grantee)
            statements.append(SQL("REVOKE ALL ON DATABASE {} FROM {} CASCADE").format(name, who))
        statements.append(SQL("GRANT ALL ON DATABASE {} TO {}").format(name, Identifier(database.owner)))
    statements.append(
        SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(name, Identifier(tenant.role))
    )
    yield Step(
        f"let only {tenant.role} into database {tenant.database}", tuple(statements), proves_grants=True
    )


def _plan_sessions(observed: Observed, desired: Desired) -> Iterator[Step]:
    tenant = desired.tenant
    database = Identifier(tenant.database)
    wanted = desired.settings_of_logins()
    for login in tenant.logins:
        found = (
            observed.settings.get(login, {}) if observed.database and not observed.database.invalid else {}
        )
        changes = [
            SQL("ALTER ROLE {} IN DATABASE {} SET {} = {}").format(
                Identifier(login), database, SQL(setting), Literal(value)
            )
            for setting, value in wanted
            if found.get(setting) != value
        ]
        if changes:
            yield Step(f"make sessions of {login} those of {tenant.role}", tuple(changes))
    if observed.database is None or observed.database.invalid or not observed.database.open:
        yield Step(
            f"open database {tenant.database}",
            (SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(database),),
        )


def _plan_schema(observed: Observed, desired: Desired) -> Iterator[Step]:
    tenant = desired.tenant
    if observed.schema_privileges is None or not observed.schema_privileges >= ROLE_ON_SCHEMA:
        yield Step(
            f"let {tenant.role} create tables",
            (SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(Identifier(tenant.role)),),
            in_database=tenant.database,
        )


def _plan_login(observed: Observed, desired: Desired) -> Iterator[Step]:
    role = observed.roles.get(desired.login)
    if role is None or not role.can_login or desired.set_password:
        yield let_in(desired.login, desired.verifier)


def let_in(login: str, verifier: str) -> Step:
    """The step after which ``login`` can log in with the password that ``verifier`` stands for."""
    return Step(
        f"let {login} log in",
        (SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(Identifier(login), Confidential(verifier)),),
    )


def no_login(login: str) -> Step:
    """The step after which ``login`` cannot log in; sessions that it has go on."""
    return Step(
        f"take the login of {login} away",
        (SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(Identifier(login)),),
    )


def _comment(kind: str, name: str, mark: Mark) -> Composable:
    return SQL("COMMENT ON {} {} IS {}").format(SQL(kind), Identifier(name), Literal(mark.text))
