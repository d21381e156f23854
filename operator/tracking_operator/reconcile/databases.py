"""A server's own database: its Secret, its roles, and their rotation.

What was verified is remembered, so that a look at a server whose database is as it should be sends no SQL.
The Secret is the record of the login in use; which logins work at all is recorded by PostgreSQL itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, ParamSpec, TypeVar

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.decision import DecidedDatabase
from tracking_operator.api.kubernetes_types import ObjectMeta
from tracking_operator.backend_store import rotation, scram, teardown
from tracking_operator.backend_store.connection import Sessions
from tracking_operator.backend_store.provision import provision, require_own
from tracking_operator.backend_store.rotation import Sighting
from tracking_operator.backend_store.schema import SchemaState, read_schema
from tracking_operator.backend_store.server import Login
from tracking_operator.backend_store.tenant import Desired, Tenant
from tracking_operator.failures import Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.mark import Mark
from tracking_operator.reconcile.findings import Finding, Verdict
from tracking_operator.reconcile.own_secrets import OwnSecrets
from tracking_operator.reconcile.postgres_servers import Access, PostgresServers
from tracking_operator.resources.database_secret import (
    DatabaseCredentials,
    build_database_secret,
    credentials_in,
)
from tracking_operator.resources.server import PostgresBackend, ServerModel

SECONDS_BETWEEN_LOOKS: Final = rotation.QUIET_SECONDS + 1
SECONDS_UNTIL_IDLE: Final = 10.0

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Wanted:
    """What a server asks of its database, beside that it is there."""

    rotation: str
    """The value of the annotation that asks for new credentials."""
    rotate_every: float | None
    """After how many seconds credentials are too old; None: never."""
    must_exist: bool
    """Whether the database has held data, so that an empty one may not take its place."""
    migrated_by: str = ""
    """The UID of the migration Job that has succeeded; what is remembered from before that is out of date."""


@dataclass(frozen=True)
class DatabaseState:
    """How a server's database was found."""

    login: str
    """The login in use."""
    revision: str | None
    """The schema revision; None while there is no schema."""
    retiring: str = ""
    """The login that pods may still use, while credentials rotate."""
    look_again: float | None = None
    """In how many seconds the rotation can go on."""
    login_revision: str | None = None
    """The revision of the tables of MLflow's own login; None while there are none."""


@dataclass(frozen=True)
class _Case:
    """One server's database, and all that is needed to work on it."""

    server: ServerModel
    store: PostgresBackend
    tenant: Tenant
    access: Access
    wanted: Wanted


@dataclass(frozen=True)
class _Verified:
    """What was verified: nothing has to be asked again as long as the same is wanted."""

    access: Access
    tenant: Tenant
    login: str
    password: str = field(repr=False)
    connection_limit: int
    migrated_by: str
    schema: SchemaState
    both_logins_work: bool

    def holds_for(self, case: _Case, credentials: DatabaseCredentials) -> bool:
        """Whether exactly this is wanted now."""
        is_same_place = (self.access, self.tenant) == (case.access, case.tenant)
        is_same_login = (self.login, self.password) == (credentials.login, credentials.password)
        is_same_limit = self.connection_limit == case.store.connection_limit
        is_same_schema = self.migrated_by == case.wanted.migrated_by
        return is_same_place and is_same_login and is_same_limit and is_same_schema


class Databases:
    """Brings the databases of servers about, and remembers how they are."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        servers: PostgresServers,
        cluster_name: str,
        now: Callable[[], datetime],
    ) -> None:
        self._secrets = OwnSecrets(kube, cache)
        self._servers = servers
        self._cluster_name = cluster_name
        self._now = now
        self._verified: dict[str, _Verified] = {}
        self._sightings: dict[str, Sighting] = {}

    async def bring_about(
        self, server: ServerModel, store: PostgresBackend, access: Access, wanted: Wanted, *, fresh: bool
    ) -> DatabaseState:
        """Make the database, its roles and its Secret as wanted; with ``fresh`` PostgreSQL is asked in any case.

        Raises:
            Failure: it cannot be done, or not yet.

        """
        _require_same_place(store, access)
        tenant = self._tenant(server.namespace, server.name, store.database, server.uid)
        case = _Case(server, store, tenant, access, wanted)
        credentials = await self._credentials(case)
        if credentials is None:
            credentials = self._new_credentials(tenant.logins[0], wanted)
            # Before PostgreSQL hears of the password, so that it cannot be lost.
            await self._write_secret(case, credentials)
        verified = await self._verify(case, credentials, fresh=fresh)
        await self._write_secret(case, credentials)
        state = await self._rotated(case, credentials, verified)
        return replace(state, login_revision=verified.schema.login_revision)

    async def _rotated(
        self, case: _Case, credentials: DatabaseCredentials, verified: _Verified
    ) -> DatabaseState:
        """Go one step on with the rotation, if there is one."""
        if verified.both_logins_work:
            return await self._retire_other_login(case, credentials, verified)
        if self._is_rotation_due(credentials, case.wanted):
            return await self._rotate(case, credentials, verified)
        return DatabaseState(credentials.login, verified.schema.revision)

    def tenant_of(self, metadata: ObjectMeta, database: DecidedDatabase) -> Tenant:
        """What a server owns in PostgreSQL. Raises Invalid: the database's name cannot be used."""
        return self._tenant(metadata.namespace, metadata.name, database.name, metadata.uid)

    def _tenant(self, namespace: str, name: str, database: str, uid: str) -> Tenant:
        return Tenant.named(database, Mark(self._cluster_name, namespace, name, uid))

    async def retain(self, tenant: Tenant, access: Access) -> None:
        """Take a deleted server's logins away; its database stays, with its mark. Raises Failure."""
        await self._servers.executor.run(access.server, _retain, access, tenant)

    async def drop(self, tenant: Tenant, access: Access) -> None:
        """Drop a deleted server's database and roles. Raises Failure; calling again goes on from what is left."""
        await self._servers.executor.run(access.server, _drop, access, tenant)

    def forget(self, uid: str) -> None:
        """Forget a server that is gone."""
        self._verified.pop(uid, None)
        self._sightings.pop(uid, None)

    async def _credentials(self, case: _Case) -> DatabaseCredentials | None:
        """The credentials in the server's Secret; None if there are none that can be used."""
        secret = await self._secrets.read(case.server, case.store.secret)
        return await self._usable(case, credentials_in(secret)) if secret else None

    async def _usable(self, case: _Case, found: DatabaseCredentials | None) -> DatabaseCredentials | None:
        """The credentials, if they are for this database; if not, nothing may be lost by making others.

        Pods go on using the Secret while a server's record names a database that is not the server's.
        """
        if found and found.login in case.tenant.logins:
            return found
        await self._run(case, _require_own, case)
        return None

    def _new_credentials(self, login: str, wanted: Wanted) -> DatabaseCredentials:
        return DatabaseCredentials(
            login=login,
            password=scram.new_password(),
            rotated_for=wanted.rotation,
            rotated_at=self._now().replace(microsecond=0),
        )

    async def _write_secret(self, case: _Case, credentials: DatabaseCredentials) -> None:
        secret = build_database_secret(
            case.server, case.store, credentials, case.access.server.ca_certificates
        )
        await self._secrets.write(case.server, secret)

    async def _verify(self, case: _Case, credentials: DatabaseCredentials, *, fresh: bool) -> _Verified:
        known = self._verified.get(case.server.uid)
        if known and not fresh and known.holds_for(case, credentials):
            return known
        self._verified.pop(case.server.uid, None)
        verified = await self._run(case, _provision, case, credentials)
        self._verified[case.server.uid] = verified
        return verified

    def _is_rotation_due(self, credentials: DatabaseCredentials, wanted: Wanted) -> bool:
        is_too_old = wanted.rotate_every is not None and self._age(credentials) >= wanted.rotate_every
        return credentials.rotated_for != wanted.rotation or is_too_old

    async def _rotate(self, case: _Case, old: DatabaseCredentials, verified: _Verified) -> DatabaseState:
        """Let the other login in, then tell the pods of it. Both work until the old one retires."""
        new = self._new_credentials(case.tenant.other_login(old.login), case.wanted)
        await self._run(case, _begin_rotation, case, new)
        await self._write_secret(case, new)
        self._verified[case.server.uid] = replace(
            verified, login=new.login, password=new.password, both_logins_work=True
        )
        return DatabaseState(new.login, verified.schema.revision, old.login, rotation.SECONDS_AFTER_SWAP)

    async def _retire_other_login(
        self, case: _Case, credentials: DatabaseCredentials, verified: _Verified
    ) -> DatabaseState:
        """Take the old login away, once no pod opens sessions with it any more."""
        old, uid = case.tenant.other_login(credentials.login), case.server.uid
        state = DatabaseState(credentials.login, verified.schema.revision, old)
        waited = self._age(credentials)
        if waited < rotation.SECONDS_AFTER_SWAP:
            return replace(state, look_again=rotation.SECONDS_AFTER_SWAP - waited)
        sighting = await self._run(case, _look, case, old, self._now().timestamp())
        earlier = self._sightings.get(uid)
        if earlier is None or not sighting.sessions <= earlier.sessions:
            self._sightings[uid] = sighting
            return replace(state, look_again=SECONDS_BETWEEN_LOOKS)
        if not rotation.is_quiet(earlier, sighting):
            return replace(state, look_again=earlier.at + SECONDS_BETWEEN_LOOKS - sighting.at)
        if not await self._run(case, _retire, case, old):
            return replace(state, look_again=SECONDS_UNTIL_IDLE)
        self._sightings.pop(uid)
        self._verified[uid] = replace(verified, both_logins_work=False)
        return replace(state, retiring="")

    def _age(self, credentials: DatabaseCredentials) -> float:
        return (self._now() - credentials.rotated_at).total_seconds()

    async def _run(
        self,
        case: _Case,
        work: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Result:
        return await self._servers.executor.run(case.access.server, work, *arguments, **keywords)


def database_finding(store: PostgresBackend, state: DatabaseState) -> Finding:
    """Say that the database can be used, and what goes on there."""
    type_ = ConditionType.BACKEND_STORE_READY
    where = f"Database {store.database} on {store.host}:{store.port}"
    if state.retiring:
        return Finding(
            type_,
            Verdict.OK,
            Reason.ROTATING_CREDENTIALS,
            f"{where} is in use. Pods go from login {state.retiring} to {state.login}; both work until they have.",
        )
    return Finding(type_, Verdict.OK, Reason.AS_EXPECTED, f"{where} is in use, by login {state.login}.")


def _require_same_place(store: PostgresBackend, access: Access) -> None:
    """The admin's password is for the class's server only, whatever a server's record says."""
    if (store.host, store.port) != (access.server.host, access.server.port):
        raise Invalid(
            Reason.RESOLVED_DIFFERS,
            f"The class names PostgreSQL at {access.server} now, and database {store.database} of this server is on "
            f"{store.host}:{store.port}, which its pods go on using: set the class back; or, if the database was moved "
            "there with its data, write the new host and port into the annotation tracking-operator.dev/resolved.",
        )


def _provision(case: _Case, credentials: DatabaseCredentials) -> _Verified:
    """Provision, then log in as the tenant: a password that is not the Secret's is put right."""
    login = Login(credentials.login, credentials.password, "the server's own Secret")
    desired = Desired(
        case.tenant, login.username, scram.new_verifier(login.password), case.store.connection_limit
    )
    with _sessions(case.access) as sessions:
        provisioned = provision(sessions, desired, must_exist=case.wanted.must_exist)
        try:
            schema = read_schema(case.access.server, login, case.tenant)
        except Invalid as failure:
            if failure.reason is not Reason.LOGIN_REFUSED:
                raise
            provision(sessions, replace(desired, set_password=True), must_exist=case.wanted.must_exist)
            schema = read_schema(case.access.server, login, case.tenant)
    return _Verified(
        case.access,
        case.tenant,
        login.username,
        login.password,
        case.store.connection_limit,
        case.wanted.migrated_by,
        schema,
        provisioned.other_login_works,
    )


def _require_own(case: _Case) -> None:
    with _sessions(case.access) as sessions:
        require_own(sessions, case.tenant, must_exist=case.wanted.must_exist)


def _retain(access: Access, tenant: Tenant) -> None:
    with _sessions(access) as sessions:
        teardown.retain(sessions, tenant)


def _drop(access: Access, tenant: Tenant) -> None:
    with _sessions(access) as sessions:
        teardown.drop(sessions, tenant)


def _begin_rotation(case: _Case, new: DatabaseCredentials) -> None:
    with _sessions(case.access) as sessions:
        rotation.begin(sessions, case.tenant, new.login, scram.new_verifier(new.password))


def _look(case: _Case, login: str, at: float) -> Sighting:
    with _sessions(case.access) as sessions:
        return rotation.look(sessions, login, at)


def _retire(case: _Case, old: str) -> bool:
    with _sessions(case.access) as sessions:
        limit = case.store.connection_limit
        return rotation.retire(sessions, case.tenant, old, connection_limit=limit).complete


def _sessions(access: Access) -> Sessions:
    return Sessions(access.server, access.admin)
