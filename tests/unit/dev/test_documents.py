"""What people copy out of the documentation works: resources are such as the API takes, commands and files are there."""

import argparse
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from dev.demo.jobs import Program, build_job
from dev.site.blocks import blocks, commands
from tracking_operator.api.conditions import Reason
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.cli import kubectl_program, operator_program
from tracking_operator.kube.objects import KubeObject

ROOT = Path(__file__).parents[3]
PAGES: Final = sorted(
    [ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "decisions")]
)
MODELS: Final = {"TrackingServer": TrackingServer, "TrackingServerClass": TrackingServerClass}
FRAGMENT: Final[KubeObject] = {
    "apiVersion": "tracking-operator.dev/v1alpha1",
    "metadata": {"name": "fragment"},
}
"""What pages leave out that show only a part of a resource."""
FILE: Final = re.compile(
    r"(?<![\w./-])(?:manifests|charts|docs|tests|dev|operator|bench)/(?![\w./-]*X\.Y\.Z)[\w./-]*[\w/](?![\w*…])"
)
NOT_IN_GIT: Final = {"docs/contributing/campaign.md"}
"""What a command writes."""
PROGRAMS: Final = {
    "kubectl tracking": kubectl_program.PROGRAM,
    "kubectl-tracking": kubectl_program.PROGRAM,
    "tracking-operator": operator_program.PROGRAM,
}


def resources(text: str) -> Iterator[KubeObject]:
    """Our resources in the blocks of a page, whole or in part."""
    for _, block in blocks(text, "yaml"):
        for document in yaml.safe_load_all(block):
            if isinstance(document, dict) and document.get("kind") in MODELS:
                yield FRAGMENT | document


def problem(resource: KubeObject) -> str:
    """Why the API would not take a resource as it is written; empty if it does."""
    try:
        read = MODELS[resource["kind"]].model_validate(resource)
    except ValueError as error:
        return str(error)
    written = read.as_kubernetes().get("spec", {})
    return "" if written == resource.get("spec", {}) else f"fields that there are not: {resource['spec']}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_resources_are_such_as_the_api_takes(page: Path) -> None:
    assert [said for one in resources(page.read_text()) if (said := problem(one))] == []


def test_pages_show_resources_of_both_kinds() -> None:
    kinds = [one["kind"] for page in PAGES for one in resources(page.read_text())]
    assert {*kinds} == {*MODELS}


@pytest.mark.parametrize(
    "spec",
    ["{replicaCount: 1}", "{replicas: many}", "{access: {ingres: {}}}"],
)
def test_a_resource_that_the_api_would_not_take_is_found(spec: str) -> None:
    (resource,) = resources(f"```yaml\nkind: TrackingServer\nspec: {spec}\n```\n")
    assert problem(resource)


def own_commands(line: str) -> Iterator[tuple[str, list[str]]]:
    """What a line calls of our programs, with its arguments."""
    for part in re.split(r"\||&&|;|\$\(|<\(", line):
        text = part.split(" #")[0].strip().rstrip(')"')
        for name in PROGRAMS:
            if text.startswith(f"{name} "):
                words = shlex.split(re.split(r" >", text.removeprefix(name))[0])
                yield name, [word for word in words if word not in {"[", "]"}]


def understood(name: str, arguments: list[str]) -> bool:
    """Whether the program's parser takes the arguments."""
    parser = PROGRAMS[name].parser()
    try:
        parser.parse_args(arguments)
    except SystemExit as end:
        return end.code == 0  # --help and --version
    except argparse.ArgumentError:
        return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_our_programs_understand_the_commands_of_the_pages(page: Path) -> None:
    called = [one for line in commands(page.read_text()) for one in own_commands(line)]
    assert [one for one in called if not understood(*one)] == []


def test_a_command_that_there_is_not_is_found() -> None:
    ((name, arguments),) = own_commands("kubectl tracking restart tracking -n team-a | head")
    assert not understood(name, arguments)


def shell_complaint(text: str) -> str:
    """What a shell has against the commands of a page, of which it runs none."""
    script = "\n".join(commands(text))
    return subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_shell_can_read_the_commands_and_a_parser_the_policies(page: Path) -> None:
    assert shell_complaint(page.read_text()) == ""
    assert all(json.loads(block) for _, block in blocks(page.read_text(), "json"))


def test_a_quote_without_an_end_is_found() -> None:
    assert shell_complaint("```console\n$ kubectl get trk -o jsonpath='{.items}\n```\n")


def test_values_that_pages_set_are_those_of_the_chart() -> None:
    lines = [line for page in PAGES for line in commands(page.read_text()) if line.startswith("helm ")]
    named = {path for line in lines for path in re.findall(r"--set ([\w.]+)=", line)}
    schema: KubeObject = json.loads((ROOT / "charts/tracking-operator/values.schema.json").read_text())
    assert named
    assert [path for path in named if not _is_in(schema, path.split("."), schema)] == []


def _is_in(schema: KubeObject, path: list[str], whole: KubeObject) -> bool:
    """Whether a schema knows a property, by its path."""
    if "$ref" in schema:
        return _is_in(whole["$defs"][schema["$ref"].rpartition("/")[2]], path, whole)
    if not path:
        return True
    below = schema.get("properties", {}).get(path[0])
    return below is not None and _is_in(below, path[1:], whole)


def test_a_value_that_the_chart_does_not_have_is_found() -> None:
    schema: KubeObject = {"properties": {"image": {"properties": {"tag": {}}}}}
    assert _is_in(schema, ["image", "tag"], schema)
    assert not _is_in(schema, ["image", "tga"], schema)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_targets_and_files_that_pages_name_are_there(page: Path) -> None:
    text = page.read_text()
    code = [*(block for _, block in blocks(text, "console", "sh", "bash")), *re.findall(r"`([^`\n]+)`", text)]
    made = {word for one in code for word in re.findall(r"(?:^|[\s$&])make ((?:[a-z]+-)*[a-z]+)\b", one)}
    assert made <= targets()
    files = {path.rstrip("./") for one in code for path in FILE.findall(one)}
    assert [path for path in sorted(files - NOT_IN_GIT) if not (ROOT / path).exists()] == []


def test_the_readme_is_read_to_its_end() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150, "Put what is more into a page of docs/."


TROUBLESHOOTING: Final = ROOT / "docs" / "how-to" / "troubleshooting.md"


def test_each_reason_that_asks_for_something_has_a_place_under_what_people_see() -> None:
    cells = re.findall(r"^\|([^|]*)\|", TROUBLESHOOTING.read_text(), re.MULTILINE)
    named = {word for cell in cells for word in re.findall(r"`([A-Z]\w+)`", cell)}
    assert {reason.value for reason in Reason if reason.remedy} <= named <= {*Reason}


def test_the_job_of_the_tutorial_is_the_one_that_the_demo_runs() -> None:
    """`tests/e2e/test_demo.py` runs that one on a real server."""
    written: KubeObject = yaml.safe_load((ROOT / "docs" / "tutorials" / "job.yaml").read_text())
    image = written["spec"]["template"]["spec"]["containers"][0]["image"]
    program = Program(
        "train", ROOT / "dev" / "demo" / "train.py", "tracking-client", image, "tracking-client"
    )
    commit = {"GIT_COMMIT": "the commit of your code"}
    made = build_job(replace(program, environment=commit))
    assert _comparable(written) == _comparable(made)


def _comparable(job: KubeObject) -> KubeObject:
    """A Job without labels, without its deadline, and without what keeps the demo's log short."""
    pod: dict[str, Any] = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    quiet = {"MLFLOW_LOGGING_LEVEL", "MLFLOW_DISABLE_TELEMETRY"}
    env = [one for one in container["env"] if one["name"] not in quiet]
    return {**pod, "containers": [{**container, "env": env}], "backoffLimit": job["spec"]["backoffLimit"]}
