"""Transfers of one large artifact through servers and straight to the object store, by turns: what a client runs, and what it found."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

STRAIGHT: Final = "straight"
"""The way past all servers."""

SCRIPT: Final = """
import json, os, sys, tempfile, time
import boto3, mlflow

settings = json.load(sys.stdin)
bucket, prefix, size, servers = settings["bucket"], settings["prefix"], settings["bytes"], settings["servers"]
folder = tempfile.mkdtemp()
file = os.path.join(folder, "model.bin")
with open(file, "wb") as out:
    for _ in range(size // 2**20):
        out.write(os.urandom(2**20))
s3, runs = boto3.client("s3"), {}
key = prefix + "/throughput/model.bin"

def through(server):
    os.environ.update(servers[server])
    client = mlflow.MlflowClient()
    if server not in runs:
        experiment = client.create_experiment("throughput-" + os.path.basename(folder))
        runs[server] = client.create_run(experiment).info.run_id
    run = runs[server]
    return lambda: client.log_artifact(run, file), lambda target: client.download_artifacts(run, "model.bin", target)

def straight():
    return (lambda: s3.upload_file(file, bucket, key),
            lambda target: s3.download_file(bucket, key, os.path.join(target, "model.bin")))

def seconds(work):
    begun = time.monotonic()
    work()
    return time.monotonic() - begun

ways = [*servers, "straight"]
took = {way + " " + what: [] for way in ways for what in ("upload", "download")}
for number in range(settings["repetitions"]):
    for way in ways if number % 2 == 0 else ways[::-1]:
        up, down = straight() if way == "straight" else through(way)
        took[way + " upload"].append(seconds(up))
        with tempfile.TemporaryDirectory() as target:
            took[way + " download"].append(seconds(lambda: down(target)))
            assert os.path.getsize(os.path.join(target, "model.bin")) == os.path.getsize(file)
s3.delete_object(Bucket=bucket, Key=key)
print(json.dumps(took))
"""


@dataclass(frozen=True)
class Transfers:
    """What is sent, where, and how often."""

    bucket: str
    prefix: str
    size: int
    """In bytes, of whole MiB."""
    repetitions: int
    servers: Mapping[str, Mapping[str, str]]
    """The client's variables for each server, by what the server is called."""

    def settings(self) -> dict[str, object]:
        """What the script reads."""
        return {
            "bucket": self.bucket,
            "prefix": self.prefix,
            "bytes": self.size,
            "repetitions": self.repetitions,
            "servers": {name: dict(variables) for name, variables in self.servers.items()},
        }


@dataclass(frozen=True)
class Throughput:
    """The seconds of each repetition, through one server and past it."""

    what: str
    through_server: Sequence[float]
    straight: Sequence[float]

    @property
    def medians(self) -> tuple[float, float]:
        """Through the server, and straight."""
        return statistics.median(self.through_server), statistics.median(self.straight)


def throughputs(took: Mapping[str, Sequence[float]], server: str) -> list[Throughput]:
    """What the script has found of a server."""
    return [
        Throughput(what, took[f"{server} {what}"], took[f"{STRAIGHT} {what}"])
        for what in ("upload", "download")
    ]
