"""Events say what happened, once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.kube.fake_client import FakeClient
from tests.unit.kube.manifests import service, stored
from tracking_operator.foreign_text import LONGEST_EVENT
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.events import MOST_WAITING, PACE, QUEUE_SIZE, EventRecorder
from tracking_operator.kube.objects import KubeObject


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
async def recorder(client: FakeClient, clock: Clock) -> AsyncIterator[EventRecorder]:
    recorder = EventRecorder(client.as_client(), instance="pod-1", version="1.2.3", now=clock)
    task = asyncio.create_task(recorder.run())
    yield recorder
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def posted(client: FakeClient) -> list[KubeObject]:
    return [obj for obj in client.stored.values() if obj["kind"] == "Event"]


async def test_event_names_object_reason_and_reporter(recorder: EventRecorder, client: FakeClient) -> None:
    recorder.record(stored(service()), "Warning", "Conflict", "The name is taken.")
    await recorder.drain()
    (event,) = posted(client)
    assert event["metadata"]["namespace"] == "team-a"
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Service",
        "namespace": "team-a",
        "name": "mlflow",
        "uid": "uid-1",
        "resourceVersion": "7",
    }
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "Conflict", "The name is taken.")
    assert event["reportingComponent"] == "tracking-operator"
    assert event["source"] == {"component": "tracking-operator"}
    assert event["reportingInstance"] == "pod-1/1.2.3"
    assert event["lastTimestamp"] == "2026-01-01T00:00:00Z"
    assert event["count"] == 1


async def test_same_event_within_ten_minutes_is_counted_not_posted(
    recorder: EventRecorder, client: FakeClient, clock: Clock
) -> None:
    for _ in range(5):
        recorder.record(stored(service()), "Normal", "Ready", "All is well.")
        clock.now += timedelta(minutes=1)
    await recorder.drain()
    assert [event["count"] for event in posted(client)] == [1]


async def test_repetitions_are_in_the_count_of_the_next_post(
    recorder: EventRecorder, client: FakeClient, clock: Clock
) -> None:
    for _ in range(3):
        recorder.record(stored(service()), "Normal", "Ready", "All is well.")
        clock.now += timedelta(minutes=1)
    clock.now += timedelta(minutes=10)
    recorder.record(stored(service()), "Normal", "Ready", "All is well.")
    await recorder.drain()
    first, second = posted(client)
    assert (first["count"], second["count"]) == (1, 3)
    assert second["firstTimestamp"] == "2026-01-01T00:01:00Z"


async def test_another_reason_message_or_object_is_another_event(
    recorder: EventRecorder, client: FakeClient
) -> None:
    other = stored(service())
    other["metadata"]["uid"] = "uid-2"
    recorder.record(stored(service()), "Normal", "Ready", "All is well.")
    recorder.record(stored(service()), "Normal", "Other", "All is well.")
    recorder.record(stored(service()), "Normal", "Ready", "All is very well.")
    recorder.record(other, "Normal", "Ready", "All is well.")
    await recorder.drain()
    assert len(posted(client)) == 4


async def test_event_about_something_outside_namespaces_goes_to_default(
    recorder: EventRecorder, client: FakeClient
) -> None:
    class_ = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}}
    recorder.record(class_, "Normal", "Ready", "All is well.")
    await recorder.drain()
    (event,) = posted(client)
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["involvedObject"]


async def test_message_is_cut_to_what_the_server_accepts(recorder: EventRecorder, client: FakeClient) -> None:
    recorder.record(stored(service()), "Normal", "Ready", "x" * 5000)
    await recorder.drain()
    assert len(posted(client)[0]["message"]) == LONGEST_EVENT


async def test_refused_event_is_logged_and_forgotten(
    recorder: EventRecorder, client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.errors = [ApiError(403, "Forbidden", "namespace is being terminated")]
    recorder.record(stored(service()), "Normal", "Ready", "All is well.")
    recorder.record(stored(service()), "Normal", "Next", "Goes on.")
    await recorder.drain()
    assert [event["reason"] for event in posted(client)] == ["Next"]
    assert "Could not post the event Ready about Service mlflow" in caplog.messages[0]


def in_namespace(name: str) -> KubeObject:
    obj = stored(service())
    obj["metadata"] |= {"namespace": name, "uid": f"uid-{name}"}
    return obj


async def test_flood_of_one_namespace_keeps_no_event_of_another_from_being_posted(
    client: FakeClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    dropped: list[None] = []
    recorder = EventRecorder(client.as_client(), now=clock, on_dropped=lambda: dropped.append(None))
    for number in range(1000):
        recorder.record(in_namespace("noisy"), "Normal", "Ready", f"{number}")
    recorder.record(in_namespace("honest"), "Normal", "Ready", "All is well.")
    assert len(dropped) == 1000 - MOST_WAITING
    assert len(caplog.messages) == 1, "a flood is told once"
    task = asyncio.create_task(recorder.run())
    await recorder.drain()
    task.cancel()
    namespaces = [event["metadata"]["namespace"] for event in posted(client)]
    assert namespaces.count("honest") == 1
    assert namespaces.count("noisy") == MOST_WAITING


async def test_events_of_one_namespace_are_paced_for_good(
    recorder: EventRecorder, client: FakeClient, clock: Clock
) -> None:
    for number in range(600):
        recorder.record(in_namespace("noisy"), "Normal", "Ready", f"{number}")
        await recorder.drain()
        clock.now += timedelta(seconds=0.1)
    assert len(posted(client)) <= PACE.burst + 60 * PACE.per_second + 1
    clock.now += timedelta(minutes=5)
    recorder.record(in_namespace("noisy"), "Normal", "Ready", "Quiet again.")
    await recorder.drain()
    assert posted(client)[-1]["message"] == "Quiet again."


async def test_queue_is_bounded_whatever_the_number_of_namespaces(client: FakeClient) -> None:
    recorder = EventRecorder(client.as_client())
    for number in range(QUEUE_SIZE + 100):
        recorder.record(in_namespace(f"noisy-{number}"), "Normal", "Ready", "All is well.")
    task = asyncio.create_task(recorder.run())
    await recorder.drain()
    task.cancel()
    assert len(posted(client)) == QUEUE_SIZE


async def test_control_and_bidi_characters_are_not_posted(
    recorder: EventRecorder, client: FakeClient
) -> None:
    recorder.record(stored(service()), "Normal", "Ready", "a\x1b[2Jb\u202ec\u200bd")
    await recorder.drain()
    assert posted(client)[0]["message"] == "a [2Jb c d"
