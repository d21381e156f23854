"""The step that sees to the passwords of a server with a login, before pods read them."""

from tracking_operator.api.conditions import ConditionType
from tracking_operator.controllers.conditions.step_result import StepResult, stopped_unwatched
from tracking_operator.controllers.server.context import ReconcileContext
from tracking_operator.controllers.server.login.logins import Logins
from tracking_operator.controllers.server.login.sign_on import SignOnSecrets
from tracking_operator.controllers.server.revocation import revocation_of_login
from tracking_operator.failures import Failure
from tracking_operator.resources.auth_secret import LoginCredentials


class PasswordStep:
    """Makes the Secrets with a server's passwords as they should be."""

    def __init__(self, logins: Logins, sign_on: SignOnSecrets) -> None:
        self._logins = logins
        self._sign_on = sign_on

    async def ensure(self, context: ReconcileContext) -> StepResult[LoginCredentials | None]:
        """The passwords; None without a login, and while the Secret cannot be had."""
        server, resource = context.plan.model, context.resource
        if server.login is None:
            context.memory.login.evict()
            return StepResult(None)
        revocation = revocation_of_login(resource)
        try:
            found = await self._logins.credentials(
                server, context.memory.login, resource.asked_rotation, revocation=revocation
            )
            if server.single_sign_on is not None:
                # The proxy knows passwords by its own file, so that nobody has to tell MLflow of other ones.
                found = await self._logins.settle_unasked(
                    server, found, context.memory.login, resource.asked_rotation
                )
                await self._sign_on.ensure(server, server.single_sign_on, found, fresh=context.is_resync)
        except Failure as failure:
            return stopped_unwatched(failure, ConditionType.EXPOSED)
        return StepResult(found)
