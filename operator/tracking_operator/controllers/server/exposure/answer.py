"""Whether clients get an answer at a server's address: found out by a request as they send it.

A probe's 200 tells little: MLflow's /health answers whatever Host header comes, and without the database.
"""

import asyncio
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.controllers.conditions.condition_result import ConditionResult, Verdict
from tracking_operator.kube.objects import KubeObject, uid_of
from tracking_operator.mlflow.client import Answer, Login, MlflowApi, Target
from tracking_operator.resources.server_model import ServerModel

PATIENCE_SECONDS: Final = 0.5
"""How long one look waits for an answer; a later one takes it up, so that servers that hang keep nobody waiting."""
OPEN_TO_ALL: Final = " Nobody has to log in: whoever reaches the address can read and write."

FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 30.0
PASSING_STATUSES: Final = (None, HTTPStatus.UNAUTHORIZED)
"""What passes by itself: whoever leads requests to a new pod, or enforces NetworkPolicies, hears of it a moment after it is
ready; and a user whom somebody has deleted is made again."""
HARMLESS_REFUSALS: Final = 3
"""How often in a row that is no news."""


@dataclass(frozen=True)
class Exposed:
    """What became of the request, and when to ask again."""

    condition_result: ConditionResult | None
    """None while there is no answer yet."""
    requeue_after: float | None = None
    """In seconds; None: when something changes."""
    is_blip: bool = False
    """Whether it is a refusal as one meets them for a moment, and no news yet."""


@dataclass(frozen=True)
class Question:
    """A request, and the pods that it was for: while they are the same, so is the answer."""

    target: Target
    login: Login | None
    pods: tuple[object, ...]


@dataclass
class _Asked:
    question: Question
    request: "asyncio.Task[Answer]"
    failures: int = 0


@dataclass
class AnswerMemory:
    """What is remembered of how one server answers."""

    asked: _Asked | None = None
    is_stale: bool = False
    """Whether it is to be asked again although nothing has changed."""

    def invalidate(self) -> None:
        """Have it asked again."""
        self.is_stale = True

    def evict(self) -> None:
        """Drop all of it: the server is gone, or has no pods to ask."""
        if self.asked:
            self.asked.request.cancel()
        self.asked, self.is_stale = None, False


class Exposure:
    """Asks servers for an answer of their API: once after each change, and again until there is one."""

    def __init__(self, api: MlflowApi) -> None:
        self._api = api

    async def look(
        self,
        server: ServerModel,
        deployment: KubeObject,
        memory: AnswerMemory,
        *,
        login: Login | None = None,
    ) -> Exposed:
        """How the server answers, as ``memory`` knows, or asked anew."""
        question = Question(target_of(server), login, _identity_of_pods(deployment))
        asked = self._asked_for(question, memory)
        await asyncio.wait({asked.request}, timeout=PATIENCE_SECONDS)
        if not asked.request.done():
            return Exposed(None, FIRST_RETRY_SECONDS)
        answer = asked.request.result()
        if answer.is_ok:
            asked.failures = 0
            return Exposed(exposed_result(server, answer))
        asked.failures += 1
        is_blip = answer.status in PASSING_STATUSES and asked.failures <= HARMLESS_REFUSALS
        condition_result = early_result(server, answer) if is_blip else exposed_result(server, answer)
        pause = min(FIRST_RETRY_SECONDS * 2 ** (asked.failures - 1), LONGEST_RETRY_SECONDS)
        return Exposed(condition_result, pause, is_blip)

    def _asked_for(self, question: Question, memory: AnswerMemory) -> _Asked:
        """The request to look at: the last one if it still counts, or a new one."""
        asked = memory.asked
        is_same = asked is not None and asked.question == question
        if asked is not None and is_same and not asked.request.done():
            memory.is_stale = False
            return asked
        if asked is not None and is_same and not memory.is_stale and asked.request.result().is_ok:
            return asked
        if asked is not None:
            asked.request.cancel()
        request = asyncio.create_task(self._api.answer(question.target, question.login))
        memory.asked = _Asked(question, request, asked.failures if asked and is_same else 0)
        memory.is_stale = False
        return memory.asked


def target_of(server: ServerModel) -> Target:
    """Where the operator asks a server: at its Service, as clients who come from outside do."""
    return Target(server.service_url, server.address.host_header, server.namespace)


def exposed_result(server: ServerModel, answer: Answer) -> ConditionResult:
    """What an answer of the API says about the server's address. Pure."""
    if answer.is_ok:
        return _reachable(server)
    reason, message = _refusal(server, answer)
    return ConditionResult(ConditionType.EXPOSED, Verdict.FAILING, reason, message)


def early_result(server: ServerModel, answer: Answer) -> ConditionResult:
    """What a refusal says that may pass by itself: nobody has to look at anything yet. Pure."""
    if answer.status is None:
        message = f"Waiting for the Service's first answer at {_asked_at(server)}: {answer.problem}."
        return ConditionResult(ConditionType.EXPOSED, Verdict.WORKING, Reason.PROGRESSING, message)
    return replace(exposed_result(server, answer), verdict=Verdict.WORKING)


def _reachable(server: ServerModel) -> ConditionResult:
    warning = "" if server.login else OPEN_TO_ALL
    if not server.address.url:
        message = f"Clients in the cluster reach the server at {server.service_url}.{warning}"
        return ConditionResult(ConditionType.EXPOSED, Verdict.OK, Reason.REACHABLE_IN_CLUSTER, message)
    message = f"The API answers requests for {server.address.host_header} through the Service.{warning}"
    return ConditionResult(ConditionType.EXPOSED, Verdict.OK, Reason.REACHABLE, message)


def _refusal(server: ServerModel, answer: Answer) -> tuple[Reason, str]:
    asked = _asked_at(server)
    match answer.status:
        case None:
            return Reason.NOT_REACHABLE, (
                f"The Service gives no answer at {asked}: {answer.problem}. If it stays so, look at NetworkPolicies "
                "that keep the operator out, and at the log of the server's pods."
            )
        case HTTPStatus.FORBIDDEN:
            return Reason.HOST_REFUSED, (
                f"MLflow refuses requests at {asked}: {answer.problem}. If it stays so, add what clients send to "
                "spec.access.allowedHosts."
            )
        case HTTPStatus.UNAUTHORIZED:
            return Reason.LOGIN_REFUSED, f"MLflow lets nobody in at {asked}: {answer.problem}."
        case HTTPStatus.NOT_FOUND:
            return Reason.PATH_NOT_FOUND, (
                f"There is no API at {asked}: {answer.problem}. The pods serve another path; if that does not pass, "
                "look at the image and at spec.podTemplate.env."
            )
        case status:
            return Reason.ANSWERS_WITH_ERROR, (
                f"The API answers {asked} with {status}: {answer.problem}. Look at the backend store and at the log of "
                "the server's pods; the operator goes on trying."
            )


def _asked_at(server: ServerModel) -> str:
    host = server.address.host_header
    return f"{server.service_url} (Host {host})" if host else server.service_url


def _identity_of_pods(deployment: KubeObject) -> tuple[object, ...]:
    status = deployment.get("status") or {}
    counts = (status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
    return (uid_of(deployment), deployment["metadata"].get("generation"), *counts)
