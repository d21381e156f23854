"""Bringing Argo CD and a Git server into the cluster."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Final

from dev.deploy import ROOT, load_images
from dev.development_cluster import DevelopmentCluster
from dev.gitops.argo_cd import API_PORT, NAMESPACE, ArgoCd
from dev.gitops.image import argocd_recipe, installation
from dev.gitops.repository import Repository
from dev.images import Image, build_images
from dev.ingress.deployment import node_address
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.progress import step
from dev.local_cluster.waiting import wait_until

MANIFESTS: Final = Path(__file__).parent / "manifests"
COMPONENT: Final = ROOT / "manifests" / "argocd"
REPOSITORY: Final = "mlflow.git"
GIT_PORT: Final = 30090
"""At the node's address."""
SECONDS_TO_START: Final = 300
WORKLOADS: Final = (
    "deployment/argocd-redis",
    "deployment/argocd-repo-server",
    "deployment/argocd-server",
    "deployment/argocd-applicationset-controller",
    "statefulset/argocd-application-controller",
)


@dataclass(frozen=True)
class Comparison:
    """How Argo CD compares Git and cluster.

    Attributes:
        tracking: by what it knows its objects: `annotation`, which is its default, `label` or `annotation+label`.
        is_server_side: whether it asks the API server what a sync would change, or merges by itself.
    """

    tracking: str = "annotation"
    is_server_side: bool = False


def deploy_argo_cd(cluster: DevelopmentCluster, comparison: Comparison | None = None) -> ArgoCd:
    """Run Argo CD with our health and actions, and a Git server, or keep them as they are; nothing is synced yet.

    Raises:
        ImageError: its image cannot be built.
        ClusterError: it does not run in time; the message says what the cluster says of it.
    """
    (image,) = build_images([argocd_recipe()])
    load_images(cluster, [image])
    address = node_address(cluster)
    repository = Repository(f"http://{address}:{GIT_PORT}/{REPOSITORY}", f"http://git.git.svc/{REPOSITORY}")
    argo_cd = ArgoCd(cluster, address, repository)
    with step("Git server in namespace git"):
        apply(
            cluster, _filled_in("git-server.yaml", image=image.name, git_port=GIT_PORT, repository=REPOSITORY)
        )
        _roll_out(cluster, "git", "deployment/git")
    with step(f"Argo CD in namespace {NAMESPACE}"):
        _install(cluster, image, comparison or Comparison())
        for workload in WORKLOADS:
            _roll_out(cluster, NAMESPACE, workload)
        apply(cluster, _filled_in("platform.yaml", url=repository.url_of_pods))
        _wait_until_it_answers(argo_cd)
    return argo_cd


def compare_by(argo_cd: ArgoCd, comparison: Comparison) -> None:
    """Have a running Argo CD compare in another way; it starts again for that. Raises ClusterError."""
    (image,) = build_images([argocd_recipe()])
    _install(argo_cd.cluster, image, comparison)
    argo_cd.kubectl("rollout", "restart", "statefulset/argocd-application-controller")
    _roll_out(argo_cd.cluster, NAMESPACE, "statefulset/argocd-application-controller")


def apply(cluster: DevelopmentCluster, manifests: str) -> None:
    """Make the objects what they should be, whoever has changed them."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifests)


def _install(cluster: DevelopmentCluster, image: Image, comparison: Comparison) -> None:
    """Apply Argo CD's own manifests with the component that docs/how-to/gitops.md names, as kustomize puts them together."""
    name, _, tag = image.name.rpartition(":")
    overlay = _filled_in(
        "kustomization.yaml",
        component="customizations",
        image_name=name,
        image_tag=tag,
        api_port=API_PORT,
        tracking=comparison.tracking,
        server_side_diff=str(comparison.is_server_side).lower(),
    )
    with TemporaryDirectory(prefix="argocd-") as folder:
        shutil.copy(installation(), folder)
        shutil.copy(MANIFESTS / "namespace.yaml", folder)
        shutil.copytree(COMPONENT, Path(folder) / "customizations")
        (Path(folder) / "kustomization.yaml").write_text(overlay, encoding="utf-8")
        apply(cluster, cluster.kubectl("kustomize", folder))


def _roll_out(cluster: DevelopmentCluster, namespace: str, workload: str) -> None:
    try:
        cluster.kubectl(
            "rollout", "status", workload, "--namespace", namespace, f"--timeout={SECONDS_TO_START}s"
        )
    except subprocess.CalledProcessError as error:
        events = cluster.kubectl("events", "--namespace", namespace)
        raise ClusterError(
            f"{workload} in namespace {namespace} does not run: {error.stderr.strip()}\n{events}"
        ) from error


def _wait_until_it_answers(argo_cd: ArgoCd) -> None:
    problem = ""

    def answers() -> bool:
        nonlocal problem
        try:
            return bool(argo_cd.version())
        except ClusterError as error:
            problem = str(error)
            return False

    wait_until(answers, seconds=SECONDS_TO_START, otherwise=lambda: problem, interval=0.5)


def _filled_in(file: str, **values: object) -> str:
    return Template((MANIFESTS / file).read_text(encoding="utf-8")).substitute(values)
