"""An emulator of Azure Blob Storage for tests: Azurite, from npm, run on loopback. It knows no Data Lake (abfss://)."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.local_cluster.cache import built_once, digest_of
from dev.local_cluster.commands import run
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.versions import pinned
from dev.loopback import HOST, serving

NAME = "azurite"
PACKAGES = Path(__file__).parent / "npm" / NAME
MAIN = Path("node_modules") / NAME / "dist" / "src" / "blob" / "main.js"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of the one account that Azurite has, published in its documentation."""
SECONDS_TO_DOWNLOAD = 600


def azurite_program() -> Path:
    """The program, which Node.js runs; downloaded when it is not in the cache."""
    key = f"{pinned(NAME)}-{digest_of([], PACKAGES)}"
    return built_once(NAME, key, _download) / MAIN


@contextmanager
def azurite_server(port: int) -> Iterator[str]:
    """Run a new, empty server until the block ends; the connection string of its account."""
    command: list[str | Path] = [
        _node(),
        azurite_program(),
        f"--blobHost={HOST}",
        f"--blobPort={port}",
        "--inMemoryPersistence",
    ]
    with serving([*command, "--silent", "--skipApiVersionCheck", "--disableTelemetry"], port):
        yield (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint=http://{HOST}:{port}/{ACCOUNT};"
        )


def _node() -> str:
    """The path of Node.js, which comes with npm. Raises ClusterError: there is none."""
    found = shutil.which("node")
    if found is None:
        raise ClusterError("`node` is not installed; `make` run as root installs it.")
    return found


def _download(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, folder / name)
    run(
        "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error",
        cwd=folder, seconds=SECONDS_TO_DOWNLOAD,
    )  # fmt: skip
