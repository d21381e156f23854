"""`kubectl port-forward` with a port that the kernel chooses."""

import re
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread

from dev.local_cluster.failures import ClusterError


@contextmanager
def forwarded_port(
    command: Sequence[str], environment: Mapping[str, str], remote_port: int, local_port: int
) -> Iterator[int]:
    """Forward a port of this machine (any free one if `local_port` is 0) for as long as the block runs."""
    ports = f"{local_port or ''}:{remote_port}"
    with subprocess.Popen(
        [*command, ports], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        # kubectl says a line per connection and stands still when nobody reads them.
        reader = Thread(target=deque, args=(process.stdout, 0), daemon=True)
        try:
            port = _announced_port(process)
            reader.start()
            yield port
        finally:
            process.kill()
            if reader.is_alive():
                reader.join()


def _announced_port(process: subprocess.Popen[str]) -> int:
    """The port that kubectl announces as soon as it listens."""
    said = process.stdout.readline() if process.stdout else ""
    found = re.search(r"Forwarding from \S+:(\d+) ->", said)
    if found is None:
        raise ClusterError(f"kubectl port-forward failed: {said.strip()}")
    return int(found[1])
