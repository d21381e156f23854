"""An Argo CD that runs in the cluster, as whoever works with it meets it: its Applications, and its API."""

import base64
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

import urllib3

from dev.development_cluster import DevelopmentCluster
from dev.gitops.repository import Repository
from dev.local_cluster.failures import ClusterError
from tracking_operator.api.labels_and_annotations import GROUP
from tracking_operator.kube.objects import KubeObject

NAMESPACE: Final = "argocd"
API_PORT: Final = 30091
"""At the node's address."""
APPLICATIONS: Final = "applications.argoproj.io"
APPLICATION_SETS: Final = "applicationsets.argoproj.io"
USER: Final = "admin"
PASSWORD_SECRET: Final = "argocd-initial-admin-secret"  # noqa: S105
SECONDS_TO_ANSWER: Final = 60.0


@dataclass(frozen=True)
class State:
    """How an Application is: what Argo CD says of Git and cluster, and of the health of what is in it."""

    sync: str
    health: str
    revision: str = ""
    """Of Git, with which the cluster was compared."""
    conditions: tuple[str, ...] = ()
    """Why Argo CD can do nothing, if it cannot."""

    @property
    def is_well(self) -> bool:
        """Whether it is as Git wants it, and works."""
        return (self.sync, self.health) == ("Synced", "Healthy")

    def __str__(self) -> str:
        return "; ".join([f"{self.sync}, {self.health}", *self.conditions])


def state_of(application: KubeObject) -> State:
    """How an Application is, from its status; Argo CD has not looked yet where there is none."""
    status = application.get("status") or {}
    sync, health = status.get("sync") or {}, status.get("health") or {}
    said = [str(one.get("message", "")) for one in status.get("conditions") or ()]
    return State(
        sync.get("status", "Unknown"), health.get("status", "Missing"), sync.get("revision", ""), tuple(said)
    )


@dataclass(frozen=True)
class ArgoCd:
    """A running Argo CD, and the repository that it reads."""

    cluster: DevelopmentCluster = field(repr=False)
    node_address: str
    repository: Repository

    @property
    def url(self) -> str:
        """Its API, as pods and this machine reach it."""
        return f"http://{self.node_address}:{API_PORT}"

    def applications(self) -> dict[str, KubeObject]:
        """Every Application, by its name."""
        found = json.loads(self.kubectl("get", APPLICATIONS, "--output=json"))
        return {one["metadata"]["name"]: one for one in found["items"]}

    def look_again(self) -> None:
        """Have Argo CD look at Git now, as a webhook of a Git server does."""
        for kind, annotation in (
            (APPLICATION_SETS, "argocd.argoproj.io/application-set-refresh=true"),
            (APPLICATIONS, "argocd.argoproj.io/refresh=normal"),
        ):
            try:
                self.kubectl("annotate", kind, "--all", "--overwrite", annotation)
            except subprocess.CalledProcessError as error:
                if "not found" not in error.stderr:  # one that ends at this moment
                    raise

    def run_action(self, application: str, action: str, *, namespace: str, server: str) -> None:
        """Run an action of a TrackingServer by Argo CD's API. Raises ClusterError: it refuses."""
        of_server = {"group": GROUP, "version": "v1alpha1", "kind": "TrackingServer"}
        asked = {"namespace": namespace, "resourceName": server, **of_server, "action": action}
        self._ask("POST", f"/api/v1/applications/{application}/resource/actions/v2", asked)

    def actions(self, application: str, *, namespace: str, server: str) -> dict[str, bool]:
        """The actions that Argo CD offers for a TrackingServer, and whether each can be run now."""
        of_server = {"group": GROUP, "version": "v1alpha1", "kind": "TrackingServer"}
        asked = urlencode({"namespace": namespace, "resourceName": server, **of_server})
        found = self._ask("GET", f"/api/v1/applications/{application}/resource/actions?{asked}")
        return {str(one["name"]): not one.get("disabled", False) for one in found.get("actions") or ()}

    def health(self, application: str, server: str) -> tuple[str, str]:
        """The health that Argo CD gives to a TrackingServer, and its message; Missing, if it is not in the Application."""
        tree = self._ask("GET", f"/api/v1/applications/{application}/resource-tree")
        for node in tree.get("nodes") or ():
            if (node.get("group"), node["kind"], node["name"]) == (GROUP, "TrackingServer", server):
                found = node.get("health") or {}
                return str(found.get("status", "Missing")), str(found.get("message", ""))
        return "Missing", ""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl says about its namespace."""
        return self.cluster.kubectl("--namespace", NAMESPACE, *arguments, stdin=stdin)

    def version(self) -> str:
        """What its API says that it is. Raises ClusterError: it does not answer."""
        return str(self._request("GET", "/api/version", None, {}).get("Version", "")).partition("+")[0]

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> KubeObject:
        login = {"username": USER, "password": self._password()}
        token = self._request("POST", "/api/v1/session", login, {})["token"]
        return self._request(method, path, body, {"Authorization": f"Bearer {token}"})

    def _password(self) -> str:
        encoded = self.kubectl("get", "secret", PASSWORD_SECRET, "--output=jsonpath={.data.password}")
        return base64.b64decode(encoded).decode()

    def _request(
        self, method: str, path: str, body: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> KubeObject:
        try:
            answer = urllib3.request(
                method,
                f"{self.url}{path}",
                json=body,
                headers={"Content-Type": "application/json", **headers},
                timeout=SECONDS_TO_ANSWER,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"Argo CD does not answer at {self.url}: {error}") from error
        if answer.status >= 400:  # noqa: PLR2004
            said = answer.data.decode(errors="replace")
            raise ClusterError(
                f"Argo CD answers {method} {path.partition('?')[0]} with {answer.status}: {said}"
            )
        found: KubeObject = json.loads(answer.data or b"{}")
        return found
