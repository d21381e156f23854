"""A database of somebody else's, behind a URI in a Secret."""

from collections.abc import Sequence
from dataclasses import dataclass

from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.resources.destinations import Endpoint
from tracking_operator.resources.stores.endpoints_in_text import endpoints_in_database_uri
from tracking_operator.resources.stores.inputs import StoreInputs
from tracking_operator.resources.stores.interface import (
    BackendParts,
    BackendStore,
    Evidence,
    FoundBy,
    StartSecret,
    StoreMount,
)
from tracking_operator.resources.stores.paths import BACKEND_STORE_CREDENTIALS


@dataclass(frozen=True)
class ExternalBackend(BackendStore):
    """A database of somebody else's, behind a URI in a Secret."""

    secret: str
    key: str

    def evidence(self) -> Evidence:
        """Only pods know the URI."""
        return Evidence(
            FoundBy.POD, awaited="the first pod that opens the database", place="The external database"
        )

    def secrets(self) -> tuple[StartSecret, ...]:
        """The Secret with the URI."""
        field = "spec.backendStore.external.uriSecretRef"
        return (StartSecret(self.secret, self.key, field, required=(self.key,), names_endpoints=True),)

    def endpoints(self, in_secret: Sequence[Endpoint] | None, of_team: PodTemplate) -> tuple[Endpoint, ...]:
        """Where the URI leads; as long as it is not known, the usual ports of databases."""
        return tuple(in_secret) if in_secret is not None else endpoints_in_database_uri("")

    def pod_parts(self) -> BackendParts:
        """The URI in a file, which MLflow is started with. A pooler before the database would refuse options of ours."""
        items = [{"key": self.key, "path": "uri"}]
        source = {"secret": {"secretName": self.secret, "items": items}}
        return BackendParts(
            program_arguments=("external", f"{BACKEND_STORE_CREDENTIALS}/uri"),
            mounts=(StoreMount("backend-store-credentials", BACKEND_STORE_CREDENTIALS, source),),
        )


def external_backend(inputs: StoreInputs) -> ExternalBackend:
    """The database that the team names."""
    asked = inputs.server.spec.backend_store.external
    if asked is None:  # taken out of the specification, which is refused: only looked at, never built
        return ExternalBackend("", "")
    return ExternalBackend(asked.uri_secret_ref.name, asked.uri_secret_ref.key)
