"""What is asked of PostgreSQL for one server's database: blocking work, which ``databases.py`` has done in threads."""

from dataclasses import dataclass, field, replace

from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.server.managed_stores.credentials_cycle import CycleMemory, Wanted
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection
from tracking_operator.failures import Failure
from tracking_operator.resources.database_secret import DatabaseCredentials
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.postgres import PostgresBackend
from tracking_operator.stores.postgres import finalize as teardown
from tracking_operator.stores.postgres import provision as provisioning
from tracking_operator.stores.postgres import rotation
from tracking_operator.stores.postgres.database_server import Login
from tracking_operator.stores.postgres.rotation import Sighting
from tracking_operator.stores.postgres.schema_revision import SchemaState, read_schema
from tracking_operator.stores.postgres.tenant import Desired, Tenant
from tracking_operator.stores.postgres.usage import database_size


@dataclass(frozen=True)
class WantedDatabase(Wanted):
    """What a server asks of its database, beside that it is there."""

    migrated_by: str = ""
    """The UID of the migration Job that has succeeded; what is remembered from before that is out of date."""


@dataclass(frozen=True)
class Case:
    """One server's database, and all that is needed to work on it."""

    server: ServerModel
    store: PostgresBackend
    tenant: Tenant
    access: AdminConnection
    wanted: WantedDatabase
    memory: "DatabaseMemory"


@dataclass(frozen=True)
class Verified:
    """What was verified: nothing has to be asked again as long as the same is wanted."""

    access: AdminConnection
    tenant: Tenant
    login: str
    password: str = field(repr=False)
    connection_limit: int
    migrated_by: str
    schema: SchemaState
    is_rotating: bool
    """Whether the other login works, or somebody is still logged in by it."""
    other_until: float | None = None
    """Until when that may be, in seconds since 1970."""

    def holds_for(self, case: Case, credentials: DatabaseCredentials) -> bool:
        """Whether exactly this is wanted now."""
        is_same_place = (self.access, self.tenant) == (case.access, case.tenant)
        is_same_login = (self.login, self.password) == (credentials.login, credentials.password)
        is_same_limit = self.connection_limit == case.store.connection_limit
        is_same_schema = self.migrated_by == case.wanted.migrated_by
        return is_same_place and is_same_login and is_same_limit and is_same_schema


@dataclass
class DatabaseMemory(CycleMemory[DatabaseCredentials, Verified]):
    """What is remembered of one server's database."""

    sighting: Sighting | None = None
    """The sessions by a login that is to retire, when they were looked at last."""


def provision(case: Case, credentials: DatabaseCredentials, other_until: float) -> Verified:
    """Provision, then log in as the tenant: a password that is not the Secret's is put right."""
    login = Login(credentials.login, credentials.password, "the server's own Secret")
    desired = Desired(
        case.tenant,
        login.username,
        login.password,
        case.store.connection_limit,
        other_until=other_until,
    )
    with case.access.sessions() as sessions:
        provisioned = provisioning.provision(
            sessions,
            desired,
            must_exist=case.wanted.must_exist,
            most_databases=case.store.most_databases,
        )
        try:
            schema = read_schema(case.access.server, login, case.tenant)
        except Failure as failure:
            if failure.reason is not Reason.LOGIN_REFUSED:
                raise
            provisioning.provision(
                sessions, replace(desired, set_password=True), must_exist=case.wanted.must_exist
            )
            schema = read_schema(case.access.server, login, case.tenant)
    return Verified(
        case.access,
        case.tenant,
        login.username,
        login.password,
        case.store.connection_limit,
        case.wanted.migrated_by,
        schema,
        provisioned.is_rotating,
        provisioned.other_until,
    )


def size(access: AdminConnection, tenant: Tenant) -> int:
    """The size of a tenant's database in bytes. Raises Failure."""
    with access.sessions() as sessions:
        return database_size(sessions, tenant)


def require_own(case: Case) -> None:
    """Make sure that everything of the names that are needed is the tenant's. Raises Failure."""
    with case.access.sessions() as sessions:
        provisioning.require_own(sessions, case.tenant, must_exist=case.wanted.must_exist)


def login_not_in_use(case: Case) -> str:
    """The login whose turn it is; the first one, if both or none can log in."""
    first, second = case.tenant.logins
    with case.access.sessions() as sessions:
        can_log_in = rotation.logins_in_use(sessions, case.tenant)
    return second if can_log_in == {first} else first


def revoke(case: Case) -> None:
    """End all access, as at a deletion. Raises Failure."""
    with case.access.sessions() as sessions:
        teardown.retain(sessions, case.tenant)
        # Before a Secret is written for a database that the server cannot have.
        provisioning.require_own(sessions, case.tenant, must_exist=case.wanted.must_exist)


def retain(access: AdminConnection, tenant: Tenant) -> None:
    """Take the logins away, and leave the database. Raises Failure."""
    with access.sessions() as sessions:
        teardown.retain(sessions, tenant)


def drop(access: AdminConnection, tenant: Tenant) -> None:
    """Drop database and roles. Raises Failure."""
    with access.sessions() as sessions:
        teardown.drop(sessions, tenant)


def begin_rotation(case: Case, new: DatabaseCredentials) -> None:
    """Let the other login in. Raises Failure."""
    with case.access.sessions() as sessions:
        rotation.begin(sessions, case.tenant, new.login, new.password)


def limit_old_login(case: Case, old: str, until: float) -> None:
    """Have the old login end at a time, in seconds since 1970. Raises Failure."""
    with case.access.sessions() as sessions:
        rotation.limit(sessions, case.tenant, old, until)


def look(case: Case, login: str, at: float) -> Sighting:
    """The sessions by a login, as they are at this time. Raises Failure."""
    with case.access.sessions() as sessions:
        return rotation.look(sessions, login, at)


def retire(case: Case, old: str, *, at_once: bool) -> bool:
    """Take the old login away; whether nobody is logged in by it any more. Raises Failure."""
    with case.access.sessions() as sessions:
        return rotation.retire(sessions, case.tenant, old, at_once=at_once).complete
