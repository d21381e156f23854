"""What the steps before a server's objects decide about them. Pure."""

from dataclasses import dataclass

from tracking_operator.kube.objects import KubeObject
from tracking_operator.reconcile.artifact_checks import ArtifactCheck, is_in_use
from tracking_operator.reconcile.artifact_prefixes import PrefixState
from tracking_operator.reconcile.migrations import Gate, is_gated
from tracking_operator.resources.artifacts_secret import build_client_secret
from tracking_operator.resources.server import S3Artifacts, ServerModel


@dataclass(frozen=True)
class Steps:
    """What the steps before the objects found, as far as it decides about these."""

    gate: Gate | None
    prefix: PrefixState | None
    check: ArtifactCheck | None

    def let_through(self, obj: KubeObject, server: ServerModel, deployment: KubeObject | None) -> bool:
        """Whether an object may be written now: no pod starts on a schema or a prefix that is not its own."""
        if obj["kind"] != "Deployment":
            return True
        store = server.artifact_store
        if isinstance(store, S3Artifacts) and self.prefix is None and not is_in_use(store, deployment):
            return False
        return not is_gated(obj, self.gate)

    def objects(self, server: ServerModel) -> list[KubeObject]:
        """What has to exist because of them."""
        wanted = (
            self.gate and self.gate.job,
            self.check and self.check.job,
            build_client_secret(server, self.prefix.keys if self.prefix else None),
        )
        return [obj for obj in wanted if obj]
