"""An emulator of Google Cloud Storage for tests: fake-gcs-server, built once and run on loopback. It checks no credentials."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.local_cluster.binaries import published_program
from dev.loopback import HOST, serving

NAME = "fake-gcs-server"


def fake_gcs_program() -> Path:
    """The program, a static binary; built in a minute or two when it is not in the cache."""
    return published_program(NAME)


@contextmanager
def fake_gcs_server(port: int) -> Iterator[str]:
    """Run a new, empty server until the block ends; its URL, which clients take as STORAGE_EMULATOR_HOST."""
    url = f"http://{HOST}:{port}"
    command: list[str | Path] = [
        fake_gcs_program(),
        "-backend=memory",
        "-scheme=http",
        f"-host={HOST}",
        f"-port={port}",
    ]
    with serving([*command, f"-external-url={url}", f"-public-host={HOST}:{port}"], port):
        yield url
