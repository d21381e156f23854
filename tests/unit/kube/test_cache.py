"""The cache shows the newest version that anybody has seen, and nothing that is gone."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_operator.api.marks import FIELD_MANAGER, FINALIZER
from tracking_operator.kube import cache as cache_module
from tracking_operator.kube.cache import ObjectCache, place_of
from tracking_operator.kube.objects import CONFIG_MAP, NAMESPACE, KubeObject, name_of, resource_version_of

LABEL = "example.com/owner"


def config_map(
    name: str = "a", version: int = 1, *, owner: str | None = "mlflow", namespace: str = "team-a"
) -> KubeObject:
    labels = {LABEL: owner} if owner else {}
    metadata = {"name": name, "namespace": namespace, "resourceVersion": str(version), "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


@pytest.fixture
def cache() -> ObjectCache:
    return ObjectCache(owner_label=LABEL)


def version_in(cache: ObjectCache, name: str = "a") -> int | None:
    found = cache.get(CONFIG_MAP, "team-a", name)
    return resource_version_of(found) if found else None


def test_newer_version_replaces_older(cache: ObjectCache) -> None:
    assert cache.upsert(config_map(version=9))
    assert cache.upsert(config_map(version=10))
    assert version_in(cache) == 10


@pytest.mark.parametrize("version", [9, 10])
def test_older_or_same_version_is_no_news(cache: ObjectCache, version: int) -> None:
    cache.upsert(config_map(version=10))
    assert not cache.upsert(config_map(version=version))
    assert version_in(cache) == 10


def test_late_answer_to_a_write_does_not_bring_a_deleted_object_back(cache: ObjectCache) -> None:
    cache.upsert(config_map(version=10))
    assert cache.remove(config_map(version=12))
    assert not cache.upsert(config_map(version=11))
    assert version_in(cache) is None


def test_object_of_the_same_name_created_later_is_seen(cache: ObjectCache) -> None:
    cache.upsert(config_map(version=10))
    cache.remove(config_map(version=12))
    assert cache.upsert(config_map(version=13))
    assert version_in(cache) == 13


def test_late_deletion_of_a_predecessor_does_not_remove_its_successor(cache: ObjectCache) -> None:
    cache.upsert(config_map(version=13))
    assert not cache.remove(config_map(version=12))
    assert version_in(cache) == 13


def with_finalizer(version: int, **metadata: object) -> KubeObject:
    obj = config_map(version=version)
    obj["metadata"] |= {"finalizers": [FINALIZER], **metadata}
    return obj


def test_an_object_that_goes_with_our_finalizer_on_it_is_known_as_cut_short(cache: ObjectCache) -> None:
    cache.upsert(config_map(version=10))
    cache.remove(with_finalizer(12))
    assert not cache.upsert(with_finalizer(11))
    gone = cache.cut_short(CONFIG_MAP, "team-a", "a")
    assert gone is not None
    assert resource_version_of(gone) == 12
    cache.note_cleaned_up(gone)
    assert cache.cut_short(CONFIG_MAP, "team-a", "a") is None


def test_a_deletion_that_waited_for_our_finalizer_is_not_cut_short(cache: ObjectCache) -> None:
    cache.remove(with_finalizer(12, deletionTimestamp="2026-01-01T12:00:00Z"))
    assert cache.cut_short(CONFIG_MAP, "team-a", "a") is None


def test_a_successor_takes_over_from_an_object_that_was_cut_short(cache: ObjectCache) -> None:
    cache.remove(with_finalizer(12))
    cache.upsert(config_map(version=13))
    cache.remove(config_map(version=14))
    assert cache.cut_short(CONFIG_MAP, "team-a", "a") is None


def test_children_are_found_by_owner_and_namespace(cache: ObjectCache) -> None:
    for obj in (
        config_map("a"),
        config_map("b", owner="other"),
        config_map("c", owner=None),
        config_map("d", namespace="team-b"),
    ):
        cache.upsert(obj)
    assert [name_of(child) for child in cache.children("team-a", "mlflow")] == ["a"]
    assert cache.children("team-a", "nobody") == []


def test_changed_owner_label_moves_the_child(cache: ObjectCache) -> None:
    cache.upsert(config_map(version=1))
    cache.upsert(config_map(version=2, owner="other"))
    assert cache.children("team-a", "mlflow") == []
    assert len(cache.children("team-a", "other")) == 1


def test_list_is_of_one_kind_and_namespace(cache: ObjectCache) -> None:
    cache.upsert(config_map("a"))
    cache.upsert(config_map("b", namespace="team-b"))
    cache.upsert({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "resourceVersion": "3"}})
    assert len(cache.list(CONFIG_MAP)) == 2
    assert len(cache.list(CONFIG_MAP, "team-b")) == 1
    assert len(cache.list(NAMESPACE)) == 1
    assert cache.get(NAMESPACE, "ignored", "x") is not None


def test_list_after_a_gap_removes_what_was_deleted_in_it(cache: ObjectCache) -> None:
    for obj in (config_map("gone", 5), config_map("kept", 6), config_map("newer", 30)):
        cache.upsert(obj)
    gone = cache.forget_absent(CONFIG_MAP, {place_of(config_map("kept"))}, version=20)
    assert [name_of(obj) for obj in gone] == ["gone"]
    assert {name: version_in(cache, name) for name in ("gone", "kept", "newer")} == {
        "gone": None,
        "kept": 6,
        "newer": 30,
    }
    assert not cache.upsert(config_map("gone", 20))


def test_list_of_one_namespace_says_nothing_about_others(cache: ObjectCache) -> None:
    cache.upsert(config_map("other", 5, namespace="team-b"))
    assert cache.forget_absent(CONFIG_MAP, set(), version=20, namespace="team-a") == []
    assert len(cache) == 1


def test_managed_fields_are_dropped_but_for_what_our_patches_own(cache: ObjectCache) -> None:
    obj = config_map()
    update = {"manager": FIELD_MANAGER, "operation": "Update"}
    obj["metadata"]["managedFields"] = [
        {"manager": "kubectl", "operation": "Update"},
        {"manager": FIELD_MANAGER, "operation": "Apply"},
        {"manager": FIELD_MANAGER, "operation": "Update", "subresource": "status"},
        update,
    ]
    cache.upsert(obj)
    cached = cache.get(CONFIG_MAP, "team-a", "a")
    assert cached is not None
    assert cached["metadata"]["managedFields"] == [update]
    assert len(obj["metadata"]["managedFields"]) == 4


def test_verdict_holds_for_one_version_and_one_mark(cache: ObjectCache) -> None:
    cache.upsert(config_map(version=7))
    cache.note_settled(config_map(version=7), "mark")
    assert cache.is_settled(config_map(version=7), "mark")
    assert not cache.is_settled(config_map(version=7), "other")
    assert not cache.is_settled(config_map(version=8), "mark")
    cache.upsert(config_map(version=8))
    assert not cache.is_settled(config_map(version=8), "mark")


def test_verdict_goes_with_the_object(cache: ObjectCache) -> None:
    cache.upsert(config_map(version=7))
    cache.note_settled(config_map(version=7), "mark")
    cache.remove(config_map(version=8))
    assert cache._settled == {}


def test_memory_of_removed_objects_is_bounded(cache: ObjectCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "REMEMBERED_REMOVALS", 10)
    for number in range(100):
        cache.upsert(config_map(f"n{number}", number + 1))
        cache.remove(config_map(f"n{number}", number + 1))
    assert len(cache._removed) == 10


upserts = st.tuples(st.just("upsert"), st.integers(1, 9))
removals = st.tuples(st.just("remove"), st.integers(1, 9))


@given(st.lists(st.one_of(upserts, removals), max_size=12, unique_by=lambda event: event[1]), st.randoms())
def test_the_order_in_which_news_arrives_does_not_matter(
    events: list[tuple[str, int]], random: object
) -> None:
    """Watch events and answers to writes overtake each other; the last of them all decides."""
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    cache = ObjectCache(owner_label=LABEL)
    for what, version in shuffled:
        act: Callable[[KubeObject], bool] = cache.upsert if what == "upsert" else cache.remove
        act(config_map(version=version))
    newest = max(events, key=lambda event: event[1], default=("remove", 0))
    assert version_in(cache) == (newest[1] if newest[0] == "upsert" else None)
