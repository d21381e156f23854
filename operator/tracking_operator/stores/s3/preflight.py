"""Can this bucket be used at all, and does it answer? Asked once per class, before any tenant."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.bucket_address import Bucket
from tracking_operator.stores.s3.bucket_policy import read_policy
from tracking_operator.stores.s3.clients import PROBE, iam_client, s3_client
from tracking_operator.stores.s3.errors import (
    UNKNOWN_FEATURE,
    asking,
    code_of,
    region_in,
    says,
)
from tracking_operator.stores.s3.iam_users import GONE
from tracking_operator.stores.s3.tenant import (
    OWN_FOLDER,
    Admin,
    Encryption,
    IamUser,
    Identity,
    VersitygwUser,
)
from tracking_operator.stores.s3.versitygw_users import UserAdmin

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import (
        CreateBucketRequestTypeDef,
        ServerSideEncryptionByDefaultTypeDef,
        ServerSideEncryptionConfigurationTypeDef,
        ServerSideEncryptionRuleTypeDef,
    )

NEARLY_FULL: Final = 0.8
FIRST_REGION: Final = "us-east-1"
"""The one region that a request to create a bucket may not name."""
PENDING_KEY: Final = f"{OWN_FOLDER}/creating"
"""An object that is there from the creation of a bucket until all its settings are made."""
NOBODY: Final = "tracking-operator-preflight"
"""A user that nobody has: who may look for it may look for others."""

_AWS_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


@dataclass(frozen=True)
class BucketSettings:
    """How a bucket is made that does not exist. One that was there before is left as it is."""

    versioning: bool = False
    encryption: Encryption | None = None
    kms_key_id: str | None = None
    block_public_access: bool = True
    abort_incomplete_uploads_after_days: int = 7


def preflight(
    admin: Admin, *, create: BucketSettings | None, identity: Identity | None = None
) -> tuple[str, ...]:
    """Make sure that the bucket can be used by this admin, as far as that can be seen without writing to it.

    A bucket that does not exist is made by ``create``; where that was interrupted, its settings are made now. With
    ``identity`` its admin API is asked, too. Returns what the platform team may want to change.

    Raises:
        Failure: the bucket cannot be used, or there is no answer.

    """
    remarks = _look_at(admin, create)
    found = read_policy(admin)
    if identity:
        _look_at_identities(admin, identity)
    return (*remarks, *_remarks(admin, found))


def probe(admin: Admin) -> None:
    """See whether the bucket answers: one request, with short time-outs.

    Raises:
        Failure: it does not, or not to this admin.

    """
    from botocore.exceptions import ClientError  # noqa: PLC0415

    client = s3_client(admin, PROBE)
    with asking(admin, "answer", "s3:ListBucket"):
        try:
            client.head_bucket(Bucket=admin.bucket.name)
        except ClientError:
            # The answer to HEAD has no body that would say why.
            client.list_objects_v2(Bucket=admin.bucket.name, Prefix=f"{OWN_FOLDER}/", MaxKeys=1)


def objection_to_region(bucket: Bucket, found: str | None) -> Failure | None:
    """What is wrong with the class's region, as AWS names the bucket's; None where nothing is. Pure.

    Other object stores call their only region by any name and take requests for all; where they do not, they refuse
    the request itself.
    """
    if not found or found == bucket.region or bucket.endpoint or not _AWS_REGION.fullmatch(found):
        return None
    return Invalid(
        Reason.BUCKET_ELSEWHERE,
        f"{bucket.title} is in region {found}: set s3.region of the class to it, or name another bucket.",
    )


def _look_at(admin: Admin, create: BucketSettings | None) -> tuple[str, ...]:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    client, name = s3_client(admin), admin.bucket.name
    with asking(admin, "list its objects", "s3:ListBucket"):
        try:
            listed = client.list_objects_v2(Bucket=name, Prefix=PENDING_KEY, MaxKeys=1)
        except ClientError as error:
            if create is None or not says(error, frozenset({"NoSuchBucket"})):
                raise
            _create(admin, client)
            return _finish(admin, client, create)
        try:
            region: str | None = client.head_bucket(Bucket=name).get("BucketRegion")
        except ClientError as error:
            region = region_in(error)
    if objection := objection_to_region(admin.bucket, region):
        raise objection
    is_unfinished = any(found["Key"] == PENDING_KEY for found in listed.get("Contents", []))
    return _finish(admin, client, create) if create and is_unfinished else ()


def _look_at_identities(admin: Admin, identity: Identity) -> None:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    if isinstance(identity, VersitygwUser):
        UserAdmin(admin, identity).users()
    elif isinstance(identity, IamUser):
        where = f"IAM at {identity.endpoint}" if identity.endpoint else "AWS IAM"
        with asking(admin, "describe a user", "iam:GetUser", where):
            try:
                iam_client(admin, identity).get_user(UserName=NOBODY)
            except ClientError as error:
                if not says(error, GONE):
                    raise


def _remarks(admin: Admin, found: policy.Document) -> tuple[str, ...]:
    """What works, but could be better."""
    remarks = []
    if not admin.bucket.uses_tls:
        remarks.append(
            "Requests to the bucket are not encrypted on their way: use an endpoint with https and a CA in caConfigMapRef."
        )
    size = len(policy.compact(found).encode())
    if size > NEARLY_FULL * policy.LARGEST_DOCUMENT:
        remarks.append(
            f"The bucket's policy takes {size:,} of {policy.LARGEST_DOCUMENT:,} bytes: soon there is no room for another "
            "server. Prepare a second class with another bucket, or isolation abac."
        )
    for one in policy.statements_of(found):
        if not policy.is_of_a_server(one) and (dead := policy.dead_names_in(one)):
            remarks.append(
                f"The statement {policy.sid_of(one) or '(without Sid)'} of the bucket's policy names {', '.join(dead)}, "
                "which is gone: S3 refuses every change of the policy until it is removed."
            )
    return tuple(remarks)


# Creating it


def _create(admin: Admin, client: "S3Client") -> None:
    """Make the bucket, and note that it is not finished."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    bucket = admin.bucket
    request: CreateBucketRequestTypeDef = {"Bucket": bucket.name}
    if bucket.region != FIRST_REGION:
        request["CreateBucketConfiguration"] = {"LocationConstraint": bucket.region}  # type: ignore[typeddict-item]
    with asking(admin, "come into being", "s3:CreateBucket"):
        try:
            client.create_bucket(**request)
        except ClientError as error:
            if code_of(error) != "BucketAlreadyOwnedByYou":
                raise
            return
        client.put_object(Bucket=bucket.name, Key=PENDING_KEY, Body=b"")


def _finish(admin: Admin, client: "S3Client", settings: BucketSettings) -> tuple[str, ...]:
    """Make the settings of a new bucket, and note that it is finished."""
    remarks = []
    name = admin.bucket.name
    if settings.versioning:
        with asking(admin, "keep versions", "s3:PutBucketVersioning"):
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    if settings.encryption:
        _encrypt(admin, client, settings, settings.encryption)
    if settings.block_public_access and not _block_public_access(admin, client):
        remarks.append(
            "The object store does not know how to block public access; the bucket was made without."
        )
    if not _abort_old_uploads(admin, client, settings.abort_incomplete_uploads_after_days):
        remarks.append(
            "The object store does not know how to remove unfinished uploads by itself; the bucket was made without."
        )
    with asking(admin, "forget that it was being made", "s3:DeleteObject"):
        client.delete_object(Bucket=name, Key=PENDING_KEY)
    return tuple(remarks)


def _encrypt(admin: Admin, client: "S3Client", settings: BucketSettings, algorithm: Encryption) -> None:
    default: ServerSideEncryptionByDefaultTypeDef = {"SSEAlgorithm": algorithm}
    if settings.kms_key_id:
        default["KMSMasterKeyID"] = settings.kms_key_id
    rule: ServerSideEncryptionRuleTypeDef = {
        "ApplyServerSideEncryptionByDefault": default,
        "BucketKeyEnabled": algorithm == "aws:kms",
    }
    rules: ServerSideEncryptionConfigurationTypeDef = {"Rules": [rule]}
    with asking(admin, f"encrypt with {algorithm}", "s3:PutEncryptionConfiguration"):
        client.put_bucket_encryption(
            Bucket=admin.bucket.name,
            ServerSideEncryptionConfiguration=rules,
        )


def _block_public_access(admin: Admin, client: "S3Client") -> bool:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    with asking(admin, "block public access", "s3:PutBucketPublicAccessBlock"):
        try:
            client.put_public_access_block(
                Bucket=admin.bucket.name,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )
        except ClientError as error:
            if says(error, UNKNOWN_FEATURE):
                return False
            raise
    return True


def _abort_old_uploads(admin: Admin, client: "S3Client", days: int) -> bool:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    with asking(admin, "remove unfinished uploads", "s3:PutLifecycleConfiguration"):
        try:
            client.put_bucket_lifecycle_configuration(
                Bucket=admin.bucket.name,
                LifecycleConfiguration={
                    "Rules": [
                        {
                            "ID": "tracking-operator-unfinished-uploads",
                            "Status": "Enabled",
                            "Filter": {"Prefix": ""},
                            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
                        }
                    ]
                },
            )
        except ClientError as error:
            if says(error, UNKNOWN_FEATURE):
                return False
            raise
    return True
