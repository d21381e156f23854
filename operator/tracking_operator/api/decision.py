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
    database: DecidedDatabase | None = None
    """The server's own database; None with another kind of backend store."""
    artifacts: DecidedArtifacts | None = None
    """The server's own prefix; None with another kind of artifact store."""

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
