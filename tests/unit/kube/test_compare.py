"""What counts as a difference between what is wanted and what lives."""

import copy
from collections.abc import Callable

import pytest

from tests.unit.kube.manifests import config_map, containers, deployment, service, stored
from tracking_operator.kube.compare import differences, first_difference
from tracking_operator.kube.objects import KubeObject

Change = Callable[[KubeObject], object]


def pod(obj: KubeObject) -> KubeObject:
    found: KubeObject = obj["spec"]["template"]["spec"]
    return found


HARMLESS: list[tuple[str, Callable[[], KubeObject], Change]] = [
    ("nothing", deployment, lambda live: None),
    ("a label of somebody else", service, lambda live: live["metadata"]["labels"].update(team="a")),
    ("an annotation of somebody else", service, lambda live: live["metadata"].update(annotations={"a": "b"})),
    ("defaults of the server", service, lambda live: live["spec"].update(type="ClusterIP", clusterIP="10.0.0.1")),
    ("the default protocol of a port", service, lambda live: live["spec"]["ports"][0].update(protocol="TCP")),
    ("status", deployment, lambda live: live.update(status={"replicas": 1})),
    ("a falsy wish that the server leaves out", deployment, lambda live: pod(live).pop("hostNetwork")),
    ("an empty list that the server leaves out", deployment, lambda live: pod(live).pop("tolerations")),
    ("a quantity in other words", deployment, lambda live: containers(live)[0].update(
        resources={"requests": {"cpu": "0.25", "memory": "671088640"}})),
    ("`kubectl rollout restart`", deployment, lambda live: live["spec"]["template"]["metadata"].update(
        annotations={"kubectl.kubernetes.io/restartedAt": "now"})),
    ("a finalizer of somebody else", service, lambda live: live["metadata"].update(finalizers=["example.com/x"])),
    ("another owner", service, lambda live: live["metadata"].update(ownerReferences=[{"uid": "other"}])),
]  # fmt: skip

DRIFT: list[tuple[str, Callable[[], KubeObject], Change, str, bool]] = [
    ("a changed value", deployment, lambda live: live["spec"].update(replicas=3), "spec.replicas", False),
    ("a changed image", deployment, lambda live: containers(live)[0].update(image="evil"),
     "spec.template.spec.containers[server].image", False),
    ("a wish for False overridden", deployment, lambda live: pod(live).update(hostNetwork=True),
     "spec.template.spec.hostNetwork", False),
    ("a removed label", service, lambda live: live["metadata"].update(labels={}),
     "metadata.labels.tracking-operator.dev/tracking-server", False),
    ("a removed environment variable", deployment, lambda live: containers(live)[0]["env"].pop(),
     "spec.template.spec.containers[server].env", False),
    ("an added environment variable", deployment,
     lambda live: containers(live)[0]["env"].append({"name": "EVIL", "value": "1"}),
     "spec.template.spec.containers[server].env", True),
    ("the environment in another order", deployment, lambda live: containers(live)[0]["env"].reverse(),
     "spec.template.spec.containers[server].env", True),
    ("an environment variable twice", deployment,
     lambda live: containers(live)[0]["env"].append({"name": "HOME", "value": "/evil"}),
     "spec.template.spec.containers[server].env", True),
    ("an added container", deployment, lambda live: containers(live).append({"name": "evil", "image": "evil"}),
     "spec.template.spec.containers", True),
    ("a renamed container", deployment, lambda live: containers(live)[0].update(name="other"),
     "spec.template.spec.containers", True),
    ("a changed port number", service, lambda live: live["spec"]["ports"][0].update(port=81), "spec.ports", True),
    ("an added port", service, lambda live: live["spec"]["ports"].append({"name": "x", "port": 90}),
     "spec.ports", True),
    ("a changed container port", deployment,
     lambda live: containers(live)[0]["ports"][0].update(containerPort=5001),
     "spec.template.spec.containers[server].ports", True),
    ("a changed mount path", deployment,
     lambda live: containers(live)[0]["volumeMounts"][0].update(mountPath="/evil"),
     "spec.template.spec.containers[server].volumeMounts", True),
    ("changed arguments", deployment, lambda live: containers(live)[0].update(args=["--host", "::"]),
     "spec.template.spec.containers[server].args[1]", False),
    ("an added argument", deployment, lambda live: containers(live)[0]["args"].append("--dev"),
     "spec.template.spec.containers[server].args", False),
    ("an added toleration", deployment, lambda live: pod(live).update(tolerations=[{"operator": "Exists"}]),
     "spec.template.spec.tolerations", False),
    ("an added selector", service, lambda live: live["spec"]["selector"].update(evil="1"),
     "spec.selector.evil", True),
    ("an added key", config_map, lambda live: live["data"].update(EVIL="1"), "data.EVIL", True),
    ("an added limit", deployment,
     lambda live: containers(live)[0]["resources"]["requests"].update({"ephemeral-storage": "1"}),
     "spec.template.spec.containers[server].resources.requests.ephemeral-storage", True),
    ("another quantity", deployment, lambda live: containers(live)[0]["resources"]["requests"].update(cpu="1"),
     "spec.template.spec.containers[server].resources.requests.cpu", False),
]  # fmt: skip


@pytest.mark.parametrize(("what", "build", "change"), HARMLESS, ids=[case[0] for case in HARMLESS])
def test_harmless_change_is_no_difference(what: str, build: Callable[[], KubeObject], change: Change) -> None:
    live = stored(build())
    change(live)
    assert first_difference(build(), live) is None


@pytest.mark.parametrize(
    ("what", "build", "change", "path", "survives"), DRIFT, ids=[case[0] for case in DRIFT]
)
def test_drift_is_found_where_it_is(
    what: str, build: Callable[[], KubeObject], change: Change, path: str, survives: bool
) -> None:
    live = stored(build())
    change(live)
    found = list(differences(build(), live))
    assert found[0].path == path
    assert any(difference.survives_apply for difference in found) == survives


def test_text_and_number_of_an_int_or_string_are_the_same() -> None:
    live = stored(service())
    desired = copy.deepcopy(service())
    desired["spec"]["ports"][0]["targetPort"] = 5000
    live["spec"]["ports"][0]["targetPort"] = "5000"
    assert first_difference(desired, live) is None


@pytest.mark.parametrize("written", ["sNaN", "1e999999k", "2_50m", "\u0660.25", " 250m"])
def test_what_only_python_takes_for_a_number_differs_from_every_quantity(written: str) -> None:
    live = stored(deployment())
    containers(live)[0]["resources"]["requests"]["cpu"] = written
    found = first_difference(deployment(), live)
    assert found is not None
    assert found.path.endswith("resources.requests.cpu")


def test_environment_values_that_look_like_quantities_are_compared_as_text() -> None:
    live = stored(deployment())
    desired = deployment()
    containers(desired)[0]["env"][1]["value"] = "1000m"
    assert first_difference(desired, live) is not None


def test_true_is_not_one() -> None:
    desired, live = deployment(), stored(deployment())
    desired["spec"]["paused"], live["spec"]["paused"] = True, 1
    assert first_difference(desired, live) is not None


def test_difference_reads_as_a_sentence() -> None:
    live = stored(deployment())
    live["spec"]["replicas"] = 3
    assert str(first_difference(deployment(), live)) == "spec.replicas: wanted 1, found 3"


def test_long_values_are_cut() -> None:
    live = stored(config_map())
    live["data"]["MLFLOW_TRACKING_URI"] = "x" * 1000
    assert len(str(first_difference(config_map(), live))) < 300


def test_long_texts_are_shown_where_they_differ() -> None:
    desired = config_map()
    desired["data"] = {"script": "same line\n" * 100 + "print(1)\n"}
    live = stored(desired)
    live["data"]["script"] = "same line\n" * 100 + "print(2)\n"
    assert "print(1)" in str(first_difference(desired, live))
    assert "print(2)" in str(first_difference(desired, live))


def test_values_of_a_secret_never_show() -> None:
    desired = config_map() | {"kind": "Secret", "data": {"password": "c2VjcmV0"}}
    live = stored(desired)
    live["data"] = {"password": "b3RoZXI=", "more": "bW9yZQ=="}
    shown = " ".join(str(difference) for difference in differences(desired, live))
    assert "data.password" in shown
    assert not any(value in shown for value in ("c2VjcmV0", "b3RoZXI=", "bW9yZQ=="))


def test_network_policy_rules_are_replaced_as_a_whole() -> None:
    """Its lists are atomic, even the ones that are called like a Service's."""
    desired: KubeObject = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "mlflow", "namespace": "team-a"},
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 5000}]}]},
    }
    live = stored(desired)
    live["spec"]["ingress"][0]["ports"] = [{"port": 5000, "protocol": "TCP"}]
    assert first_difference(desired, live) is None
    live["spec"]["ingress"][0]["ports"].append({"port": 22, "protocol": "TCP"})
    found = list(differences(desired, live))
    assert [difference.survives_apply for difference in found] == [False]


@pytest.mark.parametrize(
    "widen",
    [
        lambda spec: spec["ingress"][0]["ports"][0].update(endPort=65535),
        lambda spec: spec["ingress"][0]["from"][0].update(podSelector={}),
        lambda spec: spec["ingress"].append({}),
        lambda spec: spec["podSelector"].update(matchExpressions=[{"key": "a", "operator": "Exists"}]),
    ],
    ids=["more ports", "another peer", "another rule", "fewer pods"],
)
def test_whatever_is_added_to_a_network_policy_is_a_difference(widen: Callable[[KubeObject], None]) -> None:
    desired: KubeObject = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "mlflow", "namespace": "team-a"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "mlflow"}},
            "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 5000, "protocol": "TCP"}]}],
        },
    }
    live = stored(desired)
    assert first_difference(desired, live) is None
    widen(live["spec"])
    assert first_difference(desired, live) is not None
