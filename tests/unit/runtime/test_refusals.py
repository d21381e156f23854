"""A namespace whose share is used up hears of it once, from the active operator only."""

from tests.unit.runtime.clock import Clock
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import KubeObject, name_of
from tracking_operator.runtime.refusals import SILENT_SECONDS, Refusals


class Events(EventRecorder):
    """Notes what is recorded."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, str]] = []

    def record(self, regarding: KubeObject, type_: str, reason: str, message: str) -> None:
        self.recorded.append((name_of(regarding), reason))


def refused(name: str, namespace: str = "team-a") -> KubeObject:
    metadata = {"name": name, "namespace": namespace, "uid": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "x" * 1000}}


def test_one_event_for_each_namespace_and_again_after_an_hour() -> None:
    events, clock = Events(), Clock()
    refusals = Refusals(events, clock)
    refusals.note(refused("before"))
    assert events.recorded == []
    refusals.begin()
    for number in range(300):
        refusals.note(refused(f"more-{number}"))
    refusals.note(refused("other", "team-b"))
    assert events.recorded == [("before", "LimitExceeded"), ("other", "LimitExceeded")]
    clock.now += SILENT_SECONDS
    refusals.note(refused("later"))
    assert events.recorded[2:] == [("later", "LimitExceeded")]


def test_what_is_refused_is_not_held_in_memory() -> None:
    refusals = Refusals(Events(), Clock())
    refusals.note(refused("before"))
    assert "data" not in refusals._untold["team-a"]
