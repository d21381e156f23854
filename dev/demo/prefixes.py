"""Who may do what in which prefix of the bucket: tried out in each team's own pod, with the keys that it has there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dev.demo.failures import DemoError
from dev.development_cluster import DevelopmentCluster
from tracking_operator.api.tracking_server import TrackingServer

PROGRAM = Path(__file__).parent / "reach_prefixes.py"
ACTIONS = ("put", "get", "list", "delete")
REFUSAL = "(AccessDenied)"
WHOLE_BUCKET = ""


@dataclass(frozen=True)
class Place:
    """A prefix of a bucket; ``folder`` ends with a slash, and is empty for the whole bucket."""

    bucket: str
    folder: str


@dataclass(frozen=True)
class Reach:
    """A team's attempt to do something in a folder of the bucket.

    Attributes:
        team: its namespace.
        action: one of `ACTIONS`.
        folder: where; empty: at the top of the bucket.
        is_own: whether it is the team's own, where it may do everything; elsewhere it may do nothing.
        refusal: what was said against it; None: it was done.
    """

    team: str
    action: str
    folder: str
    is_own: bool
    refusal: str | None

    @property
    def is_as_it_must_be(self) -> bool:
        """Own: done. Other: refused, and for want of permission, not because nobody answered."""
        return self.refusal is None if self.is_own else REFUSAL in (self.refusal or "")

    @property
    def words(self) -> str:
        """The object store's own words in one line."""
        return " ".join((self.refusal or "").split())


def try_all_prefixes(cluster: DevelopmentCluster, servers: Sequence[TrackingServer]) -> list[Reach]:
    """Let each team put, get, list and delete in every team's prefix, and in the whole bucket.

    What the others try to get and to delete is there: each team puts it into its own prefix first, and removes it last.

    Raises:
        DemoError: a server has no prefix of its own, or its pod did not say what it found.
    """
    places = [place_of(server) for server in servers]
    for server, own in zip(servers, places, strict=True):
        require_own_prefixes(_try(cluster, server, own, ["put"], [own.folder]))
    foreign = [
        attempt
        for server, own in zip(servers, places, strict=True)
        for attempt in _try(cluster, server, own, ACTIONS, _others(places, own))
    ]
    done = [
        attempt
        for server, own in zip(servers, places, strict=True)
        for attempt in _try(cluster, server, own, ACTIONS, [own.folder])
    ]
    return [*done, *foreign]


def place_of(server: TrackingServer) -> Place:
    """The server's own prefix. Raises DemoError: it has none."""
    root = urlsplit(server.status.artifact_root or "")
    if root.scheme != "s3":
        raise DemoError(
            f"The tracking server of {server.metadata.namespace} has no prefix of its own: it was made before its class"
            " had a bucket, and keeps the store that it has. `make demo-down` removes it."
        )
    return Place(root.netloc, f"{root.path.strip('/')}/")


def reaches_in(printed: str, team: str, own: str) -> list[Reach]:
    """What `reach_prefixes.py` printed in the pod of a team whose folder is `own`."""
    try:
        found: dict[str, dict[str, str | None]] = json.loads(printed)
    except json.JSONDecodeError as error:
        raise DemoError(f"The pod of {team} did not say what it may do in the bucket: {printed!r}") from error
    return [
        Reach(team, action, folder, folder == own, refusal)
        for folder, refusals in found.items()
        for action, refusal in refusals.items()
    ]


def require_own_prefixes(attempts: Sequence[Reach]) -> None:
    """Raise DemoError if a team may not do something in its own prefix, or is not refused elsewhere for the right reason."""
    wrong = [attempt for attempt in attempts if not attempt.is_as_it_must_be]
    if wrong:
        raise DemoError("\n".join(_complaint(attempt) for attempt in wrong))


def _try(
    cluster: DevelopmentCluster,
    server: TrackingServer,
    own: Place,
    actions: Sequence[str],
    folders: Sequence[str],
) -> list[Reach]:
    """Let one team try folders, from a pod of its server."""
    team = server.metadata.namespace
    pod = ("--namespace", team, f"deployment/{server.metadata.name}", "--container", "mlflow")
    command = ("python", "-", own.bucket, ",".join(actions), *folders)
    printed = cluster.kubectl(
        "exec", "--stdin", *pod, "--", *command, stdin=PROGRAM.read_text(encoding="utf-8")
    )
    return reaches_in(printed, team, own.folder)


def _others(places: Sequence[Place], own: Place) -> list[str]:
    return [*(place.folder for place in places if place != own), WHOLE_BUCKET]


def _complaint(attempt: Reach) -> str:
    where = attempt.folder or "the whole bucket"
    if attempt.is_own:
        return f"{attempt.team} cannot {attempt.action} in its own prefix {where}: {attempt.words}"
    if attempt.refusal is None:
        return f"{attempt.team} could {attempt.action} in {where}, which is not its own."
    return f"{attempt.team} could not try to {attempt.action} in {where}: {attempt.words}"
