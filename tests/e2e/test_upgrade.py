"""The operator goes from one version to the next and back, by Helm and by kubectl, while servers are used.

No release exists yet. So the earlier version is this tree, and the next one is what `make next-version` makes of a copy of it,
with an image and a chart of its own: this shows that the way there, and back, touches no server. It does not show that two
different codes agree.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dev.chart.__main__ import CHART
from dev.deploy import DEFINITIONS, apply_with_image, load_images
from dev.development_cluster import DevelopmentCluster
from dev.images import Image, build_images
from dev.images.recipes import ROOT, mlflow_recipe
from dev.release.version import version_of
from tests.e2e.conftest import RESTRICTED
from tests.e2e.mlflow import clients, uids, wait_until_ready
from tests.helm_chart import helm
from tests.kube_api import KubeApi
from tests.operator_fixtures import (
    LEASE_NAME,
    OPERATOR,
    OPERATOR_NAMESPACE,
    Team,
    a_team,
    remove_operator_pods,
)
from tests.source_tree import Tree
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import OPERATOR_VERSION_ANNOTATION
from tracking_operator.controllers.kinds import TRACKING_SERVER
from tracking_operator.kube.objects import LEASE, POD, KubeObject, KubeObjects

SECONDS_TO_TAKE_OVER = 120.0
SERVERS = ("mlflow", "other")
OPERATOR_PODS = "app.kubernetes.io/name=tracking-operator"
RELEASE = ("--namespace", OPERATOR_NAMESPACE)
THIS, NEXT = "this", "next"

pytestmark = pytest.mark.campaign
"""It takes minutes, most of them for two images and for pods that come and go."""


@dataclass(frozen=True)
class Version:
    """A version of the operator, with what it is installed from."""

    tree: Tree
    image: Image

    @property
    def number(self) -> str:
        return version_of(self.tree.folder)

    @property
    def chart(self) -> str:
        return str(self.tree.folder / CHART.relative_to(ROOT))

    @property
    def values(self) -> KubeObject:
        return {"image": {"tag": self.image.name.rpartition(":")[2]}}


@dataclass
class Installation:
    """The operator in the cluster, and the servers that it manages."""

    cluster: DevelopmentCluster
    api: KubeApi
    team: Team
    reconciled: int = field(default=0)

    def helm(self, command: str, *arguments: str, values: object = None) -> None:
        helm(
            *(command, OPERATOR, *arguments, *RELEASE),
            values=values,
            environment=self.cluster.kubectl_environment(),
        )

    def install(self, version: Version) -> None:
        """The first installation; what other tests have left behind becomes the release's."""
        options = ("--create-namespace", "--take-ownership", "--force-conflicts")
        self.helm("install", version.chart, *options, values=version.values)
        self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *DEFINITIONS)

    def apply(self, version: Version) -> None:
        """What `kubectl apply --server-side` does with its manifests."""
        apply_with_image(self.cluster, [version.image], version.tree.folder / "manifests" / "base")

    def wait_until_at_work(self, version: Version) -> None:
        """Wait until a pod of this version is active, and has looked at a change of each server."""
        wait_until(
            lambda: self._image_of_active() == version.image.name,
            SECONDS_TO_TAKE_OVER,
            lambda: f"{version.image.name} is active, and not {self._image_of_active()}",
        )
        self.cluster.kubectl("rollout", "status", f"deployment/{OPERATOR}", *RELEASE, "--timeout=120s")
        self.reconciled += 1
        for name in SERVERS:
            self.team.patch_server({"spec": self._harmless()}, name)
            wait_until_ready(self.team, name)

    def servers(self) -> KubeObjects:
        return self.api.list(TRACKING_SERVER, self.team.namespace)

    def version_in_lease(self) -> str:
        lease = self.api.get(LEASE, OPERATOR_NAMESPACE, LEASE_NAME)
        return str(lease["metadata"].get("annotations", {}).get(OPERATOR_VERSION_ANNOTATION, ""))

    def _harmless(self) -> KubeObject:
        """A change of the specification by which no pod changes."""
        return {"deletionPolicy": "Delete" if self.reconciled % 2 else "Retain"}

    def _image_of_active(self) -> str:
        lease = self.api.find(LEASE, OPERATOR_NAMESPACE, LEASE_NAME)
        holder = str(((lease or {}).get("spec") or {}).get("holderIdentity") or "").partition("_")[0]
        pod = self.api.find(POD, OPERATOR_NAMESPACE, holder) if holder else None
        return str(pod["spec"]["containers"][0]["image"]) if pod else ""


@pytest.fixture(scope="module")
def versions(
    cluster: DevelopmentCluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Version, Version]:
    """A version, and a later one, with their images on the node."""
    older, newer = (a_version(tmp_path_factory.mktemp(one), one) for one in (THIS, NEXT))
    load_images(cluster, [*build_images([mlflow_recipe()]), older.image, newer.image])
    return older, newer


def a_version(folder: Path, which: str) -> Version:
    """The tree of a version, and the image that the tree itself builds."""
    tree = Tree.of_this(folder)
    if which == NEXT:
        major, minor, _ = version_of(ROOT).split(".")
        succeed(tree, "dev.release.next_version", f"{major}.{int(minor) + 1}.0")
    name, _, _, archive = succeed(tree, "dev.images", "build", "operator").splitlines()[-1].split()
    return Version(tree, Image(name, Path(archive), name.rpartition(":")[2], Path(archive).stat().st_size))


def succeed(tree: Tree, module: str, *arguments: str) -> str:
    """What a program of a tree prints."""
    done = tree.run(module, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(
    versions: tuple[Version, Version], cluster: DevelopmentCluster, api: KubeApi
) -> Iterator[Installation]:
    """The older version, installed by Helm, and a team with servers that it has made."""
    remove_operator_pods(api)  # of an earlier test: kubectl would own fields that Helm is to change
    with a_team(api, **RESTRICTED) as team:
        one = Installation(cluster, api, team)
        one.install(versions[0])
        for name in SERVERS:
            team.apply({}, name)
        for name in SERVERS:
            wait_until_ready(team, name)
        yield one
        one.helm("uninstall", "--ignore-not-found")


@contextmanager
def untouched(installed: Installation) -> Iterator[None]:
    """Servers are used all the time of the block: no request fails, and no pod of theirs is another one afterwards."""
    team = installed.team
    before = {name: uids(team, name) for name in SERVERS}
    with clients(team, installed.cluster) as seen:
        yield
    assert {name: uids(team, name) for name in SERVERS} == before
    assert seen["answers"] > 0
    assert seen["failures"] == []


def test_helm_goes_to_the_next_version_and_back_and_no_server_notices(
    installed: Installation, versions: tuple[Version, Version]
) -> None:
    older, newer = versions
    installed.wait_until_at_work(older)
    with untouched(installed):
        installed.helm("upgrade", newer.chart, values=newer.values)
        installed.wait_until_at_work(newer)
        assert installed.version_in_lease() == newer.number
        installed.helm("rollback")
        installed.wait_until_at_work(older)


def test_servers_serve_on_without_the_operator_and_kubectl_takes_up_what_helm_has_left(
    installed: Installation, versions: tuple[Version, Version]
) -> None:
    with untouched(installed):
        installed.helm("uninstall")
        wait_until(
            lambda: not installed.api.list(POD, OPERATOR_NAMESPACE, OPERATOR_PODS),
            SECONDS_TO_TAKE_OVER,
            "no operator is left",
        )
        assert {one["metadata"]["name"] for one in installed.servers()} == set(SERVERS)
        installed.apply(versions[0])
        installed.wait_until_at_work(versions[0])


def test_kubectl_goes_to_the_next_version_and_back_and_no_server_notices(
    installed: Installation, versions: tuple[Version, Version]
) -> None:
    older, newer = versions
    installed.apply(older)
    installed.wait_until_at_work(older)
    with untouched(installed):
        for version in (newer, older):
            installed.apply(version)
            installed.wait_until_at_work(version)
