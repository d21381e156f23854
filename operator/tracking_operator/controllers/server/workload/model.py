"""The step that completes a server's model, once before anything is made from it: what Secrets, Services and pods tell."""

from contextlib import suppress
from dataclasses import replace
from typing import Final

from tracking_operator.api.conditions import Condition, ConditionType, reason_of
from tracking_operator.controllers.conditions.condition_result import PROBLEMS, verdict_on
from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.server.address.change import without_needless_host
from tracking_operator.controllers.server.children.mounted_secrets import Credentials, deployed_digest
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.revocation import rolled_for
from tracking_operator.failures import SECRET_RETRY_SECONDS
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import DEPLOYMENT
from tracking_operator.resources.server_model import ServerModel

LOOKS_AT_SECRETS: Final = 15
MOST_SECONDS_BETWEEN_LOOKS: Final = 60.0
STORES: Final = (ConditionType.BACKEND_STORE_READY, ConditionType.ARTIFACT_STORE_READY)


class ModelStep:
    """Adds to a planned model the digest of what its pods mount, where they connect to, and which host they need no more."""

    def __init__(self, cache: ObjectCache, credentials: Credentials, networks: Networks) -> None:
        self._cache = cache
        self._credentials = credentials
        self._networks = networks

    async def complete(self, context: ReconcileContext) -> StepResult[ServerModel]:
        """The model of what is applied and reported on.

        While a Secret is missing, a running server keeps the digest that it has, so that everything else can still be
        changed (to suspend it, say); a new one has to wait.
        """
        server, report, secrets = context.plan.model, Report(), context.memory.secrets
        failing = _failing_stores(context)
        secrets.invalidate_for(failing)
        digest, failures = await self._credentials.digest(
            server, secrets, revocation=rolled_for(context.resource)
        )
        for type_, failure in failures:
            report.add_failure(failure, type_)
        if hints := secrets.hints(failing):
            report.hints.update(hints)
            report.look_again(_pause(context, failing))
        deployment = self._cache.get(DEPLOYMENT, server.namespace, server.names.workload)
        if failures and deployment is None:
            context.may_apply = False
            return report.as_result(server)
        known = replace(
            server,
            credentials_digest=deployed_digest(deployment) if failures else digest,
            destinations=await self._networks.destinations(server, secrets, fresh=context.is_resync),
        )
        return report.as_result(without_needless_host(known, deployment))


def _failing_stores(context: ReconcileContext) -> set[ConditionType]:
    """The conditions of stores of which something was wrong at the last look, and not only on its way."""
    return {type_ for type_ in STORES if _is_problem(context.resource.status.condition(type_))}


def _pause(context: ReconcileContext, failing: set[ConditionType]) -> float:
    """When to read Secrets again: a store that has failed for long is mended by no Secret, and many servers may wait for it."""
    found = [context.resource.status.condition(type_) for type_ in failing]
    began = max((one.last_transition_time for one in found if one), default=context.now)
    waited = (context.now - began).total_seconds()
    return min(max(SECRET_RETRY_SECONDS, waited / LOOKS_AT_SECRETS), MOST_SECONDS_BETWEEN_LOOKS)


def _is_problem(condition: Condition | None) -> bool:
    if condition is None or condition.is_true:
        return False
    with suppress(KeyError):  # a word of another release
        return verdict_on(reason_of(condition.reason)) in PROBLEMS
    return False
