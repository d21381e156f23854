"""A server's own database and its own prefix: what is wanted of each, and what stands in the way."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from tracking_operator.api.base import seconds_in
from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import PostgresStoreSpec, S3StoreSpec
from tracking_operator.controllers.server.artifacts.prefixes import (
    ArtifactPrefixes,
    PrefixState,
    WantedPrefix,
)
from tracking_operator.controllers.server.children.deployment import is_rolled_out
from tracking_operator.controllers.server.children.jobs import LiveJob
from tracking_operator.controllers.server.children.mounted_secrets import Credentials, deployed_digest
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.database.databases import Databases, DatabaseState
from tracking_operator.controllers.server.database.databases import Wanted as WantedDatabase
from tracking_operator.controllers.server.deletion.artifacts import ArtifactsFinalization
from tracking_operator.controllers.server.deletion.databases import DatabaseFinalization
from tracking_operator.controllers.server.plan import Plan
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.revocation import RevocationPart, is_due, rolled_for
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server.spec.placement_from_marks import Found, the_database, the_prefix
from tracking_operator.controllers.server_class.postgres_admin import PostgresAdmin
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.controllers.server_class.s3_identities import rotate_every
from tracking_operator.failures import Failure
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import DEPLOYMENT, uid_of
from tracking_operator.resources.server_model import PostgresBackend, S3Artifacts, ServerModel
from tracking_operator.stores.ownership_mark import Mark

State = TypeVar("State", DatabaseState, PrefixState)


class ManagedStores:
    """Brings what servers have on their class's PostgreSQL and in its bucket about."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        credentials: Credentials,
        *,
        postgres: PostgresAdmin,
        buckets: S3Admin,
        cluster_name: str,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._credentials = credentials
        self._postgres = postgres
        self._buckets = buckets
        self._marks = OwnerMarks(cache, cluster_name)
        self._databases = Databases(kube, cache, postgres, self._marks, now)
        self._prefixes = ArtifactPrefixes(kube, cache, buckets, self._marks, now)
        self._now = now

    def left_behind(
        self, events: EventRecorder, networks: Networks
    ) -> tuple[ArtifactsFinalization, DatabaseFinalization]:
        """What becomes of them when a server is deleted, in this order."""
        artifacts = ArtifactsFinalization(
            self._kube,
            self._cache,
            self._prefixes,
            self._buckets,
            networks=networks,
            events=events,
            now=self._now,
        )
        return artifacts, DatabaseFinalization(self._databases, self._postgres, events)

    def evict(self, uid: str) -> None:
        """Forget a server that is gone."""
        self._databases.evict(uid)
        self._prefixes.evict(uid)
        self._marks.evict(uid)

    async def find(self, plan: Plan, report: Report) -> Found | None:
        """Where the class's stores say that the data of a server is which has no placement.

        None, and why in the report, where they do not. A new server is looked for, too, once: nobody can tell it from
        one whose status was lost.
        """
        type_ = ConditionType.BACKEND_STORE_READY
        try:
            database = await self._marked_database(plan)
            type_ = ConditionType.ARTIFACT_STORE_READY
            return Found(database, await self._marked_prefix(plan))
        except Failure as failure:
            report.add_unwatched(failure, type_)
            return None

    async def _marked_database(self, plan: Plan) -> str | None:
        offer = plan.chosen.spec.postgres
        if offer is None or plan.placement.database is None:
            return None
        access = await self._postgres.access(plan.chosen.name, offer)
        return the_database(await self._postgres.databases_of(access, self._mark_of(plan)))

    async def _marked_prefix(self, plan: Plan) -> str | None:
        offer = plan.chosen.spec.s3
        if offer is None or plan.placement.artifacts is None:
            return None
        access = await self._buckets.access(plan.chosen.name, offer)
        return the_prefix(await self._buckets.prefixes_of(access, self._mark_of(plan)))

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

        async def ensure() -> DatabaseState:
            access = await self._postgres.access(plan.chosen.name, offer)
            deadline = seconds_in(plan.chosen.spec.rotation.deadline)
            wanted = _wanted_database(resource, offer, deadline, migration)
            wanted = replace(
                wanted,
                takes_over=self._is_handed_over(plan),
                is_revoked=is_due(resource, RevocationPart.BACKEND_STORE),
            )
            return await self._databases.ensure(plan.model, store, access, wanted, fresh=fresh)

        return await _reported(ensure(), ConditionType.BACKEND_STORE_READY, report)

    async def prefix(
        self, resource: TrackingServer, plan: Plan, report: Report, *, fresh: bool
    ) -> PrefixState | None:
        """Bring the server's own prefix about; None if it has none, or the object store cannot be asked."""
        store, offer = plan.model.artifact_store, plan.chosen.spec.s3
        if not isinstance(store, S3Artifacts) or offer is None:
            return None

        async def ensure() -> PrefixState:
            access = await self._buckets.access(plan.chosen.name, offer)
            deadline = seconds_in(plan.chosen.spec.rotation.deadline)
            wanted = await self._wanted_prefix(resource, plan.model, offer, deadline)
            wanted = replace(
                wanted,
                takes_over=self._is_handed_over(plan),
                policy_percent=plan.chosen.spec.limits.max_bucket_policy_percent_per_namespace,
                is_revoked=is_due(resource, RevocationPart.ARTIFACT_STORE),
            )
            return await self._prefixes.ensure(plan.model, store, offer, access, wanted, fresh=fresh)

        return await _reported(ensure(), ConditionType.ARTIFACT_STORE_READY, report)

    def _mark_of(self, plan: Plan) -> Mark:
        """The server's mark, as far as the class lets it take over what an earlier namespace had. Raises Waiting."""
        server = plan.model
        mark = self._marks.of(server.namespace, server.name, server.uid)
        return replace(mark, takes_over=self._is_handed_over(plan))

    def _is_handed_over(self, plan: Plan) -> bool:
        """Whether the class names exactly this server of this namespace."""
        server = plan.model
        mark = self._marks.of(server.namespace, server.name, server.uid)
        owner = (mark.namespace, mark.namespace_uid, mark.name)
        return any(
            (one.namespace, one.namespace_uid, one.name) == owner for one in plan.chosen.spec.hand_over
        )

    async def _wanted_prefix(
        self, resource: TrackingServer, server: ServerModel, offer: S3StoreSpec, deadline: float
    ) -> WantedPrefix:
        digest, problems = await self._credentials.digest(
            server, fresh=False, revocation=rolled_for(resource)
        )
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
            deadline=deadline,
        )


async def _reported(bringing_about: Awaitable[State], type_: ConditionType, report: Report) -> State | None:
    """How a store was found, and when to look again; None, and why in the report, where it could not be brought about."""
    try:
        state = await bringing_about
    except Failure as failure:
        report.add_unwatched(failure, type_)
        return None
    if state.requeue_after is not None:
        report.retry_after.append(state.requeue_after)
    return state


def _wanted_database(
    resource: TrackingServer, offer: PostgresStoreSpec, deadline: float, migration: LiveJob | None
) -> WantedDatabase:
    return WantedDatabase(
        rotation=resource.asked_rotation,
        rotate_every=seconds_in(offer.rotate_every) if offer.rotate_every else None,
        deadline=deadline,
        must_exist=resource.status.schema_revision is not None and not resource.allows_empty_store,
        migrated_by=uid_of(migration.job) or "" if migration and migration.is_done else "",
    )
