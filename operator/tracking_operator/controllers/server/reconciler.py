"""The loop of the TrackingServer: plan, record, ensure the stores, apply, observe, report, in this order."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from pydantic import ValidationError

from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.controllers.server.children.pending_volumes import pending_volumes
from tracking_operator.controllers.server.children.telling import telling_children
from tracking_operator.controllers.server.clients.memory import ClientsMemory
from tracking_operator.controllers.server.context import ReconcileContext, ServerMemories
from tracking_operator.controllers.server.database.encryption import ServerWithKeys
from tracking_operator.controllers.server.database.schema_gate import live_migration
from tracking_operator.controllers.server.plan import ReconcileSettings
from tracking_operator.controllers.server.planning import Unplanned
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.status import report_unreadable
from tracking_operator.controllers.server.steps import Steps, wired
from tracking_operator.controllers.server.workload.condition_results import Observed, observe
from tracking_operator.controllers.server_class.postgres_admin import PostgresAdmin
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import KubeObject, KubeObjects
from tracking_operator.mlflow.client import MlflowApi
from tracking_operator.resources.server_model import ServerModel


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
        s3_admin: S3Admin,
        mlflow: MlflowApi,
        gateway_api: GatewayApi,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._events = events
        self._settings = settings
        self._now = now
        self._memories = ServerMemories(cache)
        self._steps: Steps = wired(
            kube=kube,
            cache=cache,
            events=events,
            settings=settings,
            postgres=postgres,
            s3_admin=s3_admin,
            mlflow=mlflow,
            gateway_api=gateway_api,
            memories=self._memories,
            now=now,
        )

    async def reconcile(self, namespace: str, name: str, *, resync: bool) -> Outcome:
        """Reconcile one server. Raises ApiError where nothing can go on without an answer."""
        if not name:
            return await self._steps.deletion.collect_tools(namespace)
        if not self._settings.watches_secrets:
            await ManagedSecrets(self._kube, self._cache).look_up(namespace, name)
        live = self._cache.get(TRACKING_SERVER, namespace, name)
        if live is None:
            return await self._steps.deletion.finalize_removed(namespace, name)
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
        context = self._context(live, resource, resync=resync)
        if resource.metadata.is_being_deleted:
            return await self._steps.deletion.finalize(context)
        return await self._reconcile(context)

    def clients_of(self, namespace: str, name: str, uid: str) -> ClientsMemory | None:
        """How clients get into this very server; None until it was looked at."""
        known = self._memories.known(namespace, name, uid)
        return known.clients if known else None

    def _context(self, live: KubeObject, resource: TrackingServer, *, resync: bool) -> ReconcileContext:
        memory = self._memories.of(resource.metadata)
        if resync:
            memory.invalidate()
        return ReconcileContext(live, resource, memory, self._now(), is_resync=resync)

    async def _reconcile(self, context: ReconcileContext) -> Outcome:
        """The steps, one after the other; each finds what later ones need, and what a condition says."""
        steps, report = self._steps, Report()
        plan = report.take(await steps.planning.plan(context))
        if isinstance(plan, Unplanned):
            context.clients = report.take(await steps.clients.end_withdrawn(context))
            return await steps.reporting.report_unplanned(context, report, plan)
        context.plan = report.take(await steps.sleep.rest(context, plan))
        await steps.records.place(context)
        # Looked at once: one that ends while PostgreSQL is asked is compared with what PostgreSQL says the next time.
        context.migration = live_migration(self._children(context.plan.model), context.plan.model)

        context.backend_state = report.take(await steps.stores.ensure_backend_store(context))
        context.artifact_state = report.take(await steps.stores.ensure_artifact_store(context))
        report.take(await steps.encryption.ensure(_with_keys(context)))
        context.passwords = report.take(await steps.passwords.ensure(context))
        await steps.records.note_revoked_stores(context)

        context.model = report.take(await steps.model.complete(context))
        context.gate = report.take(await steps.gates.schema(context))
        context.artifact_check = report.take(await steps.gates.artifacts(context))
        report.take(await steps.apply.apply(context))

        observed = await self._with_pending_volumes(context, self._observe(context), report)
        exposed = report.take(await steps.exposure.probe(context, observed))
        context.observed = replace(observed, exposed=exposed)
        await steps.records.note_revoked_login(context)
        context.clients = report.take(await steps.clients.ensure(context, context.observed))
        context.usage = report.take(steps.usage.look(context))
        context.maintenance = report.take(await steps.garbage.look(context))
        backups = await steps.backups.ensure(context)
        context.backups, context.beside = backups.status, backups.condition
        report.look_again(backups.requeue_after)
        return await steps.reporting.report(context, report)

    def _observe(self, context: ReconcileContext) -> Observed:
        found = context.backend_state, context.gate, context.artifact_check
        return observe(self._children(context.model), context.model, *found)

    async def _with_pending_volumes(
        self, context: ReconcileContext, observed: Observed, report: Report
    ) -> Observed:
        """What was observed, and why volumes are not there that should be by now."""
        found = await pending_volumes(self._kube, context.model, observed.claims, observed.pods, context.now)
        report.look_again(found.look_again)
        return replace(observed, pending_volumes=found.why) if found.why else observed

    def _children(self, server: ServerModel) -> KubeObjects:
        return telling_children(server, self._cache)


def _with_keys(context: ReconcileContext) -> ServerWithKeys:
    has_served = context.resource.status.schema_revision is not None
    named = context.resource.spec.bootstrap.from_backup
    return ServerWithKeys(
        context.plan.model, context.memory.encryption, has_served, named.name if named else None, context.now
    )
