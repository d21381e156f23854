"""When a server is asked as its clients ask it, and what its answer is called."""

import pytest

from tests.unit.controllers.live import deployment
from tests.unit.controllers.servers import NEVER, AnsweringServers
from tests.unit.examples import Manifest, model
from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.conditions.condition_result import Verdict
from tracking_operator.controllers.server.exposure.answer import (
    LONGEST_RETRY_SECONDS,
    AnswerMemory,
    Exposed,
    Exposure,
    exposed_result,
)
from tracking_operator.mlflow.client import Answer, Target
from tracking_operator.resources.server_model import ServerModel

AWAY = Answer(None, "connection refused")
WELL = Answer(200)


def a_server(host: str = "") -> ServerModel:
    return model({"access": {"host": host}} if host else {})


class World:
    """One server, and the operator that asks it."""

    def __init__(self, *answers: Answer) -> None:
        self.servers = AnsweringServers(*answers)
        self.exposure = Exposure(self.servers.as_client())
        self.memory = AnswerMemory()

    async def look(
        self, server: ServerModel | None = None, pods: Manifest | None = None, *, fresh: bool = False
    ) -> Exposed:
        if fresh:
            self.memory.invalidate()
        return await self.exposure.look(server or a_server(), pods or deployment(), self.memory)

    @property
    def requests(self) -> int:
        return len(self.servers.asked)


async def test_a_server_that_answers_is_asked_once() -> None:
    world = World()
    for _ in range(3):
        exposed = await world.look()
        assert exposed.condition_result and exposed.condition_result.verdict is Verdict.OK
        assert exposed.requeue_after is None
    assert world.requests == 1


async def test_the_host_that_people_use_is_what_the_server_is_asked_with() -> None:
    world = World()
    await world.look(a_server("mlflow.example.com"))
    assert world.servers.asked == [(Target("http://mlflow.team-a.svc", "mlflow.example.com", "team-a"), None)]


@pytest.mark.parametrize(
    ("server", "pods"),
    [(a_server("mlflow.example.com"), deployment()), (a_server(), deployment(replicas=2, available=2))],
    ids=["another host", "other pods"],
)
async def test_a_change_has_it_asked_anew(server: ServerModel, pods: Manifest) -> None:
    world = World()
    await world.look()
    await world.look(server, pods)
    assert world.requests == 2


async def test_a_resync_has_it_asked_anew() -> None:
    world = World()
    await world.look()
    await world.look(fresh=True)
    assert world.requests == 2


async def test_one_without_an_answer_is_asked_again_and_less_and_less_often() -> None:
    world = World(*[AWAY] * 9, WELL)
    pauses = [(await world.look()).requeue_after or 0.0 for _ in range(9)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 1.0
    assert pauses[-1] == LONGEST_RETRY_SECONDS
    exposed = await world.look()
    assert exposed.condition_result and exposed.condition_result.verdict is Verdict.OK


async def test_no_answer_is_a_problem_only_when_it_stays_away() -> None:
    world = World(AWAY)
    found = [(await world.look()).condition_result for _ in range(5)]
    verdicts = [condition_result.verdict for condition_result in found if condition_result]
    assert verdicts == [Verdict.WORKING] * 3 + [Verdict.FAILING] * 2


async def test_until_then_nobody_is_told_to_look_at_anything() -> None:
    world = World(AWAY)
    found = [(await world.look()).condition_result for _ in range(5)]
    early, late = found[:3], found[3:]
    assert all(one and one.reason is Reason.PROGRESSING for one in early)
    assert all(one and one.message.startswith("Waiting for ") for one in early)
    assert not any(one and "NetworkPolicies" in one.message for one in early)
    assert all(
        one and one.reason is Reason.NOT_REACHABLE and "NetworkPolicies" in one.message for one in late
    )


async def test_no_answer_is_a_blip_until_it_is_a_problem() -> None:
    world = World(AWAY)
    assert [(await world.look()).is_blip for _ in range(5)] == [True] * 3 + [False] * 2


async def test_an_answer_that_is_no_success_is_a_problem_at_once() -> None:
    condition_result = (await World(Answer(403, "Invalid Host header")).look()).condition_result
    assert condition_result
    assert condition_result.verdict is Verdict.FAILING


async def test_one_that_hangs_keeps_nobody_waiting_and_is_not_asked_twice_at_a_time() -> None:
    world = World(NEVER)
    first, second = await world.look(), await world.look()
    assert first.condition_result is None
    assert second.condition_result is None
    assert first.requeue_after is not None
    assert world.requests == 1
    world.memory.evict()


async def test_one_that_is_forgotten_is_asked_anew() -> None:
    world = World()
    await world.look()
    world.memory.evict()
    await world.look()
    assert world.requests == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (AWAY, Reason.NOT_REACHABLE),
        (Answer(403, "Invalid Host header"), Reason.HOST_REFUSED),
        (Answer(401, "You are not authenticated"), Reason.LOGIN_REFUSED),
        (Answer(404, "Not Found"), Reason.PATH_NOT_FOUND),
        (Answer(503, "the database is away"), Reason.ANSWERS_WITH_ERROR),
        (Answer(302, "Found"), Reason.ANSWERS_WITH_ERROR),
    ],
)
def test_an_answer_that_is_no_success_has_its_reason_and_the_servers_words(
    answer: Answer, reason: Reason
) -> None:
    condition_result = exposed_result(a_server("mlflow.example.com"), answer)
    assert (condition_result.verdict, condition_result.reason) == (Verdict.FAILING, reason)
    assert answer.problem in condition_result.message
    assert "mlflow.example.com" in condition_result.message


def test_a_success_names_the_address() -> None:
    assert "http://mlflow.team-a.svc" in exposed_result(a_server(), WELL).message
    assert "mlflow.example.com" in exposed_result(a_server("mlflow.example.com"), WELL).message
