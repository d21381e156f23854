"""When a server is asked as its clients ask it, and what its answer is called."""

import pytest

from tests.unit.controllers.live import deployment
from tests.unit.controllers.servers import NEVER, AnsweringServers
from tests.unit.examples import Manifest, model
from tracking_operator.api.conditions import Reason
from tracking_operator.controllers.conditions.results import Verdict
from tracking_operator.controllers.server.exposure.answer import (
    LONGEST_RETRY_SECONDS,
    Exposed,
    Exposure,
    exposed_finding,
)
from tracking_operator.mlflow.client import Answer, Target
from tracking_operator.resources.server import ServerModel

AWAY = Answer(None, "connection refused")
WELL = Answer(200)


def a_server(host: str = "") -> ServerModel:
    return model({"access": {"host": host}} if host else {})


class World:
    """One server, and the operator that asks it."""

    def __init__(self, *answers: Answer) -> None:
        self.servers = AnsweringServers(*answers)
        self.exposure = Exposure(self.servers.as_client())

    async def look(
        self, server: ServerModel | None = None, pods: Manifest | None = None, *, fresh: bool = False
    ) -> Exposed:
        return await self.exposure.look(server or a_server(), pods or deployment(), fresh=fresh)

    @property
    def requests(self) -> int:
        return len(self.servers.asked)


async def test_a_server_that_answers_is_asked_once() -> None:
    world = World()
    for _ in range(3):
        exposed = await world.look()
        assert exposed.finding and exposed.finding.verdict is Verdict.OK
        assert exposed.look_again is None
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
    pauses = [(await world.look()).look_again or 0.0 for _ in range(9)]
    assert pauses == sorted(pauses)
    assert pauses[0] < 1.0
    assert pauses[-1] == LONGEST_RETRY_SECONDS
    exposed = await world.look()
    assert exposed.finding and exposed.finding.verdict is Verdict.OK


async def test_no_answer_is_a_problem_only_when_it_stays_away() -> None:
    world = World(AWAY)
    found = [(await world.look()).finding for _ in range(5)]
    verdicts = [finding.verdict for finding in found if finding]
    assert verdicts == [Verdict.WORKING] * 3 + [Verdict.FAILING] * 2


async def test_an_answer_that_is_no_success_is_a_problem_at_once() -> None:
    finding = (await World(Answer(403, "Invalid Host header")).look()).finding
    assert finding
    assert finding.verdict is Verdict.FAILING


async def test_one_that_hangs_keeps_nobody_waiting_and_is_not_asked_twice_at_a_time() -> None:
    world = World(NEVER)
    first, second = await world.look(), await world.look()
    assert first.finding is None
    assert second.finding is None
    assert first.look_again is not None
    assert world.requests == 1
    world.exposure.forget(a_server().uid)


async def test_one_that_is_forgotten_is_asked_anew() -> None:
    world = World()
    await world.look()
    world.exposure.forget(a_server().uid)
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
    finding = exposed_finding(a_server("mlflow.example.com"), answer)
    assert (finding.verdict, finding.reason) == (Verdict.FAILING, reason)
    assert answer.problem in finding.message
    assert "mlflow.example.com" in finding.message


def test_a_success_names_the_address() -> None:
    assert "http://mlflow.team-a.svc" in exposed_finding(a_server(), WELL).message
    assert "mlflow.example.com" in exposed_finding(a_server("mlflow.example.com"), WELL).message
