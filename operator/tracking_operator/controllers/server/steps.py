"""The steps of a reconcile, and what each is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.server.address.claims import AddressClaims
from tracking_operator.controllers.server.artifacts.prefixes import ArtifactPrefixes
from tracking_operator.controllers.server.artifacts.step import PrefixStep
from tracking_operator.controllers.server.children.mounted_secrets import Credentials
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.children.tools import Tools
from tracking_operator.controllers.server.context import ServerMemories
from tracking_operator.controllers.server.database.databases import Databases
from tracking_operator.controllers.server.database.encryption import Encryption
from tracking_operator.controllers.server.database.step import DatabaseStep
from tracking_operator.controllers.server.deletion.artifacts import ArtifactsFinalization
from tracking_operator.controllers.server.deletion.databases import DatabaseFinalization
from tracking_operator.controllers.server.deletion.finalize import Finalization
from tracking_operator.controllers.server.deletion.step import DeletionStep
from tracking_operator.controllers.server.exposure.answer import Exposure
from tracking_operator.controllers.server.exposure.routes import Routes
from tracking_operator.controllers.server.exposure.step import ExposureStep
from tracking_operator.controllers.server.login.logins import Logins
from tracking_operator.controllers.server.login.step import PasswordStep
from tracking_operator.controllers.server.plan import ReconcileSettings
from tracking_operator.controllers.server.planning import Planning
from tracking_operator.controllers.server.records import ServerRecords
from tracking_operator.controllers.server.reporting import Reporting
from tracking_operator.controllers.server.spec.owner_marks import OwnerMarks
from tracking_operator.controllers.server.workload.apply import ApplyStep
from tracking_operator.controllers.server.workload.model import ModelStep
from tracking_operator.controllers.server.workload.pod_gates import PodGates
from tracking_operator.controllers.server_class.postgres_admin import PostgresAdmin
from tracking_operator.controllers.server_class.s3_admin import S3Admin
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.events import EventRecorder
from tracking_operator.mlflow.client import MlflowApi


@dataclass(frozen=True)
class Steps:
    """In the order in which a reconcile takes them."""

    planning: Planning
    records: ServerRecords
    database: DatabaseStep
    prefix: PrefixStep
    encryption: Encryption
    passwords: PasswordStep
    model: ModelStep
    gates: PodGates
    apply: ApplyStep
    exposure: ExposureStep
    reporting: Reporting
    deletion: DeletionStep


def wired(
    *,
    kube: KubeClient,
    cache: ObjectCache,
    events: EventRecorder,
    settings: ReconcileSettings,
    postgres: PostgresAdmin,
    buckets: S3Admin,
    mlflow: MlflowApi,
    gateway_api: GatewayApi,
    memories: ServerMemories,
    now: Callable[[], datetime],
) -> Steps:
    """Make the steps of one operator."""
    marks = OwnerMarks(cache, settings.cluster_name)
    credentials = Credentials(kube, cache)
    networks = Networks(kube, cache, credentials, now)
    tools = Tools(kube, cache)
    databases = Databases(kube, cache, postgres, settings.timings, now)
    prefixes = ArtifactPrefixes(kube, cache, buckets, settings.timings, now)
    logins = Logins(kube, cache, mlflow, now)
    addresses = AddressClaims(
        cache, settings.cluster_name, memories.address_of, has_built_in_class=settings.has_built_in_class
    )
    finalized = (
        ArtifactsFinalization(
            kube, cache, prefixes, buckets, marks=marks, networks=networks, events=events, now=now
        ),
        DatabaseFinalization(databases, postgres, marks, events),
    )
    finalization = Finalization(kube, cache, events, settings, finalized)
    database = DatabaseStep(databases, postgres, marks)
    prefix = PrefixStep(cache, prefixes, buckets, marks, credentials)
    records = ServerRecords(kube, cache, events)
    reporting = Reporting(kube, cache, events, settings)
    return Steps(
        planning=Planning(cache, settings, addresses, database, prefix),
        records=records,
        database=database,
        prefix=prefix,
        encryption=Encryption(kube, cache),
        passwords=PasswordStep(logins),
        model=ModelStep(cache, credentials, networks),
        gates=PodGates(kube, cache, tools),
        apply=ApplyStep(kube, cache, networks, tools, gateway_api),
        exposure=ExposureStep(cache, Routes(kube, gateway_api), logins, Exposure(mlflow)),
        reporting=reporting,
        deletion=DeletionStep(cache, memories, finalization, records, reporting, tools=tools),
    )
