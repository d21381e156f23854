"""A server's own prefix as a store that the operator makes: what the loops ask, answered for S3."""

from collections.abc import Sequence
from functools import partial

from tracking_operator.api.base import seconds_in
from tracking_operator.api.conditions import Reason
from tracking_operator.api.placement import ArtifactPlacement, ArtifactStoreKind, Placement
from tracking_operator.api.tracking_server_class import S3StoreSpec, TrackingServerClassSpec
from tracking_operator.controllers.conditions.condition_result import ConditionResult
from tracking_operator.controllers.server.artifacts.deletion_job import DeletionJobs, artifacts_go
from tracking_operator.controllers.server.artifacts.prefixes import (
    ArtifactPrefixes,
    PrefixMemory,
    PrefixState,
    WantedPrefix,
)
from tracking_operator.controllers.server.children.deployment import is_rolled_out
from tracking_operator.controllers.server.children.mounted_secrets import Credentials, deployed_digest
from tracking_operator.controllers.server.children.pods import has_pods_on_their_way_out
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.managed_stores.interface import ARTIFACTS, Deletion
from tracking_operator.controllers.server.managed_stores.store_of_server import StoreOfServer, Words
from tracking_operator.controllers.server.revocation import is_due, rolled_for
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server.usage.measured import Measured
from tracking_operator.controllers.server_class.class_of_server import ChosenClass
from tracking_operator.controllers.server_class.s3_admin import BucketAccess, S3Admin
from tracking_operator.controllers.server_class.s3_identities import rotate_every
from tracking_operator.failures import Invalid
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import DEPLOYMENT, POD
from tracking_operator.resources.stores.s3 import S3Artifacts
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3.tenant import Tenant


class PrefixStore(StoreOfServer[S3Artifacts, ArtifactPlacement, S3StoreSpec, BucketAccess, PrefixState]):
    """The prefixes of servers in the buckets of their classes."""

    role = ARTIFACTS
    kind = ArtifactStoreKind.S3
    words = Words(
        store="The object store",
        data="the server's artifacts",
        entrance="the identity and the statements of the server's prefix",
        marked="prefixes in the class's bucket",
    )

    def __init__(
        self,
        cache: ObjectCache,
        prefixes: ArtifactPrefixes,
        s3_admin: S3Admin,
        *,
        jobs: DeletionJobs,
        credentials: Credentials,
        marks: OwnerMarks,
        events: EventRecorder,
    ) -> None:
        super().__init__(S3Artifacts, s3_admin, marks, events)
        self._cache = cache
        self._prefixes = prefixes
        self._s3_admin = s3_admin
        self._jobs = jobs
        self._credentials = credentials

    def _class_store(self, spec: TrackingServerClassSpec) -> S3StoreSpec | None:
        return spec.s3

    def _place(self, placement: Placement) -> ArtifactPlacement | None:
        return placement.artifacts

    def _class_store_of(self, chosen: ChosenClass, place: ArtifactPlacement) -> S3StoreSpec:
        class_store = chosen.spec.s3
        if class_store is None or (class_store.bucket, class_store.endpoint) != (
            place.bucket,
            place.endpoint,
        ):
            raise Invalid(
                Reason.CLASS_NOT_FOUND,
                f"The {chosen.title} is gone, or does not name bucket {place.bucket} at {place.endpoint or 'AWS'} any more, "
                f"where the artifacts are.",
            )
        return class_store

    async def _marked(self, access: BucketAccess, mark: Mark) -> Sequence[str]:
        return await self._s3_admin.prefixes_of(access, mark)

    async def _ensure(
        self,
        context: ReconcileContext,
        store: S3Artifacts,
        class_store: S3StoreSpec,
        access: BucketAccess,
        mark: Mark,
    ) -> PrefixState:
        return await self._prefixes.ensure(
            context.plan.model,
            store,
            class_store,
            access,
            await self._wanted(context, class_store),
            mark=mark,
            memory=context.memory.stores.of(PrefixMemory),
        )

    async def _measure(
        self, context: ReconcileContext, store: S3Artifacts, access: BucketAccess, mark: Mark
    ) -> Measured:
        return await self._prefixes.measure(Tenant.named(store.bucket, store.prefix, mark), access)

    async def _wanted(self, context: ReconcileContext, class_store: S3StoreSpec) -> WantedPrefix:
        resource, chosen = context.resource, context.plan.chosen
        was_checked = resource.status.artifact_store and resource.status.artifact_store.checked
        return WantedPrefix(
            rotation=resource.asked_rotation,
            rotate_every=rotate_every(class_store),
            must_exist=bool(was_checked) and not resource.allows_empty_store,
            policy_percent=chosen.spec.limits.max_bucket_policy_percent_per_namespace,
            is_rolled_out=await self._have_pods_newest_keys(context),
            is_revoked=is_due(resource, self.role.part),
            deadline=seconds_in(chosen.spec.rotation.deadline),
        )

    async def _have_pods_newest_keys(self, context: ReconcileContext) -> bool:
        server = context.plan.model
        digest, problems = await self._credentials.digest(
            server, context.memory.secrets, revocation=rolled_for(context.resource)
        )
        deployment = self._cache.get(DEPLOYMENT, server.namespace, server.names.workload)
        if problems or deployment is None or deployed_digest(deployment) != digest:
            return False
        pods = self._cache.children(server.namespace, server.name, POD)
        return is_rolled_out(deployment, server.replicas) and not has_pods_on_their_way_out(pods)

    async def _delete(
        self, deletion: Deletion, place: ArtifactPlacement, access: BucketAccess
    ) -> ConditionResult | None:
        """A Job removes the objects with the server's own identity, which reaches nothing else; then the identity goes.

        In a namespace that is being deleted there can be no Job: there the class's admin does it, as nobody else is left.
        """
        class_store, server = self._class_store_of(deletion.chosen, place), deletion.server
        store = self.store_of(server) if server else None
        role_arn = store.role_arn if store else None
        desired = self._prefixes.desired_at_the_end(self._mark(deletion), place, class_store, role_arn)
        memory = deletion.memory.stores.of(PrefixMemory)
        if await self._prefixes.is_empty(desired, access):
            await self._prefixes.drop(desired, access)
            return None
        if self._jobs.are_impossible_in(deletion.resource.metadata.namespace):
            was_there_any = await self._prefixes.purge(desired, access, memory)
            return artifacts_go(place.uri, None, goes_on_at_once=was_there_any)
        if server is None or store is None:
            raise self._jobs.impossible(place.uri)
        grant = partial(self._prefixes.grant_deletion, server, store, desired, access, memory)
        return await self._jobs.empty(server, place.uri, deletion.memory.secrets, grant)

    async def _retain(
        self, deletion: Deletion, place: ArtifactPlacement, reaching: ChosenClass, access: BucketAccess
    ) -> None:
        class_store = self._class_store_of(reaching, place)
        desired = self._prefixes.desired_at_the_end(self._mark(deletion), place, class_store, None)
        await self._prefixes.retain(desired, access)
