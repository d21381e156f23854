"""The loop of the TrackingServer: plan, record, apply, observe, report, in this order."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus

from pydantic import ValidationError

from tracking_operator.api.conditions import (
    Condition,
    ConditionType,
    Reason,
    find_condition,
    merge_conditions,
)
from tracking_operator.api.labels_and_annotations import FINALIZER, RESOLVED_ANNOTATION
from tracking_operator.api.placement import Placement
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer, TrackingServerStatus
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    not_looked_at,
    summarise,
)
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.address.change import without_needless_host
from tracking_operator.controllers.server.address.claims import AddressClaims
from tracking_operator.controllers.server.artifacts.checks import (
    ArtifactCheck,
    artifact_check,
    live_check,
)
from tracking_operator.controllers.server.artifacts.prefixes import PrefixState
from tracking_operator.controllers.server.children.deployment import is_rolled_out
from tracking_operator.controllers.server.children.jobs import LiveJob
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.controllers.server.children.mounted_secrets import Credentials, deployed_digest
from tracking_operator.controllers.server.children.ownership import owner_check, prunable
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.children.tools import Tools
from tracking_operator.controllers.server.children.volumes import keep_existing_claims
from tracking_operator.controllers.server.database.databases import DatabaseState
from tracking_operator.controllers.server.database.encryption import Encryption
from tracking_operator.controllers.server.database.schema_gate import (
    Gate,
    external_database,
    live_migration,
    schema_gate,
)
from tracking_operator.controllers.server.deletion.cluster_data import needs_finalizer
from tracking_operator.controllers.server.deletion.finalize import Finalization
from tracking_operator.controllers.server.login.logins import LoginWanted
from tracking_operator.controllers.server.managed_stores import ManagedStores
from tracking_operator.controllers.server.plan import (
    Plan,
    ReconcileSettings,
    make_plan,
    model_of_what_runs,
    spec_result,
)
from tracking_operator.controllers.server.probes import Probes
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.revocation import (
    RevocationPart,
    is_due,
    news,
    revocation_of_login,
    revoked_parts,
    rolled_for,
    waiting_results,
    with_done,
)
from tracking_operator.controllers.server.spec.inputs import inputs_of
from tracking_operator.controllers.server.spec.placement import placement_of
from tracking_operator.controllers.server.spec.placement_from_marks import NOTHING_FOUND, Found
from tracking_operator.controllers.server.status import announce, report_unreadable, status_of, write_status
from tracking_operator.controllers.server.workload.condition_results import (
    Observed,
    condition_results_of,
    observe,
)
from tracking_operator.controllers.server.workload.gates import Gates
from tracking_operator.controllers.server_class.postgres_admin import PostgresAdmin
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure
from tracking_operator.kube.apply import apply_all, prune
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.json_patch import JsonPatchOperation, pointer_token
from tracking_operator.kube.objects import (
    DEPLOYMENT,
    HTTP_ROUTE,
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    KubeObject,
    KubeObjects,
    describe,
    kind_of,
    name_of,
    namespace_of,
    uid_of,
)
from tracking_operator.mlflow.client import MlflowApi
from tracking_operator.resources import build_objects
from tracking_operator.resources.server_model import ExternalBackend, S3Artifacts, ServerModel

logger = logging.getLogger(__name__)

FINALIZE_RETRY_SECONDS = 5.0


class ServerReconciler:
    """Brings one tracking server at a time to what its owner wants."""

    def __init__(
        self,
        *,
        kube: KubeClient,
        cache: ObjectCache,
        events: EventRecorder,
        settings: ReconcileSettings,
        postgres: PostgresAdmin,
        buckets: S3Admin,
        mlflow: MlflowApi,
        gateway_api: GatewayApi,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._settings = settings
        self._now = now
        self._credentials = Credentials(kube, cache)
        self._secrets = ManagedSecrets(kube, cache)
        self._encryption = Encryption(kube, cache)
        self._tools = Tools(kube, cache)
        self._networks = Networks(kube, cache, self._credentials, now)
        self._stores = ManagedStores(
            kube,
            cache,
            self._credentials,
            postgres=postgres,
            buckets=buckets,
            cluster_name=settings.cluster_name,
            now=now,
        )
        self._addresses = AddressClaims(
            cache, settings.cluster_name, has_built_in_class=settings.has_built_in_class
        )
        self._gateway_api = gateway_api
        self._probes = Probes(kube, cache, mlflow, gateway_api, now)
        self._finalization = Finalization(
            kube, cache, events, settings, self._stores.left_behind(events, self._networks)
        )

    async def reconcile(self, namespace: str, name: str, *, resync: bool) -> Outcome:
        """Reconcile one server. Raises ApiError where nothing can go on without an answer."""
        if not name:
            return await self._collect_tools(namespace)
        if not self._settings.watches_secrets:
            await self._secrets.look_up(namespace, name)
        live = self._cache.get(TRACKING_SERVER, namespace, name)
        if live is None:
            return await self._finalize_removed(namespace, name)
        if self._cache.is_shortened(live):
            live = await self._kube.get(TRACKING_SERVER, namespace, name)
            if live is None:
                return Outcome()
        try:
            resource = TrackingServer.model_validate(live)
        except ValidationError as error:
            # The CRD lets nothing through that does not parse: an older operator reads a newer resource.
            return await report_unreadable(
                self._kube, self._cache, live, error, events=self._events, now=self._now()
            )
        if resource.metadata.is_being_deleted:
            return await self._finalize(live, resource)
        return await self._ensure(live, resource, resync=resync)

    async def _ensure(self, live: KubeObject, resource: TrackingServer, *, resync: bool) -> Outcome:
        report = Report()
        try:
            plan = self._plan(resource)
            if placement_of(resource) is None:
                found = await self._stores.find(plan, report)
                if found is None:
                    report.add(spec_result(plan))
                    return await self._report_on_what_runs(live, resource, report, "the stores to be asked")
                plan = self._plan(resource, found)
        except Failure as failure:
            report.add_failure(failure, ConditionType.SPEC_VALID)
            if failure.reason is Reason.CONFLICT:
                report.retry_after.append(UNWATCHED_RETRY_SECONDS)
            return await self._report_on_what_runs(live, resource, report)
        live = await self._record(live, resource, plan)
        if plan.news:
            self._events.record(live, "Normal", Reason.ADDRESS_CHANGING.value, plan.news)
        report.add(spec_result(plan))
        # Looked at once: one that ends while PostgreSQL is asked is compared with what PostgreSQL says the next time.
        migration = live_migration(self._children(plan.model), plan.model)
        database = await self._stores.database(resource, plan, migration, report, fresh=resync)
        prefix = await self._stores.prefix(resource, plan, report, fresh=resync)
        await self._encryption.ensure(plan.model, report)
        revocation = revocation_of_login(resource)
        credentials = await self._probes.logins.credentials(
            plan.model, resource.asked_rotation, report, revocation=revocation
        )
        done = revoked_parts(resource, plan.model, database, prefix, credentials)
        live, resource = await self._note_revoked(live, resource, *done)
        server = await self._with_credentials(plan.model, resource, report, fresh=resync)
        gate = await self._schema_gate(resource, server or plan.model, database, migration, report)
        check = await self._artifact_check(resource, server, prefix, report)
        if server is not None:
            await self._apply(server, Gates(gate, prefix, check, credentials), report)
        observed = self._observe(server or plan.model, database, gate, check)
        asks = LoginWanted(credentials, resource.asked_rotation, revocation)
        observed = await self._ask(server or plan.model, observed, asks, report, fresh=resync)
        if self._is_login_revoked(resource, server or plan.model):
            live, resource = await self._note_revoked(live, resource, RevocationPart.LOGIN)
        return await self._report(
            live, resource, plan.placement, server or plan.model, observed=observed, report=report
        )

    def _plan(self, resource: TrackingServer, found: Found = NOTHING_FOUND) -> Plan:
        """Decide, and claim the address. Raises Failure: the specification cannot be carried out."""
        try:
            plan = make_plan(resource, inputs_of(resource, self._cache), self._settings, found=found)
        except Failure:
            self._addresses.withdraw(resource.metadata.uid)
            raise
        self._addresses.claim(resource, plan.model)
        return plan

    async def _record(self, live: KubeObject, resource: TrackingServer, plan: Plan) -> KubeObject:
        """Write down where everything is, and that there is something to clean up, before anything is created."""
        # By meaning: what is only written in other words could be somebody's correction that a write of ours would undo.
        if resource.status.placement != plan.placement:
            status = resource.status.updated(placement=plan.placement)
            live = await write_status(self._kube, self._cache, live, status.as_kubernetes())
        if RESOLVED_ANNOTATION in resource.metadata.annotations:
            live = await self._drop_former_record(resource)
        wants_finalizer = needs_finalizer(resource, plan.placement, plan.chosen.spec)
        if wants_finalizer == (FINALIZER in resource.metadata.finalizers):
            return live
        return await self._set_finalizer(resource, present=wants_finalizer)

    async def _note_revoked(
        self, live: KubeObject, resource: TrackingServer, *parts: RevocationPart
    ) -> tuple[KubeObject, TrackingServer]:
        """Write down at once what access was ended, so that nothing new is taken for something old and ended again."""
        after = with_done(resource, *parts)
        done = after.status.revocation
        if done and (said := news(resource, after)):
            # Onto what is recorded by now, which may be more than there was at the beginning: the placement of a new server.
            status = (live.get("status") or {}) | {"revocation": done.as_kubernetes()}
            live = await write_status(self._kube, self._cache, live, status)
            reason, message = said
            self._events.record(live, "Normal", reason.value, message)
        return live, after

    def _is_login_revoked(self, resource: TrackingServer, server: ServerModel) -> bool:
        """Whether MLflow knows other passwords only, and no pod is left that signs with the earlier key."""
        if is_due(resource, RevocationPart.PODS) or not is_due(resource, RevocationPart.LOGIN):
            return False
        if server.login is None:
            return True
        has_new_users = self._probes.logins.has_revoked(server.uid, resource.asked_revocation)
        deployment = self._cache.get(DEPLOYMENT, server.namespace, server.names.workload)
        return has_new_users and deployment is not None and is_rolled_out(deployment, server.replicas)

    async def _drop_former_record(self, resource: TrackingServer) -> KubeObject:
        """Remove the annotation in which earlier operators kept the placement; nobody reads it any more."""
        metadata = resource.metadata
        path = f"/metadata/annotations/{pointer_token(RESOLVED_ANNOTATION)}"
        answer = await self._kube.json_patch(
            TRACKING_SERVER,
            metadata.namespace,
            metadata.name,
            [{"op": "test", "path": "/metadata/uid", "value": metadata.uid}, {"op": "remove", "path": path}],
        )
        self._cache.upsert(answer)
        return answer

    async def _set_finalizer(self, resource: TrackingServer, *, present: bool) -> KubeObject:
        """Add or remove our finalizer, and nothing else.

        Not by an apply: a team may have applied its server under the name of our field manager, and an apply without
        its fields would remove them.
        """
        metadata = resource.metadata
        before = list(metadata.finalizers)
        others = [one for one in before if one != FINALIZER]
        path = "/metadata/finalizers"
        operations: list[JsonPatchOperation] = [
            {
                "op": "test",
                "path": "/metadata/uid",
                "value": metadata.uid,
            },  # not a successor of the same name
            {"op": "test", "path": path, "value": before or None},
            {"op": "add", "path": path, "value": [*others, FINALIZER] if present else others},
        ]
        try:
            answer = await self._kube.json_patch(
                TRACKING_SERVER, metadata.namespace, metadata.name, operations
            )
        except ApiError as error:
            if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
                message = f"the finalizers of {metadata.namespace}/{metadata.name} have changed"
                raise ApiError(HTTPStatus.CONFLICT, "Conflict", message) from error
            raise
        self._cache.upsert(answer)
        return answer

    async def _artifact_check(
        self,
        resource: TrackingServer,
        server: ServerModel | None,
        prefix: PrefixState | None,
        report: Report,
    ) -> ArtifactCheck | None:
        """How the server's own prefix does, as its own identity finds it; None where nobody can tell now."""
        if server is None or prefix is None or not isinstance(server.artifact_store, S3Artifacts):
            return None
        live = live_check(self._children(server), server)
        check = artifact_check(
            server, server.artifact_store, status=resource.status, state=prefix, live=live, now=self._now()
        )
        if check.requeue_after is not None:
            report.retry_after.append(check.requeue_after)
        await self._delete_obsolete(check.obsolete_job, ConditionType.ARTIFACT_STORE_READY, report)
        return check

    async def _schema_gate(
        self,
        resource: TrackingServer,
        server: ServerModel,
        database: DatabaseState | None,
        migration: LiveJob | None,
        report: Report,
    ) -> Gate | None:
        """Whether pods may start on the schema; None where the pods find that out themselves."""
        if not server.needs_migration_job:
            return None
        if isinstance(server.backend_store, ExternalBackend):
            check = self._observe(server).check
            database = external_database(server, resource.status, migration, check)
        gate = schema_gate(server, resource.status, database, migration)
        await self._delete_obsolete(gate.obsolete_job, ConditionType.SCHEMA_READY, report)
        return gate

    async def _delete_obsolete(self, job: KubeObject | None, type_: ConditionType, report: Report) -> None:
        if job is None:
            return
        try:
            await self._kube.delete(JOB, namespace_of(job), name_of(job), uid=uid_of(job))
        except ApiError as error:
            report.add_failure(failure_from(error, f"delete {describe(job)}"), type_)

    async def _with_credentials(
        self, server: ServerModel, resource: TrackingServer, report: Report, *, fresh: bool
    ) -> ServerModel | None:
        """The model with the digest of the Secrets that its pods mount, and with where these pods have to connect to.

        While a Secret is missing, a running server keeps the digest that it has, so that everything else can
        still be changed (to suspend it, say); a new one has to wait: None.
        """
        digest, failures = await self._credentials.digest(
            server, fresh=fresh, revocation=rolled_for(resource)
        )
        for type_, failure in failures:
            report.add_failure(failure, type_)
        deployment = self._cache.get(DEPLOYMENT, server.namespace, server.names.workload)
        if failures and deployment is None:
            return None
        known = replace(server, credentials_digest=deployed_digest(deployment) if failures else digest)
        return await self._networks.with_destinations(known, fresh=fresh)

    async def _apply(self, server: ServerModel, steps: Gates, report: Report) -> None:
        """Make the live objects what they should be; whatever cannot be is a condition result."""
        deployment = self._cache.get(DEPLOYMENT, server.namespace, server.names.workload)
        server = without_needless_host(server, deployment)
        desired = keep_existing_claims(build_objects(server), lambda name: self._claim(server, name))
        changeable = [
            obj
            for obj in desired
            if self._is_known_kind(obj) and not self._networks.leaves_alone(obj, server)
        ]
        now = [
            await self._tools.keep(obj, deployment, server) if kind_of(obj) == DEPLOYMENT else obj
            for obj in changeable
            if steps.let_through(obj, server, deployment)
        ]
        now += steps.objects(server)
        report.add_tools(await self._tools.ensure(server.namespace, [*now, *self._children(server)]))
        applied = await apply_all(self._kube, self._cache, now, owner=owner_check(server))
        for written in applied.written:
            logger.info("Wrote %s %s because %s.", written.kind, written.name, written.why)
        report.add_applied(applied, server)
        children = [
            one for one in prunable(self._children(server), server) if self._tools.may_go(one, server)
        ]
        pruned = await prune(self._kube, self._cache, children, desired)
        collected = await self._tools.collect(server.namespace)
        for deleted in (*pruned.deleted, *collected.deleted):
            logger.info("Deleted %s %s because %s.", deleted.kind, deleted.name, deleted.why)
        for obj, error in (*pruned.failures, *collected.failures):
            report.add_failure(failure_from(error, f"delete {describe(obj)}"), ConditionType.WORKLOAD_READY)

    async def _collect_tools(self, namespace: str) -> Outcome:
        """Remove what the pods of a namespace had in common, if nobody needs it any more."""
        collected = await self._tools.collect(namespace)
        for deleted in collected.deleted:
            logger.info("Deleted %s %s/%s because %s.", deleted.kind, namespace, deleted.name, deleted.why)
        for obj, error in collected.failures:
            logger.warning("Could not delete %s, trying again: %s", describe(obj), error)
        return Outcome(failed=bool(collected.failures))

    def _is_known_kind(self, obj: KubeObject) -> bool:
        return self._gateway_api.is_served or kind_of(obj) != HTTP_ROUTE

    async def _ask(
        self, server: ServerModel, observed: Observed, wanted: LoginWanted, report: Report, *, fresh: bool
    ) -> Observed:
        exposed = await self._probes.ask(server, observed, wanted, fresh=fresh)
        if exposed and exposed.requeue_after is not None:
            report.retry_after.append(exposed.requeue_after)
        return replace(observed, exposed=exposed)

    def _claim(self, server: ServerModel, name: str) -> KubeObject | None:
        return self._cache.get(PERSISTENT_VOLUME_CLAIM, server.namespace, name)

    async def _report(
        self,
        live: KubeObject,
        resource: TrackingServer,
        placement: Placement,
        server: ServerModel,
        *,
        observed: Observed,
        report: Report,
    ) -> Outcome:
        report.add_missing(condition_results_of(server, observed, _earlier(resource, server)))
        report.add_all(waiting_results(resource))
        status = status_of(
            resource,
            self._conditions(resource, report.condition_results, server),
            placement,
            server,
            observed,
        )
        return await self._finish(live, resource, status, report)

    async def _report_on_what_runs(
        self,
        live: KubeObject,
        resource: TrackingServer,
        report: Report,
        waits_for: str = "a valid specification",
    ) -> Outcome:
        """Say why nothing can be done; what runs goes on running, and is still reported on."""
        server = _model_of_what_runs(resource, self._settings, self._cache)
        if server is None:
            types = (
                ConditionType.BACKEND_STORE_READY,
                ConditionType.ARTIFACT_STORE_READY,
                ConditionType.SCHEMA_READY,
                ConditionType.WORKLOAD_READY,
                ConditionType.EXPOSED,
            )
            report.add_missing(not_looked_at(type_, waits_for) for type_ in types)
        else:
            report.add_missing(
                condition_results_of(server, self._observe(server), _earlier(resource, server))
            )
        report.add_all(waiting_results(resource))
        status = resource.status.updated(
            observed_generation=resource.metadata.generation,
            conditions=self._conditions(resource, report.condition_results, server),
        )
        return await self._finish(live, resource, status, report)

    async def _finish(
        self, live: KubeObject, resource: TrackingServer, status: TrackingServerStatus, report: Report
    ) -> Outcome:
        ready = find_condition(status.conditions, ConditionType.READY)
        await write_status(self._kube, self._cache, live, status.as_kubernetes())
        announce(self._events, live, resource.status.conditions, report.condition_results, ready)
        return report.outcome()

    def _observe(
        self,
        server: ServerModel,
        database: DatabaseState | None = None,
        gate: Gate | None = None,
        check: ArtifactCheck | None = None,
    ) -> Observed:
        return observe(self._children(server), server, database, gate, check)

    def _children(self, server: ServerModel) -> KubeObjects:
        return self._cache.children(server.namespace, server.name)

    def _conditions(
        self,
        resource: TrackingServer,
        condition_results: Sequence[ConditionResult],
        server: ServerModel | None,
    ) -> tuple[Condition, ...]:
        url = server.url if server else ""
        return merge_conditions(
            resource.status.conditions,
            summarise(condition_results, f"MLflow answers at {url}."),
            observed_generation=resource.metadata.generation,
            now=self._now(),
        )

    async def _finalize(self, live: KubeObject, resource: TrackingServer) -> Outcome:
        """Delete the data if that is wanted, then let the resource go.

        Somebody may have taken our finalizer off, and have put one of their own on: access ends all the same.
        """
        is_held = FINALIZER in resource.metadata.finalizers
        if not is_held and self._cache.is_finalized(live):
            return Outcome()
        if unfinished := await self._finalization.finalize(live, _retaining_unless_held(resource)):
            return await self._report_deletion(live, resource, unfinished)
        self._cache.note_finalized(live)
        if is_held:
            await self._set_finalizer(resource, present=False)
        self._evict(resource.metadata.uid)
        logger.info("Let %s go.", describe(live))
        return Outcome()

    async def _finalize_removed(self, namespace: str, name: str) -> Outcome:
        """Do what the finalizer was for, if a server has gone in spite of it or without it."""
        gone = self._cache.removed_before_finalized(TRACKING_SERVER, namespace, name)
        if gone is None:
            return await self._collect_tools(namespace)
        try:
            resource = _retaining_unless_held(TrackingServer.model_validate(gone))
        except ValidationError as error:
            # The next look at its class takes away what lets it in.
            logger.error(
                "%s is gone, and cannot be read by this version of the operator: %s", describe(gone), error
            )
            self._cache.note_finalized_after_removal(gone)
            return Outcome()
        if unfinished := await self._finalization.finalize(gone, resource):
            logger.warning("%s is gone, and its data not yet: %s", describe(gone), unfinished.message)
            return Outcome(failed=True, reason=unfinished.reason.value)
        self._evict(uid_of(gone) or "")
        self._cache.note_finalized_after_removal(gone)
        logger.info("Saw to it that nothing lets anybody in after %s, which is gone.", describe(gone))
        return await self._collect_tools(namespace)

    def _evict(self, uid: str) -> None:
        self._stores.evict(uid)
        self._addresses.evict(uid)
        self._probes.evict(uid)

    async def _report_deletion(
        self, live: KubeObject, resource: TrackingServer, condition_result: ConditionResult
    ) -> Outcome:
        """Say what the deletion waits for; every volume that goes brings the server up again."""
        report = Report(condition_results=[condition_result], retry_after=[FINALIZE_RETRY_SECONDS])
        conditions = self._conditions(resource, report.condition_results, None)
        status = resource.status.updated(
            observed_generation=resource.metadata.generation, conditions=conditions
        )
        return await self._finish(live, resource, status, report)


def _retaining_unless_held(resource: TrackingServer) -> TrackingServer:
    """The resource; one that our finalizer does not hold leaves its data behind, as nothing waits for that to be deleted."""
    if FINALIZER in resource.metadata.finalizers:
        return resource
    spec = resource.spec.model_copy(update={"deletion_policy": DeletionPolicy.RETAIN})
    return resource.model_copy(update={"spec": spec})


def _model_of_what_runs(
    resource: TrackingServer, settings: ReconcileSettings, cache: ObjectCache
) -> ServerModel | None:
    deployment = cache.get(DEPLOYMENT, resource.metadata.namespace, resource.metadata.name)
    replicas = (deployment or {}).get("spec", {}).get("replicas", 0)
    return model_of_what_runs(resource, settings, replicas)


def _earlier(resource: TrackingServer, server: ServerModel) -> Callable[[ConditionType], Condition | None]:
    """What was found out before; about the schema only if that was for the version which is wanted now."""

    def condition(type_: ConditionType) -> Condition | None:
        if type_ is ConditionType.SCHEMA_READY and resource.status.version != server.version:
            return None
        return find_condition(resource.status.conditions, type_)

    return condition
