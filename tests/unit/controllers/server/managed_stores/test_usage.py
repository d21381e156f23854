"""How much a server has in its stores is measured rarely, beside the loop, and written once: by every store that the operator makes."""

import asyncio
from datetime import timedelta

import pytest

from tests.unit.controllers.server.managed_stores.edges import EDGES, Edge
from tests.unit.controllers.server.managed_stores.test_contract import DOWN, World
from tests.unit.controllers.server.test_reconciler import World as LoopWorld
from tests.unit.examples import Manifest
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import ROTATE_CREDENTIALS_ANNOTATION
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.controllers.request import Outcome
from tracking_operator.timings import Timings

TIMES = Timings()
AN_HOUR = TIMES.between_measurements


class Measured(World):
    """A server that is ready, and what becomes of measuring it."""

    @property
    def usage(self) -> Manifest | None:
        """What the status says."""
        found: Manifest | None = self.resource["status"].get("usage")
        return found

    async def resync_after(self, seconds: float) -> Outcome:
        """Look afresh at a later time, and let what that begins end."""
        self.pass_time(seconds)
        outcome = await self.reconcile(resync=True)
        for _ in range(20):
            await asyncio.sleep(0)
        return outcome

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @property
    def is_measured(self) -> bool:
        """Whether the store was asked for that in the last look, or beside it."""
        return "measure" in self.edge.asked


@pytest.fixture(params=EDGES, ids=lambda edge: edge.__name__.removesuffix("Edge"))
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Measured:
    edge: type[Edge] = request.param
    return Measured(edge, monkeypatch)


async def test_a_measurement_is_written_by_the_look_after_it_and_by_no_other(world: Measured) -> None:
    await world.get_ready()
    assert world.usage is None
    outcome = await world.resync_after(600)
    assert world.is_measured
    assert outcome.requeue_after == TIMES.between_looks_at_a_measurement
    assert world.usage is None, "no look waits for it"

    outcome = await world.reconcile()
    assert outcome.requeue_after is None
    assert world.usage == world.edge.usage | {"measuredAt": "2026-01-01T12:10:00Z"}
    assert world.condition("Ready") == ("True", "AsExpected")
    assert [call.split(" ")[0] for call in world.api.calls] == ["apply"]
    await world.reconcile()
    assert world.api.calls == []


async def test_nothing_is_measured_again_before_an_hour_has_passed(world: Measured) -> None:
    await world.get_ready()
    await world.resync_after(600)
    await world.reconcile()
    await world.resync_after(AN_HOUR - 1)
    assert not world.is_measured
    await world.resync_after(1)
    assert world.is_measured


async def test_only_a_resync_begins_a_measurement(world: Measured) -> None:
    await world.get_ready()
    world.pass_time(2 * AN_HOUR)
    await world.reconcile()
    await asyncio.sleep(0)
    assert not world.is_measured


async def test_a_start_of_the_operator_measures_nobody_and_forgets_nothing(world: Measured) -> None:
    await world.get_ready()
    await world.resync_after(600)
    await world.reconcile()
    before = world.usage
    world.restart()
    await world.resync_after(2 * AN_HOUR)
    assert not world.is_measured
    assert world.usage == before
    await world.resync_after(TIMES.until_the_first_measurement)
    assert world.is_measured


async def test_a_server_at_rest_is_not_measured_and_keeps_what_is_known(world: Measured) -> None:
    await world.get_ready()
    await world.resync_after(600)
    await world.reconcile()
    before = world.usage
    world.edit(world.resource["spec"] | {"suspend": True})
    await world.reconcile()
    await world.resync_after(2 * AN_HOUR)
    assert not world.is_measured
    assert world.usage == before


async def test_a_store_that_is_away_changes_nothing_and_is_measured_at_the_next_resync(
    world: Measured,
) -> None:
    await world.get_ready()
    await world.resync_after(600)
    await world.reconcile()
    before = world.usage
    world.edge.fail(DOWN)
    await world.resync_after(2 * AN_HOUR)
    assert not world.is_measured
    assert world.usage == before
    world.edge.fail(None)
    await world.resync_after(600)
    assert world.is_measured


async def test_what_ends_a_measurement_ends_nothing_else(
    world: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.get_ready()
    world.pass_time(600)
    await world.reconcile(resync=True)
    world.edge.fail(DOWN)
    for _ in range(20):
        await asyncio.sleep(0)
    world.edge.fail(None)
    assert (await world.reconcile()).requeue_after is None
    assert world.usage is None
    assert world.condition("Ready") == ("True", "AsExpected")
    await world.resync_after(600)
    await world.reconcile()
    assert world.usage is not None


async def test_more_than_the_class_allows_is_said_once_and_stops_nothing(world: Measured) -> None:
    limits = {"limits": {"maxDatabaseSize": "999", "maxArtifactBytes": "1k"}}
    class_ = world.api.objects[(TRACKING_SERVER_CLASS, None, "standard")]
    world.put(class_ | {"spec": class_["spec"] | limits})
    await world.get_ready()
    world.events.recorded.clear()
    await world.resync_after(600)
    await world.reconcile()
    await world.reconcile()
    assert world.condition(world.edge.condition) == ("True", Reason.USAGE_ABOVE_LIMIT)
    assert world.condition("Ready") == ("True", "AsExpected")
    warned = [(type_, reason) for _, type_, reason, _ in world.events.recorded]
    assert warned == [("Warning", Reason.USAGE_ABOVE_LIMIT)]

    world.put(class_)
    await world.reconcile()
    assert world.condition(world.edge.condition) == ("True", "AsExpected")


async def test_a_rotation_is_told_of_before_a_limit(world: Measured) -> None:
    limits = {"limits": {"maxDatabaseSize": "999", "maxArtifactBytes": "1k"}}
    class_ = world.api.objects[(TRACKING_SERVER_CLASS, None, "standard")]
    world.put(class_ | {"spec": class_["spec"] | limits})
    await world.get_ready()
    await world.resync_after(600)
    world.ask(ROTATE_CREDENTIALS_ANNOTATION)
    await world.reconcile()
    assert world.condition(world.edge.condition)[1] in (Reason.ROTATING_CREDENTIALS, Reason.PROGRESSING)


async def test_what_teams_bring_themselves_is_not_measured() -> None:
    world = LoopWorld()
    await world.reconcile()
    world.roll_out()
    await world.reconcile(resync=True)
    assert "usage" not in world.resource["status"]
