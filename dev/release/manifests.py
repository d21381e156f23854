"""What is applied: install.yaml, the definitions, and the chart; all name the images of the release."""

import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from dev.chart.__main__ import kustomized, objects_of, package
from dev.chart.values import ChartValues, default_values
from dev.deploy import BASE, PLACEHOLDER_IMAGE, ROOT

VARIABLE = "TRACKING_OPERATOR_IMAGE_REPOSITORY"


def write_manifests(folder: Path, registry: str) -> list[Path]:
    """Write them into a folder.

    Args:
        folder: where they go.
        registry: what the images are published below, for example `ghcr.io/acme`; empty: they keep the names under which a
            node has them when it loads the archives.
    """
    install, definitions = folder / "install.yaml", folder / "crds.yaml"
    with tempfile.TemporaryDirectory() as overlay:
        kustomization = _kustomization(Path(overlay), registry)
        (Path(overlay) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        install.write_text(kustomized(Path(overlay)))
    definitions.write_text(kustomized(ROOT / "crds"))
    chart = package(folder, _in_registry(default_values(objects_of(BASE)), registry))
    return [install, definitions, chart]


def _kustomization(overlay: Path, registry: str) -> dict[str, Any]:
    base = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(BASE, overlay.resolve())],
    }
    if not registry:
        return base
    variable = {"name": VARIABLE, "value": f"{registry}/mlflow"}
    operation = {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": variable}
    return base | {
        "images": [{"name": PLACEHOLDER_IMAGE, "newName": f"{registry}/operator"}],
        "patches": [{"target": {"kind": "Deployment"}, "patch": yaml.safe_dump([operation])}],
    }


def _in_registry(values: ChartValues, registry: str) -> ChartValues:
    if not registry:
        return values
    given = values.as_kubernetes()
    given["image"]["repository"] = f"{registry}/operator"
    given["settings"] = {"imageRepository": f"{registry}/mlflow"}
    return ChartValues.model_validate(given)
