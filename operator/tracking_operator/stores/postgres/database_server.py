"""How to reach a PostgreSQL server, and as whom."""

from dataclasses import dataclass, field

from tracking_operator.api.tracking_server_class import SslMode


@dataclass(frozen=True)
class PostgresServer:
    """Where a PostgreSQL server is. ``ca_certificates`` is PEM text; without it the system's CAs count."""

    host: str
    port: int = 5432
    maintenance_database: str = "postgres"
    ssl_mode: SslMode = SslMode.VERIFY_FULL
    ca_certificates: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        """What tells servers apart."""
        return self.host, self.port

    @property
    def title(self) -> str:
        """How a sentence calls it."""
        return f"PostgreSQL at {self}"


@dataclass(frozen=True)
class Login:
    """A role that can log in. ``source`` tells people where the password comes from."""

    username: str
    password: str = field(repr=False)
    source: str = "the class's admin Secret"


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for the server, in seconds: together well below ten for what is quick.

    ``slow_statement`` is for CREATE DATABASE and DROP DATABASE, which copy and remove files.
    """

    connect: float = 4.0
    statement: float = 4.0
    slow_statement: float = 30.0


DEFAULT_TIMEOUTS = Timeouts()
