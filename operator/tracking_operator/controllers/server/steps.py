"""The steps of a reconcile, and what each is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.server.address.claims import AddressClaims
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.controllers.server.children.mounted_secrets import Credentials
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.children.tools import Tools
from tracking_operator.controllers.server.clients.step import ClientsStep
from tracking_operator.controllers.server.clients.users import ClientUsers
from tracking_operator.controllers.server.context import ServerMemories
from tracking_operator.controllers.server.database.encryption import Encryption
from tracking_operator.controllers.server.database.restore import Restores
from tracking_operator.controllers.server.deletion.finalize import Finalization
from tracking_operator.controllers.server.deletion.step import DeletionStep
from tracking_operator.controllers.server.exposure.answer import Exposure
from tracking_operator.controllers.server.exposure.routes import Routes
from tracking_operator.controllers.server.exposure.step import ExposureStep
from tracking_operator.controllers.server.garbage.step import GarbageStep
from tracking_operator.controllers.server.login.logins import Logins
from tracking_operator.controllers.server.login.reset import LoginReset
from tracking_operator.controllers.server.login.sign_on import SignOnSecrets
from tracking_operator.controllers.server.login.step import PasswordStep
from tracking_operator.controllers.server.maintenance.step import BackupStep
from tracking_operator.controllers.server.managed_stores.loop import ManagedStores
from tracking_operator.controllers.server.managed_stores.registry import StoreParts, stores_of
from tracking_operator.controllers.server.plan import ReconcileSettings
from tracking_operator.controllers.server.planning import Planning
from tracking_operator.controllers.server.records import ServerRecords
from tracking_operator.controllers.server.reporting import Reporting
from tracking_operator.controllers.server.sleep.idle import IdleLook
from tracking_operator.controllers.server.sleep.step import SleepStep
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server.usage.step import UsageStep
from tracking_operator.controllers.server.workload.apply import ApplyStep
from tracking_operator.controllers.server.workload.model import ModelStep
from tracking_operator.controllers.server.workload.pod_gates import PodGates
from tracking_operator.controllers.server_class.class_secrets import ClassSecrets
from tracking_operator.controllers.server_class.postgres_admin import PostgresAdmin
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.controllers.server_class.stored_backups import StoredBackups
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.mlflow.client import MlflowApi


@dataclass(frozen=True)
class Steps:
    """In the order in which a reconcile takes them."""

    planning: Planning
    sleep: SleepStep
    records: ServerRecords
    stores: ManagedStores
    encryption: Encryption
    passwords: PasswordStep
    model: ModelStep
    gates: PodGates
    apply: ApplyStep
    exposure: ExposureStep
    clients: ClientsStep
    usage: UsageStep
    garbage: GarbageStep
    backups: BackupStep
    reporting: Reporting
    deletion: DeletionStep


def wired(
    *,
    kube: KubeClient,
    cache: ObjectCache,
    events: EventRecorder,
    settings: ReconcileSettings,
    postgres: PostgresAdmin,
    s3_admin: S3Admin,
    mlflow: MlflowApi,
    gateway_api: GatewayApi,
    memories: ServerMemories,
    now: Callable[[], datetime],
) -> Steps:
    """Make the steps of one operator."""
    credentials = Credentials(kube, cache)
    networks = Networks(kube, cache, credentials, now)
    tools = Tools(kube, cache)
    parts = StoreParts(
        kube=kube,
        cache=cache,
        events=events,
        timings=settings.timings,
        postgres=postgres,
        s3_admin=s3_admin,
        marks=OwnerMarks(cache, settings.cluster_name),
        credentials=credentials,
        networks=networks,
        now=now,
    )
    stores = stores_of(parts)
    logins = Logins(kube, cache, mlflow, now)
    addresses = AddressClaims(
        cache, settings.cluster_name, memories.address_of, has_built_in_class=settings.has_built_in_class
    )
    finalization = Finalization(kube, cache, events, settings, stores)
    records = ServerRecords(kube, cache, events)
    reporting = Reporting(kube, cache, events, settings)
    return Steps(
        planning=Planning(cache, settings, addresses, stores),
        sleep=SleepStep(IdleLook(cache, mlflow), events),
        records=records,
        stores=stores,
        encryption=Encryption(kube, cache),
        passwords=PasswordStep(
            logins,
            SignOnSecrets(ManagedSecrets(kube, cache), ClassSecrets(kube, cache, settings.namespace)),
        ),
        model=ModelStep(cache, credentials, networks),
        gates=PodGates(kube, cache, tools, Restores(kube, cache, StoredBackups(cache, s3_admin))),
        apply=ApplyStep(kube, cache, networks, tools, gateway_api),
        exposure=ExposureStep(
            cache, Routes(kube, gateway_api), logins, LoginReset(kube, cache), Exposure(mlflow)
        ),
        clients=ClientsStep(cache, ClientUsers(mlflow)),
        garbage=GarbageStep(kube, cache, events),
        usage=UsageStep(stores, events, settings.timings, now),
        backups=BackupStep(kube, cache, events, settings.timings),
        reporting=reporting,
        deletion=DeletionStep(cache, memories, finalization, records, reporting, tools=tools),
    )
