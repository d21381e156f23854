"""Which servers an event concerns."""

import pytest

from tests.unit.controllers.live import claim, deployment, live, pod
from tests.unit.examples import Manifest
from tracking_operator.api.labels_and_annotations import API_VERSION, SERVER_LABEL
from tracking_operator.controllers.request import Request
from tracking_operator.controllers.watches import requests_for
from tracking_operator.kube.cache import ObjectCache

MLFLOW = Request("TrackingServer", "team-a", "mlflow")
SIBLING = Request("TrackingServer", "team-a", "sibling")
ELSEWHERE = Request("TrackingServer", "team-b", "mlflow")


def tracking_server(name: str = "mlflow", namespace: str = "team-a", **spec: str) -> Manifest:
    metadata = {"namespace": namespace, "labels": {}}
    return live(API_VERSION, "TrackingServer", name, metadata=metadata, spec=spec)


def cluster_scoped(api_version: str, kind: str, name: str) -> Manifest:
    obj = live(api_version, kind, name)
    del obj["metadata"]["namespace"]
    return obj


def cache(*objects: Manifest) -> ObjectCache:
    filled = ObjectCache(owner_label=SERVER_LABEL)
    for obj in objects:
        filled.upsert(obj)
    return filled


@pytest.mark.parametrize("child", [deployment(), pod(), claim(), live("v1", "Service", "anything")])
def test_a_child_concerns_the_server_that_its_label_names(child: Manifest) -> None:
    assert requests_for(child, cache()) == [MLFLOW]


def test_a_child_concerns_its_server_even_before_that_was_seen() -> None:
    assert requests_for(deployment(), cache()) == [MLFLOW]


def test_an_object_without_our_label_concerns_nobody() -> None:
    assert (
        requests_for(live("v1", "Service", "mlflow", metadata={"labels": {}}), cache(tracking_server())) == []
    )


def test_a_server_concerns_itself_only() -> None:
    assert requests_for(tracking_server(), cache(tracking_server(), tracking_server("sibling"))) == [MLFLOW]


def test_a_server_that_is_being_deleted_makes_room_for_its_siblings() -> None:
    leaving = tracking_server()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T10:00:00Z"
    neighbours = cache(leaving, tracking_server("sibling"), tracking_server(namespace="team-b"))
    assert set(requests_for(leaving, neighbours)) == {MLFLOW, SIBLING}


def test_a_server_that_is_gone_makes_room_although_it_never_had_a_deletion_timestamp() -> None:
    # Without a finalizer, a watch reports the end of an object with the object's last state.
    assert set(requests_for(tracking_server(), cache(tracking_server("sibling")))) == {MLFLOW, SIBLING}


def test_a_class_concerns_itself_and_those_who_name_it_or_name_none() -> None:
    servers = cache(
        tracking_server(className="standard"),
        tracking_server("sibling"),
        tracking_server(namespace="team-b", className="other"),
    )
    keys = requests_for(cluster_scoped(API_VERSION, "TrackingServerClass", "standard"), servers)
    assert set(keys) == {Request("TrackingServerClass", "", "standard"), MLFLOW, SIBLING}


def test_a_namespace_concerns_the_servers_in_it() -> None:
    servers = cache(tracking_server(), tracking_server("sibling"), tracking_server(namespace="team-b"))
    assert set(requests_for(cluster_scoped("v1", "Namespace", "team-a"), servers)) == {MLFLOW, SIBLING}


def test_a_secret_concerns_the_servers_of_its_namespace() -> None:
    servers = cache(tracking_server(), tracking_server(namespace="team-b"))
    secret = live("v1", "Secret", "mlflow-db", metadata={"namespace": "team-b", "labels": {}})
    assert requests_for(secret, servers) == [ELSEWHERE]
