"""A tenant's objects, as far as the admin has to know about them: whether there are any."""

from typing import Final

from tracking_operator.stores.s3.clients import s3_client
from tracking_operator.stores.s3.errors import DENIED, UNKNOWN_FEATURE, asking, says
from tracking_operator.stores.s3.ownership import owns
from tracking_operator.stores.s3.tenant import Admin, Tenant

MOST_PER_REQUEST: Final = 1000


def count_objects(admin: Admin, tenant: Tenant, limit: int = MOST_PER_REQUEST) -> int:
    """How many objects, older versions and delete markers are under a tenant's prefix; ``limit`` stands for more.

    A prefix that is not the tenant's, by its mark, has none of its objects.

    Raises:
        Failure: the object store does not answer, or refuses.

    """
    return _count(admin, tenant, min(limit, MOST_PER_REQUEST)) if owns(admin, tenant) else 0


def is_empty(admin: Admin, tenant: Tenant) -> bool:
    """Whether nothing of a tenant's is under its prefix. Raises Failure."""
    return count_objects(admin, tenant, limit=1) == 0


def has_objects(admin: Admin, tenant: Tenant) -> bool:
    """Whether there is anything under a prefix, whosever it is. Raises Failure."""
    return _count(admin, tenant, 1) > 0


def abort_uploads(admin: Admin, tenant: Tenant) -> int:
    """End the uploads under a prefix that were never finished, which no listing shows; how many that were.

    A server cannot see its own: S3 grants listing uploads for whole buckets only. An admin who may not either
    leaves them to the bucket's lifecycle rules.

    Raises:
        Failure: the object store does not answer, or refuses.

    """
    from botocore.exceptions import ClientError  # noqa: PLC0415

    client = s3_client(admin)
    with asking(admin, f"end uploads under {tenant.folder}", "s3:ListBucketMultipartUploads"):
        try:
            pages = client.get_paginator("list_multipart_uploads").paginate(
                Bucket=tenant.bucket, Prefix=tenant.folder
            )
            uploads = [upload for page in pages for upload in page.get("Uploads", [])]
        except ClientError as error:
            if says(error, DENIED | UNKNOWN_FEATURE):
                return 0
            raise
        for upload in uploads:
            if upload["Key"].startswith(tenant.folder):
                client.abort_multipart_upload(
                    Bucket=tenant.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
    return len(uploads)


def _count(admin: Admin, tenant: Tenant, limit: int) -> int:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    client = s3_client(admin)
    with asking(admin, f"list what is under {tenant.folder}", "s3:ListBucket and s3:ListBucketVersions"):
        try:
            found = client.list_object_versions(Bucket=tenant.bucket, Prefix=tenant.folder, MaxKeys=limit)
        except ClientError as error:
            if not says(error, DENIED | UNKNOWN_FEATURE):
                raise
            listed = client.list_objects_v2(Bucket=tenant.bucket, Prefix=tenant.folder, MaxKeys=limit)
            return len(listed.get("Contents", []))
        return len(found.get("Versions", [])) + len(found.get("DeleteMarkers", []))
