"""The PostgreSQL servers of the classes: how each is reached as its admin, and whether it can be used."""

import asyncio
import base64
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server_class import PostgresOffer
from tracking_operator.backend_store.connection import Sessions
from tracking_operator.backend_store.preflight import preflight
from tracking_operator.backend_store.server import Login, PostgresServer, Timeouts
from tracking_operator.backend_store.teardown import MarkedLogin, logins_of_cluster, take_logins
from tracking_operator.executor import StoreExecutor
from tracking_operator.failures import Failure, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.objects import CONFIG_MAP, SECRET, Kind, KubeObject

CA_KEY: Final = "ca.crt"
MISSING_OBJECT_RETRY_SECONDS: Final = 15.0
SECONDS_TO_ANSWER: Final = 8.0
PROBE_TIMEOUTS: Final = Timeouts(connect=3.0, statement=3.0)


@dataclass(frozen=True)
class Access:
    """A PostgreSQL server that can be used, and its admin. ``remarks`` say what could be safer there."""

    server: PostgresServer
    admin: Login
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Known:
    """What the last look at a class's server found."""

    offer: PostgresOffer
    outcome: Access | Failure


class PostgresServers:
    """Remembers of each class how its server was when somebody looked last, so that servers need not ask."""

    def __init__(
        self, kube: KubeClient, cache: ObjectCache, executor: StoreExecutor, own_namespace: str
    ) -> None:
        self.executor = executor
        self._kube = kube
        self._cache = cache
        self._namespace = own_namespace
        self._known: dict[str, _Known] = {}
        self._read: dict[tuple[Kind, str], KubeObject] = {}
        self._left: defaultdict[str, set[str]] = defaultdict(set)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def access(self, class_name: str, offer: PostgresOffer) -> Access:
        """How the class's server was found last; it is looked at only if it never was.

        Nobody waits for a look that is under way: many servers of a class whose PostgreSQL hangs would take
        all workers from the servers of others.

        Raises:
            Failure: it cannot be used.

        """
        known = self._known.get(class_name)
        if known is None or known.offer != offer:
            async with self._locks[class_name]:
                known = self._known.get(class_name)
                if known is None or known.offer != offer:
                    return await self._look(class_name, offer, fresh=False)
        if isinstance(known.outcome, Failure):
            raise known.outcome
        return known.outcome

    async def verify(self, class_name: str, offer: PostgresOffer, *, fresh: bool) -> Access:
        """Look at the class's server now; with ``fresh`` its Secret and ConfigMap are read again, too.

        Raises:
            Failure: it cannot be used.

        """
        async with self._locks[class_name]:
            return await self._look(class_name, offer, fresh=fresh)

    async def logins(self, access: Access, cluster_name: str) -> tuple[MarkedLogin, ...]:
        """Every login on the server that carries a mark of this cluster. Raises Failure."""
        return await self.executor.run(access.server, _logins, access, cluster_name)

    async def take_logins(self, access: Access, logins: tuple[MarkedLogin, ...]) -> None:
        """Take logins away. Raises Failure."""
        await self.executor.run(access.server, _take_logins, access, logins)

    def left_behind(self, class_name: str) -> frozenset[str]:
        """The UIDs of servers that went while their logins could not be taken away."""
        return frozenset(self._left.get(class_name, ()))

    def leave_behind(self, class_name: str, uid: str) -> None:
        """Remember that the logins of a server which goes have to be taken away later."""
        self._left[class_name].add(uid)

    def settle(self, class_name: str, uids: frozenset[str]) -> None:
        """Forget servers whose logins have been taken away."""
        self._left[class_name] -= uids

    def forget(self, class_name: str) -> None:
        """Forget a class that is gone, or has no PostgreSQL any more."""
        self._known.pop(class_name, None)
        self._left.pop(class_name, None)

    async def _look(self, class_name: str, offer: PostgresOffer, *, fresh: bool) -> Access:
        known = self._known.get(class_name)
        well = known.outcome if known and known.offer == offer and isinstance(known.outcome, Access) else None
        has_failed = known is not None and isinstance(known.outcome, Failure)
        try:
            outcome = await self._ask(offer, fresh=fresh or has_failed)
        except Failure as failure:
            if well and isinstance(failure, Waiting) and failure.reason is Reason.BUSY:
                return well  # it is at work for many servers at once; should it hang, they find out
            self._known[class_name] = _Known(offer, failure)
            raise
        self._known[class_name] = _Known(offer, outcome)
        return outcome

    async def _ask(self, offer: PostgresOffer, *, fresh: bool) -> Access:
        server = PostgresServer(
            host=offer.host,
            port=offer.port,
            maintenance_database=offer.maintenance_database,
            ssl_mode=offer.ssl_mode,
            ca_certificates=await self._ca_certificates(offer, fresh=fresh),
        )
        admin = await self._admin(offer.admin_secret_ref.name, fresh=fresh)
        look = partial(_preflight, server, admin, allow_superuser=offer.allow_superuser)
        remarks = await self.executor.run_within(SECONDS_TO_ANSWER, server, look)
        return Access(server, admin, remarks)

    async def _admin(self, name: str, *, fresh: bool) -> Login:
        secret = await self._object(SECRET, name, "postgres.adminSecretRef", fresh=fresh)
        data = {
            key: base64.b64decode(value).decode(errors="replace").strip()
            for key, value in (secret.get("data") or {}).items()
        }
        missing = [key for key in ("username", "password") if not data.get(key)]
        if missing:
            raise self._lacks(f"Secret {name!r}", "postgres.adminSecretRef", " and ".join(missing))
        return Login(data["username"], data["password"], f"Secret {self._namespace}/{name}")

    async def _ca_certificates(self, offer: PostgresOffer, *, fresh: bool) -> str | None:
        if offer.ca_config_map_ref is None:
            return None
        name = offer.ca_config_map_ref.name
        config_map = await self._object(CONFIG_MAP, name, "postgres.caConfigMapRef", fresh=fresh)
        data: Mapping[str, str] = config_map.get("data") or {}
        if not data.get(CA_KEY, "").strip():
            raise self._lacks(f"ConfigMap {name!r}", "postgres.caConfigMapRef", CA_KEY)
        return data[CA_KEY]

    async def _object(self, kind: Kind, name: str, field: str, *, fresh: bool) -> KubeObject:
        """A Secret that is watched comes from the cache; anything else is read once, and again when ``fresh``."""
        if watched := self._cache.get(kind, self._namespace, name):
            return watched
        if not fresh and (read := self._read.get((kind, name))):
            return read
        try:
            found = await self._kube.get(kind, self._namespace, name)
        except ApiError as error:
            raise failure_from(error, f"read {kind} {self._namespace}/{name}") from error
        if found is None:
            raise Waiting(
                Reason.SECRET_NOT_FOUND,
                f"There is no {kind} {name!r} in the operator's namespace {self._namespace!r}, which {field} of the "
                "class names: create it, or name another.",
                retry_after=MISSING_OBJECT_RETRY_SECONDS,
            )
        self._read[(kind, name)] = found
        return found

    def _lacks(self, what: str, field: str, keys: str) -> Waiting:
        return Waiting(
            Reason.SECRET_KEY_MISSING,
            f"{what} in the operator's namespace {self._namespace!r}, which {field} of the class names, has nothing "
            f"under {keys}: add it.",
            retry_after=MISSING_OBJECT_RETRY_SECONDS,
        )


def _logins(access: Access, cluster_name: str) -> tuple[MarkedLogin, ...]:
    with Sessions(access.server, access.admin) as sessions:
        return logins_of_cluster(sessions, cluster_name)


def _take_logins(access: Access, logins: tuple[MarkedLogin, ...]) -> None:
    with Sessions(access.server, access.admin) as sessions:
        take_logins(sessions, logins)


def _preflight(server: PostgresServer, admin: Login, *, allow_superuser: bool) -> tuple[str, ...]:
    with Sessions(server, admin, PROBE_TIMEOUTS) as sessions:
        return preflight(sessions, allow_superuser=allow_superuser).remarks
