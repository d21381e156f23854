"""The Helm chart gives what kustomize gives, does what each of its values says, and refuses what it cannot use.

Nothing here asks a cluster: it takes Helm and kubectl.
"""

from functools import cache
from typing import Any

import pytest
import yaml

from dev.chart.__main__ import CHART, MANIFESTS, MANY_TEAMS, objects_of, stale_files
from dev.chart.markup import Object
from dev.chart.templates import Key, key_of
from dev.chart.values import ENVIRONMENT, Settings
from dev.deploy import BASE, NAMESPACE
from dev.plugin import version
from tests.helm_chart import CLASSES, HELMS, helm, refused, rendered, without
from tracking_operator.runtime.settings import OperatorSettings

OPERATOR = "tracking-operator"
DEPLOYMENT: Key = ("Deployment", NAMESPACE, OPERATOR)
SERVICE: Key = ("Service", NAMESPACE, "tracking-operator-metrics")
SERVICE_ACCOUNT: Key = ("ServiceAccount", NAMESPACE, OPERATOR)
NETWORK_POLICY: Key = ("NetworkPolicy", NAMESPACE, OPERATOR)
OPERATOR_POLICY: Key = ("ValidatingAdmissionPolicy", "", "operator-writes.tracking-operator.dev")
DEFINITIONS: tuple[Key, ...] = tuple(
    ("CustomResourceDefinition", "", f"{name}.tracking-operator.dev")
    for name in ("trackingservers", "trackingserverbackups", "trackingserverclasses", "trackingserverclients")
)
DIGEST = f"sha256:{'0' * 64}"
CLASS_SPEC: Object = {"access": {"authentication": {"basic": {}}}}
KEPT = {"helm.sh/resource-policy": "keep"}
MOST_VALUES = 25


@cache
def default_objects() -> dict[Key, Object]:
    return rendered()


def pod(objects: dict[Key, Object]) -> Object:
    return dict(objects[DEPLOYMENT]["spec"]["template"]["spec"])


def container(objects: dict[Key, Object]) -> Object:
    (one,) = pod(objects)["containers"]
    return dict(one)


def variables(objects: dict[Key, Object]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(objects)["env"] if "value" in one}


def changed(values: object, *options: str) -> dict[Key, Any]:
    """The objects that values make other than they are by default; those that are gone are None."""
    before, after = default_objects(), rendered(values, *options)
    return {key: after.get(key) for key in before | after if before.get(key) != after.get(key)}


class TestEquality:
    @pytest.mark.parametrize("program", HELMS)
    def test_the_defaults_give_what_kustomize_gives_but_for_the_namespace(self, program: str) -> None:
        assert rendered(program=program) == without(objects_of(BASE), "Namespace")

    @pytest.mark.parametrize("program", HELMS)
    def test_chosen_namespaces_give_the_overlay_for_them(self, program: str) -> None:
        values = {"namespaces": {"names": ["team-a", "team-b"]}}
        expected = without(objects_of(MANIFESTS / "namespaced"), "Namespace")
        assert rendered(values, program=program) == expected

    @pytest.mark.parametrize("program", HELMS)
    def test_the_values_for_many_teams_give_the_overlay_for_them_and_keep_the_class(
        self, program: str
    ) -> None:
        values = yaml.safe_load((CHART / MANY_TEAMS).read_text())
        expected = without(objects_of(MANIFESTS / "overlays/multi-tenant"), "Namespace")
        (offered,) = (one for one in expected.values() if one["kind"] == "TrackingServerClass")
        offered["metadata"]["annotations"] |= KEPT
        assert rendered(values, "--api-versions", CLASSES, program=program) == expected

    def test_generated_files_are_up_to_date(self) -> None:
        assert stale_files().keys() == set(), "run `make generate`"

    def test_another_namespace_is_named_everywhere(self) -> None:
        objects = rendered({}, "--namespace", "elsewhere")
        assert NAMESPACE not in yaml.safe_dump(
            [one for key, one in objects.items() if key not in DEFINITIONS]
        )
        (condition,) = objects[OPERATOR_POLICY]["spec"]["matchConditions"]
        assert f"'elsewhere' + ':' + '{OPERATOR}'" in condition["expression"]


TOLERATIONS = [{"key": "dedicated", "operator": "Exists"}]
SPREAD = [{"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}]
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]
        }
    }
}
OF_THE_POD: dict[str, tuple[Any, str, object]] = {
    "imagePullSecrets": ([{"name": "registry"}], "imagePullSecrets", [{"name": "registry"}]),
    "nodeSelector": ({"pool": "system"}, "nodeSelector", {"pool": "system"}),
    "tolerations": (TOLERATIONS, "tolerations", TOLERATIONS),
    "affinity": (AFFINITY, "affinity", AFFINITY),
    "topologySpreadConstraints": (SPREAD, "topologySpreadConstraints", SPREAD),
    "priorityClassName": ("system-cluster-critical", "priorityClassName", "system-cluster-critical"),
}
"""A value, and the field of the pod that has it then."""
OF_THE_CONTAINER: dict[str, tuple[Any, str, object]] = {
    "image.repository": (
        "registry.example.com:5000/op",
        "image",
        f"registry.example.com:5000/op:{version()}",
    ),
    "image.tag": ("1.2.3", "image", "tracking-operator/operator:1.2.3"),
    "image.digest": (DIGEST, "image", f"tracking-operator/operator@{DIGEST}"),
    "image.pullPolicy": ("Always", "imagePullPolicy", "Always"),
    "resources": (
        {"limits": {"memory": "1Gi", "cpu": 2}},
        "resources",
        {"limits": {"memory": "1Gi", "cpu": 2}, "requests": {"cpu": "100m", "memory": "128Mi"}},
    ),
}
OTHERS = {
    "replicas",
    "settings",
    "metrics.enabled",
    "metrics.namespaceSelector",
    "podSecurity.userIds",
    "networkPolicy.enabled",
    "networkPolicy.extraEgress",
    "namespaces.names",
    "namespaces.matchLabels",
    "serviceAccount.annotations",
    "defaultClass.name",
    "defaultClass.spec",
    "crds.enabled",
    "crds.keep",
}
"""Values that have a test of their own below."""


def nested(path: str, given: object) -> object:
    """The values in which ``a.b`` has a value."""
    for name in reversed(path.split(".")):
        given = {name: given}
    return given


class TestValues:
    def test_there_are_few_and_each_has_a_test(self) -> None:
        whole = ("resources", "settings")
        known = {
            f"{name}.{inner}" if inner else name
            for name, value in yaml.safe_load((CHART / "values.yaml").read_text()).items()
            for inner in (value if isinstance(value, dict) and value and name not in whole else [""])
        }
        assert len(known) <= MOST_VALUES
        assert known == {*OF_THE_POD, *OF_THE_CONTAINER, *OTHERS}

    @pytest.mark.parametrize("path", OF_THE_POD)
    def test_it_is_a_field_of_the_pod(self, path: str) -> None:
        given, field, expected = OF_THE_POD[path]
        now = changed(nested(path, given))
        assert now.keys() == {DEPLOYMENT}
        assert pod(now) == pod(default_objects()) | {field: expected}

    @pytest.mark.parametrize("path", OF_THE_CONTAINER)
    def test_it_is_a_field_of_the_container(self, path: str) -> None:
        given, field, expected = OF_THE_CONTAINER[path]
        now = changed(nested(path, given))
        assert now.keys() == {DEPLOYMENT}
        assert container(now) == container(default_objects()) | {field: expected}

    def test_replicas(self) -> None:
        now = changed({"replicas": 1})
        assert now.keys() == {DEPLOYMENT}
        assert now[DEPLOYMENT]["spec"]["replicas"] == 1

    def test_every_setting_is_what_the_operator_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings: dict[str, object] = {
            "clusterName": "prod & more",
            "workers": 3,
            "resync": 1000000,
            "cacheMebibytes": 20000000,
            "imageRepository": "registry.example.com/mlflow",
            "ipFamilies": ["IPv4", "IPv6"],
            "watchSecrets": False,
            "builtInClass": False,
            "logLevel": "DEBUG",
        }
        assert settings.keys() == {field.alias for field in Settings.model_fields.values()}
        for name, text in variables(rendered({"settings": settings})).items():
            monkeypatch.setenv(name, text)
        read = OperatorSettings()
        for name, field in Settings.model_fields.items():
            expected = settings[str(field.alias)]
            assert getattr(read, name) == (tuple(expected) if isinstance(expected, list) else expected)

    def test_secrets_that_are_not_watched_are_not_listed_either(self) -> None:
        values = {"settings": {"watchSecrets": False}}
        gone = {key for key, one in changed(values).items() if one is None}
        assert gone == {
            (kind, "", f"{OPERATOR}-secret-watch") for kind in ("ClusterRole", "ClusterRoleBinding")
        }
        role = rendered(values | {"namespaces": {"names": ["a"]}})["Role", "a", OPERATOR]
        (secrets,) = (rule for rule in role["rules"] if "secrets" in rule["resources"])
        assert secrets["verbs"] == ["get", "create", "patch", "delete"]

    def test_without_metrics_nothing_of_them_is_there(self) -> None:
        now = changed({"metrics": {"enabled": False}})
        assert now.keys() == {DEPLOYMENT, SERVICE, NETWORK_POLICY}
        assert now[SERVICE] is None
        assert [port["name"] for port in container(now)["ports"]] == ["health"]
        assert variables(now) == {f"{ENVIRONMENT}METRICS_PORT": "0"}
        assert "ingress" not in now[NETWORK_POLICY]["spec"]
        assert now[NETWORK_POLICY]["spec"]["policyTypes"] == ["Ingress", "Egress"]

    def test_who_reads_metrics(self) -> None:
        # Maps are merged, so that a label of the defaults is taken away by null.
        labels = {"tracking-operator.dev/monitoring": None, "kubernetes.io/metadata.name": "monitoring"}
        now = changed({"metrics": {"namespaceSelector": {"matchLabels": labels}}})
        assert now.keys() == {NETWORK_POLICY}
        ((peer,),) = (rule["from"] for rule in now[NETWORK_POLICY]["spec"]["ingress"])
        assert peer["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}

    def test_users_of_the_platform(self) -> None:
        security = pod(changed({"podSecurity": {"userIds": "Platform"}}))["securityContext"]
        assert security == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}

    def test_no_network_policy(self) -> None:
        assert changed({"networkPolicy": {"enabled": False}}) == {NETWORK_POLICY: None}

    def test_ways_out_beside_its_own(self) -> None:
        extra = [{"ports": [{"port": 6432}]}, {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]
        now = changed({"networkPolicy": {"extraEgress": extra}})
        assert now.keys() == {NETWORK_POLICY}
        own = default_objects()[NETWORK_POLICY]["spec"]["egress"]
        assert now[NETWORK_POLICY]["spec"]["egress"] == own + extra

    def test_the_operator_of_chosen_namespaces_may_do_nothing_else_in_the_cluster(self) -> None:
        objects = rendered({"namespaces": {"names": ["one", "two", "three"]}})
        roles = {key[1] for key in objects if key[0] == "Role" and key[2] == OPERATOR}
        assert roles == {"one", "two", "three"}
        assert variables(objects)[f"{ENVIRONMENT}WATCH_NAMESPACES"] == "one,two,three"
        writes = {
            resource
            for rule in objects["ClusterRole", "", OPERATOR]["rules"]
            for resource in rule["resources"]
            if {"create", "patch", "delete", "update"} & set(rule["verbs"])
        }
        assert writes == {"trackingserverclasses/status"}

    def test_only_labelled_namespaces_are_written_in(self) -> None:
        now = changed({"namespaces": {"matchLabels": {"mlflow": "true", "example.com/team": "a"}}})
        assert now.keys() == {OPERATOR_POLICY}
        (served,) = (one for one in now[OPERATOR_POLICY]["spec"]["variables"] if one["name"] == "isServed")
        assert served["expression"] == (
            "namespaceObject.metadata.?labels[?'example.com/team'].orValue('') == 'a'"
            " && namespaceObject.metadata.?labels[?'mlflow'].orValue('') == 'true'"
        )

    def test_annotations_of_the_service_account(self) -> None:
        role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/operator"}
        now = changed({"serviceAccount": {"annotations": role}})
        assert now.keys() == {SERVICE_ACCOUNT}
        assert now[SERVICE_ACCOUNT]["metadata"]["annotations"] == role

    def test_a_default_class(self) -> None:
        (made,) = changed(
            {"defaultClass": {"name": "own", "spec": CLASS_SPEC}}, "--api-versions", CLASSES
        ).values()
        assert key_of(made) == ("TrackingServerClass", "", "own")
        assert made["metadata"] == {
            "name": "own",
            "annotations": {**KEPT, "tracking-operator.dev/is-default-class": "true"},
        }
        assert made["spec"] == CLASS_SPEC

    def test_a_default_class_comes_after_its_definition(self) -> None:
        (made,) = changed({"defaultClass": {"spec": CLASS_SPEC}}).values()
        assert made["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"

    def test_definitions_from_elsewhere(self) -> None:
        assert changed({"crds": {"enabled": False}}) == dict.fromkeys(DEFINITIONS)

    def test_definitions_that_go_with_the_release(self) -> None:
        now = changed({"crds": {"keep": False}})
        assert now.keys() == set(DEFINITIONS)
        assert all("annotations" not in one["metadata"] for one in now.values())
        assert all("annotations" in default_objects()[key]["metadata"] for key in DEFINITIONS)


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "given", "sentence"),
        [
            ("replica", 2, "additional properties 'replica' not allowed"),
            ("replicas", 0, "at '/replicas': minimum: got 0, want 1"),
            ("replicas", "two", "at '/replicas': got string, want integer"),
            ("image.tag", 1, "at '/image/tag': got number, want string"),
            ("image.pullPolicy", "Sometimes", "value must be one of 'Always', 'IfNotPresent', 'Never'"),
            ("image.digest", "sha256:1", "at '/image/digest': 'sha256:1' does not match pattern"),
            ("settings.workers", 0, "at '/settings/workers': minimum: got 0, want 1"),
            ("settings.logLevel", "LOUD", "value must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
            ("settings.timings", {}, "additional properties 'timings' not allowed"),
            ("resources.limit", {}, "additional properties 'limit' not allowed"),
            ("tolerations", [{"effect": "Never"}], "at '/tolerations/0/effect': value must be one of"),
            ("networkPolicy.extraEgress", [{"ports": [{"port": 70000}]}], "want 65,535"),
            ("namespaces.names", ["Team_A"], "at '/namespaces/names/0': 'Team_A' does not match pattern"),
            ("namespaces.matchLabels", {"mlflow": "' || true"}, "does not match pattern"),
            ("namespaces.matchLabels", {"a'": "b"}, "additional properties 'a\\'' not allowed"),
            ("defaultClass.spec", {"acces": {}}, "additional properties 'acces' not allowed"),
            ("crds", {"enabled": False, "keep": False}, "Set crds.keep to true."),
        ],
    )
    def test_the_sentence_names_the_value_and_what_it_may_be(
        self, path: str, given: object, sentence: str
    ) -> None:
        assert sentence in refused(nested(path, given))

    def test_values_for_all_parts_of_another_chart_are_none_of_ours(self) -> None:
        assert changed({"global": {"storageClass": "fast"}}) == {}


class TestNotes:
    @pytest.mark.parametrize(
        ("values", "last"),
        [
            ({}, "| kubectl --namespace default apply -f -"),
            ({"namespaces": {"names": ["team-b"]}}, "| kubectl --namespace team-b apply -f -"),
            ({"settings": {"builtInClass": False}}, "kubectl get trackingserverclasses"),
        ],
    )
    def test_they_end_with_the_next_command(self, values: object, last: str) -> None:
        shown = helm(
            *("install", OPERATOR, str(CHART), "--namespace", NAMESPACE, "--dry-run=client"), values=values
        )
        assert shown.rstrip().endswith(last)
