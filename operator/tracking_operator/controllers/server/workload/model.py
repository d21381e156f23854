"""The step that completes a server's model, once before anything is made from it: what Secrets, Services and pods tell."""

from dataclasses import replace

from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.server.address.change import without_needless_host
from tracking_operator.controllers.server.children.mounted_secrets import Credentials, deployed_digest
from tracking_operator.controllers.server.children.store_destinations import Networks
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.report import Report
from tracking_operator.controllers.server.revocation import rolled_for
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import DEPLOYMENT
from tracking_operator.resources.server_model import ServerModel


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
        digest, failures = await self._credentials.digest(
            server, secrets, revocation=rolled_for(context.resource)
        )
        for type_, failure in failures:
            report.add_failure(failure, type_)
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
