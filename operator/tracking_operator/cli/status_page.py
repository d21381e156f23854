"""The pages of ``status``, as lines for people. Pure: what others wrote becomes fit for a terminal where lines are shown."""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from tracking_operator.api.conditions import Condition, ConditionType, Reason
from tracking_operator.api.maintenance import BackupsStatus
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.api.tracking_server import TrackingServer, TrackingServerStatus, UsageStatus
from tracking_operator.cli.server_report import Happening, ServerReport, waits_for
from tracking_operator.cli.terminal import LONGEST_PIECE, Line, Piece, Style
from tracking_operator.foreign_text import one_line
from tracking_operator.kube.quantities import readable_bytes

INDENT: Final = Piece("", width=4)
GAP: Final = 2
NOTHING: Final = "-"
UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))
"""In seconds."""


def server_page(report: ServerReport, now: datetime, width: int | None) -> Iterator[Line]:
    """All that there is to say of one server; sentences are broken at ``width`` columns, if there is one."""
    server = report.server
    yield _title(server)
    yield ()
    yield from table(_facts(report, now))
    yield ()
    yield from _conditions(report.conditions, now, width)
    yield ()
    yield from _events(report.events, now, width)


def servers_page(servers: Sequence[TrackingServer], now: datetime) -> Iterator[Line]:
    """One line for each server."""
    head = tuple(Piece(word, Style.BOLD) for word in ("NAME", "READY", "REASON", "VERSION", "URL", "AGE"))
    yield from table([head, *(_row(server, now) for server in servers)])


def table(rows: Sequence[Line]) -> list[Line]:
    """Rows with their columns below each other."""
    widths: dict[int, int] = {}
    for row in rows:
        for column, piece in enumerate(row):
            widths[column] = max(widths.get(column, 0), len(one_line(piece.text, LONGEST_PIECE)))
    return [
        tuple(Piece(piece.text, piece.style, widths[column] + GAP) for column, piece in enumerate(row))
        for row in rows
    ]


def age(since: datetime | str | None, now: datetime) -> str:
    """How long ago something was, in its largest unit; as it is given if that is no time."""
    if isinstance(since, str):
        try:
            since = datetime.fromisoformat(since)
        except ValueError:
            return NOTHING
    if since is None:
        return NOTHING
    since = since if since.tzinfo else since.replace(tzinfo=UTC)
    seconds = max(int((now - since).total_seconds()), 0)
    for unit, word in UNITS:
        if seconds >= unit:
            return f"{seconds // unit}{word}"
    return f"{seconds}s"


def _title(server: TrackingServer) -> Line:
    ready = server.status.condition(ConditionType.READY)
    said = f"{_ready(ready)} ({ready.reason})" if ready else "not looked at yet"
    return (
        Piece(f"TrackingServer {server.metadata.namespace}/{server.metadata.name}:", Style.BOLD),
        Piece("", width=1),
        Piece(said, _style(ready)),
    )


def _facts(report: ServerReport, now: datetime) -> list[Line]:
    server, status = report.server, report.server.status
    wait = waits_for(server)
    waiting = f"{wait.who}: {wait.message}" if wait else "nothing"
    facts = {
        "Waits for": Piece(waiting, Style.YELLOW if wait else Style.PLAIN),
        "URL": Piece(status.url or NOTHING),
        "In the cluster": Piece((status.address.url if status.address else None) or NOTHING),
        "Class": Piece(status.class_name or "built in"),
        "MLflow": Piece(_version(server)),
        "Schema": Piece(status.schema_revision or NOTHING),
        "Runs": Piece(_runs(status)),
        "Artifacts": Piece(_artifacts(status)),
        "Holds": Piece(_holds(status.usage) if status.usage else NOTHING),
        "Backups": Piece(_backups(status.backups, now) if status.backups else NOTHING),
        "Pods": Piece(str(status.replicas if status.replicas is not None else NOTHING)),
        "For clients": Piece(_client(status)),
        "Of elsewhere": Piece(_clients_elsewhere(status)),
    }
    return [(Piece(name, Style.DIM), piece) for name, piece in facts.items()]


def _version(server: TrackingServer) -> str:
    running, asked = server.status.version, server.spec.version
    image = f", image {server.spec.image}" if server.spec.image else ""
    if asked and asked != running:
        return f"{running or NOTHING} ({asked} is asked for{image})"
    return f"{running or NOTHING}{image}"


def _runs(status: TrackingServerStatus) -> str:
    database, store = status.database, status.backend_store
    if database is not None:
        login = f", login {database.login_role}" if database.login_role else ""
        return f"database {database.name} on {database.host}:{database.port}{login}"
    match store.kind if store else None:
        case BackendStoreKind.SQLITE:
            return "SQLite on a volume"
        case BackendStoreKind.EXTERNAL:
            return "a database that somebody else made"
        case _:
            return NOTHING


def _artifacts(status: TrackingServerStatus) -> str:
    store = status.artifact_store
    if store is None:
        return NOTHING
    if store.kind is ArtifactStoreKind.VOLUME:
        return "a volume"
    endpoint = f" at {store.endpoint}" if store.endpoint else ""
    if store.bucket:
        return f"prefix s3://{store.bucket}/{store.prefix or ''}{endpoint}"
    return status.artifact_root or NOTHING


def _holds(usage: UsageStatus) -> str:
    """What was measured; what could not be told is left out."""
    told = []
    if usage.database_bytes is not None:
        told.append(f"{readable_bytes(usage.database_bytes)} in the database")
    if usage.runs is not None:
        told.append(f"{usage.runs} runs")
    if usage.models is not None:
        told.append(f"{usage.models} registered models")
    if usage.artifact_bytes is not None:
        told.append(f"{readable_bytes(usage.artifact_bytes)} of artifacts")
    return f"{', '.join(told) or NOTHING} (measured at {usage.measured_at:%Y-%m-%d %H:%M} UTC)"


def _backups(backups: BackupsStatus, now: datetime) -> str:
    """The newest backup, and when the next one is due."""
    last = (
        f"{backups.last_complete}, {age(backups.last_completed_at, now)} old"
        if backups.last_complete
        else "none is complete"
    )
    if backups.next_at is None:
        return last
    return f"{last}; the next one is due at {backups.next_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _client(status: TrackingServerStatus) -> str:
    client = status.client
    config_map = client.config_map_name if client else None
    secret = client.secret_name if client else None
    names = [f"ConfigMap {config_map}" if config_map else "", f"Secret {secret}" if secret else ""]
    return ", ".join(name for name in names if name) or NOTHING


def _clients_elsewhere(status: TrackingServerStatus) -> str:
    """The clients of other namespaces, by namespace and name."""
    return ", ".join(f"{one.namespace}/{one.name} ({one.permission})" for one in status.clients) or NOTHING


def _conditions(conditions: Sequence[Condition], now: datetime, width: int | None) -> Iterator[Line]:
    head = tuple(Piece(word, Style.BOLD) for word in ("CONDITION", "STATUS", "REASON", "SINCE"))
    rows: list[Line] = [
        (
            Piece(one.type),
            Piece(one.status, _style(one)),
            Piece(one.reason),
            Piece(age(one.last_transition_time, now)),
        )
        for one in conditions
    ]
    heading, *lines = table([head, *rows])
    yield heading
    for line, condition in zip(lines, conditions, strict=True):
        yield line
        yield from _broken(condition.message, width)


def _events(events: Sequence[Happening] | None, now: datetime, width: int | None) -> Iterator[Line]:
    yield (Piece("EVENTS", Style.BOLD),)
    if events is None:
        yield (INDENT, Piece("may not be read with these rights (verb list on events)"))
    elif not events:
        yield (INDENT, Piece("none"))
    rows: list[Line] = [
        (
            Piece(age(one.at, now)),
            Piece(one.type, Style.YELLOW if one.type == "Warning" else Style.PLAIN),
            Piece(f"{one.reason} (x{one.count})" if one.count > 1 else one.reason),
        )
        for one in events or ()
    ]
    for line, event in zip(table(rows), events or (), strict=True):
        yield line
        yield from _broken(event.message, width)


def _row(server: TrackingServer, now: datetime) -> Line:
    ready = server.status.condition(ConditionType.READY)
    return (
        Piece(server.metadata.name),
        Piece(ready.status if ready else NOTHING, _style(ready)),
        Piece(ready.reason if ready else NOTHING),
        Piece(server.status.version or NOTHING),
        Piece(server.status.url or NOTHING),
        Piece(age(server.metadata.creation_timestamp, now)),
    )


def _broken(sentence: str, width: int | None) -> Iterator[Line]:
    """A sentence below what it is about, broken where the terminal ends."""
    text = one_line(sentence, LONGEST_PIECE)
    room = max((width or LONGEST_PIECE) - INDENT.width, 1)
    for part in textwrap.wrap(text, room):
        yield (INDENT, Piece(part, Style.DIM))


def _ready(ready: Condition) -> str:
    return "Ready" if ready.is_true else "not Ready"


def _style(condition: Condition | None) -> Style:
    """Green for what is well, red for what somebody has to mend, yellow for what is under way or at rest."""
    if condition is None or condition.reason == Reason.SUSPENDED:
        return Style.YELLOW
    if condition.type == ConditionType.RECONCILING:
        return Style.YELLOW
    is_well = condition.is_true is not (condition.type == ConditionType.STALLED)
    return Style.GREEN if is_well else Style.RED
