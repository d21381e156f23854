"""How a server stands, read from the live objects: one condition result per condition. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tracking_operator.api.conditions import Condition, ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    Verdict,
    not_looked_at,
    problem,
)
from tracking_operator.controllers.server.artifacts.checks import ArtifactCheck
from tracking_operator.controllers.server.children.deployment import is_rolled_out
from tracking_operator.controllers.server.children.pods import (
    VERSION_LABEL,
    CheckResult,
    PodProblem,
    check_result,
    container_result,
    pod_problem,
    server_pods,
)
from tracking_operator.controllers.server.children.refused_pods import refusal_of_server
from tracking_operator.controllers.server.children.volumes import is_larger
from tracking_operator.controllers.server.database.schema_gate import Gate
from tracking_operator.controllers.server.exposure.answer import Exposed
from tracking_operator.controllers.server.managed_stores.states import BackendState
from tracking_operator.kube.objects import (
    DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    KubeObject,
    kind_of,
    name_of,
)
from tracking_operator.resources.pod.login_proxy import CHECK_PROVIDER_CONTAINER
from tracking_operator.resources.pod.server_pod import CHECK_ARTIFACTS_CONTAINER
from tracking_operator.resources.pod.start_time import cpu_limit, seconds_to_start
from tracking_operator.resources.server_model import ServerModel
from tracking_operator.resources.stores.interface import FoundBy, Store, Volume


@dataclass(frozen=True)
class Observed:
    """The live objects of one server, as the cache has them."""

    deployment: KubeObject | None
    claims: dict[str, KubeObject]
    pods: Sequence[KubeObject]
    check: CheckResult | None
    problem: PodProblem | None
    artifact_check: CheckResult | None = None
    """What the newest pod found when it tried an external artifact store out."""
    provider_check: CheckResult | None = None
    """What the newest pod found when it looked at the identity provider."""
    database: BackendState | None = None
    """The server's own database; None with another kind of store, and while PostgreSQL was not asked."""
    gate: Gate | None = None
    """Whether the schema fits; None where the pods themselves find out."""
    artifacts: ArtifactCheck | None = None
    """How the server's own prefix does; None with another kind of store, and while it could not be looked at."""
    pending_volumes: Mapping[str, str] = field(default_factory=dict)
    """Why claims are not bound that should be by now, by their names."""
    exposed: Exposed | None = None
    """How the server answered as clients ask it; None while it was not asked."""


def observe(
    children: Sequence[KubeObject],
    server: ServerModel,
    database: BackendState | None = None,
    gate: Gate | None = None,
    artifacts: ArtifactCheck | None = None,
) -> Observed:
    """Sort a server's live objects by what they tell."""
    pods = server_pods(children)
    deployments = (child for child in children if kind_of(child) == DEPLOYMENT)
    return Observed(
        deployment=next((one for one in deployments if name_of(one) == server.names.workload), None),
        claims={name_of(child): child for child in children if kind_of(child) == PERSISTENT_VOLUME_CLAIM},
        pods=pods,
        check=check_result(pods, server.version),
        problem=pod_problem(pods),
        artifact_check=container_result(pods, CHECK_ARTIFACTS_CONTAINER),
        provider_check=container_result(pods, CHECK_PROVIDER_CONTAINER),
        database=database,
        gate=gate,
        artifacts=artifacts,
    )


def condition_results_of(
    server: ServerModel, observed: Observed, earlier: Callable[[ConditionType], Condition | None]
) -> Iterator[ConditionResult]:
    """Read every condition that the live objects decide; ``earlier`` tells what was found out before."""
    yield backend_store_result(server, observed, earlier(ConditionType.BACKEND_STORE_READY))
    yield artifact_store_result(server, observed, earlier(ConditionType.ARTIFACT_STORE_READY))
    yield schema_result(server, observed, earlier(ConditionType.SCHEMA_READY))
    yield workload_result(server, observed)
    yield exposed_result(server, observed, earlier(ConditionType.EXPOSED))


def backend_store_result(
    server: ServerModel, observed: Observed, earlier: Condition | None
) -> ConditionResult:
    """Whether the database can be used."""
    type_ = ConditionType.BACKEND_STORE_READY
    check = observed.check
    for result in (observed.gate and observed.gate.result, check):
        if result and result.reason and result.is_of_the_store:
            return problem(type_, result.reason, result.message)
    evidence = server.backend_store.evidence()
    match evidence.found_by:
        case FoundBy.VOLUME_CLAIM:
            return _claims_result(type_, server.backend_store, server, observed)
        case FoundBy.STEP if observed.database:
            return observed.database.result(evidence.place)
        case FoundBy.POD if check or not server.replicas:
            return ConditionResult(type_, Verdict.OK, Reason.AS_EXPECTED, f"{evidence.place} is in use.")
    return _as_before(type_, earlier) or not_looked_at(type_, evidence.awaited)


def artifact_store_result(
    server: ServerModel, observed: Observed, earlier: Condition | None
) -> ConditionResult:
    """Whether artifacts have a place."""
    type_ = ConditionType.ARTIFACT_STORE_READY
    evidence = server.artifact_store.evidence()
    match evidence.found_by:
        case FoundBy.VOLUME_CLAIM:
            return _claims_result(type_, server.artifact_store, server, observed)
        case FoundBy.STEP if observed.artifacts:
            return observed.artifacts.condition_result
        case FoundBy.POD if observed.artifact_check:
            return _tried_out_result(evidence.place, observed.artifact_check)
    return _as_before(type_, earlier) or not_looked_at(type_, evidence.awaited)


def _tried_out_result(place: str, check: CheckResult) -> ConditionResult:
    """What the init container found: it puts, lists, gets and deletes an object before each start."""
    type_ = ConditionType.ARTIFACT_STORE_READY
    if check.reason is not None:
        return problem(type_, check.reason, check.message)
    message = f"Artifacts are under {place}."
    if check.remark is not None:
        return ConditionResult(type_, Verdict.OK, check.remark, f"{message} {check.message}")
    return ConditionResult(type_, Verdict.OK, Reason.AS_EXPECTED, message)


def _claims_result(
    type_: ConditionType, store: Store, server: ServerModel, observed: Observed
) -> ConditionResult:
    """Whether all volume claims of a store, which has one at least, are bound; if not, what is with the first that is not."""
    results = [volume_result(type_, volume, server, observed) for volume in store.claims()]
    return next((one for one in results if one.verdict is not Verdict.OK), results[0])


def volume_result(
    type_: ConditionType, volume: Volume, server: ServerModel, observed: Observed
) -> ConditionResult:
    """Whether a volume claim is bound."""
    claim = observed.claims.get(volume.claim)
    phase = ((claim or {}).get("status") or {}).get("phase", "Pending")
    if phase == "Bound":
        if too_large := _larger_than_asked(volume, claim):
            return ConditionResult(type_, Verdict.OK, Reason.VOLUME_CANNOT_SHRINK, too_large)
        return ConditionResult(
            type_, Verdict.OK, Reason.AS_EXPECTED, f"Volume claim {volume.claim} is bound."
        )
    if phase == "Lost":
        return ConditionResult(
            type_,
            Verdict.BLOCKED,
            Reason.VOLUME_LOST,
            f"The volume behind claim {volume.claim} is gone: restore it, or delete the claim to begin anew.",
        )
    if why := observed.pending_volumes.get(volume.claim):
        return ConditionResult(type_, Verdict.BLOCKED, Reason.VOLUME_PENDING, why)
    message = (
        f"Volume claim {volume.claim} is not bound yet."
        if server.replicas
        else f"Volume claim {volume.claim} will be bound when the first pod needs it."
    )
    return ConditionResult(
        type_, Verdict.WORKING, Reason.VOLUME_PENDING, message + _growth_to_come(volume, claim)
    )


def _growth_to_come(volume: Volume, claim: KubeObject | None) -> str:
    """What becomes of a larger size that a claim cannot have before it is bound."""
    size = _size(claim)
    if not size or not volume.size_is_asked or not is_larger(volume.size, size):
        return ""
    return f" It keeps {size} until then, and grows to {volume.size} after that."


def _larger_than_asked(volume: Volume, claim: KubeObject | None) -> str:
    """What is to be said of a volume that the class, or an earlier server, made larger than the team asks now."""
    size = _size(claim)
    if not size or not volume.size_is_asked or not is_larger(size, volume.size):
        return ""
    return (
        f"Volume claim {volume.claim} keeps its {size}, because volumes cannot shrink to the {volume.size} of {volume.field}: "
        f"set that to {size} or more, or remove it."
    )


def _size(claim: KubeObject | None) -> str | None:
    size = claim and ((claim.get("spec") or {}).get("resources") or {}).get("requests", {}).get("storage")
    return str(size) if size else None


def schema_result(server: ServerModel, observed: Observed, earlier: Condition | None) -> ConditionResult:
    """Whether the database schema is the one that this MLflow version expects."""
    type_ = ConditionType.SCHEMA_READY
    check, gate = observed.check, observed.gate
    if gate and (gate.condition_result.verdict is not Verdict.OK or check is None or check.is_of_the_store):
        return gate.condition_result
    if check is None:
        before = _as_before(type_, earlier) if server.needs_migration_job or not server.replicas else None
        return before or not_looked_at(type_, "a pod that checks the schema")
    if check.reason is None:
        return ConditionResult(type_, Verdict.OK, check.remark or Reason.AS_EXPECTED, check.message)
    if check.is_of_the_store:
        return not_looked_at(type_, "the backend store")
    return problem(type_, check.reason, check.message)


def _as_before(type_: ConditionType, condition: Condition | None) -> ConditionResult | None:
    """What was found before, where nothing speaks against it."""
    if condition is None or not condition.is_true:
        return None
    return ConditionResult(type_, Verdict.OK, Reason.AS_EXPECTED, condition.message)


def workload_result(server: ServerModel, observed: Observed) -> ConditionResult:
    """Whether all pods run what is asked for."""
    type_ = ConditionType.WORKLOAD_READY
    if observed.gate and not observed.gate.is_open and not is_current(observed, server):
        return not_looked_at(type_, "the schema")
    if observed.deployment is None:
        return not_looked_at(type_, "the Deployment to be created")
    if server.replicas == 0:
        return _at_rest(server, observed)
    if is_rolled_out(observed.deployment, server.replicas):
        message = f"{server.replicas} of {server.replicas} pods serve MLflow {server.version}."
        if server.access.next_address:
            message += f" The server is at {server.access.next_address} once the last pod has ended that answers only elsewhere."
            return ConditionResult(type_, Verdict.WORKING, Reason.ROLLOUT_IN_PROGRESS, message)
        return ConditionResult(type_, Verdict.OK, Reason.WORKLOAD_AVAILABLE, message)
    return _rollout_result(server, observed.deployment, observed)


def _rollout_result(server: ServerModel, deployment: KubeObject, observed: Observed) -> ConditionResult:
    """Why not all pods serve yet."""
    type_ = ConditionType.WORKLOAD_READY
    if words := words_of_refusal(deployment):
        refusal = refusal_of_server(words, is_surge=_is_surge(server, deployment))
        return problem(type_, refusal.reason, refusal.message)
    if observed.problem:
        return _pod_problem_result(server, observed.problem)
    if observed.check and observed.check.reason:
        return not_looked_at(type_, "the check of the backend store to succeed")
    if observed.artifact_check and observed.artifact_check.reason:
        return not_looked_at(type_, "the check of the artifact store to succeed")
    if observed.provider_check and observed.provider_check.reason:
        return problem(type_, observed.provider_check.reason, observed.provider_check.message)
    message = (
        f"{available_replicas(observed)} of {server.replicas} pods serve MLflow {server.version} so far."
    )
    if limit := cpu_limit(server):
        message += f" With spec.resources.limits.cpu {limit} a start may take {seconds_to_start(server) // 60} minutes."
    return ConditionResult(type_, Verdict.WORKING, Reason.ROLLOUT_IN_PROGRESS, message)


SECONDS_TO_END: Final = 60.0
"""What MLflow has to end, and the kubelet to notice. A probe that waits takes two seconds of its one; whoever was ended later had
answered."""


def _pod_problem_result(server: ServerModel, found: PodProblem) -> ConditionResult:
    limit, given = cpu_limit(server), seconds_to_start(server)
    was_starting = (
        found.ended_after is not None and given - 1 <= found.ended_after <= 2 * given + SECONDS_TO_END
    )
    if limit is None or not was_starting:
        return problem(ConditionType.WORKLOAD_READY, found.reason, found.message)
    message = (
        f"With spec.resources.limits.cpu {limit} MLflow did not answer within {given} s of its start, and "
        "was ended: raise or remove the limit."
    )
    return problem(ConditionType.WORKLOAD_READY, Reason.CPU_LIMIT_TOO_LOW, message)


def exposed_result(server: ServerModel, observed: Observed, earlier: Condition | None) -> ConditionResult:
    """Whether clients reach the server: one pod that serves is enough, as during a rolling update."""
    type_ = ConditionType.EXPOSED
    if not serves(server, observed):
        return not_looked_at(type_, "pods that serve")
    condition_result = observed.exposed.condition_result if observed.exposed else None
    if condition_result is None:
        return _as_before(type_, earlier) or not_looked_at(
            type_, f"an answer of the API at {server.service_url}"
        )
    if observed.exposed and observed.exposed.is_blip:
        return _as_before(type_, earlier) or condition_result
    if condition_result.verdict is Verdict.FAILING and not is_settled(server, observed):
        return replace(condition_result, verdict=Verdict.WORKING)
    return condition_result


EXPLAINED_BY_WORK: Final = frozenset(
    {
        Reason.PENDING,
        Reason.ROLLOUT_IN_PROGRESS,
        Reason.PATH_NOT_FOUND,
        Reason.HOST_REFUSED,
        Reason.LOGIN_REFUSED,
    }
)
"""What the request of the operator may meet while pods are replaced by some of another address or login."""


def answers(
    server: ServerModel, observed: Observed, exposed: Condition | None, ready: Condition | None
) -> bool:
    """Whether requests are answered, whatever else is under way; ``exposed`` and ``ready`` are what was said before.

    A server that was not Ready has to be asked first. Of one that was, a refusal which the replacement of pods explains is
    no news: others of its pods answer.
    """
    if not serves(server, observed):
        return False
    result = exposed_result(server, observed, exposed)
    if result.verdict is Verdict.OK:
        return True
    was_ready = ready is not None and ready.is_true
    return was_ready and result.verdict is Verdict.WORKING and result.reason in EXPLAINED_BY_WORK


def serves(server: ServerModel, observed: Observed) -> bool:
    """Whether there is a pod to ask."""
    return bool(server.replicas and available_replicas(observed))


def is_settled(server: ServerModel, observed: Observed) -> bool:
    """Whether all pods are those that are wanted, so that none of an earlier specification or address answers."""
    if server.access.next_address:
        return False
    return observed.deployment is not None and is_rolled_out(observed.deployment, server.replicas)


def is_current(observed: Observed, server: ServerModel) -> bool:
    """Whether the Deployment is of the version that is wanted."""
    metadata = ((observed.deployment or {}).get("spec") or {}).get("template", {}).get("metadata") or {}
    return bool((metadata.get("labels") or {}).get(VERSION_LABEL) == server.version)


def available_replicas(observed: Observed) -> int:
    """How many pods serve, of whatever template."""
    return int(((observed.deployment or {}).get("status") or {}).get("availableReplicas", 0))


def words_of_refusal(deployment: KubeObject) -> str | None:
    """Why the API server does not let the Deployment's pods be created."""
    for condition in (deployment.get("status") or {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return str(condition.get("message") or "no reason given")
    return None


def _is_surge(server: ServerModel, deployment: KubeObject) -> bool:
    """Whether the pod that is refused is one more than wanted, beside those that it is to replace."""
    present = int((deployment.get("status") or {}).get("replicas", 0))
    return server.surges and present >= server.replicas


def _at_rest(server: ServerModel, observed: Observed) -> ConditionResult:
    type_ = ConditionType.WORKLOAD_READY
    if observed.pods:
        message = f"{len(observed.pods)} pods are still stopping."
        return ConditionResult(type_, Verdict.AT_REST, Reason.SUSPENDED, message)
    message = (
        server.why_asleep
        or "No pods run because spec.suspend is true or spec.replicas is 0; all data is kept."
    )
    return ConditionResult(type_, Verdict.AT_REST, Reason.SUSPENDED, message)
