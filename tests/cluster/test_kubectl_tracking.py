"""`kubectl tracking` as it is installed: the built file in the PATH of a real kubectl, against a real API server."""

import contextlib
import json
import os
import platform
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from dev.plugin import NAME, PLATFORMS, Target, build
from tests.cluster.api_manifests import (
    ApiServer,
    Cluster,
    Manifest,
    tracking_server,
    tracking_server_class,
)
from tests.waiting import patient, wait_until
from tracking_operator.api.labels_and_annotations import ROTATE_CREDENTIALS_ANNOTATION
from tracking_operator.cli.completion import FOR_KUBECTL

PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64"}
SECONDS_OF_A_SHELL = 30.0
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], ""),
    "zsh": (["zsh", "--no-rcs", "-i"], "autoload -U compinit; compinit -u; "),
}
"""How each begins without anybody's settings, and what has to be typed before its completions."""
HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202egone"
CONDITION = {"reason": "AsExpected", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
STATUS: Manifest = {
    "version": "3.17.2",
    "url": "http://mlflow.team-a.svc",
    "backendStore": {"kind": "sqlite"},
    "placement": {"version": "3.17.2", "backendStore": "sqlite", "artifactStore": "volume"},
    "conditions": [
        {"type": "Ready", "status": "True", **CONDITION},
        {"type": "SpecValid", "status": "True", **CONDITION, "message": f"As asked. {HOSTILE}"},
    ],
}


@dataclass(frozen=True)
class Plugin:
    """The built file, beside a Python that has nothing but its standard library."""

    api: ApiServer
    folder: Path

    def __call__(self, *arguments: str, beside: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run `kubectl tracking`; ``beside`` stands before that word."""
        return subprocess.run(
            [str(self.api.cluster.kubectl_path), *beside, "tracking", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Of somebody who has the file in the PATH."""
        return {
            "HOME": str(self.folder),
            "PATH": f"{self.folder}:/usr/bin:/bin",
            "KUBECONFIG": str(self.api.cluster.kubeconfig_path),
            "TERM": "dumb",
        }

    def says(self, *arguments: str) -> str:
        """What a command prints about the namespace, which has to succeed."""
        done = self(*arguments, "-n", self.api.namespace)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def api_server(cluster: Cluster) -> Iterator[ApiServer]:
    """The API server with the definitions, and a namespace of its own."""
    namespace = f"kubectl-tracking-{uuid4().hex[:8]}"
    api = ApiServer(cluster, namespace)
    assert api.kubectl("create", "namespace", namespace).returncode == 0
    api.install()
    yield api
    api.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def plugin(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """The file for this machine only, which takes less time to build than that for all."""
    folder = tmp_path_factory.mktemp("plugin")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    build(folder / NAME, [Target(python, PLATFORMS["linux", PROCESSORS[platform.machine()]])])
    interpreter = Path(sys.base_prefix) / "bin" / f"python{python}"
    for name, script in (
        ("python3", f'#!/bin/sh\nexec {interpreter} -E -S "$@"\n'),  # without whatever is installed there
        ("kubectl_complete-tracking", FOR_KUBECTL),
    ):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return Plugin(api_server, folder)


def test_kubectl_finds_it(plugin: Plugin) -> None:
    assert plugin("--version").stdout.startswith("kubectl tracking ")


def test_the_file_holds_no_path_of_the_machine_that_built_it(plugin: Plugin) -> None:
    plugin("--version")
    (unpacked,) = (plugin.folder / ".shiv").glob("*/site-packages")
    own = str(Path(__file__).parents[2]).encode()
    texts = (path for path in unpacked.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert [path for path in texts if own in path.read_bytes()] == []


def test_a_server_is_shown_as_the_api_server_has_it(plugin: Plugin) -> None:
    with plugin.api.holding(tracking_server({}), status=STATUS):
        server = plugin.api.stored(tracking_server({}))
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "hostile", "namespace": plugin.api.namespace},
            "involvedObject": {
                "kind": "TrackingServer",
                "name": "mlflow",
                "namespace": plugin.api.namespace,
                "uid": server["metadata"]["uid"],
            },
            "type": "Warning",
            "reason": "Hostile",
            "message": f"Look here {HOSTILE}",
        }
        assert plugin.api.kubectl("create", "-f", "-", manifest=event).returncode == 0
        page = plugin.says("status", "mlflow")
        listed = plugin.says("status")
        found = json.loads(plugin.says("status", "mlflow", "-o", "json"))
    assert "http://mlflow.team-a.svc" in page
    assert "Look here" in page
    assert listed.split()[6:10] == ["mlflow", "True", "AsExpected", "3.17.2"]
    assert [one["message"] for one in found["events"]] == [f"Look here {HOSTILE}"]
    assert not set(page + listed) & set("\x1b\x07\u202e")


def test_changes_are_stored_and_belong_to_the_command(plugin: Plugin) -> None:
    manifest = tracking_server({})
    with plugin.api.holding(manifest, status=STATUS | {"loginRevision": "abc"}):
        plugin.says("suspend", "mlflow")
        assert plugin.api.stored(manifest)["spec"] == {"suspend": True}
        plugin.says("wake", "mlflow")
        plugin.says("rotate", "mlflow")
        plugin.says("upgrade", "mlflow", "3.18.0")
        stored = plugin.api.stored(manifest)
        fields = plugin.api.kubectl("get", "trk", "mlflow", "-o", "yaml", "--show-managed-fields").stdout
    assert stored["spec"] == {"suspend": False, "version": "3.18.0"}
    assert ROTATE_CREDENTIALS_ANNOTATION in stored["metadata"]["annotations"]
    assert "manager: kubectl-tracking" in fields


def test_a_dry_run_is_judged_by_the_api_server_and_not_stored(plugin: Plugin) -> None:
    manifest = tracking_server({"replicas": 0})
    with plugin.api.holding(manifest, status=STATUS):
        assert "nothing was stored" in plugin.says("wake", "mlflow", "--dry-run")
        two = plugin("wake", "mlflow", "--replicas", "2", "--dry-run", "-n", plugin.api.namespace)
        assert plugin.api.stored(manifest)["spec"] == {"replicas": 0}
    assert two.returncode == 1
    assert "is not changed" in two.stderr
    assert "spec.replicas must be 0 or 1" in two.stderr


def test_a_version_that_the_class_does_not_offer_is_refused(plugin: Plugin) -> None:
    name = plugin.api.namespace
    a_class = tracking_server_class(
        {
            "access": {"authentication": {"none": {}}},
            "mlflow": {"versions": [{"version": "3.17.2", "image": "registry.invalid/mlflow:3.17.2"}]},
        },
        name=name,
    )
    placed = STATUS | {"className": name, "placement": STATUS["placement"] | {"className": name}}
    with plugin.api.holding(a_class), plugin.api.holding(tracking_server({}), status=placed):
        refused = plugin("upgrade", "mlflow", "3.18.0", "-n", name)
        assert "offers 3.17.2 (runs, default)" in plugin.says("upgrade", "mlflow")
        assert plugin.api.stored(tracking_server({}))["spec"] == {}
    assert refused.returncode == 1
    assert f"MLflow 3.18.0 is not offered by class '{name}'" in refused.stderr


def test_kubectl_completes_names_of_servers(plugin: Plugin) -> None:
    with plugin.api.holding(tracking_server({})):
        done = plugin("status", "-n", plugin.api.namespace, "ml", beside=("__complete",))
    assert done.stdout.splitlines()[:2] == ["mlflow", ":4"]


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_commands_and_names_of_servers(shell: str, plugin: Plugin) -> None:
    line = f"kubectl-tracking status -n {plugin.api.namespace} ml"
    with plugin.api.holding(tracking_server({})):
        assert completed(shell, "kubectl-tracking suspe", plugin) == "kubectl-tracking suspend"
        assert completed(shell, line, plugin) == f"{line}flow"


def completed(shell: str, line: str, plugin: Plugin) -> str:
    """What an interactive shell makes of a line at the tab key, with the page's own command in its beginning."""
    begin = f"{SHELLS[shell][1]}source <(kubectl-tracking completion {shell})\n"
    # To the beginning of the line (Control-A), and what is there is printed and not run.
    keys = f"{line}\t\x01echo -E MADE \n"
    said = typed(SHELLS[shell][0], [begin, keys], "\nMADE ", plugin.environment)
    return said.replace("\r", "").rpartition("\nMADE ")[2].partition("\n")[0].strip()


def typed(command: list[str], lines: list[str], until: str, environment: dict[str, str]) -> str:
    """Run a program on a terminal, type lines, and return what it has printed, from ``until`` to the end of that line at least."""
    ours, its = pty.openpty()
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment) as shell:
        os.close(its)
        os.set_blocking(ours, False)
        said = bytearray()

        def is_said() -> bool:
            with contextlib.suppress(BlockingIOError):
                said.extend(os.read(ours, 65536))
            return "\n" in said.decode(errors="replace").replace("\r", "").partition(until)[2]

        try:
            for line in lines:
                os.write(ours, line.encode())
            wait_until(is_said, SECONDS_OF_A_SHELL, lambda: f"{until!r} is printed after {bytes(said)!r}")
        finally:
            shell.kill()
            os.close(ours)
    return said.decode(errors="replace")


def test_it_runs_where_no_library_is_installed(plugin: Plugin) -> None:
    """The Python that the other tests run it with has no packages of this project."""
    python = [str(plugin.folder / "python3"), "-c", "import pydantic"]
    done = subprocess.run(python, capture_output=True, check=False)
    assert b"No module named" in done.stderr
