"""A database of somebody else's, behind a URI in a Secret."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.resources.destinations import Endpoint
from tracking_operator.resources.stores.certificates import (
    ca_reference,
    ca_source,
    certificate_reference,
    certificate_source,
)
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
    ca_config_map: str | None = None
    certificate_secret: str | None = None

    def evidence(self) -> Evidence:
        """Only pods know the URI."""
        return Evidence(
            FoundBy.POD, awaited="the first pod that opens the database", place="The external database"
        )

    def secrets(self) -> tuple[StartSecret, ...]:
        """The Secret with the URI, and what the team names beside it."""
        field = "spec.backendStore.external"
        uri = StartSecret(
            self.secret, self.key, f"{field}.uriSecretRef", required=(self.key,), names_endpoints=True
        )
        named = [uri]
        if self.ca_config_map:
            named.append(ca_reference(self.ca_config_map, f"{field}.caConfigMapRef"))
        if self.certificate_secret:
            named.append(
                certificate_reference(self.certificate_secret, f"{field}.clientCertificateSecretRef")
            )
        return tuple(named)

    def endpoints(self, in_secret: Sequence[Endpoint] | None, of_team: PodTemplate) -> tuple[Endpoint, ...]:
        """Where the URI leads; as long as it is not known, the usual ports of databases."""
        return tuple(in_secret) if in_secret is not None else endpoints_in_database_uri("")

    def pod_parts(self) -> BackendParts:
        """The URI in a file, which MLflow is started with. A pooler before the database would refuse options of ours."""
        return BackendParts(
            program_arguments=("external", f"{BACKEND_STORE_CREDENTIALS}/uri"),
            mounts=(StoreMount("backend-store-credentials", BACKEND_STORE_CREDENTIALS, self._source()),),
        )

    def _source(self) -> Mapping[str, object]:
        """The URI, and beside it the CA and the client certificate, where our programs look for them."""
        items = [{"key": self.key, "path": "uri"}]
        beside = [
            *([ca_source(self.ca_config_map)] if self.ca_config_map else []),
            *([certificate_source(self.certificate_secret)] if self.certificate_secret else []),
        ]
        if not beside:
            return {"secret": {"secretName": self.secret, "items": items}}
        return {"projected": {"sources": [{"secret": {"name": self.secret, "items": items}}, *beside]}}


def external_backend(inputs: StoreInputs) -> ExternalBackend:
    """The database that the team names."""
    asked = inputs.server.spec.backend_store.external
    if asked is None:  # taken out of the specification, which is refused: only looked at, never built
        return ExternalBackend("", "")
    ca, certificate = asked.ca_config_map_ref, asked.client_certificate_secret_ref
    return ExternalBackend(
        asked.uri_secret_ref.name,
        asked.uri_secret_ref.key,
        ca_config_map=ca.name if ca else None,
        certificate_secret=certificate.name if certificate else None,
    )
