"""How fast an artifact of 200 MB is through the server, beside straight to the object store from the same pod."""

from collections.abc import Sequence
from typing import Final

from bench.client_pod import ClientPod
from bench.report import Table
from bench.samples import duration, ratio
from bench.transfers import SCRIPT, Throughput, Transfers, throughputs

MEGABYTES: Final = 200
REPETITIONS: Final = 3
SERVER: Final = "server"


async def measure_throughput(pod: ClientPod, bucket: str, prefix: str) -> list[Throughput]:
    """Upload and download by turns both ways, with the server's own keys where it is straight."""
    # The pod has the server's address already.
    transfers = Transfers(
        bucket, prefix, MEGABYTES * 10**6 // 2**20 * 2**20, REPETITIONS, servers={SERVER: {}}
    )
    return throughputs(await pod.run(SCRIPT, transfers.settings()), SERVER)


def throughput_table(measured: Sequence[Throughput]) -> Table:
    """Tell how much the way through the server costs."""
    rows = []
    for one in measured:
        through, straight = one.medians
        rows.append((one.what, duration(through), duration(straight), ratio(through, straight)))
    return Table(
        f"An artifact of {MEGABYTES} MB through the server, beside straight to the object store",
        ("what", "through the server", "straight", "ratio"),
        tuple(rows),
        (
            f"Median of {REPETITIONS}, by turns, from one pod: `log_artifact` and `download_artifacts` of MLflow's client, and "
            "boto3's `upload_file` and `download_file` (parts of 8 MB, ten at a time) with the server's own keys. The server, "
            "the store (with TLS) and the client share this machine's cores.",
        ),
    )
