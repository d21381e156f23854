"""What is kept of an object is enough to compare it, and small however large the object is."""

import tracemalloc

import pytest

from tracking_operator.api.labels_and_annotations import API_VERSION, FINALIZER, ROTATE_CREDENTIALS_ANNOTATION
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.kube.cache_memory import (
    LONGEST_ANNOTATION_IN_OUTLINE,
    LONGEST_TEXT_KEPT,
    Digest,
    keep,
    last_state,
    outline,
)
from tracking_operator.kube.compare import first_difference
from tracking_operator.kube.objects import KubeObject

LONG = "line of a script\n" * 1000


def config_map(**data: str) -> KubeObject:
    metadata = {"name": "settings", "namespace": "team-a", "resourceVersion": "1"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_long_text_is_compared_by_its_digest() -> None:
    kept = keep(config_map(script=LONG)).obj
    assert first_difference(config_map(script=LONG), kept) is None
    difference = first_difference(config_map(script=LONG + "x"), kept)
    assert difference is not None
    assert difference.path == "data.script"


def test_text_that_reads_like_a_digest_stands_for_itself() -> None:
    """Somebody writes the digest of what is wanted in the place of it."""
    forged = keep(config_map(script=str(Digest.of(LONG)))).obj
    assert first_difference(config_map(script=LONG), forged) is not None


def test_short_texts_are_kept() -> None:
    kept = keep(config_map(a="x" * LONGEST_TEXT_KEPT, b="\ud83d"))
    assert kept.is_whole
    assert kept.obj == config_map(a="x" * LONGEST_TEXT_KEPT, b="\ud83d")


def test_of_a_pod_only_what_is_read_of_it_is_kept() -> None:
    status = {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "containerStatuses": [{"name": "server", "ready": True}],
    }
    pod: KubeObject = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "annotations": {"a": "b"}},
        "spec": {
            "containers": [{"name": "server", "args": ["--host"], "env": [{"name": "A"}]}],
            "volumes": [],
        },
        "status": status | {"hostIP": "10.0.0.2"},
    }
    kept = keep(pod)
    assert not kept.is_whole
    assert kept.obj == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "server", "args": ["--host"]}]},
        "status": status,
    }


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"className": "standard", "deletionPolicy": "Delete"},
        {"backendStore": {"postgres": {"connectionLimit": 5}}, "artifactStore": {"s3": {}, "proxied": False}},
        {"backendStore": {"sqlite": {"size": "2Gi"}}, "artifactStore": {"external": {"uri": "s3://b"}}},
        {"backendStore": {"external": {"uriSecretRef": {"name": "db", "key": "uri"}}}},
        {"access": {"host": "a.example.com", "path": "/a", "authentication": {"basic": {}}}},
    ],
    ids=str,
)
def test_outline_says_of_stores_and_addresses_what_the_resource_says(spec: KubeObject) -> None:
    resource = {"apiVersion": API_VERSION, "kind": "TrackingServer", "metadata": {"name": "a"}, "spec": spec}
    whole, short = (TrackingServer.model_validate(one).spec for one in (resource, outline(resource)))
    assert short.class_name == whole.class_name
    assert short.deletion_policy == whole.deletion_policy
    assert short.backend_store.kind == whole.backend_store.kind
    assert short.artifact_store.kind == whole.artifact_store.kind
    assert short.artifact_store.proxied == whole.artifact_store.proxied
    assert short.access == whole.access


@pytest.mark.parametrize("length", [LONGEST_ANNOTATION_IN_OUTLINE, LONGEST_ANNOTATION_IN_OUTLINE + 1])
def test_outline_has_short_annotations_only(length: int) -> None:
    metadata = {"name": "a", "annotations": {ROTATE_CREDENTIALS_ANNOTATION: "x" * length}}
    kept = outline({"apiVersion": API_VERSION, "kind": "TrackingServer", "metadata": metadata})
    assert bool(kept["metadata"]["annotations"]) is (length == LONGEST_ANNOTATION_IN_OUTLINE)


@pytest.mark.parametrize("finalizers", [[], ["example.com/mine"], ["example.com/mine", FINALIZER]], ids=str)
def test_last_state_is_kept_of_an_outline_as_of_the_whole(finalizers: list[str]) -> None:
    metadata = {"name": "a", "finalizers": finalizers}
    resource = {"apiVersion": API_VERSION, "kind": "TrackingServer", "metadata": metadata, "spec": {}}
    is_kept = FINALIZER in finalizers
    assert [last_state(one) is not None for one in (resource, outline(resource))] == [is_kept, is_kept]


@pytest.mark.parametrize(
    "obj",
    [
        config_map(**{f"key-{number:06}": "" for number in range(20_000)}),
        config_map(**{f"key-{number:03}": "x" * 4000 + str(number) for number in range(200)}),
        config_map(**{f"key-{number:03}": "\u4e00" * 4000 + str(number) for number in range(200)}),
        config_map() | {"webhooks": [[str(number)] for number in range(20_000)]},
    ],
    ids=["keys", "texts", "wide texts", "lists"],
)
def test_size_is_not_underestimated_by_far(obj: KubeObject) -> None:
    kept = keep(obj)
    tracemalloc.start()
    copy = [_copied(kept.obj)]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert copy
    assert taken < 1.5 * kept.size


def _copied(value: object) -> object:
    """A copy that shares no text with the original."""
    if isinstance(value, dict):
        return {key[:1] + key[1:]: _copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return value[:1] + value[1:] if isinstance(value, str) else value
