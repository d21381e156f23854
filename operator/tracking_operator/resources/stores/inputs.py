"""What a store is made from: what the team wrote, what was decided once, and what the class offers."""

from dataclasses import dataclass

from tracking_operator.api.placement import Placement
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClassSpec
from tracking_operator.naming import ChildNames


@dataclass(frozen=True)
class StoreInputs:
    """All that the stores of one server may read."""

    server: TrackingServer
    placement: Placement
    class_spec: TrackingServerClassSpec
    connection_limit: int
    """How many connections the server's logins may have together."""
    artifact_secret: str | None
    """The Secret with a team's own keys, as the class's template names it."""
    role_arn: str | None
    """The role of the ServiceAccount, as the class's template names it."""

    @property
    def names(self) -> ChildNames:
        """What the server's objects are called."""
        return ChildNames(self.server.metadata.name)
