"""What the demo prints at its end: what was logged, how to open the servers, and who may open what."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from dev.demo.isolation import Attempt
from dev.demo.prefixes import ACTIONS, Reach
from dev.demo.tracking import COMMIT_TAG, PASSWORD_KEY, USER_KEY, ModelVersion, Run
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.cli.open import login_command

COMMIT_LENGTH = 7
MOST_LINES = 20
HEADINGS = ("started (UTC)", "run", "alpha", "test_size", "rmse", "r2", "commit", "registered as")


def how_to_open(servers: Sequence[TrackingServer], kubectl: str, kubeconfig: Path) -> str:
    """Each server's URL, the commands that print its passwords, and how a program on this machine logs to the first."""
    command = f"{kubectl} --kubeconfig {kubeconfig}"
    return "\n\n".join(
        [*(_place_and_passwords(server, command) for server in servers), _from_here(servers[0])]
    )


def _place_and_passwords(server: TrackingServer, kubectl: str) -> str:
    namespace, name = server.metadata.namespace, server.metadata.name
    members = login_command(namespace, f"{name}-client", USER_KEY, PASSWORD_KEY, kubectl)
    administrator = login_command(namespace, f"{name}-auth", "username", "password", kubectl)
    return f"""\
{namespace}: {server.status.url}
  user and password of its jobs:    {members}
  of its administrator:             {administrator}"""


def _from_here(server: TrackingServer) -> str:
    return f"""\
A program on this machine logs to {server.metadata.namespace} with user and password from the first of its commands:

    {USER_KEY}=… {PASSWORD_KEY}=… MLFLOW_TRACKING_URI={server.status.url} uv run dev/demo/train.py"""


def table_of_runs(
    runs: Sequence[Run], versions: Sequence[ModelVersion], alias: str, with_alias: ModelVersion
) -> str:
    """One line per run, newest first, and which version of the model each became; long tables are cut."""
    registered = {version.run_id: f"{version.name} v{version.version}" for version in versions}
    registered[with_alias.run_id] = f"{with_alias.name} v{with_alias.version} @{alias}"
    lines = [_cells(run, registered.get(run.info.run_id, "")) for run in runs[:MOST_LINES]]
    older = [f"… and {len(runs) - MOST_LINES} older runs"] if len(runs) > MOST_LINES else []
    return "\n".join([*_table([HEADINGS, *lines]), *older])


def table_of_access(attempts: Sequence[Attempt]) -> str:
    """One line per team, one column per database, and below it PostgreSQL's own words for each refusal."""
    teams, databases = (
        list(dict.fromkeys(getattr(attempt, key) for attempt in attempts)) for key in ("team", "database")
    )
    answers = {(attempt.team, attempt.database): "no" if attempt.refusal else "yes" for attempt in attempts}
    lines = [(team, *(answers[team, database] for database in databases)) for team in teams]
    refusals = [
        (attempt.team, attempt.database, attempt.words) for attempt in attempts if attempt.refusal is not None
    ]
    return "\n".join([*_table([("may open", *databases), *lines]), "", *_table(refusals)])


def table_of_reach(attempts: Sequence[Reach]) -> str:
    """One line per team and prefix, one column per action, and below it the object store's own words for each refusal."""
    lines = list(dict.fromkeys((attempt.team, attempt.folder) for attempt in attempts))
    answers = {
        (attempt.team, attempt.folder, attempt.action): "no" if attempt.refusal else "yes"
        for attempt in attempts
    }
    cells = [
        (team, _place(folder), *(answers[team, folder, action] for action in ACTIONS))
        for team, folder in sorted(lines, key=lambda line: (line[0], line[1] == "", line[1]))
    ]
    refusals = [
        (attempt.team, attempt.action, _place(attempt.folder), attempt.words)
        for attempt in attempts
        if attempt.refusal is not None
    ]
    return "\n".join([*_table([("may", "in", *ACTIONS), *cells]), "", *_table(refusals)])


def _place(folder: str) -> str:
    return folder or "(whole bucket)"


def _cells(run: Run, registered: str) -> tuple[str, ...]:
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return (
        f"{started:%Y-%m-%d %H:%M:%S}",
        run.info.run_id[:8],
        run.params.get("alpha", ""),
        run.params.get("test_size", ""),
        _number(run.metrics.get("rmse")),
        _number(run.metrics.get("r2")),
        run.tags.get(COMMIT_TAG, "")[:COMMIT_LENGTH],
        registered,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _table(lines: Sequence[Sequence[str]]) -> list[str]:
    """The lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [_padded(line, widths) for line in lines]


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
