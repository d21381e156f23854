"""How fast an artifact of 200 MB is through the server, beside straight to the object store from the same pod."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.client_pod import ClientPod
from bench.report import Table
from bench.samples import duration, ratio

MEGABYTES: Final = 200
REPETITIONS: Final = 3

SCRIPT: Final = """
import json, os, sys, tempfile, time
import boto3, mlflow
from boto3.s3.transfer import TransferConfig

settings = json.load(sys.stdin)
bucket, prefix, size = settings["bucket"], settings["prefix"], settings["bytes"]
folder = tempfile.mkdtemp()
file = os.path.join(folder, "model.bin")
with open(file, "wb") as out:
    for _ in range(size // 2**20):
        out.write(os.urandom(2**20))
s3, client = boto3.client("s3"), mlflow.MlflowClient()
experiment = client.create_experiment("throughput-" + os.path.basename(folder))
key = prefix + "/throughput/model.bin"
took = {"server up": [], "server down": [], "direct up": [], "direct down": []}

def timed(what, work):
    begun = time.monotonic()
    work()
    took[what].append(time.monotonic() - begun)

def down():
    with tempfile.TemporaryDirectory() as target:
        path = client.download_artifacts(run, "model.bin", target)
        assert os.path.getsize(path) == os.path.getsize(file)

def straight_down():
    with tempfile.TemporaryDirectory() as target:
        s3.download_file(bucket, key, os.path.join(target, "model.bin"))

for number in range(settings["repetitions"]):
    run = client.create_run(experiment).info.run_id
    turns = [
        lambda: (timed("server up", lambda: client.log_artifact(run, file)), timed("server down", down)),
        lambda: (timed("direct up", lambda: s3.upload_file(file, bucket, key)), timed("direct down", straight_down)),
    ]
    for turn in turns if number % 2 == 0 else turns[::-1]:
        turn()
s3.delete_object(Bucket=bucket, Key=key)
print(json.dumps(took))
"""


@dataclass(frozen=True)
class Throughput:
    """The seconds of each repetition of each way."""

    through_server: Sequence[float]
    straight: Sequence[float]
    what: str


async def measure_throughput(pod: ClientPod, bucket: str, prefix: str) -> list[Throughput]:
    """Upload and download by turns both ways, with the server's own keys where it is straight."""
    settings = {
        "bucket": bucket,
        "prefix": prefix,
        "bytes": MEGABYTES * 10**6 // 2**20 * 2**20,
        "repetitions": REPETITIONS,
    }
    took = await pod.run(SCRIPT, settings)
    return [
        Throughput(took[f"server {way}"], took[f"direct {way}"], what)
        for way, what in (("up", "upload"), ("down", "download"))
    ]


def throughput_table(measured: Sequence[Throughput]) -> Table:
    """Tell how much the way through the server costs."""
    rows = []
    for one in measured:
        through, straight = statistics.median(one.through_server), statistics.median(one.straight)
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
