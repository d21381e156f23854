"""Who may open which database: tried out in each team's own pod, with the credentials that it has there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.demo.failures import DemoError
from dev.development_cluster import DevelopmentCluster
from tracking_operator.api.tracking_server import DatabaseStatus, TrackingServer

PROGRAM = Path(__file__).parent / "open_databases.py"
REFUSAL = "permission denied for database"
WORDS = "FATAL:"


@dataclass(frozen=True)
class Attempt:
    """A team's attempt to open a database.

    Attributes:
        team: its namespace.
        database: the name of the database.
        is_own: whether it is the team's own, which it has to be able to open, and no other.
        refusal: what was said against it; None: the database was opened.
    """

    team: str
    database: str
    is_own: bool
    refusal: str | None

    @property
    def is_as_it_must_be(self) -> bool:
        """Own: opened. Other: refused, and for want of the right to connect, not because a password was wrong."""
        return self.refusal is None if self.is_own else REFUSAL in (self.refusal or "")

    @property
    def words(self) -> str:
        """PostgreSQL's own words in one line, without where the connection went."""
        said = self.refusal or ""
        return " ".join(said[max(said.find(WORDS), 0) :].split())


def try_all_databases(
    cluster: DevelopmentCluster, servers: Sequence[TrackingServer], maintenance: str
) -> list[Attempt]:
    """Let each team try every team's database, and the one for maintenance.

    Raises:
        DemoError: a server has no database of its own, or its pod did not say what it found.
    """
    databases = [*(database_of(server).name for server in servers), maintenance]
    return [attempt for server in servers for attempt in try_databases(cluster, server, databases)]


def try_databases(
    cluster: DevelopmentCluster, server: TrackingServer, databases: Sequence[str]
) -> list[Attempt]:
    """Let one team try databases, from a pod of its server."""
    team, own = server.metadata.namespace, database_of(server).name
    pod = ("--namespace", team, f"deployment/{server.metadata.name}")
    printed = cluster.kubectl(
        "exec", "--stdin", *pod, "--", "python", "-", *databases, stdin=PROGRAM.read_text(encoding="utf-8")
    )
    return attempts_in(printed, team, own)


def attempts_in(printed: str, team: str, own: str) -> list[Attempt]:
    """What `open_databases.py` printed in the pod of a team whose database is called `own`."""
    try:
        refusals: dict[str, str | None] = json.loads(printed)
    except json.JSONDecodeError as error:
        raise DemoError(f"The pod of {team} did not say which databases it opened: {printed!r}") from error
    return [Attempt(team, database, database == own, refusal) for database, refusal in refusals.items()]


def database_of(server: TrackingServer) -> DatabaseStatus:
    """The server's own database. Raises DemoError: it has none."""
    if server.status.database is None:
        raise DemoError(
            f"The tracking server of {server.metadata.namespace} has no database of its own: it was made before its"
            " class had a PostgreSQL, and keeps the store that it has. `make demo-down` removes it."
        )
    return server.status.database


def require_isolation(attempts: Sequence[Attempt]) -> None:
    """Raise DemoError if a team cannot open its own database, or is not refused another for the right reason."""
    wrong = [attempt for attempt in attempts if not attempt.is_as_it_must_be]
    if wrong:
        raise DemoError("\n".join(_complaint(attempt) for attempt in wrong))


def _complaint(attempt: Attempt) -> str:
    if attempt.is_own:
        return f"{attempt.team} cannot open its own database {attempt.database}: {attempt.words}"
    if attempt.refusal is None:
        return f"{attempt.team} could open {attempt.database}, which is not its own."
    return f"{attempt.team} could not try {attempt.database}: {attempt.words}"
