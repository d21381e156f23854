"""Argo CD's own tests of health and actions, compiled from its source, on our scripts: by our examples, and by all that can be reported."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dev.argocd.__main__ import CUSTOMIZATIONS, FOLDER
from dev.gitops.image import module_source
from dev.local_cluster.go import run_tests
from tests.argo_lua import script
from tests.reported_servers import reported_backups, reported_servers
from tracking_operator.api.labels_and_annotations import (
    GROUP,
    REVOKE_NOW_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
)
from tracking_operator.kube.objects import KubeObject

pytestmark = pytest.mark.campaign

OURS = FOLDER / CUSTOMIZATIONS / GROUP
SERVER = OURS / "TrackingServer"
TESTS = "TestLuaHealthScript|TestLuaResourceActionsScript"
TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NORMALIZED = '\tcase "Job":\n\t\treturn t.normalizeJob(un)\n'
OUR_TIMES = f"""\tcase "TrackingServer":
\t\tfor _, name := range []string{{"{ROTATE_CREDENTIALS_ANNOTATION}", "{REVOKE_NOW_ANNOTATION}"}} {{
\t\t\tif _, isThere := un.GetAnnotations()[name]; isThere {{
\t\t\t\treturn unstructured.SetNestedField(un.Object, "0001-01-01T00:00:00Z", "metadata", "annotations", name)
\t\t\t}}
\t\t}}
"""
"""Their tests put the time at which an action was asked for aside, kind by kind."""
NAMED_BY_THE_MOMENT = {
    'if (result.GetKind() == "Job" && ': 'if result.GetKind() == "TrackingServerBackup" || (result.GetKind() == "Job" && ',
    'case "Job", "Workflow":': 'case "Job", "Workflow", "TrackingServerBackup":',
}
"""Likewise the names of what an action has made."""


@pytest.fixture(scope="module")
def argo_cd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Argo CD's source with our kinds' scripts and no others, and with every state of a server and of a backup among the examples."""
    source = tmp_path_factory.mktemp("argo-cd") / "source"
    module_source(source)
    for folder in (source / CUSTOMIZATIONS).iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    ours = source / CUSTOMIZATIONS / GROUP
    shutil.copytree(OURS, ours)
    add_examples(ours / "TrackingServer", distinct(reported_servers()))
    add_examples(ours / "TrackingServerBackup", distinct(reported_backups()))
    tests = source / "util" / "lua" / "custom_actions_test.go"
    text = tests.read_text()
    for theirs, ours_too in (NAMED_BY_THE_MOMENT | {NORMALIZED: OUR_TIMES + NORMALIZED}).items():
        assert text.count(theirs) == 1
        text = text.replace(theirs, ours_too)
    tests.write_text(text)
    return source


def add_examples(folder: Path, resources: Iterator[KubeObject]) -> None:
    """Add resources to the examples of their kind, each with the health that our Lua gives it."""
    health = script((folder / "health.lua").read_text())
    listed = yaml.safe_load((folder / "health_test.yaml").read_text())
    for number, resource in enumerate(resources):
        path = f"testdata/reported_{number}.yaml"
        (folder / path).write_text(json.dumps(resource))
        expected = {key: text for key, text in health(resource).items() if text}
        listed["tests"].append({"healthStatus": expected, "inputPath": path})
    (folder / "health_test.yaml").write_text(json.dumps(listed))


def distinct(resources: Iterator[KubeObject]) -> Iterator[KubeObject]:
    """Resources that differ in more than their times: which condition is younger counts, which year it is does not."""
    seen = set[str]()
    for resource in resources:
        if (key := without_times(json.dumps(resource))) not in seen:
            seen.add(key)
            yield resource


def without_times(text: str) -> str:
    """A text with the rank of each time instead of it."""
    order = {time: f"T{rank}" for rank, time in enumerate(sorted(set(TIMES.findall(text))))}
    return TIMES.sub(lambda found: order[found[0]], text)


def test_argo_cd_itself_finds_health_and_actions_as_our_tests_do(argo_cd: Path) -> None:
    said = run_tests(argo_cd, "./util/lua/", TESTS)
    passed = set(re.findall(r"--- PASS: (\S+)", said))
    healths = {name for name in passed if name.startswith("TestLuaHealthScript/")}
    examples = [*OURS.glob("*/health_test.yaml")]
    ours = {
        f"TestLuaHealthScript/{GROUP}/{listed.parent.name}/{one['inputPath']}"
        for listed in examples
        for one in yaml.safe_load(listed.read_text())["tests"]
    }
    assert ours <= healths
    assert len(healths) - len(ours) > 1000
    actions = {name for name in passed if name.startswith("TestLuaResourceActionsScript/")}
    listed = yaml.safe_load((SERVER / "actions" / "action_test.yaml").read_text())
    assert len(actions) == len(listed["discoveryTests"]) + len(listed["actionTests"])
