"""The cache shows the newest version that anybody has seen, and nothing that is gone."""

import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_operator.api.labels_and_annotations import (
    API_VERSION,
    FIELD_MANAGER,
    FINALIZER,
    FORCE_ORPHAN_ANNOTATION,
    GROUP,
    REVOKE_NOW_ANNOTATION,
)
from tracking_operator.api.placement import BackendStoreKind
from tracking_operator.api.tracking_server import DeletionPolicy, TrackingServer
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube import cache as cache_module
from tracking_operator.kube.cache import MOST_REMOVED_BEFORE_FINALIZED, ObjectCache, place_of
from tracking_operator.kube.cache_memory import MOST_BYTES_OF_A_RESOURCE, Shares
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    NAMESPACE,
    KubeObject,
    name_of,
    namespace_of,
    resource_version_of,
)

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


def server(version: int = 1, **metadata: object) -> KubeObject:
    return config_map(version=version) | {
        "apiVersion": API_VERSION,
        "kind": "TrackingServer",
        "metadata": config_map(version=version)["metadata"] | metadata,
    }


def with_finalizer(version: int, **metadata: object) -> KubeObject:
    return server(version, finalizers=[FINALIZER], **metadata)


def with_a_database(version: int, **metadata: object) -> KubeObject:
    placement = {"database": {"host": "postgres.example.com", "port": 5432, "name": "mlflow_a"}}
    return server(version, **metadata) | {"status": {"placement": placement}}


def test_a_server_that_goes_with_our_finalizer_on_it_is_known_as_cut_short(cache: ObjectCache) -> None:
    cache.upsert(server(version=10))
    cache.remove(with_finalizer(12))
    assert not cache.upsert(with_finalizer(11))
    gone = cache.removed_before_finalized(TRACKING_SERVER, "team-a", "a")
    assert gone is not None
    assert resource_version_of(gone) == 12
    cache.note_finalized_after_removal(gone)
    assert cache.removed_before_finalized(TRACKING_SERVER, "team-a", "a") is None


@pytest.mark.parametrize("ending", [{}, {"deletionTimestamp": "2026-01-01T12:00:00Z"}], ids=str)
def test_only_a_server_that_was_finalized_is_not_cut_short(
    cache: ObjectCache, ending: dict[str, str]
) -> None:
    for uid in ("one", "another"):
        cache.upsert(with_finalizer(10, uid=uid))
        cache.note_finalized(server(uid="one"))
        assert cache.is_finalized(server(uid=uid)) is (uid == "one")
        cache.remove(with_a_database(12, uid=uid, **ending))
        assert bool(cache.removed_before_finalized(TRACKING_SERVER, "team-a", "a")) is (uid == "another")
        cache.note_finalized(server(uid=uid))
        assert not cache.is_finalized(server(uid=uid)), "it is gone"


def test_of_servers_that_were_cut_short_a_limited_number_is_known(cache: ObjectCache) -> None:
    names = [f"server-{number}" for number in range(MOST_REMOVED_BEFORE_FINALIZED + 1)]
    for name in names:
        cache.remove(with_a_database(12, name=name, namespace="team-a"))
    known = [name for name in names if cache.removed_before_finalized(TRACKING_SERVER, "team-a", name)]
    assert known == names[1:]


def test_a_namespace_that_deletes_many_servers_takes_no_place_of_another(cache: ObjectCache) -> None:
    cache.remove(with_a_database(12, namespace="team-b"))
    for number in range(MOST_REMOVED_BEFORE_FINALIZED + 1):
        cache.remove(with_a_database(12, name=f"server-{number}", namespace="team-a"))
    assert cache.removed_before_finalized(TRACKING_SERVER, "team-b", "a")


def test_a_server_without_finalizer_and_data_leaves_nothing_to_be_done(cache: ObjectCache) -> None:
    cache.remove(server(12))
    assert cache.removed_before_finalized(TRACKING_SERVER, "team-a", "a") is None


def test_a_server_that_went_while_nobody_watched_is_cut_short(cache: ObjectCache) -> None:
    cache.upsert(with_a_database(10))
    cache.evict_absent(TRACKING_SERVER, set(), 12)
    gone = cache.removed_before_finalized(TRACKING_SERVER, "team-a", "a")
    assert gone is not None
    assert gone["status"]["placement"]["database"]["name"] == "mlflow_a"


def test_of_a_very_large_server_that_was_cut_short_little_is_kept(cache: ObjectCache) -> None:
    annotations = {f"tracking-operator.dev/{number}": "x" * 4000 for number in range(60)}
    large = with_a_database(12, annotations=annotations) | {
        "spec": {"className": "standard", "podTemplate": {"env": [{"name": "A", "value": "x" * 1_000_000}]}}
    }
    cache.remove(large)
    gone = cache.removed_before_finalized(TRACKING_SERVER, "team-a", "a")
    assert gone is not None
    assert len(json.dumps(gone)) < MOST_BYTES_OF_A_RESOURCE
    assert gone["spec"] == {"className": "standard"}


def test_a_successor_takes_over_from_a_server_that_was_cut_short(cache: ObjectCache) -> None:
    cache.remove(with_finalizer(12))
    cache.upsert(server(version=13))
    assert cache.removed_before_finalized(TRACKING_SERVER, "team-a", "a") is None


def test_nothing_else_is_remembered_because_somebody_put_our_finalizer_on_it(cache: ObjectCache) -> None:
    stranger = config_map(version=12)
    stranger["metadata"]["finalizers"] = [FINALIZER]
    cache.remove(stranger)
    assert cache.removed_before_finalized(CONFIG_MAP, "team-a", "a") is None


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
    gone = cache.evict_absent(CONFIG_MAP, {place_of(config_map("kept"))}, version=20)
    assert [name_of(obj) for obj in gone] == ["gone"]
    assert {name: version_in(cache, name) for name in ("gone", "kept", "newer")} == {
        "gone": None,
        "kept": 6,
        "newer": 30,
    }
    assert not cache.upsert(config_map("gone", 20))


def test_list_of_one_namespace_says_nothing_about_others(cache: ObjectCache) -> None:
    cache.upsert(config_map("other", 5, namespace="team-b"))
    assert cache.evict_absent(CONFIG_MAP, set(), version=20, namespace="team-a") == []
    assert len(cache) == 1


def test_managed_fields_are_dropped_but_for_what_our_patches_own(cache: ObjectCache) -> None:
    obj = config_map()
    update = {"manager": FIELD_MANAGER, "operation": "Update"}
    obj["metadata"]["managedFields"] = [
        {"manager": "kubectl", "operation": "Update"},
        {"manager": FIELD_MANAGER, "operation": "Apply"},
        {"manager": FIELD_MANAGER, "operation": "Update", "subresource": "status"},
        update | {"fieldsV1": {"f:data": {}}},
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


def test_namespace_has_a_share_and_fills_nobody_elses() -> None:
    refused: list[str] = []
    cache = ObjectCache(
        owner_label=LABEL,
        shares=Shares(most_objects=3),
        on_refused=lambda obj: refused.append(name_of(obj)),
    )
    for name in "abcde":
        assert cache.upsert(config_map(name)), "what is refused is news all the same"
    cache.upsert(config_map(namespace="team-b"))
    assert refused == ["d", "e"]
    assert len(cache.list(CONFIG_MAP, "team-a")) == 3
    assert len(cache.list(CONFIG_MAP, "team-b")) == 1
    cache.remove(config_map("a", 2))
    cache.upsert(config_map("d", 3))
    assert cache.get(CONFIG_MAP, "team-a", "d") is not None


def filled(namespace: str, number: int, size: int = 1000) -> KubeObject:
    return config_map(f"c{number}", namespace=namespace) | {"data": {"a": "x" * size}}


def test_those_who_have_most_make_room_for_those_who_have_less() -> None:
    refused: list[str | None] = []
    shares = Shares(most_bytes=45_000, most_bytes_in_all=90_000)
    cache = ObjectCache(
        owner_label=LABEL, shares=shares, on_refused=lambda obj: refused.append(namespace_of(obj))
    )
    for namespace in ("evil-1", "evil-2", "evil-3"):
        for number in range(50):
            cache.upsert(filled(namespace, number))
    assert shares._bytes_in_all <= 90_000
    refused.clear()
    for number in range(5):
        cache.upsert(filled("team-a", number))
        cache.upsert(filled("team-b", number, 2000))
    assert len(cache.list(CONFIG_MAP, "team-a")) == len(cache.list(CONFIG_MAP, "team-b")) == 5
    assert set(refused) <= {"evil-1", "evil-2", "evil-3"}
    kept = [len(cache.list(CONFIG_MAP, f"evil-{number}")) for number in (1, 2, 3)]
    assert max(kept) - min(kept) <= 1
    assert shares._bytes_in_all <= 90_000
    # Who has most gets nothing at the cost of others.
    cache.upsert(filled("evil-1", 99))
    assert cache.get(CONFIG_MAP, "evil-1", "c99") is None
    for obj in cache.list(CONFIG_MAP):
        cache.remove(obj)
    assert (shares._bytes_in_all, shares._bytes, dict(cache._counted)) == (0, {}, {})


def test_many_namespaces_together_have_a_bound() -> None:
    shares = Shares(most_bytes_in_all=100_000)
    cache = ObjectCache(owner_label=LABEL, shares=shares)
    for number in range(1000):
        cache.upsert(filled(f"evil-{number}", 0))
    assert shares._bytes_in_all <= 100_000
    assert len(cache.list(CONFIG_MAP)) < 200


def test_large_servers_of_those_who_have_most_are_known_in_outline() -> None:
    cache = ObjectCache(owner_label=LABEL, resources=Shares(most_bytes_in_all=20_000))

    def large(namespace: str, number: int) -> KubeObject:
        found = server(namespace=namespace, name=f"s{number}")
        digests = (hashlib.sha256(f"{namespace} {number} {part}".encode()).hexdigest() for part in range(50))
        return found | {"spec": {"image": "".join(digests)}}

    for number in range(20):
        cache.upsert(large("evil", number))
    cache.upsert(large("team-a", 0))
    assert cache.whole(TRACKING_SERVER, "team-a", "s0") is not None
    assert len(cache.list(TRACKING_SERVER, "evil")) == 20, "each of them is known"
    assert 0 < sum(1 for one in cache.list(TRACKING_SERVER, "evil") if not cache.is_shortened(one)) < 7


def test_old_state_of_an_object_that_has_become_too_large_is_forgotten() -> None:
    cache = ObjectCache(owner_label=LABEL, shares=Shares(most_bytes_of_one=2000))
    cache.upsert(config_map(version=1) | {"data": {"a": "small"}})
    cache.upsert(config_map(version=2) | {"data": {f"key-{number}": "" for number in range(50)}})
    assert version_in(cache) is None


def test_servers_are_known_whatever_else_fills_their_namespace() -> None:
    cache = ObjectCache(owner_label=LABEL, shares=Shares(most_objects=0))
    cache.upsert(server())
    assert len(cache.list(TRACKING_SERVER)) == 1


def test_very_large_server_is_known_in_outline(cache: ObjectCache) -> None:
    """250 servers with a megabyte of variables each would be the ConfigMaps again."""
    variables = [{"name": f"V{number}", "value": "x" * 8000} for number in range(100)]
    spec = {"className": "standard", "podTemplate": {"env": variables}}
    large = server(annotations={"kubectl.kubernetes.io/last": "x" * 100_000, FORCE_ORPHAN_ANNOTATION: "true"})
    cache.upsert(large | {"spec": spec, "status": {"version": "3.17.2"}})
    kept = cache.get(TRACKING_SERVER, "team-a", "a")
    assert kept is not None
    assert cache.is_shortened(kept)
    assert cache.whole(TRACKING_SERVER, "team-a", "a") is None
    assert kept["spec"] == {"className": "standard"}
    assert kept["status"] == {"version": "3.17.2"}
    assert kept["metadata"]["annotations"] == {FORCE_ORPHAN_ANNOTATION: "true"}
    assert len(json.dumps(kept)) < 1000
    cache.upsert(server(version=2) | {"spec": spec | {"podTemplate": {}}})
    assert cache.whole(TRACKING_SERVER, "team-a", "a") is not None


def hostile(version: int = 1, **metadata: object) -> KubeObject:
    """A server whose team fills all that it may write into the metadata."""
    numbers = range(20_000)
    filled = server(
        version,
        annotations={f"{GROUP}/{number}": "x" * 100 for number in numbers}
        | {REVOKE_NOW_ANNOTATION: "x" * 100_000, FORCE_ORPHAN_ANNOTATION: "true"},
        finalizers=[*(f"example.com/{number}" for number in numbers), FINALIZER],
        ownerReferences=[
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": str(one)} for one in numbers
        ],
        **metadata,
    )
    spec = {
        "deletionPolicy": "Retain",
        "backendStore": {"external": {"uriSecretRef": {"name": "db", "key": "uri"}}},
        "artifactStore": {"volume": {"size": "20Gi"}},
        "access": {"host": "mlflow.example.com", "allowedHosts": ["x" * 200] * 32},
        "podTemplate": {"labels": {"a": "b"}},
    }
    return filled | {"spec": spec, "status": {"version": "3.17.2"}}


OUTLINE_OF_HOSTILE: KubeObject = {
    "apiVersion": API_VERSION,
    "kind": "TrackingServer",
    "metadata": {
        "name": "a",
        "namespace": "team-a",
        "resourceVersion": "1",
        "annotations": {FORCE_ORPHAN_ANNOTATION: "true"},
        "finalizers": [FINALIZER],
    },
    "spec": {
        "deletionPolicy": "Retain",
        "backendStore": {"external": {"uriSecretRef": {"name": "db", "key": "uri"}}},
        "artifactStore": {"volume": {}},
        "access": {"host": "mlflow.example.com"},
    },
    "status": {"version": "3.17.2"},
}


def test_of_hostile_metadata_nothing_is_kept_but_what_others_have_to_know(cache: ObjectCache) -> None:
    """100,000 finalizers make several megabytes."""
    cache.upsert(hostile())
    assert cache.get(TRACKING_SERVER, "team-a", "a") == OUTLINE_OF_HOSTILE
    assert cache.whole(TRACKING_SERVER, "team-a", "a") is None


def test_what_is_shortened_for_the_sake_of_others_is_kept_in_the_same_outline() -> None:
    shares = Shares(most_bytes=10**9, most_bytes_of_one=10**9, most_bytes_in_all=10**9)
    cache = ObjectCache(owner_label=LABEL, resources=shares)
    cache.upsert(hostile())
    cache._shorten((TRACKING_SERVER, "team-a", "a"))
    assert cache.get(TRACKING_SERVER, "team-a", "a") == OUTLINE_OF_HOSTILE


def test_the_last_state_of_a_server_with_hostile_metadata_is_small(cache: ObjectCache) -> None:
    cache.remove(hostile(12, uid="one"))
    gone = cache.removed_before_finalized(TRACKING_SERVER, "team-a", "a")
    assert gone is not None
    known = {"resourceVersion": "12", "uid": "one"}
    assert gone == OUTLINE_OF_HOSTILE | {"metadata": OUTLINE_OF_HOSTILE["metadata"] | known}


def test_a_server_known_in_outline_that_goes_unseen_is_cut_short_with_its_policy(cache: ObjectCache) -> None:
    """A team's ``Retain`` must not become the class's ``Delete`` by the size of a resource."""
    cache.upsert(hostile())
    cache.evict_absent(TRACKING_SERVER, set(), 12)
    gone = cache.removed_before_finalized(TRACKING_SERVER, "team-a", "a")
    assert gone is not None
    resource = TrackingServer.model_validate(gone)
    assert resource.spec.deletion_policy is DeletionPolicy.RETAIN
    assert resource.spec.backend_store.kind is BackendStoreKind.EXTERNAL
    assert resource.metadata.finalizers == (FINALIZER,)


def test_each_version_is_read_once(cache: ObjectCache) -> None:
    read: list[int] = []

    def note(obj: KubeObject) -> int:
        read.append(resource_version_of(obj))
        return resource_version_of(obj)

    for version in (1, 2):
        cache.upsert(server(version))
        for _ in range(3):
            (live,) = cache.list(TRACKING_SERVER, "team-a")
            assert cache.read_once(live, note) == version
    assert read == [1, 2]
    cache.remove(server(3))
    assert cache._read == {}
    assert cache._in_namespace == {}


def test_shares_are_given_back(cache: ObjectCache) -> None:
    shares = Shares()
    cache = ObjectCache(owner_label=LABEL, shares=shares)
    for version in range(1, 5):
        cache.upsert(config_map(version=version) | {"data": {"a": "x" * version}})
    cache.remove(config_map(version=9))
    assert (shares._bytes, shares._objects) == ({}, {})


def child(name: str, version: int = 1, *, controller: str = "uid", size: int = 0) -> KubeObject:
    obj = config_map(name, version) | {"data": {str(number): "x" for number in range(size)}}
    obj["metadata"]["ownerReferences"] = [{"controller": True, "uid": controller}, {"uid": "somebody"}]
    return obj


def test_what_is_kept_is_what_was_seen(cache: ObjectCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed and opened again, also when more is in use than may stay open."""
    monkeypatch.setattr(cache_module, "MOST_BYTES_OPENED", 20_000)
    odd = {"text": "ä\u0000\ud83d", "number": 1.5, "nothing": None, "list": [True, {}], "digest": "sha256:00"}
    seen = [child(f"c{number}", number + 1, size=10) | {"spec": odd} for number in range(20)]
    for obj in seen:
        cache.upsert(obj)
    assert [cache.get(CONFIG_MAP, "team-a", name_of(obj)) for obj in seen] == seen
    assert cache.list(CONFIG_MAP) == seen
    assert 0 < len(cache._opened) < len(seen)
    for obj in seen:
        cache.remove(obj | {"metadata": obj["metadata"] | {"resourceVersion": "99"}})
    assert (cache._opened, cache._bytes_opened) == ({}, 0)


def test_small_objects_that_grow_when_they_are_opened_count_as_what_they_grow_to() -> None:
    """A namespace's share is what a look at it may take in memory, however well it can be packed."""
    shares = Shares(most_bytes=100_000, most_bytes_of_one=100_000)
    cache = ObjectCache(owner_label=LABEL, shares=shares)
    for number in range(50):
        cache.upsert(child(f"c{number}", size=100))
    assert 1 < len(cache.list(CONFIG_MAP)) < 10
    assert shares._bytes_in_all < 10_000
    cache.upsert(child("large", size=1000))
    assert cache.get(CONFIG_MAP, "team-a", "large") is None


def test_children_are_found_by_name_and_by_controller(cache: ObjectCache) -> None:
    for obj in (child("a"), child("b", controller="other"), config_map("c", owner="other")):
        cache.upsert(obj)
    wanted = [(CONFIG_MAP, name) for name in ("b", "c", "missing")]
    assert [name_of(one) for one in cache.named_children("team-a", "mlflow", wanted)] == ["b"]
    assert [name_of(one) for one in cache.controlled_children("team-a", "mlflow", "uid")] == ["a"]
    assert cache.children("team-a", "mlflow", NAMESPACE) == []
    assert cache.names(CONFIG_MAP) == [("team-a", name) for name in "abc"]


def test_what_many_ask_for_is_opened_once(cache: ObjectCache) -> None:
    read: list[str] = []

    def name(obj: KubeObject) -> str:
        read.append(name_of(obj))
        return name_of(obj)

    for number in range(3):
        cache.upsert(child(f"c{number}"))
    for _ in range(3):
        assert cache.readings(CONFIG_MAP, "team-a", name) == ["c0", "c1", "c2"]
    cache.upsert(child("c1", 2))
    cache.remove(child("c2", 2))
    assert cache.readings(CONFIG_MAP, "team-a", name) == ["c0", "c1"]
    assert read == ["c0", "c1", "c2", "c1"]


def test_a_changed_owner_is_told(cache: ObjectCache) -> None:
    cache.upsert(config_map())
    assert cache.with_another_owner(config_map(version=2)) is None
    for changed in (config_map(version=2, owner="other"), config_map(version=2, owner=None)):
        assert cache.with_another_owner(changed) == config_map()


def test_object_with_a_long_text_is_not_whole(cache: ObjectCache) -> None:
    cache.upsert(config_map("long") | {"data": {"a": "x" * 5000, "b": "short"}})
    cache.upsert(config_map("short") | {"data": {"b": "short"}})
    kept = cache.get(CONFIG_MAP, "team-a", "long")
    assert kept is not None
    assert kept["data"]["b"] == "short"
    assert len(kept["data"]["a"]) < 100
    assert cache.whole(CONFIG_MAP, "team-a", "long") is None
    assert cache.whole(CONFIG_MAP, "team-a", "short") is cache.get(CONFIG_MAP, "team-a", "short")
    cache.upsert(config_map("long", 2) | {"data": {"a": "now short"}})
    assert cache.whole(CONFIG_MAP, "team-a", "long") is not None


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
