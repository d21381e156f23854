"""A team whose servers come from Git: it commits, and looks at what Argo CD and the cluster make of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import yaml

from dev.gitops import ArgoCd, State, state_of
from dev.gitops.files import SERVER, server_file, team_files
from dev.ingress.manifests import HTTP_PORT
from dev.stores.manifests import contents_of
from tests.e2e.mlflow import Tracking
from tests.kube_api import KubeApi
from tests.operator_fixtures import Team
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.kube.objects import NAMESPACE, SECRET, Kind, KubeObject, register

APPLICATION = register(Kind("argoproj.io/v1alpha1", "Application", "applications"))
ARGO_CD = "argocd"
SECONDS_TO_SYNC = 120.0
SECONDS_TO_BE_WELL = 420.0
SMALL = {"requests": {"cpu": "50m", "memory": "400Mi"}, "limits": {"memory": "1Gi"}}


@dataclass(frozen=True)
class GitTeam:
    """A team with a folder in Git, whose Application is `tracking-NAME`."""

    argo_cd: ArgoCd
    api: KubeApi
    name: str

    @property
    def application_name(self) -> str:
        return f"tracking-{self.name}"

    @property
    def team(self) -> Team:
        """The team in the cluster."""
        return Team(self.api, self.name)

    def server(
        self, spec: Mapping[str, object], name: str = SERVER, metadata: Mapping[str, object] | None = None
    ) -> str:
        """The text of a server's file, with little memory for its pods."""
        return yaml.safe_dump(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServer",
                "metadata": {"name": name, **(metadata or {})},
                "spec": {"resources": SMALL, **spec},
            }
        )

    def commit(self, message: str, spec: Mapping[str, object], **metadata: object) -> str:
        """Commit the team's server; return the commit."""
        return self.commit_files(message, {server_file(self.name): self.server(spec, metadata=metadata)})

    def commit_files(self, message: str, files: Mapping[str, str | None]) -> str:
        """Commit files, have Argo CD look, and return the commit."""
        revision = self.argo_cd.repository.commit(message, files)
        self.argo_cd.look_again()
        return revision

    def application(self) -> KubeObject:
        """The Application as it is; empty if there is none."""
        return self.api.find(APPLICATION, ARGO_CD, self.application_name) or {}

    def state(self) -> State:
        """How the Application is."""
        return state_of(self.application())

    def health(self, name: str = SERVER) -> tuple[str, str]:
        """The health of a server in Argo CD, and its message."""
        return self.argo_cd.health(self.application_name, name)

    def wait_for_state(
        self, is_so: Callable[[State], bool], what: str, seconds: float = SECONDS_TO_SYNC
    ) -> State:
        """Return how the Application is once that is so."""

        def fits() -> State | None:
            state = self.state()
            return state if is_so(state) else None

        return wait_until(
            fits, seconds, lambda: f"{self.application_name} is {what}: {self.described()}", interval=0.3
        )

    def wait_until_well(
        self, revision: str, seconds: float = SECONDS_TO_BE_WELL, health: str = "Healthy"
    ) -> State:
        """Wait until the Application has this commit, and is Synced and Healthy, or of another health."""
        return self.wait_for_state(
            lambda state: (state.sync, state.health, state.revision) == ("Synced", health, revision),
            f"Synced and {health} with {revision[:8]}",
            seconds,
        )

    def wait_for_health(self, status: str, name: str = SERVER, seconds: float = SECONDS_TO_BE_WELL) -> str:
        """Wait until Argo CD gives a server this health; return its message."""

        def fits() -> tuple[str, str] | None:
            found = self.health(name)
            return found if found[0] == status else None

        found = wait_until(
            fits,
            seconds,
            lambda: f"{name} is {status}: {self.health(name)}; {self.described()}",
            interval=0.5,
        )
        return found[1]

    def begin(
        self,
        spec: Mapping[str, object],
        health: str = "Healthy",
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Commit all of the team with a server of this specification, and wait until Argo CD says so of its health."""
        files = team_files(self.name, self.argo_cd.repository.url_of_pods)
        files[server_file(self.name)] = self.server(spec, metadata=metadata)
        self.wait_until_well(self.commit_files(f"{self.name} has a server", files), health=health)

    def end(self) -> None:
        """Take all of the team out of Git, and then out of the cluster, without waiting for its end."""
        gone = dict.fromkeys(team_files(self.name, self.argo_cd.repository.url_of_pods))
        self.commit_files(f"{self.name} is over", {**gone, f"teams/{self.name}": None})
        self.api.delete(APPLICATION, ARGO_CD, self.application_name)
        self.api.delete(NAMESPACE, None, self.name)

    def tracking(self) -> Tracking:
        """The server as its team's programs reach it, through the Ingress controller."""
        found = contents_of(self.team.get(SECRET, f"{SERVER}-client"))
        login = found["MLFLOW_TRACKING_USERNAME"], found["MLFLOW_TRACKING_PASSWORD"]
        host = str(self.team.server(SERVER)["status"]["url"]).partition("//")[2].partition(":")[0]
        return Tracking(HTTP_PORT, self.argo_cd.node_address, host, login=login)

    def described(self) -> str:
        """What there is to say when something does not come about."""
        application = self.application()
        status = application.get("status") or {}
        operation = (status.get("operationState") or {}).get("message")
        return f"{self.state()}; last sync: {operation}; {status.get('resources')}"
