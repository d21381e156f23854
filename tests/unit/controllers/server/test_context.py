"""What is decided is set once, and nothing is remembered of a server that is gone."""

from collections.abc import Callable, Iterator
from types import FunctionType, MethodType, ModuleType

import pytest

from dev.classes import generous
from tests.unit.controllers.contexts import a_context
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.controllers.server.test_reconciler import Events, World, database_secret
from tests.unit.controllers.servers import NEVER, AnsweringServers
from tests.unit.examples import EXTERNAL_DATABASE, Manifest
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.context import SWEEP_GROWTH

OUTSIDE = (MemoryApi, AnsweringServers, Events, type, ModuleType)
"""What is not the loop's own."""
SPEC: Manifest = {
    "className": "standard",
    "access": {"host": "mlflow.example.com"},
    "backendStore": EXTERNAL_DATABASE,
}


def where(root: object, word: str) -> list[str]:
    """The paths to all texts that are this word, through everything that an object leads to."""
    found, seen, left = list[str](), {id(root)}, [("loop", root)]
    while left:
        path, one = left.pop()
        if one == word:
            found.append(path)
        for step, part in parts_of(one):
            if not isinstance(part, OUTSIDE) and (isinstance(part, str) or id(part) not in seen):
                seen.add(id(part))
                left.append((f"{path}.{step}", part))
    return found


def parts_of(one: object) -> Iterator[tuple[str, object]]:
    if isinstance(one, dict):
        for key, value in list(one.items()):
            yield from ((f"key {key}", key), (str(key), value))
    elif isinstance(one, list | tuple | set | frozenset):
        yield from ((str(number), part) for number, part in enumerate(one))
    elif isinstance(one, MethodType):
        yield "self", one.__self__
    elif isinstance(one, FunctionType):
        yield from (("closure", cell.cell_contents) for cell in one.__closure__ or ())
    if not isinstance(one, str | FunctionType | MethodType):
        yield from getattr(one, "__dict__", {}).items()
        slots = getattr(type(one), "__slots__", ())
        yield from ((name, getattr(one, name)) for name in slots if hasattr(one, name))


async def a_server_with_much_to_remember(*, name: str = "mlflow") -> World:
    """One with an address, a Secret that nobody watches, and pods that do not answer."""
    world = World(SPEC, name=name)
    metadata = {"name": "standard"}
    kind = {"apiVersion": API_VERSION, "kind": "TrackingServerClass"}
    world.put(kind | {"metadata": metadata, "spec": generous({})})
    world.put(database_secret())
    await world.reconcile()
    world.migrate()
    await world.reconcile()
    world.servers.answers = [NEVER]
    world.roll_out()
    await world.reconcile()
    (memory,) = world.loop._memories
    assert memory.address.claim and memory.secrets.read and memory.answer.asked
    return world


def delete(world: World) -> None:
    """The server goes, and the garbage collector takes what it owned."""
    for place, obj in list(world.api.objects.items()):
        if place[1] == "team-a":
            del world.api.objects[place]
            world.cache.remove(obj)


def replace_by_a_successor(world: World) -> None:
    delete(world)
    world.edit({"className": "standard"}, name="mlflow")


@pytest.mark.parametrize("end", [delete, replace_by_a_successor])
async def test_nothing_is_remembered_of_a_server_that_is_gone(end: Callable[[World], None]) -> None:
    world = await a_server_with_much_to_remember()
    uid = world.resource["metadata"]["uid"]
    (memory,) = world.loop._memories
    asked = memory.answer.asked
    assert len(where(world.loop, uid)) > 1
    assert asked
    end(world)
    for _ in range(2):
        await world.reconcile()
    assert where(world.loop, uid) == []
    assert asked.request.cancelling(), "nobody waits for its answer any more"


async def test_a_server_that_vanished_unseen_is_forgotten_when_others_come() -> None:
    world = await a_server_with_much_to_remember()
    uid = world.resource["metadata"]["uid"]
    delete(world)
    gone = world.cache.removed_before_finalized(TRACKING_SERVER, "team-a", "mlflow")
    if gone is not None:
        world.cache.note_finalized_after_removal(gone)
    for number in range(SWEEP_GROWTH + 1):
        world.edit({"className": "standard"}, name=f"s{number}")
    world.watch()
    for number in range(SWEEP_GROWTH + 1):
        await world.loop.reconcile("team-a", f"s{number}", resync=False)
    assert where(world.loop, uid) == []


def test_what_is_decided_is_set_once_and_not_read_before() -> None:
    context = a_context()
    with pytest.raises(AttributeError, match="model is read before"):
        assert context.model
    context.model = context.plan.model
    with pytest.raises(AttributeError, match="model is set once"):
        context.model = context.plan.model
