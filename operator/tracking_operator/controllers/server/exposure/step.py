"""The step that asks a server as its clients do, once there is a pod to answer: its route, its login, then a request."""

from dataclasses import replace
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import Verdict, result_from
from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.server.children.deployment import is_rolled_out
from tracking_operator.controllers.server.children.telling import telling_children
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.exposure.answer import Exposed, Exposure, target_of
from tracking_operator.controllers.server.exposure.routes import Routes
from tracking_operator.controllers.server.login.logins import AdminRefused, Logins, LoginWanted
from tracking_operator.controllers.server.login.reset import LoginReset, may_reset
from tracking_operator.controllers.server.login.unprobed import Unprobed
from tracking_operator.controllers.server.revocation import revocation_of_login
from tracking_operator.controllers.server.workload.condition_results import Observed, serves
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import KubeObject
from tracking_operator.mlflow.client import Login
from tracking_operator.resources.auth_secret import LoginCredentials

SECONDS_OF_THE_KUBELET: Final = 120.0
"""How long a Secret that has changed may take to reach the pods that mount it: the kubelet's period, and how long it believes what it
knows (https://kubernetes.io/docs/concepts/configuration/secret/, one minute each)."""


class ExposureStep:
    """Finds out whether clients get through, and keeps the users of servers with a login as they should be."""

    def __init__(
        self, cache: ObjectCache, routes: Routes, logins: Logins, reset: LoginReset, exposure: Exposure
    ) -> None:
        self._unprobed = Unprobed(logins, reset)
        self._cache = cache
        self._routes = routes
        self._logins = logins
        self._reset = reset
        self._exposure = exposure

    async def probe(self, context: ReconcileContext, observed: Observed) -> StepResult[Exposed | None]:
        """What clients meet; None while no pod serves."""
        server, deployment = context.model, observed.deployment
        if deployment is None or not serves(server, observed):
            context.memory.answer.evict()
            return StepResult(None)
        exposed = await self._probe(context, deployment)
        return StepResult(exposed, requeue_after=exposed.requeue_after)

    async def _probe(self, context: ReconcileContext, deployment: KubeObject) -> Exposed:
        server, memory = context.model, context.memory
        children = telling_children(server, self._cache)
        if missing := await self._routes.look(server, children, memory.route):
            return Exposed(missing, requeue_after=UNWATCHED_RETRY_SECONDS)
        if not server.is_probed:
            return await self._without_requests(context, deployment)
        try:
            login = await self._login(context, deployment)
        except AdminRefused as refused:
            return await self._locked_out(context, refused)
        except Failure as failure:
            return _not_asked(failure)
        exposed = await self._exposure.look(server, deployment, memory.answer, login=login)
        if server.single_sign_on is not None and context.passwords is not None:
            return self._signed_on(context, context.passwords, deployment, exposed)
        if exposed.condition_result and exposed.condition_result.reason is Reason.LOGIN_REFUSED:
            memory.login.invalidate()
        return exposed

    def _signed_on(
        self,
        context: ReconcileContext,
        passwords: LoginCredentials,
        deployment: KubeObject,
        exposed: Exposed,
    ) -> Exposed:
        """What an answer says of passwords that pods have as files: the kubelet brings them other ones, in a minute or so."""
        server, result = context.model, exposed.condition_result
        if result is None:
            return exposed
        if result.verdict is Verdict.OK and is_rolled_out(deployment, server.replicas):
            self._logins.take_for_right(target_of(server), passwords, context.memory.login)
        age = (context.now - passwords.rotated_at).total_seconds()
        if result.reason is Reason.LOGIN_REFUSED and age < SECONDS_OF_THE_KUBELET:
            message = "The pods take up the new passwords of the server's programs, for which they have two minutes."
            waiting = replace(result, verdict=Verdict.WORKING, message=message)
            return replace(exposed, condition_result=waiting, requeue_after=UNWATCHED_RETRY_SECONDS)
        return exposed

    async def _without_requests(self, context: ReconcileContext, deployment: KubeObject) -> Exposed:
        context.memory.answer.evict()
        try:
            return await self._unprobed.look(
                context.model, deployment, _wanted(context), context.memory.login, context.now
            )
        except Failure as failure:
            return _not_asked(failure)

    async def _locked_out(self, context: ReconcileContext, refused: AdminRefused) -> Exposed:
        """Have the admin let in again; by a person, where the database is somebody else's."""
        if not may_reset(context.model):
            return _not_asked(refused)
        try:
            result = await self._reset.ensure(context.model, context.now)
        except Failure as failure:
            return _not_asked(failure)
        return Exposed(result, requeue_after=UNWATCHED_RETRY_SECONDS)

    async def _login(self, context: ReconcileContext, deployment: KubeObject) -> Login | None:
        server, memory = context.model, context.memory.login
        return await self._logins.look(server, target_of(server), deployment, _wanted(context), memory)


def _wanted(context: ReconcileContext) -> LoginWanted:
    resource = context.resource
    return LoginWanted(context.passwords, resource.asked_rotation, revocation_of_login(resource))


def _not_asked(failure: Failure) -> Exposed:
    """Without a login nothing can be asked; one that is on its way (Pending) is no condition result yet."""
    is_known = failure.reason is not Reason.PENDING
    return Exposed(
        result_from(failure, ConditionType.EXPOSED) if is_known else None,
        requeue_after=failure.retry_after if isinstance(failure, Waiting) else None,
    )
