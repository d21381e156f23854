"""How urgent an event is, and how patient kopf has to be."""

from itertools import islice

import pytest

from tracking_operator.kube.objects import KubeObject
from tracking_operator.runtime.informers import EndlessBackoffs, priority_of
from tracking_operator.runtime.work_queue import Priority


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
