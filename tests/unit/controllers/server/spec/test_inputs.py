"""Thousands of servers in a namespace are read once, and not again for each of them."""

import pytest

from tests.unit.examples import server
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.controllers.server.spec.inputs import inputs_of
from tracking_operator.kube.cache import ObjectCache

SERVERS = 200


def test_siblings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ObjectCache(owner_label=SERVER_LABEL)
    for number in range(SERVERS):
        one = server(name=f"s{number}", uid=f"uid-{number}", resourceVersion=f"{number + 1}")
        cache.upsert(one.model_dump(mode="json", by_alias=True))
    everybody = [TrackingServer.model_validate(live) for live in cache.list(TRACKING_SERVER)]
    read = 0
    validate = TrackingServer.model_validate

    def count(obj: object) -> TrackingServer:
        nonlocal read
        read += 1
        return validate(obj)

    monkeypatch.setattr(TrackingServer, "model_validate", count)
    for resource in everybody:
        assert len(inputs_of(resource, cache).siblings) == SERVERS - 1
    assert read == SERVERS
