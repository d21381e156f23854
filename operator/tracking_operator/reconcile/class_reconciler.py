"""The loop of the TrackingServerClass: can servers be made from it, and does its PostgreSQL answer?"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from tracking_operator import naming
from tracking_operator.api.conditions import ConditionType, Reason, merge_conditions
from tracking_operator.api.tracking_server_class import (
    PostgresOffer,
    TrackingServerClass,
    TrackingServerClassStatus,
)
from tracking_operator.failures import Failure
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import describe, uid_of
from tracking_operator.mark import Mark
from tracking_operator.reconcile.classes import ChosenClass
from tracking_operator.reconcile.decide import named_database, named_host, named_path
from tracking_operator.reconcile.findings import Finding, Verdict, finding_from, summarise
from tracking_operator.reconcile.keys import Outcome
from tracking_operator.reconcile.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.reconcile.plan import ReconcileSettings
from tracking_operator.reconcile.postgres_servers import Access, PostgresServers
from tracking_operator.reconcile.status import write_status

logger = logging.getLogger(__name__)

PROBE_SECONDS: Final = 4.0
"""How often a class's PostgreSQL is asked whether it is well; servers learn from that, and ask nothing themselves."""

EXAMPLE = naming.TemplateValues(
    namespace="team-a", name="mlflow", class_name="example", cluster_name="example", namespace_labels={}
)
"""What templates are tried on; a template that needs a label of the namespace is only tried in earnest."""


class ClassReconciler:
    """Reports whether a class can be used."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        postgres: PostgresServers,
        settings: ReconcileSettings,
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._postgres = postgres
        self._settings = settings
        self._now = now

    async def reconcile(self, name: str, *, resync: bool) -> Outcome:
        """Check one class and write its status; a PostgreSQL is looked at again and again."""
        live = self._cache.get(TRACKING_SERVER_CLASS, None, name)
        if live is None:
            self._postgres.forget(name)
            return Outcome()
        try:
            resource = TrackingServerClass.model_validate(live)
        except ValidationError as error:
            logger.error("%s cannot be read by this version of the operator: %s", describe(live), error)
            return Outcome()
        findings = [class_finding(resource)]
        if offer := resource.spec.postgres:
            findings.append(await self._postgres_finding(resource, offer, resync=resync))
        else:
            self._postgres.forget(name)
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
        return Outcome(retry_after=PROBE_SECONDS if resource.spec.postgres else None)

    async def _postgres_finding(
        self, resource: TrackingServerClass, offer: PostgresOffer, *, resync: bool
    ) -> Finding:
        type_ = ConditionType.BACKEND_STORE_READY
        earlier = resource.status.condition(type_)
        was_well = earlier is not None and earlier.is_true
        is_new = resource.status.observed_generation != resource.metadata.generation
        try:
            access = await self._postgres.verify(resource.metadata.name, offer, fresh=resync or is_new)
            left = self._postgres.left_behind(resource.metadata.name)
            if resync or is_new or not was_well or left:
                gone = left - {uid_of(live) for live in self._cache.list(TRACKING_SERVER)}
                await self._take_logins_of_the_dead(access)
                self._postgres.settle(resource.metadata.name, gone)
        except Failure as failure:
            return finding_from(failure, type_)
        # That the message names the admin is how servers hear of another one: they look when the class changes.
        usable = f"PostgreSQL at {access.server} can be used by {access.admin.username}."
        message = " ".join((usable, *access.remarks))
        return Finding(type_, Verdict.OK, Reason.AS_EXPECTED, message)

    async def _take_logins_of_the_dead(self, access: Access) -> None:
        """Take the logins away whose server is gone, as after a deletion while PostgreSQL was down."""
        logins = await self._postgres.logins(access, self._settings.cluster_name)
        dead = tuple(login for login in logins if self._is_dead(login.mark))
        if dead:
            logger.info(
                "Took the logins %s away: their servers are gone.", ", ".join(one.role for one in dead)
            )
            await self._postgres.take_logins(access, dead)

    def _is_dead(self, mark: Mark) -> bool:
        """Whether a mark names a server that would be seen if it lived."""
        served = self._settings.namespaces
        is_seen = not served or mark.namespace in served
        return is_seen and self._cache.get(TRACKING_SERVER, mark.namespace, mark.name) is None


def class_finding(resource: TrackingServerClass) -> Finding:
    """Whether the class's templates yield usable names."""
    type_ = ConditionType.SPEC_VALID
    chosen = ChosenClass(resource.metadata.name, resource.spec)
    templates = resource.spec.naming
    uses_labels = any(
        "namespaceLabels" in (template or "")
        for template in (templates.database, templates.host, templates.path)
    )
    try:
        if not uses_labels:
            for name in (named_database, named_host, named_path):
                name(chosen, EXAMPLE)
    except Failure as failure:
        return finding_from(failure, type_)
    return Finding(type_, Verdict.OK, Reason.AS_EXPECTED, "The class's templates and versions can be used.")
