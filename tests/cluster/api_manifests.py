"""What the tests of the API share: manifests, and what the API server says to them."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tests.waiting import patient, wait_until
from tracking_operator.api.crds import all_crds
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.api.reserved_names import reserved_names_binding, reserved_names_policy
from tracking_operator.api.store_kind_admission import store_kind_binding, store_kind_policy

Manifest = dict[str, Any]

DEADLINE = 30.0
"""How long to wait for the API server to act on something it was told, in seconds."""


class Cluster(Protocol):
    """What these tests need of a cluster; pytest_kind.KindCluster has it too."""

    kubectl_path: Any
    kubeconfig_path: Any


@dataclass(frozen=True)
class ApiServer:
    """The API server as somebody with kubectl meets it, in one namespace."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *arguments: str, manifest: Manifest | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl in the namespace, with the manifest on its standard input."""
        return subprocess.run(
            [
                str(self.cluster.kubectl_path),
                "--kubeconfig",
                str(self.cluster.kubeconfig_path),
                "--namespace",
                self.namespace,
                *arguments,
            ],
            input=None if manifest is None else json.dumps(manifest),
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )

    def refusal(self, manifest: Manifest) -> str | None:
        """Return what ``kubectl apply`` says if the manifest is refused, or None. Nothing is stored."""
        result = self.kubectl("apply", "--dry-run=server", "-f", "-", manifest=manifest)
        return None if result.returncode == 0 else result.stderr

    def store(self, manifest: Manifest, *, status: Manifest | None = None) -> None:
        """Store the object, and its status as the operator would write it."""
        self._succeed("apply", "-f", "-", manifest=manifest)
        if status is not None:
            name = manifest["metadata"]["name"]
            patch = json.dumps({"status": status})
            self._succeed(
                "patch", manifest["kind"], name, "--subresource=status", "--type=merge", f"--patch={patch}"
            )

    def stored(self, manifest: Manifest) -> Manifest:
        """Return the object as the API server has it."""
        found = self._succeed("get", manifest["kind"], manifest["metadata"]["name"], "-o", "json")
        return dict(json.loads(found))

    @contextmanager
    def holding(self, manifest: Manifest, *, status: Manifest | None = None) -> Iterator[None]:
        """Keep the object in the API server for the time of the block."""
        self.store(manifest, status=status)
        try:
            yield
        finally:
            self._succeed("delete", manifest["kind"], manifest["metadata"]["name"], "--wait=false")

    def install(self) -> None:
        """Install both CRDs and the admission policy, and wait until they are in force."""
        for installed in (
            *all_crds(),
            store_kind_policy(),
            store_kind_binding(),
            reserved_names_policy(),
            reserved_names_binding(),
        ):
            self._succeed("apply", "--server-side", "--force-conflicts", "-f", "-", manifest=installed)
        names = [f"crd/{crd['metadata']['name']}" for crd in all_crds()]
        self._succeed("wait", "--for=condition=Established", f"--timeout={DEADLINE:.0f}s", *names)
        wait_until(
            lambda: self.refusal(tracking_server({})) is None, DEADLINE, "the API server knows TrackingServer"
        )

    def _succeed(self, *arguments: str, manifest: Manifest | None = None) -> str:
        result = self.kubectl(*arguments, manifest=manifest)
        assert result.returncode == 0, f"kubectl {' '.join(arguments)}: {result.stderr}"
        return result.stdout


def tracking_server(
    spec: Manifest, *, name: str = "mlflow", annotations: dict[str, str] | None = None
) -> Manifest:
    """Return a TrackingServer."""
    return {
        "apiVersion": API_VERSION,
        "kind": "TrackingServer",
        "metadata": {"name": name, **({"annotations": annotations} if annotations else {})},
        "spec": spec,
    }


def tracking_server_class(spec: Manifest, *, name: str = "api-test") -> Manifest:
    """Return a TrackingServerClass."""
    return {
        "apiVersion": API_VERSION,
        "kind": "TrackingServerClass",
        "metadata": {"name": name},
        "spec": spec,
    }
