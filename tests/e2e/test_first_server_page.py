"""A newcomer has a server in five minutes: the page's own commands, one after the other, on a cluster that has nothing yet.

Two things are played. No registry is there: an image that is pushed is on the node afterwards, as `make images` has built it. And
the client that `pip install` would bring is the MLflow of the image's lock. All else is run as it stands on the page.
"""

import os
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from dev.development_cluster import DevelopmentCluster, development_cluster
from dev.images import build_images
from dev.images.archive import copy_under_name
from dev.images.recipes import ROOT
from dev.local_cluster.binaries import published_program
from dev.site.blocks import commands
from tests.mlflow_versions import NEWEST_VERSION, mlflow_python
from tests.waiting import patient, wait_until

PAGE = ROOT / "docs" / "tutorials" / "first-server.md"
PROMISED_SECONDS = 300.0
SECONDS = 400.0
HEALTH = "http://localhost:7006/health"

pytestmark = pytest.mark.campaign


@dataclass
class Newcomer:
    """Somebody with a cluster, a shell and the page."""

    cluster: DevelopmentCluster
    home: Path
    environment: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    built: dict[str, str] = field(default_factory=dict)
    waiting: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def do(self, command: str) -> None:
        """What a command of the page does, which has to succeed."""
        words = shlex.split(command)
        if words[0] == "docker":
            self._bring(words)
        elif words[0] == "pip":
            assert words == ["pip", "install", f"mlflow=={NEWEST_VERSION}"]
        elif words[0] == "export":
            self.environment |= dict([words[1].split("=", 1)])
        elif "port-forward" in words:
            self.waiting.append(subprocess.Popen(words, cwd=ROOT, env=self.environment))
            wait_until(answers, 60, f"{HEALTH} answers")
        else:
            self.said[command] = self._run(command)
        self.ended[command] = time.monotonic()

    def stop(self) -> None:
        for process in self.waiting:
            process.terminate()
            process.wait()

    def _run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=patient(SECONDS),
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def _bring(self, words: list[str]) -> None:
        if words[1] == "build":
            options = dict(zip(words[2:-1:2], words[3:-1:2], strict=True))
            self.built[options["--tag"]] = options["--target"]
            return
        name = words[2]
        operator, mlflow = build_images()
        archive = self.home / "pushed.tar"
        copy_under_name((operator if self.built[name] == "operator" else mlflow).archive, name, archive)
        self.cluster.load_docker_image(archive)
        archive.unlink()


def answers() -> bool:
    """Whether a server answers where the page says."""
    try:
        with urlopen(HEALTH, timeout=patient(5)) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    """Somebody with a cluster in which nothing is installed, and with kubectl, Helm and Python."""
    cluster = development_cluster(f"first-{secrets.token_hex(2)}")
    cluster.create()
    environment = cluster.kubectl_environment()
    programs = [cluster.kubectl_path.parent, published_program("helm").parent]
    path = os.pathsep.join(map(str, [mlflow_python(NEWEST_VERSION).parent, *programs]))
    home = {"HOME": str(tmp_path), "PATH": f"{path}{os.pathsep}{environment['PATH']}"}
    one = Newcomer(cluster, tmp_path, environment | home)
    yield one
    one.stop()
    cluster.delete()


def test_the_page_leads_to_a_server_that_is_ready_in_five_minutes_and_to_a_run_in_it(
    newcomer: Newcomer, record_property: Callable[[str, object], None]
) -> None:
    typed = list(commands(PAGE.read_text()))
    (install,) = (one for one in typed if one.startswith("helm install"))
    (ready,) = (one for one in typed if "--for=condition=Ready" in one)
    (delete,) = (one for one in typed if " delete " in one)

    for command in typed[: typed.index(install)]:
        newcomer.do(command)
    begun = time.monotonic()
    for command in typed[typed.index(install) : typed.index(delete)]:
        newcomer.do(command)

    seconds = newcomer.ended[ready] - begun
    record_property("seconds from helm install to Ready", round(seconds))
    assert seconds < PROMISED_SECONDS
    (table,) = (said for one, said in newcomer.said.items() if one.endswith(" get trackingserver"))
    shown = ["tracking", "True", "AsExpected", NEWEST_VERSION, "http://tracking.team-a.svc"]
    assert table.splitlines()[1].split()[: len(shown)] == shown
    newcomer.do(delete)
    assert newcomer.cluster.kubectl("get", "pvc", "--namespace", "team-a", "--output", "name").split()
