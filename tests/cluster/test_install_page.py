"""The overlay that docs/how-to/install.md gives to people without Helm: what kustomize makes of it runs their images."""

import os
import re
from pathlib import Path

import yaml

from dev.chart.__main__ import MANIFESTS, objects_of
from dev.deploy import ROOT
from tracking_operator.kube.objects import KubeObject

PAGE = ROOT / "docs" / "how-to" / "install.md"
REGISTRY = "registry.example.com/ml"


def overlay() -> KubeObject:
    """The kustomization on the page."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = (one for one in map(yaml.safe_load, blocks) if one["kind"] == "Kustomization")
    return dict(found)


def test_the_overlay_of_the_page_installs_what_the_base_has_with_ones_own_images(tmp_path: Path) -> None:
    base = Path(os.path.relpath(MANIFESTS, tmp_path))
    assert overlay()["resources"] == ["manifests/base"]
    written = overlay() | {"resources": [str(base / "base")]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(written))
    made, plain = objects_of(tmp_path), objects_of(MANIFESTS / "base")
    (container,) = (_container(one) for one in made if one["kind"] == "Deployment")
    assert container["image"] == f"{REGISTRY}/operator:0.1.0"
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert variables["TRACKING_OPERATOR_IMAGE_REPOSITORY"] == f"{REGISTRY}/mlflow"
    assert [one for one in made if one["kind"] != "Deployment"] == [
        one for one in plain if one["kind"] != "Deployment"
    ]


def _container(deployment: KubeObject) -> KubeObject:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)
