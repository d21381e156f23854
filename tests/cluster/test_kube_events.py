"""Events as a person sees them: in `kubectl describe`, within a second, and once."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from dev.development_cluster import DevelopmentCluster
from tests.cluster.kube_objects import Desk, a_desk, config_map
from tests.waiting import patient, wait_until
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import EVENT, KubeObject

SECONDS_UNTIL_VISIBLE = 1.0


@pytest.fixture
async def desk(cluster: DevelopmentCluster, namespace: str) -> AsyncIterator[Desk]:
    async with a_desk(cluster.kubeconfig_path, namespace) as desk:
        yield desk


@pytest.fixture
async def recorder(desk: Desk) -> AsyncIterator[EventRecorder]:
    recorder = EventRecorder(desk.client)
    task = asyncio.create_task(recorder.run())
    yield recorder
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def subject(desk: Desk) -> KubeObject:
    return await desk.client.create(config_map(desk.namespace))


async def test_describe_shows_the_event_within_a_second(
    cluster: DevelopmentCluster, desk: Desk, recorder: EventRecorder, subject: KubeObject
) -> None:
    recorder.record(subject, "Warning", "ClassNotFound", "There is no class 'gold'.")
    recorded = time.monotonic()
    await recorder.drain()
    assert time.monotonic() - recorded < patient(SECONDS_UNTIL_VISIBLE)

    def described() -> str:
        text = cluster.kubectl("describe", "configmap", "settings", "--namespace", desk.namespace)
        return text if "ClassNotFound" in text else ""

    shown = await asyncio.to_thread(wait_until, described, 5.0, "the event is in kubectl describe")
    (line,) = [line for line in shown.splitlines() if "ClassNotFound" in line]
    assert line.split()[0] == "Warning"
    assert "tracking-operator" in line
    assert "There is no class 'gold'." in line


async def test_repeated_event_is_one_event(desk: Desk, recorder: EventRecorder, subject: KubeObject) -> None:
    for _ in range(20):
        recorder.record(subject, "Warning", "ClassNotFound", "There is no class 'gold'.")
    await recorder.drain()
    events = await desk.client.list(EVENT, desk.namespace)
    assert [(event["reason"], event["count"]) for event in events] == [("ClassNotFound", 1)]


async def test_event_in_a_vanished_namespace_is_dropped_quietly(
    desk: Desk, recorder: EventRecorder, subject: KubeObject
) -> None:
    elsewhere = subject | {"metadata": subject["metadata"] | {"namespace": "no-such-namespace"}}
    recorder.record(elsewhere, "Normal", "Gone", "Nobody will read this.")
    recorder.record(subject, "Normal", "Next", "Goes on.")
    await recorder.drain()
    assert [event["reason"] for event in await desk.client.list(EVENT, desk.namespace)] == ["Next"]
