"""What the containers of a pod find in their environment, and how our programs in them are started without the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tracking_operator.api.base import matches_key
from tracking_operator.api.pod_template import RESERVED_ENV, EnvVar
from tracking_operator.pod_tools.in_clean_environment import steers
from tracking_operator.resources.artifact_environment import RESERVED_ARTIFACT_ENV
from tracking_operator.resources.pod.tools import command_line
from tracking_operator.resources.server_model import (
    ExternalArtifacts,
    KubeObject,
    S3Artifacts,
    ServerModel,
)

LOADER: Final = {"LD_AUDIT": "", "LD_LIBRARY_PATH": "", "LD_PRELOAD": ""}
"""What the dynamic loader reads before the first line of ours runs: empty, it is as if absent (ld.so(8)), and what a
container's specification says counts more than its envFrom and its image."""

VARIABLES_OF_STORES: Final = ("AWS_*", "AZURE_*", "GOOGLE_*", "MLFLOW_BOTO_*", "MLFLOW_S3_*")
"""How teams steer the way to an artifact store of their own: check and server read the same."""

VARIABLES_OF_ROLES: Final = ("AWS_ROLE_ARN", "AWS_STS_REGIONAL_ENDPOINTS", "AWS_WEB_IDENTITY_TOKEN_FILE")
VARIABLES_OF_POD_IDENTITY: Final = (
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_STS_REGIONAL_ENDPOINTS",
)
"""What EKS's webhooks add to pods (https://docs.aws.amazon.com/eks/latest/userguide/pod-configuration.html)."""


@dataclass(frozen=True)
class Environment:
    """The variables of one container: ours, and what the team adds in its specification."""

    server: ServerModel
    ours: Mapping[str, str]
    of_team: Sequence[EnvVar] = ()

    def variables(self) -> list[KubeObject]:
        """The container's env."""
        own = [{"name": name, "value": value} for name, value in {**self.ours, **LOADER}.items()]
        added = [variable for variable in self.of_team if self._lets_in(variable.name)]
        return own + [variable.as_kubernetes() for variable in added]

    def command(self, program: str, *arguments: str) -> list[str]:
        """How one of our programs is started in it; more arguments may follow."""
        names = {
            "ours": sorted({*self.ours, *_set_by_webhooks(self.server)}),
            "permitted": permitted(self.server),
            "reserved": sorted(self._never()),
        }
        options = [f"--{option}={','.join(found)}" for option, found in names.items() if found]
        return command_line(options, program, *arguments)

    def _lets_in(self, name: str) -> bool:
        patterns = permitted(self.server)
        is_permitted = not steers(name) or any(matches_key(pattern, name) for pattern in patterns)
        return is_permitted and name not in {*self.ours, *LOADER, *reserved(self.server)}

    def _never(self) -> set[str]:
        """Reserved names that a pattern would let in."""
        patterns = permitted(self.server)
        return {
            name
            for name in {*reserved(self.server), *LOADER} - set(self.ours)
            if any(matches_key(pattern, name) for pattern in patterns)
        }


def permitted(server: ServerModel) -> list[str]:
    """The variables, by name or beginning, that may steer what runs although we have not set them."""
    is_external = isinstance(server.artifact_store, ExternalArtifacts)
    return sorted({*server.permitted_variables, *(VARIABLES_OF_STORES if is_external else ())})


def reserved(server: ServerModel) -> frozenset[str]:
    """The variables that nobody else may set, whatever the class permits."""
    own_prefix = RESERVED_ARTIFACT_ENV if isinstance(server.artifact_store, S3Artifacts) else frozenset()
    return frozenset(RESERVED_ENV) | own_prefix


def _set_by_webhooks(server: ServerModel) -> tuple[str, ...]:
    store = server.artifact_store
    if not isinstance(store, S3Artifacts):
        return ()
    roles = VARIABLES_OF_ROLES if store.role_arn else ()
    return roles + (VARIABLES_OF_POD_IDENTITY if store.uses_pod_identity else ())
