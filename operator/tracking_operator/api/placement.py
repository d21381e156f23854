"""Where a server and its data are: placed once, at creation, and kept in ``status.placement``.

RBAC keeps the status from tenants, so that nobody but the operator and the platform team says where anything is. A later
change of the default class, of a naming template or of the class itself never moves a server to an empty store.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from tracking_operator.api.base import ApiModel

MAX_HOST_LENGTH: Final = 253
MAX_PATH_LENGTH: Final = 1024
MAX_PREFIX_LENGTH: Final = 1024
MAX_URL_LENGTH: Final = 2048


class BackendStoreKind(StrEnum):
    """Where runs, parameters and metrics are kept."""

    POSTGRES = "postgres"
    SQLITE = "sqlite"
    EXTERNAL = "external"


class ArtifactStoreKind(StrEnum):
    """Where artifacts and models are kept."""

    S3 = "s3"
    VOLUME = "volume"
    EXTERNAL = "external"


Host = Annotated[str, Field(max_length=MAX_HOST_LENGTH)]
UrlPath = Annotated[str, Field(max_length=MAX_PATH_LENGTH)]


class DatabasePlacement(ApiModel):
    """A server's own database on its class's PostgreSQL."""

    host: Host
    """The host of the PostgreSQL server."""
    port: Annotated[int, Field(ge=1, le=65535, json_schema_extra={"format": "int32"})]
    """Its port."""
    name: Annotated[str, Field(max_length=63)]
    """The database; the role that everything in it belongs to is called like it."""

    @property
    def role(self) -> str:
        """The role that everything in the database belongs to."""
        return self.name


class ArtifactPlacement(ApiModel):
    """A server's own prefix in its class's bucket."""

    bucket: Annotated[str, Field(max_length=255)]
    """The bucket."""
    prefix: Annotated[str, Field(max_length=MAX_PREFIX_LENGTH)]
    """The prefix, without a slash at its end."""
    endpoint: Annotated[str, Field(max_length=MAX_URL_LENGTH)] | None = None
    """The URL of the S3 server. Absent: AWS."""

    @property
    def uri(self) -> str:
        """The prefix as MLflow names it."""
        return f"s3://{self.bucket}/{self.prefix}"


class AddressPlacement(ApiModel):
    """A host with a path under it."""

    host: Host = ""
    """The host name. Empty: none."""
    path: UrlPath = "/"
    """The URL prefix."""


class Placement(ApiModel):
    """Where one server and its data are."""

    class_name: Annotated[str, Field(max_length=253)] = ""
    """The TrackingServerClass. Empty: the built-in class."""
    version: Annotated[str, Field(max_length=32)]
    """The MLflow release to run while spec.version is absent."""
    backend_store: BackendStoreKind
    """The kind of store that runs, parameters and metrics are in."""
    artifact_store: ArtifactStoreKind
    """The kind of store that artifacts and models are in."""
    host: Host = ""
    """The host name that the class's template gave. Empty: none."""
    path: UrlPath = "/"
    """The URL prefix that the class's template gave."""
    address: AddressPlacement | None = None
    """Where clients find the server, while that is not the host and path above: the specification may name others."""
    next_address: AddressPlacement | None = None
    """Where the server goes, while its pods are being replaced by some that answer there."""
    former_host: Host | None = None
    """A host of an earlier address that the pods still answer: leaving it out would be another restart of theirs."""
    database: DatabasePlacement | None = None
    """The server's own database. Absent: another kind of backend store."""
    artifacts: ArtifactPlacement | None = None
    """The server's own prefix. Absent: another kind of artifact store."""

    @property
    def address_in_use(self) -> AddressPlacement:
        """Where clients find the server."""
        return self.address or AddressPlacement(host=self.host, path=self.path)

    @property
    def addresses(self) -> tuple[AddressPlacement, ...]:
        """Every address that is the server's own: two while it goes from one to the other."""
        return (self.address_in_use,) + ((self.next_address,) if self.next_address else ())

    def at(
        self, address: AddressPlacement, next_address: AddressPlacement | None, former_host: str | None
    ) -> "Placement":
        """The placement with the server at ``address``, which is written down only where the template gave another."""
        is_templates = address == AddressPlacement(host=self.host, path=self.path)
        return self.updated(
            address=None if is_templates else address, next_address=next_address, former_host=former_host
        )
