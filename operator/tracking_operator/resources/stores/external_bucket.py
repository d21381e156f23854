"""An object store of somebody else's, which the team names by its URI."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.resources.destinations import Endpoint
from tracking_operator.resources.stores.endpoints_in_text import (
    HTTPS_PORT,
    VARIABLES_WITH_ENDPOINTS,
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

STEERING_VARIABLES: Final = ("AWS_*", "AZURE_*", "GOOGLE_*", "MLFLOW_BOTO_*", "MLFLOW_S3_*")
"""How teams steer the way to an artifact store of their own: check and server read the same."""

USUAL_PORTS_OF_OBJECT_STORES: Final = (HTTPS_PORT, 80, 9000)
"""For endpoints that are named where the operator does not look."""


@dataclass(frozen=True)
class ExternalArtifacts(ArtifactStore):
    """Artifacts in an object store of somebody else's."""

    uri: str
    secret: str | None

    def evidence(self) -> Evidence:
        """The init container puts, lists, gets and deletes an object before each start."""
        return Evidence(FoundBy.POD, awaited="the first pod that tries the store out", place=self.uri)

    def secrets(self) -> tuple[StartSecret, ...]:
        """The Secret with the team's keys, if it names one."""
        if self.secret is None:
            return ()
        field = "spec.artifactStore.external.credentialsSecretRef"
        return (StartSecret(self.secret, field=field, names_endpoints=True),)

    def endpoints(self, in_secret: Sequence[Endpoint] | None, of_team: PodTemplate) -> tuple[Endpoint, ...]:
        """Its endpoint, and 443: there are the stores of clouds, and what they check identities with."""
        variables = {one.name: one.value or "" for one in of_team.env}
        named = (*(in_secret or ()), *endpoints_in_variables(variables))
        is_hidden = bool(of_team.env_from) or any(
            one.value_from for one in of_team.env if one.name in VARIABLES_WITH_ENDPOINTS
        )
        ports = USUAL_PORTS_OF_OBJECT_STORES if is_hidden and not named else (HTTPS_PORT,)
        return tuple(dict.fromkeys((*named, *(Endpoint("", port) for port in ports))))

    def pod_parts(self) -> ArtifactParts:
        """The URI, and a check of it before each start."""
        return ArtifactParts(
            place=self.uri,
            mounts=self._mounts(),
            steering_variables=STEERING_VARIABLES,
            check_arguments=("external", self.uri),
        )

    def client_parts(self) -> ClientParts:
        """Clients have keys of their own."""
        return ClientParts(root=self.uri, are_admitted=True)

    def _mounts(self) -> tuple[StoreMount, ...]:
        if self.secret is None:
            return ()
        source = {"secret": {"secretName": self.secret}}
        return (StoreMount("artifact-store-credentials", ARTIFACT_STORE_CREDENTIALS, source),)


def external_artifacts(inputs: StoreInputs) -> ExternalArtifacts:
    """The store that the team names."""
    asked = inputs.server.spec.artifact_store.external
    if asked is None:  # taken out of the specification, which is refused: only looked at, never built
        return ExternalArtifacts("", None)
    credentials = asked.credentials_secret_ref
    return ExternalArtifacts(asked.uri, credentials.name if credentials else None)
