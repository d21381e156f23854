"""Pools of live pods: those that harm nobody stay, so that nobody is rolled for a few connections."""

import pytest

from tests.unit.examples import EXTERNAL_BUCKET, model, postgres_class
from tracking_operator.resources.deployment import build_deployment
from tracking_operator.resources.pod.pools import POOL_SIZE_VARIABLE, pool_of, with_live_pool, with_pool
from tracking_operator.resources.server_model import KubeObject, ServerModel


def server(replicas: int = 2, limit: int | None = None) -> ServerModel:
    offer = {} if limit is None else {"connectionLimit": limit}
    return model({"replicas": replicas, "artifactStore": EXTERNAL_BUCKET}, postgres_class(offer))


def deployment(replicas: int = 2, limit: int | None = None) -> KubeObject:
    return build_deployment(server(replicas, limit))


def kept(live: KubeObject, wanted: ServerModel) -> KubeObject:
    return with_live_pool(build_deployment(wanted), live, wanted)


def test_scaling_changes_the_number_of_pods_and_nothing_else() -> None:
    few, many = deployment(2), deployment(6)
    assert (few["spec"].pop("replicas"), many["spec"].pop("replicas")) == (2, 6)
    assert few == many


def test_smaller_pools_of_live_pods_stay() -> None:
    live = with_pool(deployment(), 3)
    assert pool_of(deployment()) == 5
    assert kept(live, server()) == live


def test_larger_ones_stay_as_long_as_the_limit_has_room_for_them() -> None:
    live = with_pool(deployment(1, limit=20), 3)
    assert pool_of(deployment(1, limit=20)) == 2
    assert kept(live, server(1, limit=20)) == live
    assert pool_of(kept(live, server(3, limit=20))) == 2
    assert pool_of(kept(with_pool(live, 5), server(1, limit=20))) == 2


@pytest.mark.parametrize("text", ["²", "9" * 5000, "-1", "", "two"])
def test_what_is_no_number_there_is_replaced(text: str) -> None:
    live = deployment(1, limit=20)
    for one in live["spec"]["template"]["spec"]["containers"][0]["env"]:
        if one["name"] == POOL_SIZE_VARIABLE:
            one["value"] = text
    assert pool_of(live) is None
    assert kept(live, server(1, limit=20)) == deployment(1, limit=20)


def test_pods_without_any_are_left_alone() -> None:
    without = build_deployment(model())
    assert pool_of(without) is None
    assert kept(deployment(), model()) == without
    assert kept(without, server()) == deployment()
