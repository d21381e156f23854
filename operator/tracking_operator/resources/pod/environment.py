"""What the containers of a pod find in their environment, and how our programs in them are started without the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tracking_operator.api.base import matches_key
from tracking_operator.api.pod_template import RESERVED_ENV, EnvVar
from tracking_operator.pod_tools.in_clean_environment import steers
from tracking_operator.resources.pod.tools import command_line
from tracking_operator.resources.server_model import KubeObject, ServerModel

LOADER: Final = {"LD_AUDIT": "", "LD_LIBRARY_PATH": "", "LD_PRELOAD": ""}
"""What the dynamic loader reads before the first line of ours runs: empty, it is as if absent (ld.so(8)), and what a
container's specification says counts more than its envFrom and its image."""


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
            "ours": sorted({*self.ours, *self.server.artifact_store.pod_parts().variables_of_webhooks}),
            "permitted": permitted(self.server),
            "reserved": sorted(self._never()),
        }
        options = [f"--{option}={','.join(found)}" for option, found in names.items() if found]
        return command_line(options, program, *arguments)

    def _lets_in(self, name: str) -> bool:
        patterns = permitted(self.server)
        is_permitted = not steers(name) or any(matches_key(pattern, name) for pattern in patterns)
        return is_permitted and name not in {*self.ours, *LOADER, *reserved(self.server)}

    def _never(self) -> frozenset[str]:
        """Reserved names that a pattern would let in."""
        return _matches(
            frozenset({*reserved(self.server), *LOADER} - set(self.ours)), tuple(permitted(self.server))
        )


def permitted(server: ServerModel) -> list[str]:
    """The variables, by name or beginning, that may steer what runs although we have not set them."""
    return sorted({*server.permitted_variables, *server.artifact_store.pod_parts().steering_variables})


def reserved(server: ServerModel) -> frozenset[str]:
    """The variables that nobody else may set, whatever the class permits."""
    return frozenset(RESERVED_ENV) | server.artifact_store.pod_parts().reserved_variables


@lru_cache(maxsize=256)
def _matches(names: frozenset[str], patterns: tuple[str, ...]) -> frozenset[str]:
    """The names that a pattern means: the same for nearly all servers of a class, and for every look at one."""
    return frozenset(name for name in names if any(matches_key(pattern, name) for pattern in patterns))
