"""How people log in to a server at an identity provider: what the class says, as the server's own names. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tracking_operator.api.kubernetes_types import SecretKeyReference
from tracking_operator.pod_tools.programs import ADMIN, PERMISSIONS
from tracking_operator.resources.destinations import Endpoint

__all__ = ["ADMIN", "SingleSignOn", "most_of_each"]

SCHEME_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class SingleSignOn:
    """What the proxy in each pod, and MLflow behind it, need to know."""

    image: str
    """The image of oauth2-proxy."""
    issuer: str
    client_id: str
    client_secret: SecretKeyReference | None
    """The Secret in the server's namespace; None for a public client, which has none."""
    scopes: tuple[str, ...]
    groups_claim: str
    username_claim: str
    permissions: Mapping[str, str]
    """What the members of each group may do, in MLflow's words or ADMIN; nobody else is let in."""
    session_hours: int
    recheck_minutes: int
    accepts_tokens: bool
    ca_config_map: str | None = None
    """The ConfigMap in the operator's namespace with the CAs of the provider; None: the image's own."""

    @property
    def groups(self) -> list[str]:
        """Who is let in."""
        return sorted(self.permissions)

    @property
    def endpoint(self) -> Endpoint:
        """Where the provider is."""
        url = urlsplit(self.issuer)
        return Endpoint(url.hostname or "", url.port or SCHEME_PORTS.get(url.scheme, 443))


def most_of_each(said: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """What the members of each group may do: the most that is said of it anywhere."""
    found: dict[str, str] = {}
    for group, permission in said:
        found[group] = max(found.get(group, PERMISSIONS[0]), permission, key=PERMISSIONS.index)
    return found
