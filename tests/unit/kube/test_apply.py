"""One write where one is needed, none where none is, and never one to a stranger's object."""

import copy

from tests.unit.kube.fake_client import FakeClient, conflict, invalid
from tests.unit.kube.manifests import config_map, containers, deployment, service, stored
from tracking_operator.api.labels_and_annotations import APPLIED_ANNOTATION, FIELD_MANAGER, SERVER_LABEL
from tracking_operator.kube.apply import (
    AppliedSet,
    Apply,
    JsonPatch,
    OwnerCheck,
    Ownership,
    apply_all,
    digest,
    plan,
    prune,
)
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.contested import MOST_TRIES
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import KubeObject


def _scale(obj: KubeObject) -> None:
    obj["spec"]["replicas"] = 2


def _add_sidecar(obj: KubeObject) -> None:
    if len(containers(obj)) == 1:
        containers(obj).append({"name": "sidecar", "image": "sidecar"})


def ours(live: KubeObject) -> Ownership:
    return Ownership.OURS


def new_cache(*objects: KubeObject) -> ObjectCache:
    cache = ObjectCache(owner_label=SERVER_LABEL)
    for obj in objects:
        cache.upsert(obj)
    return cache


async def applied(
    client: FakeClient,
    cache: ObjectCache,
    *desired: KubeObject,
    owner: OwnerCheck = ours,
    asks_again: bool = False,
) -> AppliedSet:
    return await apply_all(client.as_client(), cache, desired, owner=owner, asks_again=asks_again)


def live_in(client: FakeClient, desired: KubeObject) -> KubeObject:
    """Let a settled object live, as it is after our own apply."""
    return client.put(stored(desired))


class TestPlan:
    def test_a_missing_object_is_applied(self) -> None:
        write = plan(service(), None)
        assert isinstance(write, Apply)
        assert write.why == "it is missing"
        assert write.obj["metadata"]["annotations"][APPLIED_ANNOTATION] == digest(service())

    def test_a_settled_object_needs_nothing(self) -> None:
        assert plan(deployment(), stored(deployment())) is None

    def test_a_changed_value_is_applied_to_that_very_object(self) -> None:
        live = stored(deployment())
        live["spec"]["replicas"] = 5
        write = plan(deployment(), live)
        assert isinstance(write, Apply)
        assert write.obj["metadata"]["uid"] == live["metadata"]["uid"]
        assert write.why == "spec.replicas: wanted 1, found 5"

    def test_a_field_that_is_no_longer_wanted_is_noticed_by_the_mark(self) -> None:
        live = stored(deployment())
        desired = deployment()
        del containers(desired)[0]["resources"]
        write = plan(desired, live)
        assert isinstance(write, Apply)
        assert "no longer wanted" in write.why

    def test_a_changed_port_number_takes_one_patch(self) -> None:
        live = stored(service())
        live["spec"]["ports"][0]["port"] = 81
        assert isinstance(plan(service(), live), JsonPatch)

    def test_a_patch_of_a_specification_does_not_mind_a_new_status(self) -> None:
        live = stored(deployment())
        containers(live).append({"name": "evil", "image": "evil"})
        write = plan(deployment(), live)
        assert isinstance(write, JsonPatch)
        assert [operation["path"] for operation in write.operations[:2]] == [
            "/metadata/uid",
            "/metadata/generation",
        ]

    def test_a_patch_of_anything_else_minds_every_change(self) -> None:
        live = stored(config_map())
        del live["metadata"]["generation"]
        live["data"]["EVIL"] = "1"
        write = plan(config_map(), live)
        assert isinstance(write, JsonPatch)
        assert write.operations[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}

    def test_an_entry_that_we_do_not_want_any_more_is_left_to_apply(self) -> None:
        """We own it, so that apply removes it; only a stranger's entry needs a patch."""
        live = stored(deployment())
        desired = deployment()
        containers(desired)[0]["env"].pop()
        assert isinstance(plan(desired, live), Apply)

    def test_an_immutable_object_with_other_labels_is_applied(self) -> None:
        desired = config_map() | {"immutable": True}
        live = stored(desired)
        live["metadata"]["labels"] = {}
        assert isinstance(plan(desired, live), Apply)

    def test_the_digest_does_not_depend_on_the_order_of_keys(self) -> None:
        assert digest(dict(reversed(service().items()))) == digest(service())


class TestApplyAll:
    async def test_creates_what_is_missing_and_remembers_it(self) -> None:
        client, cache = FakeClient(), new_cache()
        result = await applied(client, cache, service(), deployment())
        assert [written.why for written in result.written] == ["it is missing", "it is missing"]
        assert sorted(client.verbs()) == ["apply", "apply", "get", "get"]
        client.calls.clear()
        again = await applied(client, cache, service(), deployment())
        assert client.calls == []
        assert len(again.objects) == 2
        assert not again.written

    async def test_drift_is_put_right_with_one_write(self) -> None:
        client = FakeClient()
        live = live_in(client, service())
        live["spec"]["ports"][0]["port"] = 81
        cache = new_cache(client.put(live))
        result = await applied(client, cache, service())
        assert client.verbs() == ["patch"]
        assert not result.unsettled
        assert result.objects[0]["spec"]["ports"][0]["port"] == 80

    async def test_a_foreign_object_is_not_touched(self) -> None:
        client = FakeClient()
        foreign = client.put(service())
        result = await applied(client, new_cache(), service(), owner=lambda _: Ownership.FOREIGN)
        assert client.verbs() == ["get"]
        assert result.conflicts == [foreign]
        assert not result.objects

    async def test_a_leaving_object_is_waited_for(self) -> None:
        client = FakeClient()
        leaving = client.put(service())
        result = await applied(client, new_cache(leaving), service(), owner=lambda _: Ownership.LEAVING)
        assert client.calls == []
        assert result.leaving == [leaving]

    async def test_a_refused_object_does_not_hold_up_the_others(self) -> None:
        client = FakeClient()
        client.errors = [ApiError(403, "Forbidden", "exceeded quota")]
        result = await applied(client, new_cache(), service(), deployment())
        assert [error.status for _, error in result.failures] == [403]
        assert len(result.written) == 1

    async def test_a_webhook_that_changes_it_back_is_reported_and_not_fought(self) -> None:
        client = FakeClient()
        client.after_write = _scale
        result = await applied(client, new_cache(), deployment())
        assert client.verbs() == ["get", "apply"]
        assert [unsettled.difference.path for unsettled in result.unsettled] == ["spec.replicas"]

    async def test_a_webhook_is_given_way_to_until_something_else_is_wanted(self) -> None:
        client, cache = FakeClient(), new_cache()
        client.after_write = _scale
        for _ in range(MOST_TRIES):
            assert (await applied(client, cache, deployment())).unsettled
        client.calls.clear()
        for _ in range(3):
            result = await applied(client, cache, deployment())
            assert [left.difference.path for left in result.contested] == ["spec.replicas"]
            assert not result.unsettled
        assert client.calls == []

        other = deployment()
        other["spec"]["paused"] = True
        assert (await applied(client, cache, other)).unsettled
        assert client.verbs() == ["apply"]

    async def test_a_webhook_that_has_gone_is_noticed_by_a_dry_run(self) -> None:
        for webhook in (_scale, _add_sidecar):
            client, cache = FakeClient(), new_cache()
            client.after_write = webhook
            while not (await applied(client, cache, deployment())).contested:
                pass
            client.calls.clear()
            assert (await applied(client, cache, deployment(), asks_again=True)).contested
            assert client.verbs() == ["dry run"], "nothing is written while it is there"

            client.after_write = lambda _: None
            assert (await applied(client, cache, deployment())).contested, "nobody has asked"
            client.calls.clear()
            result = await applied(client, cache, deployment(), asks_again=True)
            assert len(client.verbs()) == 2
            assert not result.contested
            assert not result.unsettled
            assert plan(deployment(), result.objects[0]) is None

    async def test_a_webhook_that_takes_no_dry_runs_is_left_alone(self) -> None:
        client, cache = FakeClient(), new_cache()
        client.after_write = _scale
        while not (await applied(client, cache, deployment())).contested:
            pass
        client.errors = [ApiError(400, "BadRequest", "the webhook does not support dry run")]
        client.calls.clear()
        result = await applied(client, cache, deployment(), asks_again=True)
        assert client.verbs() == ["dry run"]
        assert result.contested
        assert not result.failures

    async def test_a_webhook_that_adds_an_entry_is_fought_once(self) -> None:
        client = FakeClient()
        client.after_write = _add_sidecar
        result = await applied(client, new_cache(), deployment())
        assert client.verbs() == ["get", "apply", "patch"]
        assert [unsettled.difference.path for unsettled in result.unsettled] == [
            "spec.template.spec.containers"
        ]

    async def test_an_outdated_copy_is_read_again(self) -> None:
        client = FakeClient()
        outdated = live_in(client, service())
        outdated["spec"]["ports"][0]["port"] = 81
        newer = copy.deepcopy(outdated)
        newer["metadata"]["labels"]["team"] = "a"
        newer["metadata"]["generation"] += 1
        client.put(newer)
        result = await applied(client, new_cache(outdated), service())
        assert client.verbs() == ["patch", "get", "patch"]
        assert result.objects[0]["metadata"]["labels"]["team"] == "a"
        assert not result.failures

    async def test_an_object_deleted_behind_our_back_is_made_again(self) -> None:
        client = FakeClient()
        gone = live_in(client, deployment())
        gone["spec"]["replicas"] = 9
        client.stored.clear()
        result = await applied(client, new_cache(gone), deployment())
        assert client.verbs() == ["apply", "get", "apply"]
        assert result.objects[0]["metadata"]["uid"] != gone["metadata"]["uid"]

    async def test_an_object_replaced_by_a_foreign_one_behind_our_back_is_not_touched(self) -> None:
        client = FakeClient()
        before = live_in(client, deployment())
        before["spec"]["replicas"] = 9
        client.stored.clear()
        foreign = client.put(deployment())

        def owner(live: KubeObject) -> Ownership:
            is_ours = live["metadata"]["uid"] == before["metadata"]["uid"]
            return Ownership.OURS if is_ours else Ownership.FOREIGN

        result = await applied(client, new_cache(before), deployment(), owner=owner)
        assert result.conflicts == [foreign]
        assert list(client.stored.values()) == [foreign]

    async def test_an_entry_that_makes_apply_impossible_is_taken_out_first(self) -> None:
        """An update of ours (another digest) meets a port that somebody renumbered: 'Duplicate value'."""
        client = FakeClient()
        live = live_in(client, service())
        live["spec"]["ports"][0]["port"] = 81
        cache = new_cache(client.put(live))
        desired = service()
        desired["spec"]["sessionAffinity"] = "ClientIP"
        client.errors = [invalid()]
        result = await applied(client, cache, desired)
        assert client.verbs() == ["apply", "get", "patch", "apply"]
        assert not result.failures
        assert not result.unsettled

    async def test_what_the_server_will_never_accept_is_reported_after_one_try(self) -> None:
        client = FakeClient()
        live = live_in(client, deployment())
        live["spec"]["selector"] = {"matchLabels": {"app": "other"}}
        cache = new_cache(client.put(live))
        client.errors = [invalid("spec.selector: field is immutable")]
        result = await applied(client, cache, deployment())
        assert client.verbs() == ["apply", "get"]
        assert result.failures[0][1].message == "spec.selector: field is immutable"

    async def test_what_our_patches_own_is_claimed_before_the_next_apply(self) -> None:
        client = FakeClient()
        live = stored(service())
        live["metadata"]["managedFields"] = [
            {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:selector": {}}}},
            {"manager": FIELD_MANAGER, "operation": "Update", "fieldsV1": {"f:spec": {"f:ports": {}}}},
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {}}},
        ]
        cache = new_cache(client.put(live))
        desired = service()
        del desired["spec"]["ports"][0]["targetPort"]
        await applied(client, cache, desired)
        assert client.verbs() == ["get", "patch", "apply"]
        (result,) = client.stored.values()
        assert result["metadata"]["managedFields"] == [
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {}}},
            {
                "manager": FIELD_MANAGER,
                "operation": "Apply",
                "fieldsV1": {"f:spec": {"f:selector": {}, "f:ports": {}}},
            },
        ]


class TestPrune:
    async def test_deletes_what_is_no_longer_desired(self) -> None:
        client = FakeClient()
        kept, dropped = live_in(client, service()), live_in(client, config_map())
        cache = new_cache(kept, dropped)
        result = await prune(client.as_client(), cache, [kept, dropped], [service()])
        assert [written.name for written in result.deleted] == ["mlflow-client"]
        assert list(client.stored.values()) == [kept]
        assert len(cache) == 1

    async def test_leaves_what_is_on_its_way_out(self) -> None:
        client = FakeClient()
        leaving = stored(config_map())
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        await prune(client.as_client(), new_cache(leaving), [leaving], [])
        assert client.calls == []

    async def test_does_not_delete_another_object_of_that_name(self) -> None:
        client = FakeClient()
        before = live_in(client, config_map())
        client.stored.clear()
        other = config_map()
        other["metadata"]["uid"] = "other"
        client.put(other)
        result = await prune(client.as_client(), new_cache(before), [before], [])
        assert not result.deleted
        assert not result.failures
        assert len(client.stored) == 1

    async def test_reports_a_refusal(self) -> None:
        client = FakeClient()
        child = live_in(client, config_map())
        client.errors = [ApiError(403, "Forbidden", "User cannot delete")]
        result = await prune(client.as_client(), new_cache(child), [child], [])
        assert [error.status for _, error in result.failures] == [403]

    async def test_conflicts_are_never_failures(self) -> None:
        client = FakeClient()
        child = live_in(client, config_map())
        client.errors = [conflict()]
        assert not (await prune(client.as_client(), new_cache(child), [child], [])).failures
