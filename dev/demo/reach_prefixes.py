"""Use prefixes of a bucket with the credentials of the pod that this runs in.

    python reach_prefixes.py BUCKET put,get,list,delete FOLDER…

Prints as JSON what the object store said against each action in each folder; null where it did as it was asked.
A folder ends with a slash; the empty one is the whole bucket. `boto3` finds address, CA and keys in the environment
and the file that the server's own pod has.
"""

import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

NAME = "who-may-do-what.txt"  # of the object that everybody tries to write, read and remove
QUICKLY = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})


def main(bucket: str, actions: str, *folders: str) -> None:
    """Try each action in each folder, in this order."""
    client = boto3.client("s3", config=QUICKLY)
    tried = {folder: try_folder(client, bucket, actions.split(","), folder) for folder in folders}
    print(json.dumps(tried))


def try_folder(client: "S3Client", bucket: str, actions: list[str], folder: str) -> Mapping[str, str | None]:
    """What was said against each action."""
    key = folder + NAME
    requests: dict[str, Callable[[], object]] = {
        "put": lambda: client.put_object(Bucket=bucket, Key=key, Body=b"Who may do what?\n"),
        "get": lambda: read(client, bucket, key),
        "list": lambda: client.list_objects_v2(Bucket=bucket, Prefix=folder),
        "delete": lambda: client.delete_object(Bucket=bucket, Key=key),
    }
    return {action: refusal_of(requests[action]) for action in actions}


def read(client: "S3Client", bucket: str, key: str) -> bytes:
    """The content of an object."""
    return client.get_object(Bucket=bucket, Key=key)["Body"].read()


def refusal_of(request: Callable[[], object]) -> str | None:
    """What the object store said; None if it did what it was asked for."""
    try:
        request()
    except (BotoCoreError, ClientError) as error:
        return str(error)
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
