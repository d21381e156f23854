"""The loop of the TrackingServerClass: can servers be made from it?"""

import logging
from collections.abc import Callable
from datetime import datetime

from pydantic import ValidationError

from tracking_operator import naming
from tracking_operator.api.conditions import ConditionType, Reason, merge_conditions
from tracking_operator.api.tracking_server_class import TrackingServerClass, TrackingServerClassStatus
from tracking_operator.failures import Failure
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import describe
from tracking_operator.reconcile.classes import ChosenClass
from tracking_operator.reconcile.decide import named_database, named_host, named_path
from tracking_operator.reconcile.findings import Finding, Verdict, finding_from, summarise
from tracking_operator.reconcile.keys import Outcome
from tracking_operator.reconcile.kinds import TRACKING_SERVER_CLASS
from tracking_operator.reconcile.status import write_status

logger = logging.getLogger(__name__)

EXAMPLE = naming.TemplateValues(
    namespace="team-a", name="mlflow", class_name="example", cluster_name="example", namespace_labels={}
)
"""What templates are tried on; a template that needs a label of the namespace is only tried in earnest."""


class ClassReconciler:
    """Reports whether a class can be used."""

    def __init__(self, kube: KubeClient, cache: ObjectCache, now: Callable[[], datetime]) -> None:
        self._kube = kube
        self._cache = cache
        self._now = now

    async def reconcile(self, name: str) -> Outcome:
        """Check one class and write its status."""
        live = self._cache.get(TRACKING_SERVER_CLASS, None, name)
        if live is None:
            return Outcome()
        try:
            resource = TrackingServerClass.model_validate(live)
        except ValidationError as error:
            logger.error("%s cannot be read by this version of the operator: %s", describe(live), error)
            return Outcome()
        conditions = merge_conditions(
            resource.status.conditions,
            summarise([class_finding(resource)], f"Class {name!r} can be used."),
            observed_generation=resource.metadata.generation,
            now=self._now(),
        )
        status = TrackingServerClassStatus(
            observed_generation=resource.metadata.generation, conditions=conditions
        )
        await write_status(self._kube, self._cache, live, status.as_kubernetes())
        return Outcome()


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
