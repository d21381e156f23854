"""The control loop: look at the whole of one resource, put right what differs, say how it stands."""

import logging
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from tracking_operator.controllers.backup.reconciler import BackupReconciler
from tracking_operator.controllers.client.reconciler import ClientReconciler
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.request import Outcome, Request
from tracking_operator.controllers.server.children.mounted_secrets import Credentials
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.clients.users import ClientUsers
from tracking_operator.controllers.server.plan import ReconcileSettings
from tracking_operator.controllers.server.reconciler import ServerReconciler
from tracking_operator.controllers.server_class.postgres_admin import PostgresAdmin
from tracking_operator.controllers.server_class.reconciler import ClassReconciler
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.controllers.server_class.scratch_databases import ScratchDatabases
from tracking_operator.controllers.server_class.stored_backups import StoredBackups
from tracking_operator.failures import CONFLICT_RETRY_SECONDS
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.events import EventRecorder
from tracking_operator.mlflow.client import MlflowApi
from tracking_operator.stores.executor import StoreExecutor

logger = logging.getLogger(__name__)


class Reconciler:
    """Hands a key to the loop of its kind."""

    def __init__(
        self,
        *,
        kube: KubeClient,
        cache: ObjectCache,
        events: EventRecorder,
        settings: ReconcileSettings,
        executor: StoreExecutor,
        mlflow: MlflowApi,
        gateway_api: GatewayApi,
        now: Callable[[], datetime],
    ) -> None:
        postgres = PostgresAdmin(kube, cache, executor, settings.namespace)
        s3_admin = S3Admin(kube, cache, executor, settings.namespace)
        self._servers = ServerReconciler(
            kube=kube,
            cache=cache,
            events=events,
            settings=settings,
            postgres=postgres,
            s3_admin=s3_admin,
            mlflow=mlflow,
            gateway_api=gateway_api,
            now=now,
        )
        self._backups = BackupReconciler(
            kube,
            cache,
            events,
            stored=StoredBackups(cache, s3_admin),
            databases=ScratchDatabases(cache, postgres, settings.cluster_name),
            networks=Networks(kube, cache, Credentials(kube, cache), now),
            settings=settings,
            now=now,
        )
        self._clients = ClientReconciler(
            kube, cache, events, ClientUsers(mlflow), self._servers.clients_of, settings=settings, now=now
        )
        self._classes = ClassReconciler(
            kube, cache, postgres, s3_admin, gateway_api, settings=settings, now=now
        )

    async def reconcile(self, key: Request, *, resync: bool) -> Outcome:
        """Bring one resource to what its owner wants; ``resync`` verifies what is not watched, too."""
        try:
            if key.kind == "TrackingServerClass":
                return await self._classes.reconcile(key.name, resync=resync)
            if key.kind == "TrackingServerBackup":
                return await self._backups.reconcile(key.namespace, key.name)
            if key.kind == "TrackingServerClient":
                return await self._clients.reconcile(key.namespace, key.name, resync=resync)
            return await self._servers.reconcile(key.namespace, key.name, resync=resync)
        except ApiError as error:
            return _after(error, key)


def _after(error: ApiError, key: Request) -> Outcome:
    """When to look again after a call failed without which nothing can go on."""
    if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
        logger.info("%s %s was changed or deleted meanwhile: %s", key.kind, key.name, error.message)
        return Outcome(requeue_after=CONFLICT_RETRY_SECONDS)
    logger.warning("Could not finish with %s %s, trying again: %s", key.kind, key.name, error)
    return Outcome(failed=True)
