"""The step that sees to a server's own prefix, and finds the one of a server whose placement was lost."""

from tracking_operator.api.base import seconds_in
from tracking_operator.api.conditions import ConditionType
from tracking_operator.api.tracking_server_class import S3StoreSpec
from tracking_operator.controllers.conditions.step_result import StepResult, stopped_unwatched
from tracking_operator.controllers.server.artifacts.prefixes import (
    ArtifactPrefixes,
    PrefixState,
    WantedPrefix,
)
from tracking_operator.controllers.server.children.deployment import is_rolled_out
from tracking_operator.controllers.server.children.mounted_secrets import Credentials, deployed_digest
from tracking_operator.controllers.server.children.pods import has_pods_on_their_way_out
from tracking_operator.controllers.server.context import ReconcileContext, ServerMemory
from tracking_operator.controllers.server.plan import Plan
from tracking_operator.controllers.server.revocation import RevocationPart, is_due, rolled_for
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server.spec.placement_from_marks import the_prefix
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.controllers.server_class.s3_identities import rotate_every
from tracking_operator.failures import Failure
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import DEPLOYMENT, POD
from tracking_operator.resources.stores.s3 import S3Artifacts


class PrefixStep:
    """Makes what servers have in their class's bucket as it should be."""

    def __init__(
        self,
        cache: ObjectCache,
        prefixes: ArtifactPrefixes,
        buckets: S3Admin,
        marks: OwnerMarks,
        credentials: Credentials,
    ) -> None:
        self._cache = cache
        self._prefixes = prefixes
        self._buckets = buckets
        self._marks = marks
        self._credentials = credentials

    async def find(self, plan: Plan, memory: ServerMemory) -> str | None:
        """The prefix that carries the server's mark; None if none does, or the server gets none. Raises Failure."""
        offer = plan.chosen.spec.s3
        if offer is None or plan.placement.artifacts is None:
            return None
        access = await self._buckets.access(plan.chosen.name, offer)
        mark = self._marks.of_server(plan.model, plan.chosen, memory.of_namespace)
        return the_prefix(await self._buckets.prefixes_of(access, mark))

    async def ensure(self, context: ReconcileContext) -> StepResult[PrefixState | None]:
        """Make the server's own prefix as it should be; None if it has none, or the object store cannot be asked."""
        store, offer = context.plan.model.artifact_store, context.plan.chosen.spec.s3
        if not isinstance(store, S3Artifacts) or offer is None:
            return StepResult(None)
        try:
            state = await self._ensure(context, store, offer)
        except Failure as failure:
            return stopped_unwatched(failure, ConditionType.ARTIFACT_STORE_READY)
        return StepResult(state, requeue_after=state.requeue_after)

    async def _ensure(self, context: ReconcileContext, store: S3Artifacts, offer: S3StoreSpec) -> PrefixState:
        plan, memory = context.plan, context.memory
        access = await self._buckets.access(plan.chosen.name, offer)
        return await self._prefixes.ensure(
            plan.model,
            store,
            offer,
            access,
            await self._wanted(context, offer),
            mark=self._marks.of_server(plan.model, plan.chosen, memory.of_namespace),
            memory=memory.prefix,
        )

    async def _wanted(self, context: ReconcileContext, offer: S3StoreSpec) -> WantedPrefix:
        resource, chosen = context.resource, context.plan.chosen
        was_checked = resource.status.artifact_store and resource.status.artifact_store.checked
        return WantedPrefix(
            rotation=resource.asked_rotation,
            rotate_every=rotate_every(offer),
            must_exist=bool(was_checked) and not resource.allows_empty_store,
            policy_percent=chosen.spec.limits.max_bucket_policy_percent_per_namespace,
            is_rolled_out=await self._have_pods_newest_keys(context),
            is_revoked=is_due(resource, RevocationPart.ARTIFACT_STORE),
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
