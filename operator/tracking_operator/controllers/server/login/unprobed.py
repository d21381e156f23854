"""What stands in for requests where the class says ``access.probe: None``: a mesh, say, refuses the operator's plain HTTP.

Nobody asks the server anything then. Its users get their passwords in the store, by the Job that resets logins elsewhere
(login/reset.py): once for each version of the Secret, which is the record.
"""

from datetime import datetime

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.controllers.server.children.deployment import is_rolled_out
from tracking_operator.controllers.server.exposure.answer import OPEN_TO_ALL, Exposed, target_of
from tracking_operator.controllers.server.login.logins import LoginMemory, Logins, LoginWanted
from tracking_operator.controllers.server.login.reset import LoginReset, may_reset
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS
from tracking_operator.kube.objects import KubeObject
from tracking_operator.resources.pod.server_pod import asks_for_login
from tracking_operator.resources.server_model import ServerModel


class Unprobed:
    """Sees to the logins of servers that nobody asks."""

    def __init__(self, logins: Logins, reset: LoginReset) -> None:
        self._logins = logins
        self._reset = reset

    async def look(
        self,
        server: ServerModel,
        deployment: KubeObject,
        wanted: LoginWanted,
        memory: LoginMemory,
        now: datetime,
    ) -> Exposed:
        """How far it is. Raises Failure."""
        if server.single_sign_on is not None:
            if wanted.credentials is not None and is_rolled_out(deployment, server.replicas):
                self._logins.take_for_right(target_of(server), wanted.credentials, memory)
            return Exposed(unprobed_result(server))
        if wanted.credentials is None or not asks_for_login(deployment) or not may_reset(server):
            return Exposed(unprobed_result(server))
        passwords = await self._logins.settle_unasked(server, wanted.credentials, memory, wanted.rotation)
        under_way = await self._reset.prepare(server, now)
        if under_way is not None:
            return Exposed(under_way, requeue_after=UNWATCHED_RETRY_SECONDS)
        self._logins.take_for_right(target_of(server), passwords, memory)
        return Exposed(unprobed_result(server))


def unprobed_result(server: ServerModel) -> ConditionResult:
    """What is known without a request. Pure."""
    message = (
        f"Not asked: the class says access.probe: None. Clients in the cluster use {server.service_url}."
    )
    if server.login is None:
        message += OPEN_TO_ALL
    elif not may_reset(server):
        message += (
            " The database is external: passwords are those with which its users were made, and a person changes them in MLflow "
            f"and in Secret {server.names.auth}."
        )
    return ConditionResult(ConditionType.EXPOSED, Verdict.OK, Reason.NOT_PROBED, message)
