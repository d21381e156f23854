"""What the steps before a server's objects decide about them. Pure."""

from dataclasses import dataclass

from tracking_operator.controllers.server.artifacts.checks import ArtifactCheck, is_in_use
from tracking_operator.controllers.server.database.schema_gate import Gate, is_gated
from tracking_operator.controllers.server.managed_stores.states import ArtifactState
from tracking_operator.kube.objects import KubeObject
from tracking_operator.resources.auth_secret import LoginCredentials
from tracking_operator.resources.client_secret import build_client_secret
from tracking_operator.resources.pod.server_pod import asks_for_login
from tracking_operator.resources.server_model import ServerModel


@dataclass(frozen=True)
class Gates:
    """What the steps before the objects found, as far as it decides about these."""

    gate: Gate | None
    artifacts: ArtifactState | None
    check: ArtifactCheck | None
    credentials: LoginCredentials | None = None

    def let_through(self, obj: KubeObject, server: ServerModel, deployment: KubeObject | None) -> bool:
        """Whether an object may be written now: no pod starts on a schema or a prefix that is not its own."""
        if obj["kind"] != "Deployment":
            return True
        store = server.artifact_store
        if store.is_managed and self.artifacts is None and not is_in_use(store, deployment):
            return False
        if not self._has_passwords(server) and not asks_for_login(deployment):
            return False
        return not is_gated(obj, self.gate)

    def _has_passwords(self, server: ServerModel) -> bool:
        """Whether the Secret that pods with a login read is there, and the server's own."""
        return server.login is None or self.credentials is not None

    def objects(self, server: ServerModel) -> list[KubeObject]:
        """What has to exist because of them."""
        wanted = (
            self.gate.job if self.gate and self._has_passwords(server) else None,
            self.check and self.check.job,
            build_client_secret(server, self.artifacts.keys if self.artifacts else None, self.credentials),
        )
        return [obj for obj in wanted if obj]
