"""Runs in a Job when a server goes for good: removes all that lies under its prefix, and nothing else.

    delete-artifacts --bucket ml-artifacts --prefix team-a/mlflow

Objects, all their versions and delete markers, and uploads that were never finished. It may be ended and begun again
at any time: each round takes what is there then, until nothing is. What happened goes to the termination log and into
the exit code, as ``outcomes.py`` says.
"""

import argparse
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracking_operator import object_removal
from tracking_operator.object_removal import MOST_PER_REQUEST, remove_objects
from tracking_operator.pod_tools import s3, start_server
from tracking_operator.pod_tools.checks import CheckFailed, report, with_retries
from tracking_operator.pod_tools.programs import CREDENTIALS
from tracking_operator.store_answers import object_store_answer

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef as Version

PATIENCE_SECONDS = float(os.environ.get("TRACKING_OPERATOR_PATIENCE_SECONDS", "40"))
"""How long the permission to delete versions, which is granted only now, may take to be known."""
ATTEMPTS = 5
PREFIX = re.compile(r"[^/.][^/]*(/[^/.][^/]*)*")
REFUSED = ("AccessDenied", "UnsupportedUri")
"""Reasons for which a listing is done without: not permitted, or not known to the store."""
IDENTITY = s3.Identity("The identity was the server's; the operator makes it anew.", may_be_fresh=True)


@dataclass(frozen=True)
class Folder:
    """All keys of a bucket that begin with a prefix and a slash."""

    client: "S3Client"
    bucket: str
    prefix: str
    """With the slash."""

    def require_within(self, key: str) -> str:
        """Return a key that lies in the folder. Whatever a store lists, nothing else is removed."""
        if not key.startswith(self.prefix):
            raise CheckFailed(
                "StoreUnreachable",
                f"The object store listed {key!r} although only {self.prefix} was asked for: nothing of that was removed.",
                is_awaited=False,
            )
        return key


def main(arguments: list[str] | None = None) -> int:
    """Empty the prefix that the command line names and report; return the exit code."""
    options = parse_arguments(arguments)
    os.environ.update(start_server.credentials_environment(CREDENTIALS))
    try:
        message = empty(folder_of(options))
    except CheckFailed as failure:
        return report(failure.reason, failure.message)
    return report("", message)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--prefix", required=True, help="without a slash at its end")
    return parser.parse_args(arguments)


def folder_of(options: argparse.Namespace) -> Folder:
    """Find the folder to empty; an empty prefix would be the whole bucket."""
    if not PREFIX.fullmatch(options.prefix):
        raise CheckFailed(
            "UnsupportedUri", f"{options.prefix!r} is not the prefix of a server: nothing was removed."
        )
    return Folder(s3.s3_client(attempts=ATTEMPTS), options.bucket, f"{options.prefix}/")


def empty(folder: Folder) -> str:
    """Remove everything in the folder; return what to say about it."""
    place = f"s3://{folder.bucket}/{folder.prefix}"
    knows_versions = lists_versions(folder)
    removed = remove_all(folder, next_versions if knows_versions else next_objects)
    aborted = abort_uploads(folder)
    rest = (
        ""
        if knows_versions
        else " Versions could not be listed: earlier ones may be left, if the bucket keeps any."
    )
    return f"Nothing is left under {place}: {removed} removed now, {aborted} unfinished uploads ended.{rest}"


def remove_all(folder: Folder, next_batch: "Callable[[Folder], list[Version]]") -> int:
    """Remove batch after batch until there is none; return how many objects and versions that were."""
    removed = 0
    before: list[Version] = []
    while batch := next_batch(folder):
        if batch == before:
            raise CheckFailed(
                "AccessDenied",
                f"{batch[0]['Key']} and others are still there after they were removed: is there an object lock?",
            )
        remove(folder, batch)
        before = batch
        removed += len(batch)
        print(f"{removed} objects and versions removed under {folder.prefix}", flush=True)
    return removed


def lists_versions(folder: Folder) -> bool:
    """Whether versions can be listed: a store may know none, and an identity may not be permitted to."""
    try:
        with_retries(lambda: next_versions(folder), what="The object store", seconds=PATIENCE_SECONDS)
    except CheckFailed as failure:
        if failure.reason not in REFUSED:
            raise
        print(f"Going by the plain listing. {failure.message}", flush=True)
        return False
    return True


def next_versions(folder: Folder) -> "list[Version]":
    """The first versions and delete markers that are there."""
    with s3.asking(f"ListBucketVersions of {folder.prefix}", IDENTITY):
        page = folder.client.list_object_versions(
            Bucket=folder.bucket, Prefix=folder.prefix, MaxKeys=MOST_PER_REQUEST
        )
    return [
        version_of(folder, one["Key"], one.get("VersionId"))
        for one in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
    ]


def next_objects(folder: Folder) -> "list[Version]":
    """The first objects that are there, without their earlier versions."""
    with s3.asking(f"ListBucket of {folder.prefix}", IDENTITY):
        page = folder.client.list_objects_v2(
            Bucket=folder.bucket, Prefix=folder.prefix, MaxKeys=MOST_PER_REQUEST
        )
    return [version_of(folder, one["Key"], None) for one in page.get("Contents", [])]


def version_of(folder: Folder, key: str, version: str | None) -> "Version":
    """What a request has to name to remove an object, or one version of it."""
    checked = folder.require_within(key)
    return {"Key": checked, "VersionId": version} if version else {"Key": checked}


def remove(folder: Folder, batch: "Sequence[Version]") -> None:
    """Remove objects or versions; what is gone already is as good."""
    with s3.asking(f"DeleteObjects under {folder.prefix}", IDENTITY):
        errors = remove_objects(folder.client, folder.bucket, batch)
    if errors:
        first = errors[0]
        raise CheckFailed(
            object_store_answer(first.get("Code", ""), 0).reason,
            f"{len(errors)} objects could not be removed, among them {first.get('Key')} "
            f"({first.get('Code')}: {s3.shortened(first.get('Message', ''))}): permit the identity to, and end object locks.",
        )


def abort_uploads(folder: Folder) -> int:
    """End the uploads under the prefix that were never finished; return how many. Whoever may not list them leaves them."""
    ended: set[tuple[str, str]] = set()
    try:
        # A store that goes on listing them has ended them all the same.
        while uploads := set(unfinished_uploads(folder)) - ended:
            for key, upload in uploads:
                with s3.asking(f"AbortMultipartUpload of {key}", IDENTITY):
                    folder.client.abort_multipart_upload(Bucket=folder.bucket, Key=key, UploadId=upload)
            ended |= uploads
    except CheckFailed as failure:
        if failure.reason not in REFUSED:
            raise
        print(f"Unfinished uploads are left to the bucket's lifecycle. {failure.message}", flush=True)
    return len(ended)


def unfinished_uploads(folder: Folder) -> list[tuple[str, str]]:
    """The first uploads under the prefix that were never finished: key and id."""
    with s3.asking(f"ListMultipartUploads of {folder.prefix}", IDENTITY):
        uploads = object_removal.unfinished_uploads(folder.client, folder.bucket, folder.prefix)
    return [(folder.require_within(key), upload) for key, upload in uploads]
