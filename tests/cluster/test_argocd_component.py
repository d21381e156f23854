"""The component that docs/how-to/gitops.md names for an Argo CD that kustomize installs."""

from pathlib import Path
from typing import Final

import pytest
import yaml

from dev.argocd.__main__ import FOLDER
from dev.development_cluster import DevelopmentCluster
from tracking_operator.kube.objects import KubeObject

CONFIG_MAP: Final = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "argocd-cm"},
    "data": {"a": "b"},
}
OTHER: Final = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-rbac-cm"}}


@pytest.mark.parametrize("namespace", ["argocd", "gitops"])
def test_it_adds_our_settings_to_a_configuration_that_gets_its_namespace_afterwards(
    cluster: DevelopmentCluster, tmp_path: Path, namespace: str
) -> None:
    (tmp_path / "install.yaml").write_text(yaml.safe_dump_all([CONFIG_MAP, OTHER]))
    (tmp_path / "component").symlink_to(FOLDER)
    overlay = {"namespace": namespace, "resources": ["install.yaml"], "components": ["component"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    text = cluster.kubectl("kustomize", str(tmp_path), "--load-restrictor=LoadRestrictionsNone")
    built: list[KubeObject] = list(yaml.safe_load_all(text))
    maps = {one["metadata"]["name"]: one for one in built if one["kind"] == "ConfigMap"}
    assert {one["metadata"]["namespace"] for one in maps.values()} == {namespace}
    wanted = yaml.safe_load((FOLDER / "argocd-cm.yaml").read_text())["data"]
    assert maps["argocd-cm"]["data"] == {"a": "b", **wanted}
    assert "data" not in maps["argocd-rbac-cm"]
    assert {one["kind"] for one in built} == {"ConfigMap", "ClusterRole", "ClusterRoleBinding"}
