"""Whether a server's prefix in the bucket does what it should: tried out by a Job, with the server's own identity. Pure.

The operator cannot try a pod's identity from outside. So a short Job puts, lists, gets and deletes an object under
the prefix, and finds out that it may do none of that outside. It runs again when the place or the identity changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.tracking_server import TrackingServerStatus
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict, problem
from tracking_operator.controllers.server.children.jobs import LiveJob, live_job
from tracking_operator.controllers.server.children.pods import CheckResult
from tracking_operator.controllers.server.managed_stores.states import ArtifactState
from tracking_operator.kube.apply import digest
from tracking_operator.kube.objects import KubeObject
from tracking_operator.outcomes import OUTCOMES, Blamed
from tracking_operator.resources.pod.artifact_jobs import build_artifact_check_job
from tracking_operator.resources.pod.server_pod import CHECK_ARTIFACTS_CONTAINER
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.interface import ArtifactStore

TYPE: Final = ConditionType.ARTIFACT_STORE_READY
SECONDS_UNTIL_ANOTHER_TRY: Final = 15.0
"""How long a Job that has given up is left before it is made anew."""
SECONDS_UNTIL_A_PERSON_HAS_ACTED: Final = 60.0
"""The same after what the platform team has to put right. A Job of other keys or another place goes at once."""


@dataclass(frozen=True)
class ArtifactCheck:
    """How the check stands, and what has to happen for it to go on."""

    condition_result: ConditionResult
    checked: str | None = None
    """The digest of what the check has succeeded for."""
    job: KubeObject | None = None
    """The Job that has to exist."""
    obsolete_job: KubeObject | None = None
    """A Job that has to go, so that it can be made anew."""
    requeue_after: float | None = None
    """In how many seconds it is worth another try."""


def live_check(children: Sequence[KubeObject], server: ServerModel) -> LiveJob | None:
    """Find the server's Job, and what its pods tell."""
    return live_job(children, server, server.names.check_artifacts, CHECK_ARTIFACTS_CONTAINER)


def digest_of_check(server: ServerModel, store: ArtifactStore) -> str:
    """What changes whenever the check has to be made again: the place, and as whom the pods go there."""
    known = store.tried_out()
    what = {
        "place": list(known.place),
        "identity": [server.credentials_digest, known.identity, server.service_account_annotations],
    }
    return digest(what)


def artifact_check(
    server: ServerModel,
    store: ArtifactStore,
    *,
    status: TrackingServerStatus,
    state: ArtifactState,
    live: LiveJob | None,
    now: datetime,
) -> ArtifactCheck:
    """Decide how the check stands."""
    well = state.result(store.evidence().place)
    wanted = digest_of_check(server, store)
    was_tried_out = status.artifact_store is not None and status.artifact_store.checked == wanted
    if was_tried_out or not store.pod_parts().check_job_arguments:
        return ArtifactCheck(_as_remarked_before(well, status), checked=wanted)
    job = build_artifact_check_job(server)
    if live is None:
        return ArtifactCheck(_under_way(server, store), job=job)
    if live.differs_from(job, server) and not live.is_running:
        return ArtifactCheck(_under_way(server, store), obsolete_job=live.job)
    if live.is_done:
        return ArtifactCheck(_with_remark(well, live.result), checked=wanted)
    if live.has_failed:
        return _failed_check(live, now)
    return ArtifactCheck(_progress(server, store, live))


def _failed_check(live: LiveJob, now: datetime) -> ArtifactCheck:
    result = live.result
    if result is None or result.reason is None:
        message = f"Job {live.name} failed without saying why: read the log of its pods, and delete it to have it run again."
        return ArtifactCheck(problem(TYPE, Reason.CHECK_FAILED, message))
    if OUTCOMES[result.reason].passes:
        condition_result = problem(TYPE, result.reason, result.message)
        remaining = _pause_after(result.reason) - live.seconds_since_failure(now)
        if remaining > 0:
            return ArtifactCheck(condition_result, requeue_after=remaining)
        return ArtifactCheck(condition_result, obsolete_job=live.job)
    message = f"{result.message} To try again, delete Job {live.name}."
    reason = Reason.CHECK_FAILED if result.reason is Reason.CRASH_LOOPING else result.reason
    return ArtifactCheck(problem(TYPE, reason, message))


def _pause_after(reason: Reason) -> float:
    is_of_the_platform = OUTCOMES[reason].blames is Blamed.PLATFORM
    return SECONDS_UNTIL_A_PERSON_HAS_ACTED if is_of_the_platform else SECONDS_UNTIL_ANOTHER_TRY


def _progress(server: ServerModel, store: ArtifactStore, live: LiveJob) -> ConditionResult:
    return live.trouble(TYPE) or _under_way(server, store)


def _under_way(server: ServerModel, store: ArtifactStore) -> ConditionResult:
    message = f"Job {server.names.check_artifacts} tries out {store.evidence().place} with the server's own identity."
    return ConditionResult(TYPE, Verdict.WORKING, Reason.PROGRESSING, message)


def _with_remark(well: ConditionResult, result: CheckResult | None) -> ConditionResult:
    if result is None or result.remark is None:
        return well
    return ConditionResult(TYPE, Verdict.OK, result.remark, f"{well.message} {result.message}")


def _as_remarked_before(well: ConditionResult, status: TrackingServerStatus) -> ConditionResult:
    """What the check found worth saying counts for as long as its success does."""
    earlier = status.condition(TYPE)
    reaches_beyond = Reason.REACHES_BEYOND_PREFIX
    if earlier is None or not earlier.is_true or earlier.reason != reaches_beyond.value:
        return well
    return ConditionResult(TYPE, Verdict.OK, reaches_beyond, earlier.message)


def is_in_use(store: ArtifactStore, deployment: KubeObject | None) -> bool:
    """Whether the pods that a Deployment has now keep their artifacts in this very place."""
    template = ((deployment or {}).get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or ()
    arguments = [argument for container in containers for argument in container.get("args") or ()]
    variables = [variable for container in containers for variable in container.get("env") or ()]
    parts = store.pod_parts()
    return any(str(argument).endswith(f"={parts.place}") for argument in arguments) and all(
        {one.get("value") for one in variables if one["name"] == name} == ({value} if value else set())
        for name, value in parts.place_variables.items()
    )
