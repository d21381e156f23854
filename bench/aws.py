"""AWS for measurements, as moto plays it: S3, IAM and STS at one endpoint of this machine, which pods reach."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from moto.server import ThreadedMotoServer

PORT: Final = 9000
"""One that the operator's NetworkPolicy lets it out to."""


@contextmanager
def aws(address: str) -> Iterator[str]:
    """Run moto while the block runs; gives its URL. It checks no keys, and keeps everything in memory."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=address, port=PORT, verbose=False)
    server.start()
    try:
        yield f"http://{address}:{PORT}"
    finally:
        server.stop()
