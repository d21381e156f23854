"""Where a bucket is, how it is reached, and with which keys."""

from dataclasses import dataclass, field

from tracking_operator.api.s3_connection import AddressingStyle


@dataclass(frozen=True)
class Bucket:
    """A bucket of AWS or of another S3 server. ``ca_certificates`` is PEM text; without it the system's CAs count."""

    name: str
    region: str = "us-east-1"
    endpoint: str | None = None
    """The URL of the S3 server; None for AWS."""
    addressing_style: AddressingStyle = AddressingStyle.VIRTUAL
    ca_certificates: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.name} at {self.endpoint or f'AWS in {self.region}'}"

    @property
    def address(self) -> tuple[str, str]:
        """What tells buckets apart."""
        return self.endpoint or "AWS", self.name

    @property
    def title(self) -> str:
        """How a sentence calls it."""
        return f"Bucket {self}"

    @property
    def uses_tls(self) -> bool:
        """Whether requests are encrypted on their way."""
        return self.endpoint is None or self.endpoint.startswith("https:")


@dataclass(frozen=True)
class Keys:
    """An access key. ``source`` tells people where it comes from."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    source: str = "the class's admin Secret"
