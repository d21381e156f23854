"""Objects as they change, through `kubectl get --watch`."""

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator

from dev.demo.failures import DemoError
from dev.development_cluster import DevelopmentCluster
from tracking_operator.kube.objects import KubeObject


def wait_for(
    cluster: DevelopmentCluster,
    namespace: str,
    what: tuple[str, ...],
    is_reached: Callable[[KubeObject], bool],
    *,
    expected: str,
    seconds: float,
) -> KubeObject:
    """Return `what` (kubectl's words, such as `("job", "train")`) as soon as it is as `is_reached` wants it.

    `is_reached` sees every change; `expected` says it in words.

    Raises:
        DemoError: not within `seconds`; the message ends with the latest events of the namespace.
    """
    for seen in _watch(cluster, namespace, what, seconds):
        if is_reached(seen):
            return seen
    raise DemoError(
        f"Not within {seconds:.0f} s in namespace {namespace}: {expected}."
        f" The latest events there:\n{latest_events(cluster, namespace)}"
    )


def latest_events(cluster: DevelopmentCluster, namespace: str) -> str:
    """The last events of a namespace, oldest first."""
    lines = cluster.kubectl("events", "--namespace", namespace).splitlines()
    return "\n".join(lines[-10:])


def objects_in(lines: Iterable[str]) -> Iterator[KubeObject]:
    """The objects that kubectl printed one after the other, indented, each ending with a brace of its own."""
    collected: list[str] = []
    for line in lines:
        collected.append(line)
        if line.rstrip("\n") == "}":
            yield json.loads("".join(collected))
            collected.clear()


def _watch(
    cluster: DevelopmentCluster, namespace: str, what: tuple[str, ...], seconds: float
) -> Iterator[KubeObject]:
    """The objects as they are now, then each of their changes, until `seconds` are over."""
    command = [str(cluster.kubectl_path), "get", *what, "--namespace", namespace]
    flags = ["--watch", "--output=json", f"--request-timeout={seconds:.0f}s"]
    with subprocess.Popen(
        [*command, *flags],
        env=cluster.kubectl_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield from objects_in(process.stdout or ())
            problem = process.stderr.read() if process.stderr else ""
        finally:
            process.kill()
    if process.returncode != 0:
        raise DemoError(f"`{' '.join(command)}` failed: {problem.strip()}")
