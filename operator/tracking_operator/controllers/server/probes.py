"""Asks a server as its clients do, once there is a pod to answer: its route, then its login, then a request."""

from collections.abc import Callable
from datetime import datetime

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import result_from
from tracking_operator.controllers.gateway_api import GatewayApi
from tracking_operator.controllers.server.exposure.answer import Exposed, Exposure, target_of
from tracking_operator.controllers.server.exposure.routes import Routes
from tracking_operator.controllers.server.login.logins import Logins, LoginWanted
from tracking_operator.controllers.server.workload.condition_results import Observed, serves
from tracking_operator.failures import UNWATCHED_RETRY_SECONDS, Failure, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.mlflow.client import MlflowApi
from tracking_operator.resources.server_model import ServerModel


class Probes:
    """Finds out whether clients get through, and keeps the users of servers with a login as they should be."""

    def __init__(
        self,
        kube: KubeClient,
        cache: ObjectCache,
        mlflow: MlflowApi,
        gateway_api: GatewayApi,
        now: Callable[[], datetime],
    ) -> None:
        self._cache = cache
        self._routes = Routes(kube, gateway_api)
        self._exposure = Exposure(mlflow)
        self.logins = Logins(kube, cache, mlflow, now)

    async def ask(
        self, server: ServerModel, observed: Observed, wanted: LoginWanted, *, fresh: bool
    ) -> Exposed | None:
        """What clients meet, and when to ask again; None while no pod serves."""
        if observed.deployment is None or not serves(server, observed):
            self._exposure.evict(server.uid)
            return None
        children = self._cache.children(server.namespace, server.name)
        if missing := await self._routes.look(server, children, fresh=fresh):
            return Exposed(missing, requeue_after=UNWATCHED_RETRY_SECONDS)
        try:
            login = await self.logins.look(
                server, target_of(server), observed.deployment, wanted, fresh=fresh
            )
        except Failure as failure:
            return _not_asked(failure)
        exposed = await self._exposure.look(server, observed.deployment, login=login, fresh=fresh)
        if exposed.condition_result and exposed.condition_result.reason is Reason.LOGIN_REFUSED:
            self.logins.invalidate(server.uid)
        return exposed

    def evict(self, uid: str) -> None:
        """Drop what is known of a server that is gone."""
        self._routes.evict(uid)
        self._exposure.evict(uid)
        self.logins.evict(uid)


def _not_asked(failure: Failure) -> Exposed:
    """Without a login nothing can be asked; one that is on its way (Pending) is no condition result yet."""
    is_known = failure.reason is not Reason.PENDING
    return Exposed(
        result_from(failure, ConditionType.EXPOSED) if is_known else None,
        requeue_after=failure.retry_after if isinstance(failure, Waiting) else None,
    )
