"""Applying on a real API server: who owns what, what survives, and how many writes it takes."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from dev.development_cluster import DevelopmentCluster
from dev.merge_keys import Schema, group_path, is_of_the_gateway_api, merge_keys, published
from tests.cluster.kube_objects import (
    Desk,
    a_desk,
    config_map,
    deployment,
    names,
    one_of_each_kind,
    ours,
    service,
)
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import APPLIED_ANNOTATION, FIELD_MANAGER
from tracking_operator.failures import Waiting
from tracking_operator.kube.apply import Ownership, apply_all, prune
from tracking_operator.kube.compare import first_difference
from tracking_operator.kube.errors import failure_from
from tracking_operator.kube.merge_keys import MERGE_KEYS
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    SERVICE,
    Kind,
    KubeObject,
    describe,
)

CONTAINER = "/spec/template/spec/containers/0"


@pytest.fixture
async def desk(cluster: DevelopmentCluster, namespace: str) -> AsyncIterator[Desk]:
    async with a_desk(cluster.kubeconfig_path, namespace) as desk:
        yield desk


def managers(obj: KubeObject) -> set[tuple[str, str]]:
    return {(entry["manager"], entry["operation"]) for entry in obj["metadata"]["managedFields"]}


async def test_whatever_was_just_applied_does_not_differ(desk: Desk) -> None:
    """Defaults, falsy wishes and normalised quantities of nine kinds: none of them looks like drift."""
    desired = one_of_each_kind(desk.namespace)
    result = await desk.apply(*desired)
    assert not result.failures
    assert [str(one.difference) for one in result.unsettled] == []
    assert len(result.objects) == len(desired)
    assert sorted(desk.verbs()) == ["apply"] * len(desired) + ["get"] * len(desired)


def test_lists_are_merged_by_what_the_api_server_says(cluster: DevelopmentCluster) -> None:
    def document_of(kind: Kind) -> Schema:
        if is_of_the_gateway_api(kind):  # it is not installed
            return published(kind)
        return dict(json.loads(cluster.kubectl("get", "--raw", f"/openapi/v3/{group_path(kind)}")))

    assert merge_keys(document_of) == MERGE_KEYS, "run `make merge-keys`"


async def test_second_apply_of_everything_costs_no_call(desk: Desk) -> None:
    desired = one_of_each_kind(desk.namespace)
    await desk.apply(*desired)
    desk.calls.clear()
    result = await desk.apply(*desired)
    assert desk.calls == []
    assert not result.written
    assert len(result.objects) == len(desired)


async def test_after_a_restart_only_the_reads_are_repeated(desk: Desk, cluster: DevelopmentCluster) -> None:
    desired = one_of_each_kind(desk.namespace)
    await desk.apply(*desired)
    async with a_desk(cluster.kubeconfig_path, desk.namespace) as restarted:
        result = await restarted.apply(*desired)
        assert set(restarted.verbs()) == {"get"}
        assert not result.written


async def test_everything_is_owned_by_our_apply(desk: Desk) -> None:
    await desk.apply(service(desk.namespace))
    live = await desk.live(SERVICE, "web")
    assert managers(live) == {(FIELD_MANAGER, "Apply")}
    assert live["metadata"]["annotations"][APPLIED_ANNOTATION]


async def test_labels_and_annotations_of_others_survive_our_updates(desk: Desk) -> None:
    await desk.apply(service(desk.namespace))
    await desk.somebody_patches(
        SERVICE,
        "web",
        {"op": "add", "path": "/metadata/labels/team", "value": "a"},
        {"op": "add", "path": "/metadata/annotations/note", "value": "hands off"},
    )
    await desk.apply(service(desk.namespace))
    assert desk.verbs() == []
    desired = service(desk.namespace)
    desired["spec"]["sessionAffinity"] = "ClientIP"
    await desk.apply(desired)
    live = await desk.live(SERVICE, "web")
    assert live["metadata"]["labels"]["team"] == "a"
    assert live["metadata"]["annotations"]["note"] == "hands off"
    assert live["spec"]["sessionAffinity"] == "ClientIP"


@dataclass(frozen=True)
class Drift:
    what: str
    build: Callable[[str], KubeObject]
    kind: Kind
    name: str
    operations: tuple[KubeObject, ...]
    write: str


DRIFT = [
    Drift("a changed value", deployment, DEPLOYMENT, "web",
          ({"op": "replace", "path": "/spec/replicas", "value": 3},), "apply"),
    Drift("a changed image", deployment, DEPLOYMENT, "web",
          ({"op": "replace", "path": f"{CONTAINER}/image", "value": "evil"},), "apply"),
    Drift("a removed variable", deployment, DEPLOYMENT, "web",
          ({"op": "remove", "path": f"{CONTAINER}/env/0"},), "apply"),
    Drift("a field that we want off", deployment, DEPLOYMENT, "web",
          ({"op": "add", "path": "/spec/template/spec/hostNetwork", "value": True},
           {"op": "add", "path": f"{CONTAINER}/ports/0/hostPort", "value": 5000}), "apply"),
    Drift("an added argument", deployment, DEPLOYMENT, "web",
          ({"op": "add", "path": f"{CONTAINER}/args/-", "value": "--dev"},), "apply"),
    Drift("an added toleration", deployment, DEPLOYMENT, "web",
          ({"op": "add", "path": "/spec/template/spec/tolerations", "value": [{"operator": "Exists"}]},),
          "apply"),
    Drift("a changed port number", service, SERVICE, "web",
          ({"op": "replace", "path": "/spec/ports/0/port", "value": 81},), "patch"),
    Drift("an added port", service, SERVICE, "web",
          ({"op": "add", "path": "/spec/ports/-", "value": {"name": "more", "port": 90}},), "patch"),
    Drift("an added selector", service, SERVICE, "web",
          ({"op": "add", "path": "/spec/selector/evil", "value": "yes"},), "patch"),
    Drift("an added container", deployment, DEPLOYMENT, "web",
          ({"op": "add", "path": "/spec/template/spec/containers/-",
            "value": {"name": "evil", "image": "evil"}},), "patch"),
    Drift("an added init container", deployment, DEPLOYMENT, "web",
          ({"op": "add", "path": "/spec/template/spec/initContainers/-",
            "value": {"name": "evil", "image": "evil"}},), "patch"),
    Drift("a renamed container", deployment, DEPLOYMENT, "web",
          ({"op": "replace", "path": f"{CONTAINER}/name", "value": "other"},), "patch"),
    Drift("a changed container port", deployment, DEPLOYMENT, "web",
          ({"op": "replace", "path": f"{CONTAINER}/ports/0/containerPort", "value": 5001},), "patch"),
    Drift("an added variable", deployment, DEPLOYMENT, "web",
          ({"op": "add", "path": f"{CONTAINER}/env/0", "value": {"name": "EVIL", "value": "1"}},), "patch"),
    Drift("a mount at another place", deployment, DEPLOYMENT, "web",
          ({"op": "replace", "path": f"{CONTAINER}/volumeMounts/0/mountPath", "value": "/evil"},), "patch"),
    Drift("an added volume", deployment, DEPLOYMENT, "web",
          ({"op": "add", "path": "/spec/template/spec/volumes/-",
            "value": {"name": "evil", "hostPath": {"path": "/"}}},), "patch"),
    Drift("a changed mount and a changed value", deployment, DEPLOYMENT, "web",
          ({"op": "replace", "path": f"{CONTAINER}/volumeMounts/0/mountPath", "value": "/evil"},
           {"op": "replace", "path": "/spec/replicas", "value": 0}), "patch"),
    Drift("an added limit", deployment, DEPLOYMENT, "web",
          ({"op": "add", "path": f"{CONTAINER}/resources/limits/cpu", "value": "2"},), "patch"),
    Drift("an added key", config_map, CONFIG_MAP, "settings",
          ({"op": "add", "path": "/data/EVIL", "value": "1"},), "patch"),
    Drift("a removed label", service, SERVICE, "web",
          ({"op": "remove", "path": "/metadata/labels"},), "apply"),
    Drift("a removed mark", service, SERVICE, "web",
          ({"op": "remove", "path": "/metadata/annotations"},), "apply"),
]  # fmt: skip


@pytest.mark.parametrize("drift", DRIFT, ids=[drift.what for drift in DRIFT])
async def test_drift_is_put_right_with_one_write(desk: Desk, drift: Drift) -> None:
    desired = drift.build(desk.namespace)
    await desk.apply(desired)
    await desk.somebody_patches(drift.kind, drift.name, *drift.operations)
    result = await desk.apply(desired)
    assert desk.verbs() == [drift.write]
    assert [str(one.difference) for one in result.unsettled] == []
    assert first_difference(desired, await desk.live(drift.kind, drift.name)) is None
    await desk.apply(desired)
    assert desk.verbs()[1:] == []  # the read of this test, and nothing more


async def test_field_that_is_no_longer_wanted_disappears(desk: Desk) -> None:
    desired = service(desk.namespace)
    desired["spec"]["ports"].append({"name": "more", "port": 90, "targetPort": "more"})
    desired["spec"]["externalTrafficPolicy"] = None
    desired["metadata"]["annotations"] = {"note": "temporary"}
    await desk.apply(desired)
    result = await desk.apply(service(desk.namespace))
    assert len(result.written) == 1
    live = await desk.live(SERVICE, "web")
    assert [port["name"] for port in live["spec"]["ports"]] == ["http"]
    assert "note" not in live["metadata"]["annotations"]


async def test_field_that_a_patch_of_ours_has_set_disappears_as_well(desk: Desk) -> None:
    """A JSON patch makes us owner by update, and an apply lets go only of what is owned by apply."""
    desired = config_map(desk.namespace, a="1", b="2")
    await desk.apply(desired)
    await desk.somebody_patches(
        CONFIG_MAP,
        "settings",
        {"op": "add", "path": "/data/EVIL", "value": "1"},
        {"op": "replace", "path": "/data/b", "value": "evil"},
    )
    await desk.apply(desired)
    assert (FIELD_MANAGER, "Update") in managers(await desk.live(CONFIG_MAP, "settings"))
    await desk.apply(config_map(desk.namespace, a="1"))
    live = await desk.live(CONFIG_MAP, "settings")
    assert live["data"] == {"a": "1"}
    assert managers(live) == {(FIELD_MANAGER, "Apply")}


async def test_update_of_ours_meets_a_port_renumbered_by_somebody(desk: Desk) -> None:
    """The API server refuses the apply: 'Duplicate value'. Both changes have to be through in the end."""
    await desk.apply(service(desk.namespace))
    await desk.somebody_patches(SERVICE, "web", {"op": "replace", "path": "/spec/ports/0/port", "value": 81})
    desired = service(desk.namespace)
    desired["spec"]["sessionAffinity"] = "ClientIP"
    result = await desk.apply(desired)
    assert not result.failures
    assert not result.unsettled
    live = await desk.live(SERVICE, "web")
    assert [port["port"] for port in live["spec"]["ports"]] == [80]
    assert live["spec"]["sessionAffinity"] == "ClientIP"


async def test_outdated_cache_does_not_stop_the_repair(desk: Desk) -> None:
    await desk.apply(service(desk.namespace))
    await desk.somebody_patches(SERVICE, "web", {"op": "replace", "path": "/spec/ports/0/port", "value": 81})
    newer = [{"op": "add", "path": "/metadata/labels/team", "value": "a"}]
    await desk.client.json_patch(SERVICE, desk.namespace, "web", newer)  # the cache does not hear of it
    result = await desk.apply(service(desk.namespace))
    assert not result.failures
    live = await desk.live(SERVICE, "web")
    assert [port["port"] for port in live["spec"]["ports"]] == [80]
    assert live["metadata"]["labels"]["team"] == "a"


async def test_deleted_object_is_made_again_although_the_cache_still_has_it(desk: Desk) -> None:
    await desk.apply(config_map(desk.namespace))
    await desk.client.delete(CONFIG_MAP, desk.namespace, "settings")
    desired = config_map(desk.namespace, mode="loud")
    result = await desk.apply(desired)
    assert not result.failures
    assert (await desk.live(CONFIG_MAP, "settings"))["data"] == {"mode": "loud"}


async def test_foreign_object_of_our_name_stays_as_it_is(desk: Desk) -> None:
    foreign = config_map(desk.namespace, owner="somebody")
    del foreign["metadata"]["labels"]
    before = await desk.client.create(foreign)
    result = await apply_all(
        desk.client,
        desk.cache,
        [config_map(desk.namespace), service(desk.namespace)],
        owner=lambda live: Ownership.FOREIGN if live["kind"] == "ConfigMap" else Ownership.OURS,
    )
    assert [describe(obj) for obj in result.conflicts] == [f"ConfigMap {desk.namespace}/settings"]
    assert await desk.live(CONFIG_MAP, "settings") == before
    assert names(result.objects) == {"web"}


async def test_foreign_object_that_takes_the_place_of_ours_is_not_touched(desk: Desk) -> None:
    """The cache still shows ours; the write names its UID, and the API server refuses."""
    await desk.apply(config_map(desk.namespace))
    our_uid = (await desk.live(CONFIG_MAP, "settings"))["metadata"]["uid"]
    await desk.client.delete(CONFIG_MAP, desk.namespace, "settings")
    foreign = await desk.client.create(config_map(desk.namespace, owner="somebody"))
    result = await apply_all(
        desk.client,
        desk.cache,
        [config_map(desk.namespace, mode="loud")],
        owner=lambda live: Ownership.OURS if live["metadata"]["uid"] == our_uid else Ownership.FOREIGN,
    )
    assert len(result.conflicts) == 1
    assert await desk.live(CONFIG_MAP, "settings") == foreign


async def test_object_on_its_way_out_is_left_to_go(desk: Desk) -> None:
    leaving = config_map(desk.namespace)
    leaving["metadata"]["finalizers"] = ["example.com/wait"]
    await desk.client.create(leaving)
    await desk.client.delete(CONFIG_MAP, desk.namespace, "settings")
    result = await apply_all(
        desk.client,
        desk.cache,
        [config_map(desk.namespace, mode="loud")],
        owner=lambda live: Ownership.LEAVING if live["metadata"].get("deletionTimestamp") else ours(live),
    )
    assert len(result.leaving) == 1
    assert (await desk.live(CONFIG_MAP, "settings"))["data"] == {"mode": "quiet"}
    await desk.client.json_patch(
        CONFIG_MAP, desk.namespace, "settings", [{"op": "remove", "path": "/metadata/finalizers"}]
    )


async def test_one_refused_object_does_not_hold_up_the_others(desk: Desk) -> None:
    bad = service(desk.namespace)
    bad["spec"]["ports"][0]["port"] = 99999
    result = await desk.apply(bad, config_map(desk.namespace))
    ((refused, error),) = result.failures
    assert describe(refused) == f"Service {desk.namespace}/web"
    assert error.status == 422
    assert "spec.ports[0].port" in error.message
    assert names(result.objects) == {"settings"}


async def test_quota_is_told_from_a_missing_permission(desk: Desk) -> None:
    await desk.client._request(
        "create",
        CONFIG_MAP,
        f"/api/v1/namespaces/{desk.namespace}/resourcequotas",
        body={
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none"},
            "spec": {"hard": {"services": "0"}},
        },
    )
    ((_, error),) = (await desk.apply(service(desk.namespace))).failures
    assert error.is_quota_exceeded
    assert not error.is_missing_permission
    assert failure_from(error, "write it").reason == Reason.QUOTA_EXCEEDED


async def test_namespace_being_deleted_is_waited_for(desk: Desk) -> None:
    holder = config_map(desk.namespace, "holder")
    holder["metadata"]["finalizers"] = ["example.com/wait"]
    await desk.client.create(holder)
    await desk.client.delete(NAMESPACE, None, desk.namespace)
    result = await desk.apply(service(desk.namespace))
    ((_, error),) = result.failures
    assert error.is_namespace_terminating
    assert isinstance(failure_from(error, "write it"), Waiting)
    await desk.client.json_patch(
        CONFIG_MAP, desk.namespace, "holder", [{"op": "remove", "path": "/metadata/finalizers"}]
    )


async def test_prune_deletes_exactly_what_is_no_longer_wanted(desk: Desk) -> None:
    kept, dropped = config_map(desk.namespace, "kept"), config_map(desk.namespace, "dropped")
    applied = await desk.apply(kept, dropped)
    result = await prune(desk.client, desk.cache, applied.objects, [kept])
    assert [written.name for written in result.deleted] == ["dropped"]
    assert await desk.client.get(CONFIG_MAP, desk.namespace, "dropped") is None
    assert await desk.client.get(CONFIG_MAP, desk.namespace, "kept") is not None


async def test_prune_spares_an_object_that_took_the_name_meanwhile(desk: Desk) -> None:
    applied = await desk.apply(config_map(desk.namespace))
    await desk.client.delete(CONFIG_MAP, desk.namespace, "settings")
    await desk.client.create(config_map(desk.namespace, owner="somebody"))
    result = await prune(desk.client, desk.cache, applied.objects, [])
    assert not result.deleted
    assert (await desk.live(CONFIG_MAP, "settings"))["data"] == {"owner": "somebody"}
