"""Where people reach a server: host, path and the URL that they write, and how that is brought about."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tracking_operator import naming
from tracking_operator.api.server_access import GatewayReference, HostHeader, IngressSpec, Origin


@dataclass(frozen=True, order=True)
class Address:
    """One place where a server is to be found."""

    host: str = ""
    """The host of the server's own; empty where it has none, and only the cluster reaches it."""
    path: str = "/"
    """The prefix of all URLs."""
    origin: str = ""
    """Scheme, host and, where it is not the scheme's own, port, as people write them; empty without any host."""

    @property
    def prefix(self) -> str:
        """What comes before MLflow's own routes: empty, or like ``/team-a``."""
        return naming.url_prefix(self.path)

    @property
    def host_header(self) -> str:
        """What clients send as their Host header; empty without any host."""
        return urlsplit(self.origin).netloc

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names that lead to the server: its own, and that of the class's public URL where it is another."""
        found = (self.host, urlsplit(self.origin).hostname or "")
        return tuple(dict.fromkeys(host for host in found if host))

    @property
    def places(self) -> frozenset[tuple[str, str]]:
        """Each host with the path: what no other server may have."""
        return frozenset((host, self.path) for host in self.hosts)

    @property
    def url(self) -> str | None:
        """What a person opens; None without any host."""
        return f"{self.origin}{self.prefix}" if self.origin else None

    def __str__(self) -> str:
        return self.url or f"its Service alone (path {self.path})"


def contains_path(path: str, other: str) -> bool:
    """Whether ``other`` is ``path`` itself or lies under it, segment by segment: ``/team`` is no parent of ``/team-a``."""
    return f"{other.rstrip('/')}/".startswith(f"{path.rstrip('/')}/")


def overlap(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two pairs of host and path would get each other's requests."""
    (host, path), (other_host, other_path) = one, other
    return host == other_host and (contains_path(path, other_path) or contains_path(other_path, path))


@dataclass(frozen=True)
class Routing:
    """How requests from outside are led to the server's Service: by an Ingress, by a Gateway, or not by us."""

    ingress: IngressSpec | None = None
    gateway: GatewayReference | None = None
    tls_secret: str | None = None
    """The Secret with the Ingress's certificate; None for the controller's own."""

    @property
    def is_offered(self) -> bool:
        """Whether the class leads requests to its servers."""
        return self.ingress is not None or self.gateway is not None

    @property
    def scheme(self) -> str:
        """The scheme of addresses, where the class names no URL of its own."""
        is_encrypted = self.gateway is not None or (self.ingress is not None and self.ingress.tls is not None)
        return "https" if is_encrypted else "http"


@dataclass(frozen=True)
class ServerAccess:
    """Everything about a server's address."""

    address: Address = Address()
    """Where clients find the server now."""
    next_address: Address | None = None
    """Where they will find it once all pods answer there; None while nothing changes."""
    former_host: str = ""
    """A host of an earlier address that the pods still answer, because that is not worth a restart of theirs."""
    routing: Routing = Routing()
    extra_hosts: Sequence[HostHeader] = ()
    extra_origins: Sequence[Origin] = ()

    @property
    def wanted(self) -> Address:
        """What the specification asks for, and the pods are made for."""
        return self.next_address or self.address

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where requests are led to the server: two while it changes from one to the other."""
        return (self.address,) if self.next_address is None else (self.address, self.next_address)

    @property
    def hosts(self) -> list[str]:
        """All hosts that the pods answer, in an order that does not depend on which is in use."""
        former = {self.former_host} if self.former_host else set()
        return sorted({host for address in self.addresses for host in address.hosts} | former)
