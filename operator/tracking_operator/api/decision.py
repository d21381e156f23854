"""Where a server's data lives: decided once, at creation, and recorded on the resource.

The record is the annotation ``tracking-operator.dev/resolved`` (JSON, no secrets). A later change of
the default class, of a naming template or of the class itself never moves a server to an empty store.
"""

from pydantic import ValidationError

from tracking_operator.api.base import ApiModel
from tracking_operator.api.tracking_server import ArtifactStoreKind, BackendStoreKind


class DecidedDatabase(ApiModel):
    """A server's own database on its class's PostgreSQL."""

    host: str
    port: int
    name: str
    """The database; its role is called like it."""

    @property
    def role(self) -> str:
        """The role that everything in the database belongs to."""
        return self.name


class DecidedArtifacts(ApiModel):
    """A server's own prefix in its class's bucket."""

    bucket: str
    prefix: str
    """Without a slash at its end."""
    endpoint: str | None = None
    """The URL of the S3 server; None for AWS."""

    @property
    def uri(self) -> str:
        """The prefix as MLflow names it."""
        return f"s3://{self.bucket}/{self.prefix}"


class DecidedAddress(ApiModel):
    """A host with a path under it."""

    host: str = ""
    """Empty for a server without one."""
    path: str = "/"


class Decision(ApiModel):
    """What was decided for one server."""

    class_name: str = ""
    """The TrackingServerClass; empty for the embedded default class."""
    version: str
    """The MLflow version to run while ``spec.version`` is absent."""
    backend_store: BackendStoreKind
    artifact_store: ArtifactStoreKind
    host: str = ""
    """The external host name; empty where the class names none."""
    path: str = "/"
    """The URL prefix."""
    address: DecidedAddress | None = None
    """Where clients find the server, while that is not the host and path above: the specification may name others."""
    next_address: DecidedAddress | None = None
    """Where the server goes, while its pods are being replaced by some that answer there."""
    former_host: str | None = None
    """A host of an earlier address that the pods still answer: leaving it out would be another restart of theirs."""
    database: DecidedDatabase | None = None
    """The server's own database; None with another kind of backend store."""
    artifacts: DecidedArtifacts | None = None
    """The server's own prefix; None with another kind of artifact store."""

    @property
    def address_in_use(self) -> DecidedAddress:
        """Where clients find the server."""
        return self.address or DecidedAddress(host=self.host, path=self.path)

    @property
    def addresses(self) -> tuple[DecidedAddress, ...]:
        """Every address that is the server's own: two while it goes from one to the other."""
        return (self.address_in_use,) + ((self.next_address,) if self.next_address else ())

    def at(
        self, address: DecidedAddress, next_address: DecidedAddress | None, former_host: str | None
    ) -> "Decision":
        """The decision with the server at ``address``; written down only where it differs from what was decided first."""
        is_decided = address == DecidedAddress(host=self.host, path=self.path)
        return self.updated(
            address=None if is_decided else address, next_address=next_address, former_host=former_host
        )

    def to_annotation(self) -> str:
        """The annotation's value: compact JSON in a fixed order, so that equal decisions are equal strings."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


def decision_in(annotation: str | None) -> Decision | None:
    """Read a recorded decision; None if there is none yet.

    Raises:
        ValueError: the annotation holds something else, as after an edit by hand.

    """
    if annotation is None:
        return None
    try:
        return Decision.model_validate_json(annotation)
    except ValidationError as error:
        raise ValueError("not a decision that this operator wrote") from error
