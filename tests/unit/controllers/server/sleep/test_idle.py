"""How long nobody has asked a server anything: what its pods tell, and when they are asked."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from tests.unit.controllers.live import RUNNING, pod
from tests.unit.controllers.servers import AnsweringServers
from tests.unit.examples import model
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.server.sleep.idle import SECONDS_UNTIL_PODS_TELL, IdleLook, IdleMemory
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.mlflow.client import Target

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TWO_HOURS = 7200.0


class World:
    """Pods by their addresses, and how long ago each was asked something; None: it does not tell."""

    def __init__(self, idle: Mapping[str, int | None] | None = None, path: str = "") -> None:
        self.servers = AnsweringServers()
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        self.model = model({"access": {"path": path}} if path else {})
        self.memory = IdleMemory()
        for address, seconds in (idle or {}).items():
            known = pod(name=address, server=RUNNING)
            self.cache.upsert(known | {"status": known["status"] | {"podIP": address}})
            self.servers.idle[address] = seconds

    async def look(self, now: datetime = NOW, after: float = TWO_HOURS) -> tuple[bool, float]:
        look = IdleLook(self.cache, self.servers.as_client())
        found = await look.look(self.model, self.memory, after, now)
        return found.is_long_enough, found.look_again


async def test_each_pod_is_asked_at_its_own_address_and_the_busiest_one_counts() -> None:
    world = World({"first": 9000, "second": 600}, path="/team-a")
    assert await world.look() == (False, 6600.0)
    assert {target for target, _ in world.servers.asked} == {
        Target(f"http://{name}:5000/team-a", namespace="team-a") for name in ("first", "second")
    }


async def test_a_server_that_nobody_has_asked_for_long_enough_is_idle() -> None:
    world = World({"first": 7200, "second": 9000})
    assert (await world.look())[0]


async def test_nobody_is_asked_again_before_it_can_have_become_long_enough() -> None:
    world = World({"first": 600})
    await world.look()
    assert await world.look(NOW + timedelta(hours=1)) == (False, 3000.0)
    assert len(world.servers.asked) == 1
    await world.look(NOW + timedelta(seconds=6600))
    assert len(world.servers.asked) == 2


async def test_another_time_is_asked_for_at_once() -> None:
    world = World({"first": 3600})
    assert not (await world.look())[0]
    assert (await world.look(after=3600.0))[0]


async def test_a_pod_that_does_not_tell_keeps_the_server_awake() -> None:
    world = World({"first": 9000, "second": None})
    assert await world.look() == (False, SECONDS_UNTIL_PODS_TELL)
    assert await World().look() == (False, SECONDS_UNTIL_PODS_TELL)


async def test_a_pod_of_ipv6_is_asked_by_its_address_in_brackets() -> None:
    world = World({"fd00::1": 60})
    await world.look()
    assert world.servers.asked[0][0].url == "http://[fd00::1]:5000"
