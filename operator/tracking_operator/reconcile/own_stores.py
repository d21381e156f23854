"""A server's own database and its own prefix: what is wanted of each, and what stands in the way."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeVar

from tracking_operator.api.base import seconds_in
from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import PostgresOffer, S3Offer
from tracking_operator.failures import Failure
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import DEPLOYMENT, uid_of
from tracking_operator.reconcile.artifact_prefixes import ArtifactPrefixes, PrefixState, WantedPrefix
from tracking_operator.reconcile.buckets import Buckets
from tracking_operator.reconcile.credentials import Credentials, deployed_digest
from tracking_operator.reconcile.databases import Databases, DatabaseState
from tracking_operator.reconcile.databases import Wanted as WantedDatabase
from tracking_operator.reconcile.jobs import LiveJob
from tracking_operator.reconcile.left_artifacts import LeftArtifacts
from tracking_operator.reconcile.left_databases import LeftDatabases
from tracking_operator.reconcile.network import Networks
from tracking_operator.reconcile.observe import is_rolled_out
from tracking_operator.reconcile.plan import Plan
from tracking_operator.reconcile.postgres_servers import PostgresServers
from tracking_operator.reconcile.report import Report
from tracking_operator.reconcile.s3_identities import rotate_every
from tracking_operator.resources.server import PostgresBackend, S3Artifacts, ServerModel

State = TypeVar("State", DatabaseState, PrefixState)

STORE_RETRY_SECONDS: Final = 15.0
"""Nothing tells when somebody has put right what is in a store, or has removed a Secret that is not ours."""


class OwnStores:
    """Brings what servers have on their class's PostgreSQL and in its bucket about."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        credentials: Credentials,
        *,
        postgres: PostgresServers,
        buckets: Buckets,
        cluster_name: str,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._credentials = credentials
        self._postgres = postgres
        self._buckets = buckets
        self._databases = Databases(kube, cache, postgres, cluster_name, now)
        self._prefixes = ArtifactPrefixes(kube, cache, buckets, cluster_name, now)
        self._now = now

    def left_behind(self, events: EventRecorder, networks: Networks) -> tuple[LeftArtifacts, LeftDatabases]:
        """What becomes of them when a server is deleted, in this order."""
        artifacts = LeftArtifacts(
            self._kube,
            self._cache,
            self._prefixes,
            self._buckets,
            networks=networks,
            events=events,
            now=self._now,
        )
        return artifacts, LeftDatabases(self._databases, self._postgres, events)

    def forget(self, uid: str) -> None:
        """Forget a server that is gone."""
        self._databases.forget(uid)
        self._prefixes.forget(uid)

    async def database(
        self,
        resource: TrackingServer,
        plan: Plan,
        migration: LiveJob | None,
        report: Report,
        *,
        fresh: bool,
    ) -> DatabaseState | None:
        """Bring the server's own database about; None if it has none, or PostgreSQL cannot be asked."""
        store, offer = plan.model.backend_store, plan.chosen.spec.postgres
        if not isinstance(store, PostgresBackend) or offer is None:
            return None

        async def bring_about() -> DatabaseState:
            access = await self._postgres.access(plan.chosen.name, offer)
            wanted = _wanted_database(resource, offer, migration)
            return await self._databases.bring_about(plan.model, store, access, wanted, fresh=fresh)

        return await _reported(bring_about(), ConditionType.BACKEND_STORE_READY, report)

    async def prefix(
        self, resource: TrackingServer, plan: Plan, report: Report, *, fresh: bool
    ) -> PrefixState | None:
        """Bring the server's own prefix about; None if it has none, or the object store cannot be asked."""
        store, offer = plan.model.artifact_store, plan.chosen.spec.s3
        if not isinstance(store, S3Artifacts) or offer is None:
            return None

        async def bring_about() -> PrefixState:
            access = await self._buckets.access(plan.chosen.name, offer)
            wanted = await self._wanted_prefix(resource, plan.model, offer)
            return await self._prefixes.bring_about(plan.model, store, offer, access, wanted, fresh=fresh)

        return await _reported(bring_about(), ConditionType.ARTIFACT_STORE_READY, report)

    async def _wanted_prefix(
        self, resource: TrackingServer, server: ServerModel, offer: S3Offer
    ) -> WantedPrefix:
        digest, problems = await self._credentials.digest(server, fresh=False)
        deployment = self._cache.get(DEPLOYMENT, server.namespace, server.names.workload)
        has_newest_keys = not problems and deployed_digest(deployment) == digest
        was_checked = resource.status.artifact_store and resource.status.artifact_store.checked
        return WantedPrefix(
            rotation=resource.asked_rotation,
            rotate_every=rotate_every(offer),
            must_exist=bool(was_checked) and not resource.allows_empty_store,
            is_rolled_out=deployment is not None
            and has_newest_keys
            and is_rolled_out(deployment, server.replicas),
        )


async def _reported(bringing_about: Awaitable[State], type_: ConditionType, report: Report) -> State | None:
    """How a store was found, and when to look again; None, and why in the report, where it could not be brought about."""
    try:
        state = await bringing_about
    except Failure as failure:
        report.add_failure(failure, type_)
        report.retry_after.append(STORE_RETRY_SECONDS)
        return None
    if state.look_again is not None:
        report.retry_after.append(state.look_again)
    return state


def _wanted_database(
    resource: TrackingServer, offer: PostgresOffer, migration: LiveJob | None
) -> WantedDatabase:
    return WantedDatabase(
        rotation=resource.asked_rotation,
        rotate_every=seconds_in(offer.rotate_every) if offer.rotate_every else None,
        must_exist=resource.status.schema_revision is not None and not resource.allows_empty_store,
        migrated_by=uid_of(migration.job) or "" if migration and migration.is_done else "",
    )
