"""An object store of somebody else's, which the team names by its URI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.api.s3_connection import AddressingStyle, addressing_style_with
from tracking_operator.resources.destinations import Endpoint
from tracking_operator.resources.stores.certificates import ca_reference, ca_source
from tracking_operator.resources.stores.endpoints_in_text import (
    HTTPS_PORT,
    VARIABLES_WITH_ENDPOINTS,
    endpoint_of_url,
    endpoints_in_variables,
)
from tracking_operator.resources.stores.inputs import StoreInputs
from tracking_operator.resources.stores.interface import (
    ArtifactParts,
    ArtifactStore,
    ClientParts,
    Evidence,
    FoundBy,
    StartSecret,
    StoreMount,
)
from tracking_operator.resources.stores.paths import ARTIFACT_STORE_CREDENTIALS
from tracking_operator.resources.stores.s3_variables import (
    CA_VARIABLES,
    IGNORE_TLS,
    connection_variables,
)

STEERING_VARIABLES: Final = ("AWS_*", "AZURE_*", "GOOGLE_*", "MLFLOW_BOTO_*", "MLFLOW_S3_*")
"""How teams steer the way to an artifact store of their own: check and server read the same."""

USUAL_PORTS_OF_OBJECT_STORES: Final = (HTTPS_PORT, 80, 9000)
"""For endpoints that are named where the operator does not look."""


@dataclass(frozen=True)
class ExternalArtifacts(ArtifactStore):
    """Artifacts in an object store of somebody else's."""

    uri: str
    secret: str | None
    ca_config_map: str | None = None
    endpoint: str | None = None
    """The URL of the S3 server; None for AWS, and where the Secret or a variable names it."""
    region: str | None = None
    addressing_style: AddressingStyle | None = None

    def evidence(self) -> Evidence:
        """The init container puts, lists, gets and deletes an object before each start."""
        return Evidence(FoundBy.POD, awaited="the first pod that tries the store out", place=self.uri)

    def secrets(self) -> tuple[StartSecret, ...]:
        """The Secret with the team's keys and the ConfigMap with the CA, as far as it names them."""
        field, named = "spec.artifactStore.external", []
        if self.secret:
            named.append(
                StartSecret(self.secret, field=f"{field}.credentialsSecretRef", names_endpoints=True)
            )
        if self.ca_config_map:
            named.append(ca_reference(self.ca_config_map, f"{field}.caConfigMapRef"))
        return tuple(named)

    def endpoints(self, in_secret: Sequence[Endpoint] | None, of_team: PodTemplate) -> tuple[Endpoint, ...]:
        """Its endpoint, and 443: there are the stores of clouds, and what they check identities with."""
        variables = {one.name: one.value or "" for one in of_team.env}
        in_field = (endpoint_of_url(self.endpoint),) if self.endpoint else ()
        named = (*in_field, *(in_secret or ()), *endpoints_in_variables(variables))
        is_hidden = bool(of_team.env_from) or any(
            one.value_from for one in of_team.env if one.name in VARIABLES_WITH_ENDPOINTS
        )
        ports = USUAL_PORTS_OF_OBJECT_STORES if is_hidden and not named else (HTTPS_PORT,)
        return tuple(dict.fromkeys((*named, *(Endpoint("", port) for port in ports))))

    def pod_parts(self) -> ArtifactParts:
        """The URI, and a check of it before each start."""
        variables = self._connection_variables()
        if self.ca_config_map:
            variables |= CA_VARIABLES
        unverified = {IGNORE_TLS} if self.ca_config_map else set()
        return ArtifactParts(
            place=self.uri,
            variables=variables,
            mounts=self._mounts(),
            reserved_variables=frozenset(variables.keys() | unverified),
            steering_variables=STEERING_VARIABLES,
            check_arguments=("external", self.uri),
        )

    def client_parts(self) -> ClientParts:
        """Where the store is; clients have keys of their own, and mount the CA themselves."""
        return ClientParts(root=self.uri, are_admitted=True, variables=self._connection_variables())

    def _connection_variables(self) -> dict[str, str]:
        return connection_variables(self.endpoint, self.region, self.addressing_style)

    def _mounts(self) -> tuple[StoreMount, ...]:
        source = self._source()
        return (
            (StoreMount("artifact-store-credentials", ARTIFACT_STORE_CREDENTIALS, source),) if source else ()
        )

    def _source(self) -> Mapping[str, object]:
        """Keys and CA in one folder."""
        if self.ca_config_map:
            keys = [{"secret": {"name": self.secret}}] if self.secret else []
            return {"projected": {"sources": [*keys, ca_source(self.ca_config_map)]}}
        return {"secret": {"secretName": self.secret}} if self.secret else {}


def external_artifacts(inputs: StoreInputs) -> ExternalArtifacts:
    """The store that the team names."""
    asked = inputs.server.spec.artifact_store.external
    if asked is None:  # taken out of the specification, which is refused: only looked at, never built
        return ExternalArtifacts("", None)
    credentials, ca = asked.credentials_secret_ref, asked.ca_config_map_ref
    by_default = addressing_style_with(asked.endpoint) if asked.endpoint else None
    return ExternalArtifacts(
        asked.uri,
        credentials.name if credentials else None,
        ca_config_map=ca.name if ca else None,
        endpoint=asked.endpoint,
        region=asked.region,
        addressing_style=asked.addressing_style or by_default,
    )
