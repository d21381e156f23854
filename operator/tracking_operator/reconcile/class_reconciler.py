"""The loop of the TrackingServerClass: can servers be made from it, and do its PostgreSQL and its bucket answer?"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from pydantic import ValidationError

from tracking_operator import naming
from tracking_operator.api.conditions import ConditionType, Reason, merge_conditions
from tracking_operator.api.tracking_server_class import (
    S3Offer,
    TrackingServerClass,
    TrackingServerClassStatus,
)
from tracking_operator.artifact_store.desired import server_key
from tracking_operator.failures import Failure
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import describe, name_of, namespace_of, uid_of
from tracking_operator.mark import Mark
from tracking_operator.reconcile.access import require_usable_templates, words_of_access
from tracking_operator.reconcile.buckets import BucketAccess, Buckets
from tracking_operator.reconcile.classes import ChosenClass
from tracking_operator.reconcile.decide import named_database, named_host, named_path, named_prefix
from tracking_operator.reconcile.exposure_routes import ROUTE_RETRY_SECONDS
from tracking_operator.reconcile.findings import Finding, Verdict, finding_from, summarise
from tracking_operator.reconcile.gateway_api import GatewayApi
from tracking_operator.reconcile.keys import Outcome
from tracking_operator.reconcile.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.reconcile.offered_stores import OfferedStores
from tracking_operator.reconcile.plan import ReconcileSettings
from tracking_operator.reconcile.postgres_servers import Access as PostgresAccess
from tracking_operator.reconcile.postgres_servers import PostgresServers
from tracking_operator.reconcile.s3_identities import identity_of, named_role, named_secret
from tracking_operator.reconcile.status import write_status

Offer = TypeVar("Offer")
Access = TypeVar("Access")

logger = logging.getLogger(__name__)

PROBE_SECONDS: Final = 4.0
"""How often a class's stores are asked whether they are well; servers learn from that, and ask nothing themselves."""

EXAMPLE = naming.TemplateValues(
    namespace="team-a", name="mlflow", class_name="example", cluster_name="example", namespace_labels={}
)
EXAMPLE_HOST: Final = "mlflow.example.com"
"""What templates are tried on; a template that needs a label of the namespace is only tried in earnest."""


class ClassReconciler:
    """Reports whether a class can be used."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        postgres: PostgresServers,
        buckets: Buckets,
        gateway_api: GatewayApi,
        *,
        settings: ReconcileSettings,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._postgres = postgres
        self._buckets = buckets
        self._gateway_api = gateway_api
        self._settings = settings
        self._now = now

    async def reconcile(self, name: str, *, resync: bool) -> Outcome:
        """Check one class and write its status; its stores are looked at again and again."""
        live = self._cache.get(TRACKING_SERVER_CLASS, None, name)
        if live is None:
            self._postgres.forget(name)
            self._buckets.forget(name)
            return Outcome()
        try:
            resource = TrackingServerClass.model_validate(live)
        except ValidationError as error:
            logger.error("%s cannot be read by this version of the operator: %s", describe(live), error)
            return Outcome()
        is_led_to = resource.spec.access.gateway is None or self._gateway_api.ask_for()
        findings = [class_finding(resource) if is_led_to else _no_gateway_api(resource)]
        findings += await self._store_findings(resource, resync=resync)
        conditions = merge_conditions(
            resource.status.conditions,
            summarise(findings, f"Class {name!r} can be used."),
            observed_generation=resource.metadata.generation,
            now=self._now(),
        )
        status = TrackingServerClassStatus(
            observed_generation=resource.metadata.generation, conditions=conditions
        )
        await write_status(self._kube, self._cache, live, status.as_kubernetes())
        if resource.spec.postgres or resource.spec.s3:
            return Outcome(retry_after=PROBE_SECONDS)
        return Outcome(retry_after=None if is_led_to else ROUTE_RETRY_SECONDS)

    async def _store_findings(self, resource: TrackingServerClass, *, resync: bool) -> list[Finding]:
        """How the class's stores are; both are looked at together, so that one that hangs does not hide the other."""
        looks = []
        if postgres := resource.spec.postgres:
            looks.append(
                self._look(
                    resource,
                    self._postgres,
                    postgres,
                    ConditionType.BACKEND_STORE_READY,
                    tidy=self._take_logins_of_the_dead,
                    describe=_usable_postgres,
                    resync=resync,
                )
            )
        else:
            self._postgres.forget(resource.metadata.name)
        if s3 := resource.spec.s3:
            looks.append(
                self._look(
                    resource,
                    self._buckets,
                    s3,
                    ConditionType.ARTIFACT_STORE_READY,
                    tidy=partial(self._take_rights_of_the_dead, s3),
                    describe=_usable_bucket,
                    resync=resync,
                )
            )
        else:
            self._buckets.forget(resource.metadata.name)
        return list(await asyncio.gather(*looks))

    async def _look(
        self,
        resource: TrackingServerClass,
        stores: OfferedStores[Offer, Access],
        offer: Offer,
        type_: ConditionType,
        *,
        tidy: Callable[[Access], Awaitable[None]],
        describe: Callable[[Access], str],
        resync: bool,
    ) -> Finding:
        """Whether one store can be used; what the dead have left there is taken away when it could not be before."""
        name, earlier = resource.metadata.name, resource.status.condition(type_)
        was_well = earlier is not None and earlier.is_true
        is_new = resource.status.observed_generation != resource.metadata.generation
        try:
            access = await stores.verify(name, offer, fresh=resync or is_new)
            left = stores.left_behind(name)
            if resync or is_new or not was_well or left:
                gone = left - {uid_of(live) for live in self._cache.list(TRACKING_SERVER)}
                await tidy(access)
                stores.settle(name, gone)
        except Failure as failure:
            return finding_from(failure, type_)
        return Finding(type_, Verdict.OK, Reason.AS_EXPECTED, describe(access))

    async def _take_logins_of_the_dead(self, access: PostgresAccess) -> None:
        """Take the logins away whose server is gone, as after a deletion while PostgreSQL was down."""
        logins = await self._postgres.logins(access, self._settings.cluster_name)
        dead = tuple(login for login in logins if self._is_dead(login.mark))
        if dead:
            logger.info(
                "Took the logins %s away: their servers are gone.", ", ".join(one.role for one in dead)
            )
            await self._postgres.take_logins(access, dead)

    async def _take_rights_of_the_dead(self, offer: S3Offer, access: BucketAccess) -> None:
        """Take identities and statements away whose server is gone; they tell their server by a hash only."""
        if self._settings.namespaces:
            return  # a server that is not seen may live
        cluster, identity = self._settings.cluster_name, identity_of(offer, None)
        found = await self._buckets.servers_with_rights(access, identity, cluster)
        # Looked at afterwards: who had rights by then has been seen by then.
        alive = {
            server_key(Mark(cluster, namespace_of(live) or "", name_of(live)))
            for live in self._cache.list(TRACKING_SERVER)
        }
        dead = found - alive
        if dead and (taken := await self._buckets.take_rights(access, identity, cluster, dead)):
            logger.info("Took %s away: the servers are gone.", ", ".join(taken))

    def _is_dead(self, mark: Mark) -> bool:
        """Whether a mark names a server that would be seen if it lived."""
        served = self._settings.namespaces
        is_seen = not served or mark.namespace in served
        return is_seen and self._cache.get(TRACKING_SERVER, mark.namespace, mark.name) is None


def _usable_postgres(access: PostgresAccess) -> str:
    # That the message names the admin is how servers hear of another one: they look when the class changes.
    usable = f"PostgreSQL at {access.server} can be used by {access.admin.username}."
    return " ".join((usable, *access.remarks))


def _usable_bucket(access: BucketAccess) -> str:
    keys = access.admin.keys
    admin = f"access key {keys.access_key_id}" if keys else "the operator's own identity"
    return " ".join((f"Bucket {access.admin.bucket} can be used by {admin}.", *access.remarks))


def _no_gateway_api(resource: TrackingServerClass) -> Finding:
    return Finding(
        ConditionType.SPEC_VALID,
        Verdict.FAILING,
        Reason.GATEWAY_API_MISSING,
        f"Class {resource.metadata.name!r} has access.gateway, but the cluster does not know HTTPRoutes: install the Gateway API "
        "(version v1), or use access.ingress. The operator looks again by itself.",
    )


def class_finding(resource: TrackingServerClass) -> Finding:
    """Whether the class's templates yield usable names."""
    type_ = ConditionType.SPEC_VALID
    chosen = ChosenClass(resource.metadata.name, resource.spec)
    templates = resource.spec.naming
    uses_labels = any(
        "namespaceLabels" in (template or "")
        for template in (
            *(templates.database, templates.host, templates.path, templates.artifact_prefix),
            *words_of_access(chosen),
        )
    )
    try:
        if not uses_labels:
            for name in (named_database, named_host, named_path, named_prefix, named_role, named_secret):
                name(chosen, EXAMPLE)
            require_usable_templates(chosen, EXAMPLE, named_host(chosen, EXAMPLE) or EXAMPLE_HOST)
    except Failure as failure:
        return finding_from(failure, type_)
    return Finding(type_, Verdict.OK, Reason.AS_EXPECTED, "The class's templates and versions can be used.")
