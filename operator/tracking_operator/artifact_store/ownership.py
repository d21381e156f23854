"""Whose a prefix is: a mark beside all prefixes, at ``.tracking-operator/prefixes/<prefix>/owner.json``.

It is an object of its own, because S3 knows no owner of a prefix; and outside of it, so that no server can change
its own. It is written only where there is none (``If-None-Match``), and read back.
"""

from typing import TYPE_CHECKING, Final

from tracking_operator.api.conditions import Reason
from tracking_operator.artifact_store.bucket_lock import alone_on
from tracking_operator.artifact_store.clients import s3_client
from tracking_operator.artifact_store.desired import (
    MARK_NAME,
    OWN_FOLDER,
    Admin,
    Encryption,
    Tenant,
    mark_key,
)
from tracking_operator.artifact_store.errors import NOT_FOUND, asking, code_of, says
from tracking_operator.failures import Invalid, Unavailable
from tracking_operator.mark import Mark

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import PutObjectRequestTypeDef

LARGEST_MARK: Final = 4096
"""In bytes: more than any mark of ours; what is larger is somebody else's."""

_FOREIGN: Final = "what was not written by this operator"


def claim(admin: Admin, tenant: Tenant, *, must_exist: bool, encryption: Encryption | None = None) -> None:
    """Make a prefix the tenant's; one request if it is already.

    ``encryption`` is what uploads to the bucket have to ask for.

    Raises:
        Invalid: somebody else has it, or something above or below it, or there are objects without a mark:
            PrefixTaken, and nothing was written. The mark is gone although it ``must_exist``: PrefixLost.
        Failure: the object store does not answer, or refuses.

    """
    found = _read(admin, tenant.bucket, tenant.mark_key, must_exist=must_exist)
    if _is_the_tenants(found, tenant):
        if found != tenant.mark.text:
            _write(admin, tenant, encryption, only_new=False)
        return
    if must_exist:
        # An edited record may name the prefix of somebody else, whose mark is there and not to be replaced.
        raise _lost(admin, tenant) if found is None else _taken(tenant, tenant.prefix, found)
    with alone_on(admin.bucket):
        _require_unclaimed(admin, tenant)
        _require_no_objects(admin, tenant)
        _write(admin, tenant, encryption, only_new=True)
        _require_own(admin, tenant)


def owns(admin: Admin, tenant: Tenant) -> bool:
    """Whether the prefix is the tenant's, by its mark. Raises Failure."""
    return _is_the_tenants(_read(admin, tenant.bucket, tenant.mark_key), tenant)


def release(admin: Admin, tenant: Tenant) -> None:
    """Remove the tenant's mark, and no other's, so that the prefix can be claimed again. Raises Failure."""
    if not owns(admin, tenant):
        return
    with asking(admin, f"remove the mark of prefix {tenant.prefix}", "s3:DeleteObject"):
        s3_client(admin).delete_object(Bucket=tenant.bucket, Key=tenant.mark_key)


def _is_the_tenants(text: str | None, tenant: Tenant) -> bool:
    return text is not None and tenant.mark.is_same_owner(Mark.read(text))


def _read(admin: Admin, bucket: str, key: str, *, must_exist: bool = False) -> str | None:
    """The text of a mark; None if there is none."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    with asking(admin, f"give the mark {key}", "s3:GetObject and s3:ListBucket"):
        try:
            found = s3_client(admin).get_object(Bucket=bucket, Key=key)
            return found["Body"].read(LARGEST_MARK).decode(errors="replace")
        except ClientError as error:
            if says(error, frozenset({"NoSuchBucket"})) and must_exist:
                raise bucket_lost(admin) from error
            # A file where a folder should be, in object stores that keep objects as files.
            if code_of(error) in NOT_FOUND | {"ObjectParentIsFile"}:
                return None
            raise


def _write(admin: Admin, tenant: Tenant, encryption: Encryption | None, *, only_new: bool) -> None:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    request: PutObjectRequestTypeDef = {
        "Bucket": tenant.bucket,
        "Key": tenant.mark_key,
        "Body": tenant.mark.text.encode(),
        "ContentType": "application/json",
    }
    if only_new:
        request["IfNoneMatch"] = "*"
    if encryption:
        request["ServerSideEncryption"] = encryption
    with asking(admin, f"take the mark of prefix {tenant.prefix}", f"s3:PutObject on {OWN_FOLDER}/*"):
        try:
            s3_client(admin).put_object(**request)
        except ClientError as error:
            # Somebody was there first; who that is, is read next.
            if not says(error, frozenset({"PreconditionFailed", "412"})):
                raise


def _require_own(admin: Admin, tenant: Tenant) -> None:
    """Look again: object stores that know no conditional writes, and claims above and below at the same moment."""
    found = _read(admin, tenant.bucket, tenant.mark_key)
    if not _is_the_tenants(found, tenant):
        if found is None:
            raise Unavailable(
                Reason.STORE_UNREACHABLE,
                f"{admin.bucket.title} took the mark {tenant.mark_key} and does not have it. The operator goes on trying.",
            )
        raise _taken(tenant, tenant.prefix, found)
    try:
        _require_unclaimed(admin, tenant)
    except Invalid:
        release(admin, tenant)
        raise


def _require_unclaimed(admin: Admin, tenant: Tenant) -> None:
    """Nobody else has the prefix, one that it lies in, or one that lies in it."""
    segments = tenant.prefix.split("/")
    for length in range(1, len(segments) + 1):
        prefix = "/".join(segments[:length])
        found = _read(admin, tenant.bucket, mark_key(prefix))
        if found is not None and not (prefix == tenant.prefix and _is_the_tenants(found, tenant)):
            raise _taken(tenant, prefix, found)
    for key in _marks_below(admin, tenant):
        found = _read(admin, tenant.bucket, key)
        raise _taken(
            tenant, key.removeprefix(mark_key("")[: -len(MARK_NAME) - 1]).removesuffix(f"/{MARK_NAME}"), found
        )


def _marks_below(admin: Admin, tenant: Tenant) -> list[str]:
    folder = tenant.mark_key.removesuffix(MARK_NAME)
    with asking(admin, f"list the marks below prefix {tenant.prefix}", "s3:ListBucket"):
        listed = s3_client(admin).list_objects_v2(Bucket=tenant.bucket, Prefix=folder, MaxKeys=2)
    keys = [found["Key"] for found in listed.get("Contents", [])]
    return [key for key in keys if key != tenant.mark_key]


def _require_no_objects(admin: Admin, tenant: Tenant) -> None:
    with asking(admin, f"list what is under {tenant.folder}", "s3:ListBucket"):
        listed = s3_client(admin).list_objects_v2(Bucket=tenant.bucket, Prefix=tenant.folder, MaxKeys=1)
    if found := listed.get("Contents"):
        raise Invalid(
            Reason.PREFIX_TAKEN,
            f"There are objects under {tenant.folder} in {admin.bucket.title} that no server of ours has put there, for "
            f"example {found[0]['Key']}. Nothing was written: move them away, or give the server another name. To have "
            f"the server take them over, put its mark at {tenant.mark_key}: {tenant.mark.text}.",
        )


def _taken(tenant: Tenant, prefix: str, text: str | None) -> Invalid:
    other = Mark.read(text)
    whose = (
        f"tracking server {other.namespace}/{other.name} of cluster {other.cluster}" if other else _FOREIGN
    )
    if prefix == tenant.prefix:
        relation = f"The prefix {prefix} in bucket {tenant.bucket} belongs to {whose}"
    else:
        how = "lies within" if tenant.prefix.startswith(f"{prefix}/") else "contains"
        relation = (
            f"The prefix {tenant.prefix} in bucket {tenant.bucket} {how} {prefix}, which belongs to {whose}"
        )
    return Invalid(
        Reason.PREFIX_TAKEN,
        f"{relation}. Nothing was written: rename the server, or have naming.artifactPrefix of the class tell servers "
        "apart.",
    )


def _lost(admin: Admin, tenant: Tenant) -> Invalid:
    return Invalid(
        Reason.PREFIX_LOST,
        f"The mark {tenant.mark_key} is gone from {admin.bucket.title}, and perhaps the artifacts under {tenant.folder} "
        f"with it. Restore them; the mark is an object with this text: {tenant.mark.text}. Or let the server begin with "
        "an empty store.",
    )


def bucket_lost(admin: Admin) -> Invalid:
    """What it means that the bucket of a server that has held data is gone."""
    return Invalid(
        Reason.PREFIX_LOST,
        f"{admin.bucket.title} is gone, and the artifacts with it. Restore it under this name, or let the server begin "
        "with an empty store.",
    )
