"""A server's own database: its Secret, its roles, and their rotation.

What was verified is remembered, so that a look at a server whose database is as it should be sends no SQL.
The Secret is the record of the login in use; which logins work at all is recorded by PostgreSQL itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.controllers.server.database import database_work as work
from tracking_operator.controllers.server.database.database_work import (
    Case,
    DatabaseMemory,
    Verified,
    WantedDatabase,
)
from tracking_operator.controllers.server.managed_stores.credentials_cycle import (
    CredentialsCycle,
    CycleMemory,
    Wanted,
)
from tracking_operator.controllers.server.managed_stores.states import BackendState
from tracking_operator.controllers.server.usage.measured import Measured
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection, PostgresAdmin
from tracking_operator.failures import Invalid, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import KubeObject
from tracking_operator.passwords import new_password
from tracking_operator.resources.database_secret import (
    DatabaseCredentials,
    build_database_secret,
    credentials_in,
)
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.postgres import PostgresBackend
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres import rotation
from tracking_operator.stores.postgres.database_server import Login
from tracking_operator.stores.postgres.tenant import Tenant
from tracking_operator.stores.postgres.usage import count_rows
from tracking_operator.timings import Timings

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class DatabaseState(BackendState):
    """How a server's database was found."""

    retiring: str = ""
    """The login that pods may still use, while credentials rotate."""
    retired_by: datetime | None = None
    """When nobody is logged in by the retiring login any more, at the latest."""

    def result(self, place: str) -> ConditionResult:
        """Say that the database can be used, and what goes on there."""
        type_ = ConditionType.BACKEND_STORE_READY
        if self.retiring:
            by = (
                f" At {self.retired_by:%Y-%m-%dT%H:%M:%SZ} all of its sessions end."
                if self.retired_by
                else ""
            )
            return ConditionResult(
                type_,
                Verdict.OK,
                Reason.ROTATING_CREDENTIALS,
                f"{place} is in use. Pods go from login {self.retiring} to {self.login}; both work until they have.{by}",
            )
        return ConditionResult(
            type_, Verdict.OK, Reason.AS_EXPECTED, f"{place} is in use, by login {self.login}."
        )


class Databases(CredentialsCycle[Case, DatabaseCredentials, Verified, DatabaseState]):
    """Makes the databases of servers as they should be."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        servers: PostgresAdmin,
        timings: Timings,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(now)
        self._timings = timings
        self._secrets = ManagedSecrets(kube, cache)
        self._servers = servers

    async def ensure(
        self,
        server: ServerModel,
        store: PostgresBackend,
        access: AdminConnection,
        wanted: WantedDatabase,
        *,
        mark: Mark,
        memory: DatabaseMemory,
    ) -> DatabaseState:
        """Make the database, its roles and its Secret as wanted; what ``memory`` knows to be so is not asked.

        Raises:
            Failure: it cannot be done, or not yet.

        """
        _require_same_place(store, access)
        return await self._go_on(
            Case(server, store, Tenant.named(store.database, mark), access, wanted, memory)
        )

    async def measure(self, tenant: Tenant, access: AdminConnection, memory: DatabaseMemory) -> Measured:
        """The size of the database and what is in it; what its tenant's login cannot tell is left out. Raises Failure."""
        verified = memory.verified
        if verified is None:
            raise Waiting(Reason.PENDING, f"Database {tenant.database} is being verified.", retry_after=1)
        login = Login(verified.login, verified.password, "the server's own Secret")
        namespace, server, run_for = tenant.mark.namespace, access.server, self._servers.executor.run_for
        size = await run_for(namespace, server, work.size, access, tenant)
        counts = await run_for(namespace, server, count_rows, server, login, tenant, now=self._now())
        return Measured(size, counts.runs, counts.models, counts.last_activity)

    async def retain(self, tenant: Tenant, access: AdminConnection) -> None:
        """Take a deleted server's logins away; its database stays, with its mark. Raises Failure."""
        await self._servers.executor.run_for(
            tenant.mark.namespace, access.server, work.retain, access, tenant
        )

    async def drop(self, tenant: Tenant, access: AdminConnection) -> None:
        """Drop a deleted server's database and roles. Raises Failure; calling again goes on from what is left."""
        await self._servers.executor.run_for(tenant.mark.namespace, access.server, work.drop, access, tenant)

    def _memory(self, case: Case) -> CycleMemory[DatabaseCredentials, Verified]:
        return case.memory

    async def _secret(self, case: Case) -> KubeObject | None:
        return await self._secrets.read(case.server, case.store.secret)

    def _read(self, secret: KubeObject) -> DatabaseCredentials | None:
        return credentials_in(secret)

    def _are_for(self, case: Case, credentials: DatabaseCredentials) -> bool:
        return credentials.login in case.tenant.logins

    async def _may_replace(self, case: Case) -> None:
        """Pods go on using the Secret while a server's record names a database that is not the server's."""
        await self._run(case, work.require_own, case)

    async def _revoke(self, case: Case, held: DatabaseCredentials | None) -> DatabaseCredentials:
        """End all access as at a deletion, whatever rotates; then tell the pods of the login that is to come.

        If that is interrupted, it is done again from its beginning: nobody is let in before the Secret names the new password.
        """
        case.memory.verified = case.memory.sighting = None
        await self._run(case, work.revoke, case)
        first, _ = case.tenant.logins
        new = self._new_credentials(case.tenant.other_login(held.login) if held else first, case.wanted)
        await self._write(case, new)
        return new

    async def _free_login(self, case: Case) -> str:
        """The login for new credentials; where there were others, pods go on with theirs until they see the new ones."""
        first, _ = case.tenant.logins
        return await self._run(case, work.login_not_in_use, case) if case.wanted.must_exist else first

    async def _first(self, case: Case) -> DatabaseCredentials:
        credentials = self._new_credentials(await self._free_login(case), case.wanted)
        # Before PostgreSQL hears of the password, so that it cannot be lost.
        await self._write(case, credentials)
        return credentials

    def _new_credentials(self, login: str, wanted: Wanted) -> DatabaseCredentials:
        return DatabaseCredentials(
            login=login,
            password=new_password(),
            rotated_for=wanted.rotation,
            rotated_at=self._now().replace(microsecond=0),
        )

    async def _write_secret(self, case: Case, credentials: DatabaseCredentials | None) -> None:
        if credentials is None:
            return
        secret = build_database_secret(
            case.server, case.store, credentials, case.access.server.ca_certificates
        )
        await self._secrets.write(case.server, secret)

    async def _verify(
        self, case: Case, held: DatabaseCredentials | None
    ) -> tuple[Verified, DatabaseCredentials]:
        known, credentials = case.memory.verified, held or await self._first(case)
        if known and known.holds_for(case, credentials):
            return known, credentials
        case.memory.invalidate()
        verified: Verified = await self._run(case, work.provision, case, credentials, self._deadline(case))
        case.memory.verified = verified
        return verified, credentials

    def _settled(self, credentials: DatabaseCredentials | None, verified: Verified) -> DatabaseState:
        schema = verified.schema
        login = credentials.login if credentials else ""
        return DatabaseState(login, schema.revision, login_revision=schema.login_revision)

    async def _rotate(self, case: Case, old: DatabaseCredentials, verified: Verified) -> DatabaseState:
        """Let the other login in, tell the pods of it, and limit how long the old one works. Both do until it retires."""
        new = self._new_credentials(case.tenant.other_login(old.login), case.wanted)
        await self._run(case, work.begin_rotation, case, new)
        await self._write(case, new)
        begun = replace(verified, login=new.login, password=new.password, is_rotating=True)
        case.memory.verified = begun
        # Not before: the login that the Secret names must not expire, should nobody go on from here for long.
        until = self._deadline(case)
        await self._run(case, work.limit_old_login, case, old.login, until)
        case.memory.verified = replace(begun, other_until=until)
        return replace(
            self._settled(new, verified),
            retiring=old.login,
            requeue_after=min(self._timings.until_pods_see_a_secret, case.wanted.deadline),
            retired_by=_at(until),
        )

    async def _retire(
        self, case: Case, credentials: DatabaseCredentials, verified: Verified
    ) -> DatabaseState:
        """Take the old login away, once no pod opens sessions with it any more; at the deadline in any case."""
        old = case.tenant.other_login(credentials.login)
        if case.wanted.is_revoked:  # somebody came in while the others were sent out
            return await self._retire_at_once(case, credentials, verified)
        state = replace(
            self._settled(credentials, verified), retiring=old, retired_by=_at(verified.other_until)
        )
        left = self._seconds_left(verified)
        if left > 0 and (wait := await self._wait_for_pods(case, credentials, old)):
            return replace(state, requeue_after=min(wait, left))
        if not await self._run(case, work.retire, case, old, at_once=left <= 0):
            return replace(state, requeue_after=min(self._timings.until_sessions_are_idle, left))
        case.memory.sighting = None
        case.memory.verified = replace(verified, is_rotating=False, other_until=None)
        return replace(state, retiring="", retired_by=None)

    async def _retire_at_once(
        self, case: Case, credentials: DatabaseCredentials, verified: Verified
    ) -> DatabaseState:
        await self._run(case, work.retire, case, case.tenant.other_login(credentials.login), at_once=True)
        case.memory.verified = replace(verified, is_rotating=False, other_until=None)
        return self._settled(credentials, verified)

    async def _wait_for_pods(self, case: Case, credentials: DatabaseCredentials, old: str) -> float | None:
        """In how many seconds to look again whether pods still open sessions with the old login; None: they do not."""
        waited = self._age(credentials)
        if waited < self._timings.until_pods_see_a_secret:
            return self._timings.until_pods_see_a_secret - waited
        if waited >= self._timings.longest_wait_for_sessions:
            return None
        quiet = self._timings.without_a_new_session
        sighting = await self._run(case, work.look, case, old, self._now().timestamp())
        earlier = case.memory.sighting
        if earlier is None or not sighting.sessions <= earlier.sessions:
            case.memory.sighting = sighting
            return quiet + 1
        if not rotation.is_quiet(earlier, sighting, quiet):
            return earlier.at + quiet + 1 - sighting.at
        return None

    def _deadline(self, case: Case) -> float:
        """When an old login that is limited now has to be gone, in whole seconds since 1970."""
        return float(int(self._now().timestamp() + case.wanted.deadline))

    def _seconds_left(self, verified: Verified) -> float:
        """How long somebody may still be logged in by the old login; for ever until PostgreSQL has noted it."""
        until = verified.other_until
        return math.inf if until is None else until - self._now().timestamp()

    async def _run(
        self,
        case: Case,
        work: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **keywords: Arguments.kwargs,
    ) -> Result:
        namespace = case.tenant.mark.namespace
        return await self._servers.executor.run_for(
            namespace, case.access.server, work, *arguments, **keywords
        )


def _require_same_place(store: PostgresBackend, access: AdminConnection) -> None:
    """The admin's password is for the class's server only, whatever a server's record says."""
    if (store.host, store.port) != (access.server.host, access.server.port):
        raise Invalid(
            Reason.RESOLVED_DIFFERS,
            f"The class names PostgreSQL at {access.server} now, and database {store.database} of this server is on "
            f"{store.host}:{store.port}, which its pods go on using: set the class back; or, if the database was moved "
            "there with its data, ask the platform team to write the new host and port into status.placement.database.",
        )


def _at(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
