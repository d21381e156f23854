"""The loop of the TrackingServer: plan, record, apply, observe, report, in this order."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from pydantic import ValidationError

from tracking_operator.api.conditions import (
    Condition,
    ConditionType,
    Reason,
    find_condition,
    merge_conditions,
)
from tracking_operator.api.decision import Decision, decision_in
from tracking_operator.api.marks import FINALIZER, RESOLVED_ANNOTATION
from tracking_operator.api.tracking_server import TrackingServer, TrackingServerStatus
from tracking_operator.failures import Failure, Invalid
from tracking_operator.kube.apply import apply_all, prune
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.events import EventRecorder
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
from tracking_operator.mlflow_api.client import MlflowApi
from tracking_operator.reconcile.addresses import ADDRESS_RETRY_SECONDS, AddressBook
from tracking_operator.reconcile.artifact_checks import (
    ArtifactCheck,
    artifact_check,
    live_check,
)
from tracking_operator.reconcile.artifact_prefixes import PrefixState
from tracking_operator.reconcile.asking import Asking
from tracking_operator.reconcile.buckets import Buckets
from tracking_operator.reconcile.cleanup import Cleanup
from tracking_operator.reconcile.credentials import Credentials, deployed_digest
from tracking_operator.reconcile.databases import DatabaseState
from tracking_operator.reconcile.findings import Finding, not_looked_at, summarise
from tracking_operator.reconcile.gateway_api import GatewayApi
from tracking_operator.reconcile.jobs import LiveJob
from tracking_operator.reconcile.keys import Outcome
from tracking_operator.reconcile.kinds import TRACKING_SERVER
from tracking_operator.reconcile.logins import LoginWanted
from tracking_operator.reconcile.migrations import (
    Gate,
    external_database,
    live_migration,
    schema_gate,
)
from tracking_operator.reconcile.moves import without_needless_host
from tracking_operator.reconcile.network import Networks
from tracking_operator.reconcile.observe import Observed, findings_of, observe
from tracking_operator.reconcile.own_stores import OwnStores
from tracking_operator.reconcile.ownership import owner_check, prunable
from tracking_operator.reconcile.plan import (
    Plan,
    ReconcileSettings,
    make_plan,
    model_of_what_runs,
    spec_finding,
)
from tracking_operator.reconcile.postgres_servers import PostgresServers
from tracking_operator.reconcile.report import Report
from tracking_operator.reconcile.status import announce, status_of, write_status
from tracking_operator.reconcile.steps import Steps
from tracking_operator.reconcile.surroundings import surroundings_of
from tracking_operator.reconcile.teardown import needs_cleanup
from tracking_operator.reconcile.volumes import keep_existing_claims
from tracking_operator.resources import build_objects
from tracking_operator.resources.server import ExternalBackend, S3Artifacts, ServerModel

logger = logging.getLogger(__name__)

TEARDOWN_RETRY_SECONDS = 5.0


class ServerReconciler:
    """Brings one tracking server at a time to what its owner wants."""

    def __init__(
        self,
        *,
        kube: KubeClient,
        cache: ObjectCache,
        events: EventRecorder,
        settings: ReconcileSettings,
        postgres: PostgresServers,
        buckets: Buckets,
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
        self._networks = Networks(kube, cache, self._credentials, now)
        self._stores = OwnStores(
            kube,
            cache,
            self._credentials,
            postgres=postgres,
            buckets=buckets,
            cluster_name=settings.cluster_name,
            now=now,
        )
        self._addresses = AddressBook(cache, settings.cluster_name)
        self._gateway_api = gateway_api
        self._asking = Asking(kube, cache, mlflow, gateway_api, now)
        self._cleanup = Cleanup(kube, cache, settings, self._stores.left_behind(events, self._networks))

    async def reconcile(self, namespace: str, name: str, *, resync: bool) -> Outcome:
        """Reconcile one server. Raises ApiError where nothing can go on without an answer."""
        live = self._cache.get(TRACKING_SERVER, namespace, name)
        if live is None:
            return await self._clean_up_after(namespace, name)
        try:
            resource = TrackingServer.model_validate(live)
        except ValidationError as error:
            # The CRD lets nothing through that does not parse: an older operator reads a newer resource.
            logger.error("%s cannot be read by this version of the operator: %s", describe(live), error)
            return Outcome()
        if resource.metadata.is_being_deleted:
            return await self._tear_down(live, resource)
        return await self._bring_about(live, resource, resync=resync)

    async def _bring_about(self, live: KubeObject, resource: TrackingServer, *, resync: bool) -> Outcome:
        report = Report()
        try:
            plan = self._plan(resource)
        except Failure as failure:
            report.add_failure(failure, ConditionType.SPEC_VALID)
            if failure.reason is Reason.CONFLICT:
                report.retry_after.append(ADDRESS_RETRY_SECONDS)
            return await self._report_on_what_runs(live, resource, report)
        live = await self._record(live, resource, plan)
        if plan.news:
            self._events.record(live, "Normal", Reason.ADDRESS_CHANGING.value, plan.news)
        report.add(spec_finding(plan))
        # Looked at once: one that ends while PostgreSQL is asked is compared with what PostgreSQL says the next time.
        migration = live_migration(self._children(plan.model), plan.model)
        database = await self._stores.database(resource, plan, migration, report, fresh=resync)
        prefix = await self._stores.prefix(resource, plan, report, fresh=resync)
        credentials = await self._asking.logins.credentials(plan.model, resource.asked_rotation, report)
        server = await self._with_credentials(plan.model, report, fresh=resync)
        gate = await self._schema_gate(resource, server or plan.model, database, migration, report)
        check = await self._artifact_check(resource, server, prefix, report)
        if server is not None:
            await self._apply(server, Steps(gate, prefix, check, credentials), report)
        observed = self._observe(server or plan.model, database, gate, check)
        asks = LoginWanted(credentials, resource.asked_rotation)
        observed = await self._ask(server or plan.model, observed, asks, report, fresh=resync)
        return await self._report(
            live, resource, plan.decision, server or plan.model, observed=observed, report=report
        )

    def _plan(self, resource: TrackingServer) -> Plan:
        """Decide, and claim the address. Raises Failure: the specification cannot be carried out."""
        try:
            plan = make_plan(resource, surroundings_of(resource, self._cache), self._settings)
        except Failure:
            self._addresses.withdraw(resource.metadata.uid)
            raise
        self._addresses.claim(resource, plan.model)
        return plan

    async def _record(self, live: KubeObject, resource: TrackingServer, plan: Plan) -> KubeObject:
        """Write down what was decided, and that there is something to clean up, before anything is created."""
        decision = plan.decision.to_annotation()
        cleanup = needs_cleanup(resource, plan.decision, plan.chosen.spec)
        # By meaning: what is only written in other words could be somebody's correction that a write of ours would undo.
        is_recorded = decision_in(resource.metadata.annotations.get(RESOLVED_ANNOTATION)) == plan.decision
        if is_recorded and cleanup == (FINALIZER in resource.metadata.finalizers):
            return live
        return await self._apply_metadata(resource, decision, finalizers=[FINALIZER] if cleanup else [])

    async def _apply_metadata(
        self, resource: TrackingServer, decision: str | None, *, finalizers: list[str]
    ) -> KubeObject:
        metadata: KubeObject = {
            "name": resource.metadata.name,
            "namespace": resource.metadata.namespace,
            "uid": resource.metadata.uid,  # so that a successor of the same name is not touched
            "finalizers": finalizers,
        }
        if decision is not None:
            metadata["annotations"] = {RESOLVED_ANNOTATION: decision}
        answer = await self._kube.apply(
            {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
        )
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
        if check.look_again is not None:
            report.retry_after.append(check.look_again)
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
        self, server: ServerModel, report: Report, *, fresh: bool
    ) -> ServerModel | None:
        """The model with the digest of the Secrets that its pods mount, and with where these pods have to connect to.

        While a Secret is missing, a running server keeps the digest that it has, so that everything else can
        still be changed (to suspend it, say); a new one has to wait: None.
        """
        digest, failures = await self._credentials.digest(server, fresh=fresh)
        for type_, failure in failures:
            report.add_failure(failure, type_)
        deployment = self._cache.get(DEPLOYMENT, server.namespace, server.names.workload)
        if failures and deployment is None:
            return None
        known = replace(server, credentials_digest=deployed_digest(deployment) if failures else digest)
        return await self._networks.with_destinations(known, fresh=fresh)

    async def _apply(self, server: ServerModel, steps: Steps, report: Report) -> None:
        """Make the live objects what they should be; whatever cannot be is a finding."""
        deployment = self._cache.get(DEPLOYMENT, server.namespace, server.names.workload)
        server = without_needless_host(server, deployment)
        desired = keep_existing_claims(build_objects(server), lambda name: self._claim(server, name))
        changeable = [
            obj
            for obj in desired
            if self._is_known_kind(obj) and not self._networks.leaves_alone(obj, server)
        ]
        now = [obj for obj in changeable if steps.let_through(obj, server, deployment)]
        now += steps.objects(server)
        applied = await apply_all(self._kube, self._cache, now, owner=owner_check(server))
        for written in applied.written:
            logger.info("Wrote %s %s because %s.", written.kind, written.name, written.why)
        report.add_applied(applied, server)
        pruned = await prune(self._kube, self._cache, prunable(self._children(server), server), desired)
        for deleted in pruned.deleted:
            logger.info("Deleted %s %s because %s.", deleted.kind, deleted.name, deleted.why)
        for obj, error in pruned.failures:
            report.add_failure(failure_from(error, f"delete {describe(obj)}"), ConditionType.WORKLOAD_READY)

    def _is_known_kind(self, obj: KubeObject) -> bool:
        return self._gateway_api.is_served or kind_of(obj) != HTTP_ROUTE

    async def _ask(
        self, server: ServerModel, observed: Observed, wanted: LoginWanted, report: Report, *, fresh: bool
    ) -> Observed:
        exposed = await self._asking.ask(server, observed, wanted, fresh=fresh)
        if exposed and exposed.look_again is not None:
            report.retry_after.append(exposed.look_again)
        return replace(observed, exposed=exposed)

    def _claim(self, server: ServerModel, name: str) -> KubeObject | None:
        return self._cache.get(PERSISTENT_VOLUME_CLAIM, server.namespace, name)

    async def _report(
        self,
        live: KubeObject,
        resource: TrackingServer,
        decision: Decision,
        server: ServerModel,
        *,
        observed: Observed,
        report: Report,
    ) -> Outcome:
        report.add_missing(findings_of(server, observed, _earlier(resource, server)))
        status = status_of(
            resource,
            self._conditions(resource, report.findings, server),
            decision,
            server,
            observed,
        )
        return await self._finish(live, resource, status, report)

    async def _report_on_what_runs(
        self, live: KubeObject, resource: TrackingServer, report: Report
    ) -> Outcome:
        """Say why the specification is refused; what runs goes on running, and is still reported on."""
        server = _model_of_what_runs(resource, self._settings, self._cache)
        if server is None:
            types = (
                ConditionType.BACKEND_STORE_READY,
                ConditionType.ARTIFACT_STORE_READY,
                ConditionType.SCHEMA_READY,
                ConditionType.WORKLOAD_READY,
                ConditionType.EXPOSED,
            )
            report.add_missing(not_looked_at(type_, "a valid specification") for type_ in types)
        else:
            report.add_missing(findings_of(server, self._observe(server), _earlier(resource, server)))
        status = resource.status.updated(
            observed_generation=resource.metadata.generation,
            conditions=self._conditions(resource, report.findings, server),
        )
        return await self._finish(live, resource, status, report)

    async def _finish(
        self, live: KubeObject, resource: TrackingServer, status: TrackingServerStatus, report: Report
    ) -> Outcome:
        ready = find_condition(status.conditions, ConditionType.READY)
        announce(self._events, live, resource.status.conditions, report.findings, ready)
        await write_status(self._kube, self._cache, live, status.as_kubernetes())
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
        self, resource: TrackingServer, findings: Sequence[Finding], server: ServerModel | None
    ) -> tuple[Condition, ...]:
        url = server.url if server else ""
        return merge_conditions(
            resource.status.conditions,
            summarise(findings, f"MLflow answers at {url}."),
            observed_generation=resource.metadata.generation,
            now=self._now(),
        )

    async def _tear_down(self, live: KubeObject, resource: TrackingServer) -> Outcome:
        """Delete the data if that is wanted, then let the resource go."""
        if FINALIZER not in resource.metadata.finalizers:
            return Outcome()
        if unfinished := await self._cleanup.clean_up(live, resource):
            return await self._report_deletion(live, resource, unfinished)
        decision = resource.metadata.annotations.get(RESOLVED_ANNOTATION)
        await self._apply_metadata(resource, decision, finalizers=[])
        self._forget(resource.metadata.uid)
        logger.info("Let %s go.", describe(live))
        return Outcome()

    async def _clean_up_after(self, namespace: str, name: str) -> Outcome:
        """Do what the finalizer was for, if the API server has removed a server in spite of it."""
        gone = self._cache.cut_short(TRACKING_SERVER, namespace, name)
        if gone is None:
            return Outcome()
        if unfinished := await self._cleanup.clean_up(gone, TrackingServer.model_validate(gone)):
            logger.warning("%s is gone, and its data not yet: %s", describe(gone), unfinished.message)
            return Outcome(failed=True, reason=unfinished.reason.value)
        self._forget(uid_of(gone) or "")
        self._cache.note_cleaned_up(gone)
        logger.info("Cleaned up after %s, which was deleted while it was begun.", describe(gone))
        return Outcome()

    def _forget(self, uid: str) -> None:
        self._stores.forget(uid)
        self._addresses.forget(uid)
        self._asking.forget(uid)

    async def _report_deletion(self, live: KubeObject, resource: TrackingServer, finding: Finding) -> Outcome:
        """Say what the deletion waits for; every volume that goes brings the server up again."""
        report = Report(findings=[finding], retry_after=[TEARDOWN_RETRY_SECONDS])
        conditions = self._conditions(resource, report.findings, None)
        status = resource.status.updated(
            observed_generation=resource.metadata.generation, conditions=conditions
        )
        return await self._finish(live, resource, status, report)


def _model_of_what_runs(
    resource: TrackingServer, settings: ReconcileSettings, cache: ObjectCache
) -> ServerModel | None:
    deployment = cache.get(DEPLOYMENT, resource.metadata.namespace, resource.metadata.name)
    replicas = (deployment or {}).get("spec", {}).get("replicas", 0)
    try:
        return model_of_what_runs(resource, settings, replicas)
    except Invalid:
        return None


def _earlier(resource: TrackingServer, server: ServerModel) -> Callable[[ConditionType], Condition | None]:
    """What was found out before; about the schema only if that was for the version which is wanted now."""

    def condition(type_: ConditionType) -> Condition | None:
        if type_ is ConditionType.SCHEMA_READY and resource.status.version != server.version:
            return None
        return find_condition(resource.status.conditions, type_)

    return condition
