"""``kubectl tracking logs``: what the pods of a server have printed, without what would steer the terminal that shows it."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from tracking_operator.api.labels_and_annotations import COMPONENT_LABEL, SERVER_LABEL
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.cli.cluster import (
    CommandError,
    add_server_arguments,
    called,
    execute_in_cluster,
    find_server,
)
from tracking_operator.cli.terminal import complain, say
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import POD, KubeObject, name_of
from tracking_operator.resources.labels import SERVER_COMPONENT, pod_selector, selector_text
from tracking_operator.resources.pod.server_pod import SERVER_CONTAINER

SUMMARY = "Print what the pods of a TrackingServer have printed."
EXAMPLES = """examples:
  %(prog)s tracking -n team-a                     # the last 100 lines of each pod
  %(prog)s tracking -n team-a -f                  # and what comes, until Ctrl-C
  %(prog)s tracking -n team-a --previous          # of the containers that ended before
  %(prog)s tracking -n team-a --jobs --tail -1    # all that its Jobs have said, such as a migration

The kubeconfig's user needs the verbs get on trackingservers, list on pods, and get on pods/log in that namespace."""

LINES: Final = 100
LONGEST_LINE: Final = 64 * 1024
"""In bytes; what is longer is broken."""


@dataclass(frozen=True)
class Source:
    """A container whose log is printed."""

    pod: str
    container: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_server_arguments(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is printed from now on")
    parser.add_argument("-p", "--previous", action="store_true", help="of the containers that ended before")
    parser.add_argument(
        "--tail", type=int, default=LINES, metavar="N", help="lines of each; -1: all (default: %(default)s)"
    )
    parser.add_argument("-c", "--container", help=f"default: {SERVER_CONTAINER}; of Jobs, all")
    parser.add_argument("--jobs", action="store_true", help="of the server's Jobs instead of its own pods")


def execute(options: argparse.Namespace) -> int:
    """Print the logs; the exit code is 0 after Ctrl-C, too."""

    async def work(client: KubeClient, namespace: str) -> None:
        server = await find_server(client, namespace, options.name)
        selector = _jobs_of(options.name) if options.jobs else selector_text(pod_selector(options.name))
        pods = await client.list(POD, namespace, selector)
        sources = sources_in(pods, options.container, are_jobs=options.jobs)
        if not sources:
            raise CommandError(_nothing_runs(server, options))
        await _print_all(client, namespace, sources, options)

    try:
        return execute_in_cluster(options, work)
    except KeyboardInterrupt:
        print()
        return 0


def sources_in(pods: Sequence[KubeObject], container: str | None, *, are_jobs: bool) -> list[Source]:
    """Which containers' logs there are: of a server's pods what serves, of Jobs' pods all, in the order in which they run."""
    found = []
    for pod in sorted(pods, key=lambda one: (one["metadata"].get("creationTimestamp") or "", name_of(one))):
        if container or not are_jobs:
            names = [container or SERVER_CONTAINER]
        else:
            spec = pod["spec"]
            names = [one["name"] for one in (*spec.get("initContainers", ()), *spec["containers"])]
        found += [Source(name_of(pod), name) for name in names]
    return found


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The lines in what comes piece by piece; a line that does not end for long is broken."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
        while len(rest) > LONGEST_LINE:
            line, rest = rest[:LONGEST_LINE], rest[LONGEST_LINE:]
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


async def _print_all(
    client: KubeClient, namespace: str, sources: Sequence[Source], options: argparse.Namespace
) -> None:
    """Print one log after the other or, when they go on, all at once. Raises CommandError: none could be read."""
    has_prefix = len(sources) > 1

    async def printed(source: Source) -> bool:
        prefix = f"[{source.pod}/{source.container}] " if has_prefix else ""
        chunks = client.stream_pod_log(
            namespace,
            source.pod,
            source.container,
            tail_lines=None if options.tail < 0 else options.tail,
            previous=options.previous,
            follow=options.follow,
        )
        try:
            async for line in lines_of(chunks):
                say(prefix + line)
        except ApiError as error:
            complain(
                f"The log of container {source.container} of pod {source.pod} cannot be read: {error.message}"
            )
            return False
        return True

    if options.follow:
        were_read = await asyncio.gather(*map(printed, sources))
    else:
        were_read = [await printed(source) for source in sources]
    if not any(were_read):
        raise CommandError("No log could be read.")


def _jobs_of(server: str) -> str:
    return f"{SERVER_LABEL}={server},{COMPONENT_LABEL}!={SERVER_COMPONENT}"


def _nothing_runs(server: TrackingServer, options: argparse.Namespace) -> str:
    if options.jobs:
        return (
            f"No pod of a Job of {called(server)} is there: Jobs go with their pods when their work is done."
        )
    where = f"{server.metadata.name} -n {server.metadata.namespace}"
    if server.spec.suspend or server.spec.replicas == 0:
        return f"{called(server)} is suspended, so no pod runs: `kubectl tracking wake {where}` wakes it."
    return f"{called(server)} has no pod: `kubectl tracking status {where}` says what it waits for."
