"""A tenant's objects, as far as the admin has to do with them: whether there are any, and, where no Job can, their end."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracking_operator import object_removal
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import failure_for
from tracking_operator.object_removal import MOST_PER_REQUEST
from tracking_operator.stores.s3.clients import s3_client
from tracking_operator.stores.s3.errors import DENIED, UNKNOWN_FEATURE, asking, says
from tracking_operator.stores.s3.ownership import owns
from tracking_operator.stores.s3.tenant import Admin, Tenant

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef


@dataclass(frozen=True)
class _Version:
    """An object, or one version of it; a delete marker is one, too."""

    key: str
    id: str | None = None


def count_objects(admin: Admin, tenant: Tenant, limit: int = MOST_PER_REQUEST) -> int:
    """How many objects, older versions and delete markers are under a tenant's prefix; ``limit`` stands for more.

    A prefix that is not the tenant's, by its mark, has none of its objects.

    Raises:
        Failure: the object store does not answer, or refuses.

    """
    return _count(admin, tenant.folder, min(limit, MOST_PER_REQUEST)) if owns(admin, tenant) else 0


def is_empty(admin: Admin, tenant: Tenant) -> bool:
    """Whether nothing of a tenant's is under its prefix. Raises Failure."""
    return count_objects(admin, tenant, limit=1) == 0


def has_objects(admin: Admin, tenant: Tenant) -> bool:
    """Whether there is anything under a prefix, whosever it is. Raises Failure."""
    return _count(admin, tenant.folder, 1) > 0


def remove_objects(admin: Admin, tenant: Tenant, *, seconds: float) -> bool:
    """Remove objects, older versions and delete markers under a prefix, for so many seconds; whoever calls again goes on.

    A prefix that is not the tenant's, by its mark, is left alone, and so is every key beyond it, whatever the store lists.
    Returns whether something was there to remove.

    Raises:
        Failure: the object store does not answer, or refuses.

    """
    return owns(admin, tenant) and remove_folder(admin, tenant.folder, seconds=seconds)


def remove_folder(admin: Admin, folder: str, *, seconds: float) -> bool:
    """Remove all that lies under a folder, which ends in a slash, for so many seconds, and no key beyond it; whoever calls again goes on.

    Returns whether something was there to remove.

    Raises:
        Failure: the object store does not answer, or refuses.

    """
    until = time.monotonic() + seconds
    before: list[_Version] = []
    while time.monotonic() < until and (batch := _first(admin, folder, MOST_PER_REQUEST)):
        if batch == before:
            raise failure_for(
                Reason.DELETION_BLOCKED,
                f"Objects under {folder} in {admin.bucket.title} are still listed after they were removed: somebody writes "
                "there, or their keys cannot be told in a request. Remove them by hand.",
            )
        _remove_batch(admin, folder, batch, lambda: time.monotonic() >= until)
        before = batch
    return bool(before)


def _remove_batch(
    admin: Admin, folder: str, batch: Sequence[_Version], is_time_up: Callable[[], bool]
) -> None:
    wanted: list[ObjectIdentifierTypeDef] = [
        {"Key": one.key, "VersionId": one.id} if one.id else {"Key": one.key} for one in batch
    ]
    rights = "s3:DeleteObject and s3:DeleteObjectVersion"
    with asking(admin, f"remove what is under {folder}", rights):
        refused = object_removal.remove_objects(s3_client(admin), admin.bucket.name, wanted, is_time_up)
    if refused:
        code = refused[0].get("Code", "")
        raise failure_for(
            Reason.DELETION_BLOCKED,
            f"{len(refused)} objects under {folder} in {admin.bucket.title} could not be removed by the class's admin "
            f"({code if code.isalnum() else 'no code'}): give it {rights} there, or remove them by hand.",
        )


def abort_uploads(admin: Admin, tenant: Tenant) -> int:
    """End the uploads under a prefix that were never finished, which no listing shows; how many that were.

    A server cannot see its own: S3 grants listing uploads for whole buckets only. An admin who may not either
    leaves them to the bucket's lifecycle rules.

    Raises:
        Failure: the object store does not answer, or refuses.

    """
    client = s3_client(admin)
    ended: set[object_removal.Upload] = set()
    with asking(admin, f"end uploads under {tenant.folder}", "s3:ListBucketMultipartUploads"):
        # A store that goes on listing them has ended them all the same.
        while uploads := _unfinished_uploads(admin, tenant) - ended:
            for key, upload in uploads:
                client.abort_multipart_upload(Bucket=tenant.bucket, Key=key, UploadId=upload)
            ended |= uploads
    return len(ended)


def _unfinished_uploads(admin: Admin, tenant: Tenant) -> set[object_removal.Upload]:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        listed = object_removal.unfinished_uploads(s3_client(admin), tenant.bucket, tenant.folder)
    except ClientError as error:
        if says(error, DENIED | UNKNOWN_FEATURE):
            return set()
        raise
    return {(key, upload) for key, upload in listed if key.startswith(tenant.folder)}


def _count(admin: Admin, folder: str, limit: int) -> int:
    return len(_first(admin, folder, limit))


def _first(admin: Admin, folder: str, limit: int) -> list[_Version]:
    """The first versions and delete markers under a prefix; plain objects, where versions cannot be listed."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    client = s3_client(admin)
    with asking(admin, f"list what is under {folder}", "s3:ListBucket and s3:ListBucketVersions"):
        try:
            page = client.list_object_versions(Bucket=admin.bucket.name, Prefix=folder, MaxKeys=limit)
            found = [_Version(one["Key"], one.get("VersionId")) for one in page.get("Versions", [])]
            found += [_Version(one["Key"], one.get("VersionId")) for one in page.get("DeleteMarkers", [])]
        except ClientError as error:
            if not says(error, DENIED | UNKNOWN_FEATURE):
                raise
            listed = client.list_objects_v2(Bucket=admin.bucket.name, Prefix=folder, MaxKeys=limit)
            found = [_Version(one["Key"]) for one in listed.get("Contents", [])]
    return [one for one in found if one.key.startswith(folder)]
