"""What is done where MLflow knows none of the admin's passwords: a Job gives the admin the one of the Secret.

That happens where the Secret was lost or replaced while no operator knew what it held, or where somebody has changed the password
in MLflow. Where the operator sends no requests it is the only way (unprobed.py). The Secret is the record (decision 0017). In a
database of somebody else's nobody's password is changed: a person is told.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict, problem
from tracking_operator.controllers.server.children.jobs import LiveJob, live_job
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.controllers.server.children.ownership import owner_check
from tracking_operator.controllers.server.children.refused_pods import with_refusal
from tracking_operator.controllers.server.children.telling import telling_children
from tracking_operator.controllers.server.children.tools import ensure_tools, failures_of_tools, stranded_job
from tracking_operator.kube.apply import apply_all
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError, failure_from
from tracking_operator.kube.objects import (
    JOB,
    KubeObject,
    describe,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from tracking_operator.resources.pod.login_reset_job import RESET_CONTAINER, build_login_reset_job
from tracking_operator.resources.server_model import ServerModel

TYPE: Final = ConditionType.EXPOSED
SECONDS_UNTIL_ANOTHER_JOB: Final = 60.0
"""How long a Job that has ended is left before it is made anew, if MLflow still refuses the admin."""


def may_reset(server: ServerModel) -> bool:
    """Whether the database is the server's own, and its admin with it."""
    return server.backend_store.is_managed or bool(server.backend_store.claims())


@dataclass(frozen=True)
class _Decision:
    """What is to become of the Job."""

    is_to_be_made: bool = False
    obsolete: KubeObject | None = None


class LoginReset:
    """Sees to the Job that resets the login of a server."""

    def __init__(self, kube: KubeClient, cache: ObjectCache) -> None:
        self._kube = kube
        self._cache = cache
        self._secrets = ManagedSecrets(kube, cache)

    async def ensure(self, server: ServerModel, now: datetime) -> ConditionResult:
        """Have the Job run for the Secret as it is; return how that is getting on. Raises Failure."""
        live, _ = await self._see_to_it(server, now, SECONDS_UNTIL_ANOTHER_JOB)
        return _result(server, live)

    async def prepare(self, server: ServerModel, now: datetime) -> ConditionResult | None:
        """Have the Job succeed once for the Secret as it is, where nobody asks MLflow; None once it has. Raises Failure."""
        live, decision = await self._see_to_it(server, now, None)
        if live is not None and live.is_done and decision.obsolete is None:
            return None
        return _preparation(server, live)

    async def _see_to_it(
        self, server: ServerModel, now: datetime, again_after: float | None
    ) -> tuple[LiveJob | None, "_Decision"]:
        """Make the Job, or make it anew; ``again_after`` so many seconds one that succeeded is made anew, too."""
        secret = await self._secrets.read(server, server.names.auth)
        job = build_login_reset_job(server, resource_version_of(secret) if secret else 0)
        children = telling_children(server, self._cache)
        live = live_job(children, server, server.names.reset_login, RESET_CONTAINER)
        decision = _decide(server, live, job, now, again_after)
        try:
            obsolete = decision.obsolete or await stranded_job(self._kube, self._cache, live, server)
            if obsolete is not None:
                await self._kube.delete(JOB, namespace_of(obsolete), name_of(obsolete), uid=uid_of(obsolete))
        except ApiError as error:
            raise failure_from(error, f"make Job {server.names.reset_login} anew") from error
        if decision.is_to_be_made:
            await self._make(server, job)
        heard = await with_refusal(self._kube, live, now)
        return heard.job, decision

    async def _make(self, server: ServerModel, job: KubeObject) -> None:
        for failure in failures_of_tools(await ensure_tools(self._kube, self._cache, server.namespace)):
            raise failure
        applied = await apply_all(self._kube, self._cache, [job], owner=owner_check(server))
        for obj, error in applied.failures:
            raise failure_from(error, f"write {describe(obj)}") from error


def _decide(
    server: ServerModel, live: LiveJob | None, job: KubeObject, now: datetime, again_after: float | None
) -> _Decision:
    if live is None:
        return _Decision(is_to_be_made=True)
    is_of_another_secret = not live.is_running and live.differs_from(job, server)
    has_failed_long_ago = live.seconds_since_failure(now) >= SECONDS_UNTIL_ANOTHER_JOB
    has_helped_long_ago = again_after is not None and live.seconds_since_end(now) >= again_after
    if is_of_another_secret or has_failed_long_ago or has_helped_long_ago:
        return _Decision(obsolete=live.job)
    return _Decision()


def _preparation(server: ServerModel, live: LiveJob | None) -> ConditionResult:
    job = server.names.reset_login
    if live and (trouble := live.trouble(TYPE)):
        return trouble
    message = f"Job {job} gives MLflow's users the passwords of Secret {server.names.auth}."
    if live and live.has_failed:
        message = f"{message} It failed, and is made anew in a minute: read the log of its pods."
    return ConditionResult(TYPE, Verdict.WORKING, Reason.PENDING, message)


def _result(server: ServerModel, live: LiveJob | None) -> ConditionResult:
    secret, job = server.names.auth, server.names.reset_login
    message = (
        f"MLflow refuses the password of the admin in Secret {secret}, which was lost or replaced, or somebody has changed it in "
        f"MLflow. Job {job} gives MLflow the Secret's, within a minute."
    )
    trouble = live.trouble(TYPE) if live else None
    if trouble:
        message = f"{message} {trouble.message}"
    elif live and live.has_failed:
        said = live.result.message if live.result and live.result.message else "read the log of its pods."
        message = f"{message} It failed, and is made anew: {said}"
    return problem(TYPE, Reason.LOGIN_REFUSED, message)
