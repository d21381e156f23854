"""What is kept of an object is enough to compare it, and small however large the object is."""

import tracemalloc

import pytest

from tracking_operator.kube.cache_memory import LONGEST_TEXT_KEPT, Digest, keep
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
    status = {"phase": "Running", "containerStatuses": [{"name": "server", "ready": True}]}
    pod: KubeObject = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "annotations": {"a": "b"}},
        "spec": {
            "containers": [{"name": "server", "args": ["--host"], "env": [{"name": "A"}]}],
            "volumes": [],
        },
        "status": status | {"podIP": "10.0.0.1"},
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
