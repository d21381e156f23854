"""How urgent an event is, who is told of it, and how patient kopf has to be."""

from itertools import islice

import pytest
from kubernetes.aio.client import Configuration

from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import KubeObject, name_of
from tracking_operator.runtime.informers import EndlessBackoffs, Informers, priority_of
from tracking_operator.runtime.watch_traffic import ListPage, WatchEvent
from tracking_operator.runtime.watched_kinds import WATCHED
from tracking_operator.runtime.work_queue import Priority, WorkQueue


def server(generation: int, observed: int | None) -> KubeObject:
    status = {} if observed is None else {"status": {"observedGeneration": observed}}
    metadata = {"name": "mlflow", "generation": generation}
    return {
        "apiVersion": "tracking-operator.dev/v1alpha1",
        "kind": "TrackingServer",
        "metadata": metadata,
    } | status


@pytest.mark.parametrize(
    ("obj", "priority"),
    [
        (server(1, None), Priority.USER),
        (server(3, 2), Priority.USER),
        (server(3, 3), Priority.CHANGE),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "generation": 2}}, Priority.CHANGE),
    ],
)
def test_fresh_edits_overtake_the_rest(obj: KubeObject, priority: Priority) -> None:
    assert priority_of(obj) is priority


def test_requests_are_tried_for_ever_but_not_too_often() -> None:
    delays = list(islice(EndlessBackoffs(), 1000))
    assert len(delays) == 1000
    assert delays[-1] == 2.0
    assert list(islice(EndlessBackoffs(), 3)) == delays[:3]


async def test_objects_that_are_reported_and_those_that_a_list_lacks_are_told() -> None:
    known: list[str] = []
    async with KubeClient(Configuration(host="http://127.0.0.1:1")) as client:
        informers = Informers(
            client,
            ObjectCache(owner_label=SERVER_LABEL),
            WorkQueue(),
            lambda obj, cache: [],
            watched=[one for one in WATCHED if one.kind == TRACKING_SERVER],
            on_seen=lambda obj: known.append(name_of(obj)),
            on_gone=lambda obj: known.remove(name_of(obj)),
        )
    path = TRACKING_SERVER.path(None)
    tell, list_ = informers._hear, informers._take_in
    list_(ListPage(path, [named("a", 1), named("b", 2)], 2, is_first=True, is_last=True))
    tell(WatchEvent(path, "ADDED", named("c", 3)))
    assert known == ["a", "b", "c"]
    tell(WatchEvent(path, "DELETED", named("a", 4)))
    assert known == ["b", "c"]
    list_(ListPage(path, [named("c", 3)], 5, is_first=True, is_last=True))
    assert set(known) == {"c"}


def named(name: str, version: int) -> KubeObject:
    return {
        "apiVersion": "tracking-operator.dev/v1alpha1",
        "kind": "TrackingServer",
        "metadata": {"namespace": "team-a", "name": name, "resourceVersion": str(version)},
    }
