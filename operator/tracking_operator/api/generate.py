"""Write every file that is made from the models: ``python -m tracking_operator.api.generate --output .``."""

import argparse
import sys
from pathlib import Path

from tracking_operator.api.crds import GENERATED_HEADER, Schema, all_crds, as_yaml
from tracking_operator.api.operator_admission import operator_policy, operator_policy_binding
from tracking_operator.api.reference import reference_pages
from tracking_operator.api.reserved_names import reserved_names_binding, reserved_names_policy
from tracking_operator.api.store_kind_admission import store_kind_binding, store_kind_policy


def generated_files() -> dict[Path, str]:
    """Return the content of each generated file, by its path in the repository."""
    crds = {Path("crds") / f"{crd['spec']['names']['plural']}.yaml": crd for crd in all_crds()}
    kustomization: Schema = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [path.name for path in crds],
    }
    manifests = {
        **{path: as_yaml(crd) for path, crd in crds.items()},
        Path("crds/kustomization.yaml"): as_yaml(kustomization),
        Path("manifests/base/admission-policy.yaml"): as_yaml(
            store_kind_policy(), store_kind_binding(), reserved_names_policy(), reserved_names_binding()
        ),
        Path("manifests/base/operator-policy.yaml"): as_yaml(operator_policy(), operator_policy_binding()),
    }
    pages = {Path("docs/reference") / name: page for name, page in reference_pages().items()}
    return {path: GENERATED_HEADER + text for path, text in manifests.items()} | pages


def stale_files(root: Path) -> dict[Path, str]:
    """Return the generated files that are missing below ``root`` or differ there from what the models say."""
    return {path: text for path, text in generated_files().items() if not _has_text(root / path, text)}


def write_files(root: Path) -> dict[Path, str]:
    """Write the stale files below ``root`` and return them."""
    stale = stale_files(root)
    for path, text in stale.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return stale


def main(arguments: list[str] | None = None) -> int:
    """Write the generated files, or with ``--check`` only tell whether they are up to date."""
    parser = argparse.ArgumentParser(description="Write the files that are generated from the API's models.")
    parser.add_argument("--output", type=Path, default=Path(), help="the repository (default: here)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    options = parser.parse_args(arguments)
    stale = stale_files(options.output) if options.check else write_files(options.output)
    for path in stale:
        sys.stdout.write(f"{path} {'is out of date; run `make generate`' if options.check else 'written'}\n")
    return 1 if options.check and stale else 0


def _has_text(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
