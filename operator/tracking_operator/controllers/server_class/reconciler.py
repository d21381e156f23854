"""The loop of the TrackingServerClass: can servers be made from it, and do its PostgreSQL and its bucket answer?"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from pydantic import ValidationError

from tracking_operator import naming
from tracking_operator.api.conditions import ConditionType, Reason, merge_conditions
from tracking_operator.api.tracking_server_class import (
    S3StoreSpec,
    TrackingServerClass,
    TrackingServerClassStatus,
)
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    Verdict,
    result_from,
    summarise,
)
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_BACKUP, TRACKING_SERVER_CLASS
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.address.desired import require_usable_templates, texts_of_access
from tracking_operator.controllers.server.plan import ReconcileSettings
from tracking_operator.controllers.server.spec.permissions import permitted_hosts
from tracking_operator.controllers.server.spec.placement import (
    named_database,
    named_host,
    named_path,
    named_prefix,
)
from tracking_operator.controllers.server.status import report_unreadable, write_status
from tracking_operator.controllers.server_class.class_of_server import (
    ChosenClass,
    default_version,
    offered_images,
    version_order,
)
from tracking_operator.controllers.server_class.postgres_admin import AdminConnection as PostgresAccess
from tracking_operator.controllers.server_class.postgres_admin import PostgresAdmin
from tracking_operator.controllers.server_class.s3_admin import BucketAccess, S3Admin
from tracking_operator.controllers.server_class.s3_identities import identity_of, named_role, named_secret
from tracking_operator.controllers.server_class.scratch_databases import scratch_owner
from tracking_operator.controllers.server_class.single_sign_on import offered_sign_on, templates_of
from tracking_operator.controllers.server_class.store_of_class import StoreOfClass
from tracking_operator.controllers.server_class.unique_templates import (
    ambiguous_prefix,
    require_unique_address,
    require_unique_client,
    require_unique_role,
    require_unique_secret,
)
from tracking_operator.controllers.server_class.way_in import WayIn
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import NAMESPACE, KubeObjects, name_of, namespace_of, uid_of
from tracking_operator.stores.ownership_mark import Mark, WrittenMark, namespace_digest, server_digest
from tracking_operator.stores.s3.tenant import server_key

ClassStore = TypeVar("ClassStore")
Connection = TypeVar("Connection")

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
        postgres: PostgresAdmin,
        s3_admin: S3Admin,
        gateway_api: GatewayApi,
        *,
        settings: ReconcileSettings,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._postgres = postgres
        self._s3_admin = s3_admin
        self._way_in = WayIn(kube, cache, gateway_api)
        self._settings = settings
        self._now = now

    async def reconcile(self, name: str, *, resync: bool) -> Outcome:
        """Check one class and write its status; its stores are looked at again and again."""
        live = self._cache.get(TRACKING_SERVER_CLASS, None, name)
        if live is None:
            self._postgres.evict(name)
            self._s3_admin.evict(name)
            self._way_in.evict(name)
            return Outcome()
        try:
            resource = TrackingServerClass.model_validate(live)
        except ValidationError as error:
            return await report_unreadable(self._kube, self._cache, live, error, now=self._now())
        way_in = await self._way_in.result(resource, fresh=resync)
        condition_results = [way_in or class_result(resource, self._settings.cluster_name)]
        condition_results += await self._store_results(resource, resync=resync)
        conditions = merge_conditions(
            resource.status.conditions,
            summarise(condition_results, f"Class {name!r} can be used."),
            observed_generation=resource.metadata.generation,
            now=self._now(),
        )
        offered = offered_images(resource.spec, self._settings.image_repository)
        status = TrackingServerClassStatus(
            observed_generation=resource.metadata.generation,
            conditions=conditions,
            versions=tuple(sorted(offered, key=version_order)),
            default_version=default_version(resource.spec, offered),
        )
        await write_status(self._kube, self._cache, live, status.as_kubernetes())
        if resource.spec.postgres or resource.spec.s3:
            return Outcome(requeue_after=PROBE_SECONDS)
        return Outcome(requeue_after=UNWATCHED_RETRY_SECONDS if way_in else None)

    async def _store_results(self, resource: TrackingServerClass, *, resync: bool) -> list[ConditionResult]:
        """How the class's stores are; both are looked at together, so that one that hangs does not hide the other."""
        looks = []
        if postgres := resource.spec.postgres:
            looks.append(
                self._look(
                    resource,
                    self._postgres,
                    postgres,
                    ConditionType.BACKEND_STORE_READY,
                    tidy=self._revoke_access_of_orphans,
                    describe=_usable_postgres,
                    resync=resync,
                )
            )
        else:
            self._postgres.evict(resource.metadata.name)
        if s3 := resource.spec.s3:
            looks.append(
                self._look(
                    resource,
                    self._s3_admin,
                    s3,
                    ConditionType.ARTIFACT_STORE_READY,
                    tidy=partial(self._revoke_rights_of_orphans, s3),
                    describe=_usable_bucket,
                    resync=resync,
                )
            )
        else:
            self._s3_admin.evict(resource.metadata.name)
        return list(await asyncio.gather(*looks))

    async def _look(
        self,
        resource: TrackingServerClass,
        stores: StoreOfClass[ClassStore, Connection],
        class_store: ClassStore,
        type_: ConditionType,
        *,
        tidy: Callable[[Connection], Awaitable[None]],
        describe: Callable[[Connection], str],
        resync: bool,
    ) -> ConditionResult:
        """Whether one store can be used; what orphaned servers have left there is taken away when it could not be before."""
        name, earlier = resource.metadata.name, resource.status.condition(type_)
        was_well = earlier is not None and earlier.is_true
        is_new = resource.status.observed_generation != resource.metadata.generation
        try:
            access = await stores.verify(name, class_store, fresh=resync or is_new)
        except Failure as failure:
            return result_from(failure, type_)
        left = stores.left_behind(name)
        if resync or is_new or not was_well or left:
            gone = left - {uid_of(live) for live in self._living()}
            try:
                await tidy(access)
                stores.settle(name, gone)
            except Failure as failure:
                # What one server has left says nothing about the store, which others use.
                logger.warning(
                    "What servers of class %s have left lets somebody in: %s", name, failure.message
                )
        return ConditionResult(type_, Verdict.OK, Reason.AS_EXPECTED, describe(access))

    async def _revoke_access_of_orphans(self, access: PostgresAccess) -> None:
        """Let nobody in any more whose server is gone, as after a deletion while PostgreSQL was down, and end what is open.

        What servers leave is found by its marks, so that nothing has to be remembered over a restart.
        """
        failure: Failure | None = None
        found = await self._postgres.access_of_cluster(access, self._settings.cluster_name)
        # Those that live are told apart at once. Of the others each is looked at again: a successor may have appeared meanwhile.
        alive = self._alive()
        for left in [one for one in found if self._is_orphaned(one.mark, alive)]:
            if not self._is_orphaned(left.mark, self._alive()):
                continue
            names = ", ".join((*left.databases, *left.logins))
            try:
                await self._postgres.take_access(access, left)
                logger.info("Ended the access by %s: the server is gone.", names)
            except Failure as one:
                failure = one  # the others are not to wait for this one
        if failure:
            raise failure

    async def _revoke_rights_of_orphans(self, class_store: S3StoreSpec, access: BucketAccess) -> None:
        """Take identities and statements away whose server is gone; they tell their server by a hash only."""
        if self._settings.namespaces:
            return  # a server that is not seen may live
        cluster, identity = self._settings.cluster_name, identity_of(class_store, None)
        found = await self._s3_admin.servers_with_rights(access, identity, cluster)
        # Looked at afterwards: who had rights by then has been seen by then.
        alive = {
            server_key(Mark(cluster, namespace_of(live) or "", name_of(live))) for live in self._living()
        }
        orphaned = found - alive
        if orphaned and (taken := await self._s3_admin.take_rights(access, identity, cluster, orphaned)):
            logger.info("Took %s away: the servers are gone.", ", ".join(taken))

    def _living(self) -> KubeObjects:
        """The servers that are there, but for those that are finalized and that somebody else's finalizer holds."""
        return [live for live in self._cache.list(TRACKING_SERVER) if not self._cache.is_finalized(live)]

    def _alive(self) -> dict[str, str]:
        """The servers that are there, by their digests, each with the UID of its namespace; empty if that is not known."""
        cluster, alive = self._settings.cluster_name, dict[str, str]()
        for live in self._living():
            namespace = namespace_of(live) or ""
            found = self._cache.get(NAMESPACE, None, namespace)
            alive[server_digest(cluster, namespace, name_of(live))] = (uid_of(found) or "") if found else ""
        return alive | self._trials()

    def _trials(self) -> dict[str, str]:
        """The backups that are being tried out, in the same way."""
        cluster, found = self._settings.cluster_name, dict[str, str]()
        for live in self._cache.list(TRACKING_SERVER_BACKUP):
            if (live.get("status") or {}).get("scratchDatabase"):
                namespace = namespace_of(live) or ""
                known = self._cache.get(NAMESPACE, None, namespace)
                owner = scratch_owner(name_of(live))
                found[server_digest(cluster, namespace, owner)] = (uid_of(known) or "") if known else ""
        return found

    def _is_orphaned(self, mark: WrittenMark, alive: Mapping[str, str]) -> bool:
        """Whether a mark names a server that would be seen if it lived."""
        cluster, served = self._settings.cluster_name, self._settings.namespaces
        if served and mark.namespace not in {namespace_digest(cluster, one) for one in served}:
            return False
        if mark.server not in alive:
            return True
        # A namespace that is not known yet is no reason to take anything away.
        namespace_uid = alive[mark.server]
        return "" not in (namespace_uid, mark.namespace_uid) and namespace_uid != mark.namespace_uid


def _usable_postgres(access: PostgresAccess) -> str:
    # That the message names the admin is how servers hear of another one: they look when the class changes.
    usable = f"PostgreSQL at {access.server} can be used by {access.admin.username}."
    return " ".join((usable, *access.remarks))


def _usable_bucket(access: BucketAccess) -> str:
    keys = access.admin.keys
    admin = f"access key {keys.access_key_id}" if keys else "the operator's own identity"
    return " ".join((f"Bucket {access.admin.bucket} can be used by {admin}.", *access.remarks))


def class_result(resource: TrackingServerClass, cluster_name: str = "example") -> ConditionResult:
    """Whether the class's templates yield usable names, and another one for each server."""
    type_ = ConditionType.SPEC_VALID
    chosen = ChosenClass(resource.metadata.name, resource.spec, is_the_readers=True)
    example = replace(EXAMPLE, class_name=chosen.name, cluster_name=cluster_name)
    templates, authentication = resource.spec.naming, resource.spec.access.authentication
    uses_labels = any(
        "namespaceLabels" in (template or "")
        for template in (
            *(templates.database, templates.host, templates.path, templates.artifact_prefix),
            *(resource.spec.permissions.hosts or ()),
            *texts_of_access(chosen),
            *templates_of(authentication.oidc if authentication else None),
        )
    )
    try:
        if not uses_labels:
            for name in (named_database, named_host, named_path, named_prefix, named_role, named_secret):
                name(chosen, example)
            permitted_hosts(chosen, example)
            offered_sign_on(chosen, example)
            require_usable_templates(chosen, example, named_host(chosen, example) or EXAMPLE_HOST)
        for require in (
            require_unique_address,
            require_unique_client,
            require_unique_role,
            require_unique_secret,
        ):
            require(chosen, example)
        ambiguous = ambiguous_prefix(chosen, example)
    except Failure as failure:
        return result_from(failure, type_)
    if ambiguous:
        return ConditionResult(type_, Verdict.OK, Reason.AMBIGUOUS_TEMPLATE, ambiguous)
    return ConditionResult(
        type_, Verdict.OK, Reason.AS_EXPECTED, "The class's templates and versions can be used."
    )
