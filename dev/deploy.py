"""`python -m dev.deploy`: install the operator in a development cluster, or take it out again."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import yaml

from dev.development_cluster import DevelopmentCluster, development_cluster
from dev.images import Image, ImageError, build_images
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.layout import DEFAULT_NAME
from dev.local_cluster.progress import step
from tracking_operator.timings import Timings

ROOT = Path(__file__).parent.parent
BASE = ROOT / "manifests" / "base"
NAMESPACE = "tracking-operator-system"
PLACEHOLDER_IMAGE = "tracking-operator/operator"
SERVERS = "trackingservers.tracking-operator.dev"
DEFINITIONS = tuple(
    f"crd/{name}.tracking-operator.dev"
    for name in ("trackingservers", "trackingserverbackups", "trackingserverclasses", "trackingserverclients")
)

EXAMPLES = """examples:
  python -m dev.deploy up                     # make the cluster, build and load the images, install or update
  python -m dev.deploy up --name other        # in the cluster of that name
  python -m dev.deploy down                   # refuses while TrackingServers exist"""


class DeployError(Exception):
    """The operator was not installed or removed; the text says why and what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.deploy",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=["up", "down"])
    parser.add_argument("--name", default=DEFAULT_NAME, help="the cluster (default: %(default)s)")
    options = parser.parse_args(arguments)
    cluster = development_cluster(options.name)
    try:
        if options.action == "up":
            cluster.create()
            deploy(cluster)
        else:
            undeploy(cluster)
    except (ClusterError, ImageError, DeployError) as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"kubectl {' '.join(map(str, error.cmd[1:]))} failed: {error.stderr.strip()}", file=sys.stderr)
        return 1
    return 0


def deploy(cluster: DevelopmentCluster, manifests: Path = BASE, *, timings: Timings | None = None) -> None:
    """Build and load both images, apply a folder of manifests/, and wait until the operator is up.

    Tests that wait for rotations give it short `timings`.
    """
    images = build_images()
    load_images(cluster, images)
    with step(f"apply {manifests.relative_to(ROOT)}"):
        cluster.kubectl("apply", "--server-side", "-k", str(ROOT / "crds"))
        # A definition that is milliseconds old has `conditions: null`, at which waiting for a condition fails.
        cluster.kubectl("wait", "--for=jsonpath={.status.acceptedNames.kind}", "--timeout=60s", *DEFINITIONS)
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *DEFINITIONS)
        apply_with_image(cluster, images, manifests, timings)
    with step("wait for the operator"):
        cluster.kubectl(
            *("rollout", "status", "deployment/tracking-operator"),
            *("--namespace", NAMESPACE, "--timeout", "120s"),
        )


def undeploy(cluster: DevelopmentCluster) -> None:
    """Remove the operator and its definitions. Raises DeployError: there still are TrackingServers."""
    servers = remaining_servers(cluster)
    if servers:
        raise DeployError(
            f"The operator stays: there still are {len(servers)} TrackingServers ({', '.join(servers)}). "
            "Delete them first, or nothing would be left that cleans up after them."
        )
    with step("remove the operator"):
        cluster.kubectl("delete", "--ignore-not-found", "--wait", "-k", str(BASE))


def remaining_servers(cluster: DevelopmentCluster) -> list[str]:
    """The TrackingServers of the cluster, as namespace/name; none where the definition is missing."""
    try:
        listed = json.loads(cluster.kubectl("get", SERVERS, "--all-namespaces", "--output", "json"))
    except subprocess.CalledProcessError as error:
        if "doesn't have a resource type" in error.stderr or "not found" in error.stderr:
            return []
        raise
    return [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in listed["items"]]


def load_images(cluster: DevelopmentCluster, images: list[Image]) -> None:
    """Bring the images to the cluster's node."""
    for image in images:
        with step(f"load {image.name}"):
            cluster.load_docker_image(image.archive)


def apply_with_image(
    cluster: DevelopmentCluster, images: list[Image], manifests: Path, timings: Timings | None = None
) -> None:
    """Apply the manifests with the operator image that was just built, by an overlay that is thrown away."""
    operator = next(image for image in images if image.name.startswith(PLACEHOLDER_IMAGE))
    with tempfile.TemporaryDirectory(dir=ROOT / ".cluster") as folder:
        overlay = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(manifests, folder)],
            "images": [{"name": PLACEHOLDER_IMAGE, "newTag": operator.name.rpartition(":")[2]}],
            "patches": [_with_timings(timings)] if timings else [],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", folder)


def _with_timings(timings: Timings) -> dict[str, object]:
    variable = {"name": "TRACKING_OPERATOR_TIMINGS", "value": json.dumps(asdict(timings))}
    operation = {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": variable}
    return {"target": {"kind": "Deployment"}, "patch": json.dumps([operation])}


if __name__ == "__main__":
    sys.exit(main())
