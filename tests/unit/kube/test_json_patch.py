"""The one patch that puts right what an apply cannot."""

import copy
import json
from collections.abc import Callable

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kube.manifests import config_map, containers, deployment, service, stored
from tests.unit.kube.test_compare import DRIFT, Change
from tracking_operator.kube.compare import first_difference
from tracking_operator.kube.json_patch import patch_operations
from tracking_operator.kube.objects import KubeObject


def patched(desired: KubeObject, live: KubeObject) -> KubeObject:
    operations = json.loads(json.dumps(patch_operations(desired, live)))
    result: KubeObject = jsonpatch.apply_patch(copy.deepcopy(live), operations)
    return result


@pytest.mark.parametrize(
    ("what", "build", "change"), [case[:3] for case in DRIFT], ids=[case[0] for case in DRIFT]
)
def test_patch_removes_any_drift(what: str, build: Callable[[], KubeObject], change: Change) -> None:
    live = stored(build())
    live["metadata"]["labels"]["team"] = "a"
    live["metadata"]["annotations"]["note"] = "of somebody else"
    change(live)
    result = patched(build(), live)
    assert first_difference(build(), result) is None
    assert result["metadata"]["annotations"]["note"] == "of somebody else"


def test_patch_touches_only_what_differs() -> None:
    live = stored(service())
    live["spec"] |= {"clusterIP": "10.0.0.1", "type": "ClusterIP"}
    live["spec"]["ports"].append({"name": "x", "port": 90, "protocol": "TCP"})
    live["metadata"]["labels"]["team"] = "a"
    result = patched(service(), live)
    live["spec"]["ports"].pop()
    assert result == live


def test_defaults_of_kept_entries_stay() -> None:
    live = stored(deployment())
    containers(live)[0]["terminationMessagePath"] = "/dev/termination-log"
    containers(live).append({"name": "evil", "image": "evil"})
    result = patched(deployment(), live)
    assert [one["name"] for one in containers(result)] == ["server"]
    assert containers(result)[0]["terminationMessagePath"] == "/dev/termination-log"


def test_owner_references_of_others_stay() -> None:
    desired = service()
    desired["metadata"]["ownerReferences"] = [{"uid": "ours", "controller": True}]
    live = stored(desired)
    live["metadata"]["ownerReferences"] = [{"uid": "other"}]
    live["spec"]["ports"][0]["port"] = 81
    uids = {reference["uid"] for reference in patched(desired, live)["metadata"]["ownerReferences"]}
    assert uids == {"ours", "other"}


def test_names_with_slashes_and_tildes_are_escaped() -> None:
    desired = config_map()
    desired["data"] = {"a/b~c": "1"}
    live = stored(desired)
    live["data"] = {"a/b~c": "2", "d~/e": "3"}
    assert patched(desired, live)["data"] == {"a/b~c": "1"}


def test_nothing_differs_nothing_to_do() -> None:
    assert patch_operations(deployment(), stored(deployment())) == []


names = st.sampled_from(["A", "B", "C", "D"])
variables = st.lists(
    st.fixed_dictionaries({"name": names, "value": st.sampled_from(["", "1", "2"])}),
    max_size=4,
    unique_by=lambda variable: variable["name"],
)
ports = st.lists(
    st.fixed_dictionaries({"containerPort": st.integers(1, 4), "name": names}),
    max_size=3,
    unique_by=lambda port: port["containerPort"],
)


@given(wanted=st.tuples(variables, ports), found=st.tuples(variables, ports))
def test_whatever_lives_one_patch_makes_it_right(
    wanted: tuple[list[KubeObject], list[KubeObject]], found: tuple[list[KubeObject], list[KubeObject]]
) -> None:
    desired, live = deployment(), stored(deployment())
    containers(desired)[0].update(env=wanted[0], ports=wanted[1])
    containers(live)[0].update(env=found[0], ports=found[1])
    result = patched(desired, live)
    assert first_difference(desired, result) is None
    assert patch_operations(desired, result) == []
