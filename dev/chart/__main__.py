"""`python -m dev.chart`: write the generated files of charts/tracking-operator; `--check` says which are out of date.

`python -m dev.chart --dist` writes dist/install.yaml and the package of the chart.
"""

import argparse
import json
import shutil
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Final

import yaml

from dev.chart.markup import Object
from dev.chart.templates import HEADER, templates
from dev.chart.values import ChartValues, default_values, values_of_many_teams, values_schema, values_text
from dev.deploy import BASE, ROOT
from dev.local_cluster.binaries import kubectl
from dev.local_cluster.commands import run
from dev.local_cluster.failures import ClusterError
from dev.packing import Entry, tar_gz
from tracking_operator.api.crds import as_yaml

CHART: Final = ROOT / "charts" / "tracking-operator"
MANIFESTS: Final = BASE.parent
MANY_TEAMS: Final = "values-multi-tenant.yaml"
GENERATED: Final = "# Generated from manifests/ and dev/chart/values.py by `make generate`. Do not edit: changes will be lost.\n"


@cache
def _kubectl() -> str:
    return shutil.which("kubectl") or str(kubectl())


def kustomized(folder: Path) -> str:
    """What kustomize makes of a folder of manifests/."""
    return run(_kubectl(), "kustomize", folder)


def objects_of(folder: Path) -> list[Object]:
    """The objects in it."""
    return list(yaml.load_all(kustomized(folder), Loader=yaml.CSafeLoader))


def chart_files() -> dict[str, str]:
    """The text of each generated file of the chart, by its path in it."""
    base = objects_of(BASE)
    many_teams = values_of_many_teams(base, objects_of(MANIFESTS / "overlays" / "multi-tenant"))
    files = {
        "Chart.yaml": GENERATED + as_yaml(_chart()),
        "values.yaml": GENERATED + values_text(default_values(base)),
        "values.schema.json": json.dumps(values_schema(), indent=1, ensure_ascii=False) + "\n",
        MANY_TEAMS: GENERATED + as_yaml(many_teams),
    }
    made = templates(base, objects_of(MANIFESTS / "namespaced"))
    return files | {f"templates/{name}": text for name, text in made.items()}


def stale_files(chart: Path = CHART) -> dict[str, str | None]:
    """The generated files that differ, with the text that they should have; None: nothing makes this file any more."""
    files = chart_files()
    there = {str(path.relative_to(chart)): path.read_text() for path in chart.rglob("*") if path.is_file()}
    left: dict[str, str | None] = {
        name: None for name, text in there.items() if name not in files and text.startswith(HEADER)
    }
    return left | {name: text for name, text in files.items() if there.get(name) != text}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m dev.chart", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    parser.add_argument("--dist", action="store_true", help="write dist/ instead")
    options = parser.parse_args(arguments)
    try:
        if options.dist:
            _write_dist(ROOT / "dist")
            return 0
        stale = stale_files()
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    for name, text in stale.items():
        print(
            f"charts/{CHART.name}/{name} {'is out of date; run `make generate`' if options.check else 'written'}"
        )
        if not options.check:
            _write(CHART / name, text)
    return 1 if options.check and stale else 0


def _write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def package(folder: Path, values: ChartValues) -> Path:
    """Pack the chart with these default values, as Helm reads it; the same files give the same bytes.

    `helm package` gives the same bytes on one machine only: it takes the files' own times, or the time of the day (Helm's
    pull request 31323). What packs plugins packs charts, too, and needs no Helm.
    """
    chart = _chart()
    files = {str(path.relative_to(CHART)): path.read_bytes() for path in CHART.rglob("*") if path.is_file()}
    files["values.yaml"] = (GENERATED + values_text(values)).encode()
    # Helm itself puts the description first.
    names = sorted(files, key=lambda name: (name != "Chart.yaml", name))
    archive = folder / f"{chart['name']}-{chart['version']}.tgz"
    archive.write_bytes(tar_gz(Entry(f"{chart['name']}/{name}", files[name]) for name in names))
    return archive


def _write_dist(folder: Path) -> None:
    _write(folder / "install.yaml", kustomized(BASE))
    print(folder / "install.yaml")
    print(package(folder, default_values(objects_of(BASE))))


def _chart() -> Object:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        "apiVersion": "v2",
        "name": project["name"],
        "description": project["description"],
        "type": "application",
        "version": project["version"],
        "appVersion": project["version"],
        # ValidatingAdmissionPolicy has its version v1 since then.
        "kubeVersion": ">=1.30.0-0",
    }


if __name__ == "__main__":
    sys.exit(main())
