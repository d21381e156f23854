"""What a platform team gives to Argo CD: the patch with the scripts, and projects that a hostile tenant cannot leave.

Who may what in a project is read as Argo CD reads it (`IsGroupKindPermitted` and `IsDestinationPermitted` in
`pkg/apis/application/v1alpha1` of github.com/argoproj/argo-cd); Argo CD itself is not asked.
"""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest
import yaml

from dev.argocd.__main__ import CUSTOMIZATIONS, FOLDER
from dev.chart.markup import Object
from tracking_operator.api.labels_and_annotations import GROUP
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.controllers.server_class.reconciler import class_result

EXAMPLE = FOLDER / "example"
SCRIPTS = FOLDER / CUSTOMIZATIONS / GROUP
HERE: Final = "https://kubernetes.default.svc"
ACTIONS_OF_A_TEAM: Final = {"get", "sync", f"action/{GROUP}/TrackingServer/*"}


def objects(path: Path) -> list[Object]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def one_of(kind: str) -> Object:
    (found,) = (
        one for path in (EXAMPLE / "platform").glob("*.yaml") for one in objects(path) if one["kind"] == kind
    )
    return dict(found)


PROJECT = one_of("AppProject")
APPLICATION_SET = one_of("ApplicationSet")


def is_permitted(group: str, kind: str, *, namespaced: bool) -> bool:
    """Whether the project has a kind: a list for namespaces that is missing permits all, one for clusters permits none."""
    spec = PROJECT["spec"]
    listed = spec.get("namespaceResourceWhitelist" if namespaced else "clusterResourceWhitelist")
    if listed is None:
        return namespaced
    return any(fnmatchcase(group, one["group"]) and fnmatchcase(kind, one["kind"]) for one in listed)


def may_be_in(server: str, namespace: str) -> bool:
    """Whether the project has a destination."""
    return any(
        fnmatchcase(server, one["server"]) and fnmatchcase(namespace, one["namespace"])
        for one in PROJECT["spec"]["destinations"]
    )


@pytest.mark.parametrize(
    ("group", "kind", "namespaced"),
    [
        ("", "Namespace", False),
        (GROUP, "TrackingServerClass", False),
        ("rbac.authorization.k8s.io", "ClusterRole", False),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding", False),
        ("apiextensions.k8s.io", "CustomResourceDefinition", False),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", False),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", False),
        ("", "PersistentVolume", False),
        ("", "Secret", True),
        ("", "ServiceAccount", True),
        ("", "Pod", True),
        ("", "Service", True),
        ("", "Endpoints", True),
        ("", "PersistentVolumeClaim", True),
        ("", "ResourceQuota", True),
        ("apps", "Deployment", True),
        ("batch", "Job", True),  # a hook of a sync, too
        ("rbac.authorization.k8s.io", "Role", True),
        ("rbac.authorization.k8s.io", "RoleBinding", True),
        ("networking.k8s.io", "Ingress", True),
        ("networking.k8s.io", "NetworkPolicy", True),
        ("gateway.networking.k8s.io", "HTTPRoute", True),
        ("coordination.k8s.io", "Lease", True),
        ("argoproj.io", "Application", True),
        ("argoproj.io", "AppProject", True),
        ("argoproj.io", "ApplicationSet", True),
        ("example.com", "TrackingServer", True),
        ("example.com", "ConfigMap", True),
    ],
)
def test_a_project_has_no_kind_by_which_a_tenant_gets_further(
    group: str, kind: str, namespaced: bool
) -> None:
    assert not is_permitted(group, kind, namespaced=namespaced)


@pytest.mark.parametrize(
    ("server", "namespace"),
    [
        (HERE, "team-b"),
        (HERE, "team-a-b"),
        (HERE, ""),
        (HERE, "argocd"),
        (HERE, "kube-system"),
        (HERE, "tracking-operator-system"),
        ("https://other.example.com", "team-a"),
    ],
)
def test_a_project_is_one_namespace(server: str, namespace: str) -> None:
    assert may_be_in(HERE, "team-a")
    assert not may_be_in(server, namespace)


def test_a_project_has_what_a_team_asks_for() -> None:
    asked = [one for path in (EXAMPLE / "teams" / "team-a").glob("*.yaml") for one in objects(path)]
    kinds = {(one["apiVersion"].rpartition("/")[0].partition("/")[0], one["kind"]) for one in asked}
    assert {kind for _, kind in kinds} == {"TrackingServer", "HorizontalPodAutoscaler"}
    assert all(is_permitted(group, kind, namespaced=True) for group, kind in kinds)
    assert all("namespace" not in one["metadata"] for one in asked)
    assert is_permitted(GROUP, "TrackingServerBackup", namespaced=True)


def test_nothing_in_a_project_is_a_pattern() -> None:
    spec = PROJECT["spec"]
    listed = [*spec["sourceRepos"], *(text for one in spec["destinations"] for text in one.values())]
    listed += [text for one in spec["namespaceResourceWhitelist"] for text in one.values()]
    assert [text for text in listed if set("*?[!") & set(text)] == []
    assert not spec.get("sourceNamespaces")


def test_people_of_a_team_do_not_get_around_git() -> None:
    (role,) = PROJECT["spec"]["roles"]
    for policy in role["policies"]:
        _, subject, resource, action, target, effect = (part.strip() for part in policy.split(","))
        assert (subject, resource, target) == (
            "proj:tracking-team-a:team",
            "applications",
            "tracking-team-a/*",
        )
        assert action in ACTIONS_OF_A_TEAM
        assert effect == "allow"


def test_argo_cd_applies_with_the_rights_that_the_project_has() -> None:
    (account,) = PROJECT["spec"]["destinationServiceAccounts"]
    assert (account["server"], account["namespace"]) == (HERE, "team-a")
    assert one_of("ServiceAccount")["metadata"] == {
        "name": account["defaultServiceAccount"],
        "namespace": "team-a",
    }
    assert one_of("RoleBinding")["roleRef"]["name"] == one_of("Role")["metadata"]["name"]
    resources = {resource for rule in one_of("Role")["rules"] for resource in rule["resources"]}
    kinds = {f"{one['kind'].lower()}s" for one in PROJECT["spec"]["namespaceResourceWhitelist"]}
    assert resources == kinds


def test_argo_cd_may_make_backups_for_the_action_and_nothing_else() -> None:
    role, binding = objects(FOLDER / "backup-action.yaml")
    rule = {"apiGroups": [GROUP], "resources": ["trackingserverbackups"], "verbs": ["create"]}
    assert role["rules"] == [rule]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (
        role["kind"],
        role["metadata"]["name"],
    )
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "argocd-server", "namespace": "argocd"}]
    (component,) = objects(FOLDER / "kustomization.yaml")
    assert component["resources"] == ["backup-action.yaml"]


def rendered(value: object, folder: str) -> object:
    """A template for one folder of Git."""
    if isinstance(value, dict):
        return {key: rendered(item, folder) for key, item in value.items()}
    if isinstance(value, str):
        return value.replace("{{.path.basename}}", Path(folder).name).replace("{{.path.path}}", folder)
    return value


@pytest.mark.parametrize("name", ["team-a", "default", "argocd", "kube-system"])
def test_a_folder_is_held_by_a_project_of_its_own_name_and_no_other(name: str) -> None:
    application = rendered(APPLICATION_SET["spec"]["template"], f"teams/{name}")
    assert isinstance(application, dict)
    spec = application["spec"]
    assert "{{" not in yaml.safe_dump(application)
    assert spec["project"] == application["metadata"]["name"] == f"tracking-{name}"
    assert spec["destination"] == {"server": HERE, "namespace": name}
    assert spec["source"]["path"] == f"teams/{name}"
    assert spec["source"]["repoURL"] in PROJECT["spec"]["sourceRepos"]
    assert may_be_in(HERE, name) is (spec["project"] == PROJECT["metadata"]["name"])


def test_a_folder_runs_nothing_and_takes_no_servers_with_it() -> None:
    spec = APPLICATION_SET["spec"]
    assert set(spec["template"]["spec"]["source"]) == {"repoURL", "targetRevision", "path", "directory"}
    assert spec["syncPolicy"]["preserveResourcesOnDeletion"] is True
    assert "finalizers" not in spec["template"]["metadata"]  # it would take the servers all the same


def test_the_class_is_healthy_before_servers_are_made() -> None:
    wave = "argocd.argoproj.io/sync-wave"
    class_ = one_of("TrackingServerClass")
    assert int(class_["metadata"]["annotations"][wave]) < int(
        APPLICATION_SET["metadata"]["annotations"][wave]
    )
    assert class_result(TrackingServerClass.model_validate(class_)).reason == "AsExpected"
    assert (
        class_["spec"]["allowedNamespaces"]["matchLabels"].items()
        <= one_of("Namespace")["metadata"]["labels"].items()
    )


def test_an_autoscaler_finds_replicas_and_keeps_what_it_writes() -> None:
    (server,) = objects(EXAMPLE / "teams" / "team-a" / "tracking.yaml")
    (autoscaler,) = objects(EXAMPLE / "teams" / "team-a" / "autoscaler.yaml")
    TrackingServer.model_validate(server)
    assert server["spec"]["replicas"] >= autoscaler["spec"]["minReplicas"]
    assert autoscaler["spec"]["scaleTargetRef"] == {
        "apiVersion": server["apiVersion"],
        "kind": server["kind"],
        "name": server["metadata"]["name"],
    }
    assert autoscaler["spec"]["maxReplicas"] <= one_of("TrackingServerClass")["spec"]["limits"]["maxReplicas"]
    spec = APPLICATION_SET["spec"]["template"]["spec"]
    (ignored,) = spec["ignoreDifferences"]
    assert ignored == {
        "group": GROUP,
        "kind": "TrackingServer",
        "managedFieldsManagers": ["kube-controller-manager"],
    }
    assert spec["syncPolicy"]["syncOptions"] == ["RespectIgnoreDifferences=true"]


def test_the_patch_brings_each_script_as_it_is() -> None:
    (patch,) = objects(FOLDER / "argocd-cm.yaml")
    settings = dict(patch["data"])
    for path in SCRIPTS.glob("*/health.lua"):
        assert settings.pop(f"resource.customizations.health.{GROUP}_{path.parent.name}") == path.read_text()
    for folder in SCRIPTS.glob("*/actions"):
        actions = yaml.safe_load(
            settings.pop(f"resource.customizations.actions.{GROUP}_{folder.parent.name}")
        )
        assert actions["discovery.lua"] == (folder / "discovery.lua").read_text()
        brought = {one["name"]: one["action.lua"] for one in actions["definitions"]}
        assert brought == {path.parent.name: path.read_text() for path in folder.glob("*/action.lua")}
    assert settings == {}, "it changes nothing else"


def test_no_script_asks_for_more_libraries() -> None:
    (patch,) = objects(FOLDER / "argocd-cm.yaml")
    assert not any("useOpenLibs" in key for key in patch["data"])
