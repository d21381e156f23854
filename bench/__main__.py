"""`python -m bench`: measure the operator on a cluster of its own, and write `docs/explanation/performance.md`."""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from bench.circumstances import circumstances, circumstances_without_cluster
from bench.measures.access import access_tables, measure_access
from bench.measures.artifacts import artifact_tables, measure_artifacts
from bench.measures.creation import calls_table, creation_table, measure_creation
from bench.measures.databases import database_tables, measure_databases
from bench.measures.drift import drift_table, measure_drift
from bench.measures.floor import floor_table, measure_floor
from bench.measures.idle import (
    measure_memory,
    measure_restart,
    memory_table,
    noop_table,
    restart_table,
)
from bench.measures.large_artifacts import large_artifacts_table, measure_large_artifacts
from bench.measures.neighbours import measure_neighbours, neighbours_table
from bench.measures.readiness import measure_readiness, phases_table, readiness_table
from bench.measures.releases import measure_releases, releases_table
from bench.measures.scale import measure_scale, scale_tables
from bench.measures.scrape import measure_scrape, scrape_table
from bench.measures.takeover import measure_takeover, takeover_table
from bench.operator_pods import OperatorError
from bench.report import Circumstances, Table, render, with_generated_section, with_tables_measured_again
from bench.stage import Stage, stage
from bench.watching import NotSeenError
from dev.deploy import DeployError, deploy
from dev.development_cluster import DevelopmentCluster, development_cluster
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.progress import say

CLUSTER: Final = "tracking-operator-bench"
PAGE: Final = Path(__file__).parent.parent / "docs" / "explanation" / "performance.md"
MEASURES: Final = {
    "creation": "until all objects of a new server exist, and the API calls that takes",
    "drift": "until an object that somebody changed or deleted is right again, and the writes that takes",
    "readiness": "until a new server with real pods is Ready, and where the time goes",
    "idle": "memory, calls of a restart, calls of reconciles that find nothing to do",
    "databases": "servers with a PostgreSQL database of their own: until Ready, a hundred at once, against CREATE DATABASE",
    "artifacts": "servers with a prefix of their own in a bucket: until Ready, many at once, requests, throughput",
    "access": "servers behind an Ingress and a login: until their URL answers, and requests per second beside MLflow by hand",
    "neighbours": "drift repair and a new server of an honest team, in peace and beside three hostile ones",
    "scale": "a thousand servers, on volumes and with databases: rate, memory, edits, restart, silence",
    "takeover": "until the other pod is active after a stop and after a SIGKILL",
    "large-artifacts": "a GiB through a server, beside straight to the object store: time and memory; without a cluster",
    "releases": "until a server of each release of MLflow answers, and its memory; without a cluster",
    "scrape": "a scrape of the metrics of a thousand servers and more: time and memory; without a cluster",
}
WITHOUT_CLUSTER: Final[Mapping[str, Callable[[], Table]]] = {
    "large-artifacts": lambda: large_artifacts_table(measure_large_artifacts()),
    "releases": lambda: releases_table(measure_releases()),
    "scrape": lambda: scrape_table(measure_scrape()),
}
EXAMPLES: Final = """\
measures:
{measures}
  Measures without a cluster come first, then the raw floor of the API server. A run of all measures writes docs/explanation/performance.md anew; --write puts
  the tables of some measures there, each with its date.

examples:
  python -m bench                          everything, about an hour; writes docs/explanation/performance.md
  python -m bench --repeat 3               everything, with fewer repetitions
  python -m bench neighbours --write       one of them, and its table into docs/explanation/performance.md
  python -m bench creation drift --keep    two of them, printed only; the cluster stays
  python -m bench drift --no-deploy        measure the operator that already runs there, as it is
  python -m bench large-artifacts releases scrape
                                           these three make no cluster
"""

Result = TypeVar("Result")


def main(arguments: list[str] | None = None) -> int:
    """Measure what the command line asks for; the exit code is 1 where that was not possible."""
    chosen = _parser().parse_args(arguments)
    measures = chosen.measures or list(MEASURES)
    load_before, *_ = os.getloadavg()
    try:
        alone = [_measure_without_cluster(name) for name in WITHOUT_CLUSTER if name in measures]
        if set(measures) <= set(WITHOUT_CLUSTER):
            about, on_cluster = circumstances_without_cluster(load_before), list[Table]()
        else:
            about, on_cluster = _measure_on_cluster(chosen, measures, load_before)
    except (ClusterError, DeployError, OperatorError, NotSeenError) as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"{error}\n{error.stderr}", file=sys.stderr)
        return 1
    report = render(about, [*on_cluster, *alone])
    print(report)
    if set(measures) == set(MEASURES):
        _write(with_generated_section(PAGE.read_text(), report))
    elif chosen.write:
        without_floor = on_cluster[1:]
        _write(with_tables_measured_again(PAGE.read_text(), about, [*without_floor, *alone]))
    return 0


def _write(page: str) -> None:
    PAGE.write_text(page)
    say(f"wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")


def _measure_without_cluster(name: str) -> Table:
    say(f"measure {name} …")
    started = time.monotonic()
    table = WITHOUT_CLUSTER[name]()
    say(f"measure {name}: {time.monotonic() - started:.1f} s")
    return table


def _measure_on_cluster(
    chosen: argparse.Namespace, measures: list[str], load_before: float
) -> tuple[Circumstances, list[Table]]:
    """Make the cluster, measure there, and remove it; the first table is the floor."""
    cluster = development_cluster(chosen.name)
    try:
        cluster.create()
        if chosen.deploy:
            deploy(cluster)
        return asyncio.run(_measure(cluster, measures, chosen.repeat, load_before))
    finally:
        if not chosen.keep:
            cluster.delete()


async def _measure(
    cluster: DevelopmentCluster, measures: list[str], repeat: int, load_before: float
) -> tuple[Circumstances, list[Table]]:
    async with stage(cluster, repeat) as ready:
        about = circumstances(cluster, await ready.operator.image(), repeat, load_before)
        tables: list[Table] = []
        try:
            await _fill(tables, ready, measures)
        except BaseException:
            say("What was measured until then:")
            print(render(about, tables), flush=True)
            raise
        return about, tables


async def _fill(tables: list[Table], ready: Stage, measures: list[str]) -> None:
    """Measure in an order in which one measurement leaves what the next one needs: servers."""
    memory = [await _step("memory without servers", measure_memory(ready))] if "idle" in measures else []
    floor = await _step("floor", measure_floor(ready))
    tables.append(floor_table(floor))
    if "creation" in measures:
        creations = await _step("creation", measure_creation(ready))
        tables += [creation_table(creations, floor), calls_table(creations)]
    if "drift" in measures:
        tables.append(drift_table(await _step("drift", measure_drift(ready)), floor))
    if "readiness" in measures:
        starts = await _step("readiness", measure_readiness(ready))
        tables += [readiness_table(starts, floor), phases_table(starts)]
    if "idle" in measures:
        memory.append(await _step("memory with servers", measure_memory(ready)))
        restart, noops = await _step("restart and no-ops", measure_restart(ready))
        tables += [noop_table(noops), restart_table(restart), memory_table(memory)]
    if "takeover" in measures:
        tables.append(takeover_table(await _step("takeover", measure_takeover(ready))))
    await _fill_with_stores(tables, ready, measures)


async def _fill_with_stores(tables: list[Table], ready: Stage, measures: list[str]) -> None:
    """Measure with PostgreSQL and an object store in the cluster."""
    if "databases" in measures:
        tables += database_tables(await _step("databases", measure_databases(ready)))
    if "artifacts" in measures:
        tables += artifact_tables(await _step("artifacts", measure_artifacts(ready)))
    if "access" in measures:
        tables += access_tables(await _step("access", measure_access(ready)))
    if "neighbours" in measures:
        tables.append(neighbours_table(await _step("neighbours", measure_neighbours(ready))))
    if "scale" in measures:
        tables += scale_tables(await _step("scale", measure_scale(ready)))


async def _step(what: str, measurement: Awaitable[Result]) -> Result:
    say(f"measure {what} …")
    started = time.monotonic()
    result = await measurement
    say(f"measure {what}: {time.monotonic() - started:.1f} s")
    return result


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, MEASURES))
    measures = "\n".join(f"  {name:{width}}  {what}" for name, what in MEASURES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the operator, deployed as users deploy it, on a development cluster of its own.",
        epilog=EXAMPLES.format(measures=measures),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "measures", nargs="*", choices=[*MEASURES, []], metavar="MEASURE", help="default: all"
    )
    parser.add_argument(
        "--repeat", type=_positive, default=10, help="repetitions of each measurement (default: %(default)s)"
    )
    parser.add_argument("--name", default=CLUSTER, help="the cluster (default: %(default)s)")
    parser.add_argument(
        "--write",
        action="store_true",
        help="put the tables of some measures into docs/explanation/performance.md",
    )
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    parser.add_argument(
        "--no-deploy", dest="deploy", action="store_false", help="measure the operator that runs there"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} repetitions tell nothing: use 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
