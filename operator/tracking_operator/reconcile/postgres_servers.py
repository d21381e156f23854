"""The PostgreSQL servers of the classes: how each is reached as its admin, and whether it can be used."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from tracking_operator.api.tracking_server_class import PostgresOffer
from tracking_operator.backend_store.connection import Sessions
from tracking_operator.backend_store.preflight import preflight
from tracking_operator.backend_store.server import Login, PostgresServer, Timeouts
from tracking_operator.backend_store.teardown import MarkedLogin, logins_of_cluster, take_logins
from tracking_operator.reconcile.offered_stores import OfferedStores

SECONDS_TO_ANSWER: Final = 8.0
PROBE_TIMEOUTS: Final = Timeouts(connect=3.0, statement=3.0)


@dataclass(frozen=True)
class Access:
    """A PostgreSQL server that can be used, and its admin. ``remarks`` say what could be safer there."""

    server: PostgresServer
    admin: Login
    remarks: tuple[str, ...] = ()


class PostgresServers(OfferedStores[PostgresOffer, Access]):
    """The PostgreSQL servers of all classes."""

    async def logins(self, access: Access, cluster_name: str) -> tuple[MarkedLogin, ...]:
        """Every login on the server that carries a mark of this cluster. Raises Failure."""
        return await self.executor.run(access.server, _logins, access, cluster_name)

    async def take_logins(self, access: Access, logins: tuple[MarkedLogin, ...]) -> None:
        """Take logins away. Raises Failure."""
        await self.executor.run(access.server, _take_logins, access, logins)

    async def _ask(self, offer: PostgresOffer, well: Access | None, *, fresh: bool) -> Access:
        server = PostgresServer(
            host=offer.host,
            port=offer.port,
            maintenance_database=offer.maintenance_database,
            ssl_mode=offer.ssl_mode,
            ca_certificates=await self._objects.ca_certificates(
                offer.ca_config_map_ref, "postgres.caConfigMapRef", fresh=fresh
            ),
        )
        admin = await self._admin(offer, fresh=fresh)
        look = partial(_preflight, server, admin, allow_superuser=offer.allow_superuser)
        remarks = await self.executor.run_within(SECONDS_TO_ANSWER, server, look)
        return Access(server, admin, remarks)

    async def _admin(self, offer: PostgresOffer, *, fresh: bool) -> Login:
        reference = offer.admin_secret_ref
        found = await self._objects.secret(
            reference, "postgres.adminSecretRef", "username", "password", fresh=fresh
        )
        source = f"Secret {self._objects.namespace}/{reference.name}"
        return Login(found["username"], found["password"], source)


def _logins(access: Access, cluster_name: str) -> tuple[MarkedLogin, ...]:
    with Sessions(access.server, access.admin) as sessions:
        return logins_of_cluster(sessions, cluster_name)


def _take_logins(access: Access, logins: tuple[MarkedLogin, ...]) -> None:
    with Sessions(access.server, access.admin) as sessions:
        take_logins(sessions, logins)


def _preflight(server: PostgresServer, admin: Login, *, allow_superuser: bool) -> tuple[str, ...]:
    with Sessions(server, admin, PROBE_TIMEOUTS) as sessions:
        return preflight(sessions, allow_superuser=allow_superuser).remarks
