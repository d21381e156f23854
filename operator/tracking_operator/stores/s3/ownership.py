"""Whose a prefix is: a mark beside all prefixes, at ``.tracking-operator/prefixes/<prefix>/owner.json``.

It is an object of its own, because S3 knows no owner of a prefix; and outside of it, so that no server can change
its own. It is written only where there is none (``If-None-Match``), and read back.

S3 cannot be asked for the marks of one owner. So there is an empty object for each mark beside that, an entry, whose key
begins with a digest of the owner and ends with the prefix. It proves nothing: where it leads, the mark decides.
"""

import logging
from typing import TYPE_CHECKING, Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid, Unavailable
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3.bucket_lock import alone_on
from tracking_operator.stores.s3.clients import s3_client
from tracking_operator.stores.s3.errors import NOT_FOUND, asking, code_of, says
from tracking_operator.stores.s3.tenant import (
    MARK_NAME,
    OWN_FOLDER,
    Admin,
    Encryption,
    Tenant,
    entries_of,
    mark_key,
)

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import PutObjectRequestTypeDef

logger = logging.getLogger(__name__)

LARGEST_MARK: Final = 4096
"""In bytes: more than any mark of ours; what is larger is somebody else's."""

MOST_ENTRIES: Final = 20
"""How many entries of one server are followed; there is one, unless prefixes were handed over or kept."""

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
            _write_entry(admin, tenant, encryption)
            _write(admin, tenant, encryption, only_new=False)
        return
    if must_exist:
        # An edited record may name the prefix of somebody else, whose mark is there and not to be replaced.
        raise _lost(admin, tenant) if found is None else _taken(tenant, tenant.prefix, found)
    with alone_on(admin.bucket, tenant.mark.namespace):
        _require_unclaimed(admin, tenant)
        _require_no_objects(admin, tenant)
        # First, so that there is no mark without one.
        _write_entry(admin, tenant, encryption)
        _write(admin, tenant, encryption, only_new=True)
        try:
            _require_own(admin, tenant)
        except Invalid:
            _remove(admin, tenant.entry_key)
            raise


def owns(admin: Admin, tenant: Tenant) -> bool:
    """Whether the prefix is the tenant's, by its mark. Raises Failure."""
    return _is_the_tenants(_read(admin, tenant.bucket, tenant.mark_key), tenant)


def release(admin: Admin, tenant: Tenant) -> None:
    """Remove the tenant's mark, and no other's, so that the prefix can be claimed again. Raises Failure."""
    if not owns(admin, tenant):
        return
    for key in (tenant.entry_key, tenant.mark_key):
        _remove(admin, key)


def prefixes_of(admin: Admin, mark: Mark) -> tuple[str, ...]:
    """The prefixes in a bucket whose marks name exactly this server: one listing, and one request for each entry.

    Raises:
        Failure: the object store does not answer, or refuses.

    """
    bucket, folder = admin.bucket.name, entries_of(mark)
    with asking(admin, "list the prefixes of a server", "s3:ListBucket"):
        listed = s3_client(admin).list_objects_v2(Bucket=bucket, Prefix=folder, MaxKeys=MOST_ENTRIES)
    keys = [found["Key"] for found in listed.get("Contents", [])]
    prefixes = [key.removeprefix(folder).removesuffix(f"/{MARK_NAME}") for key in keys]
    return tuple(
        prefix for prefix in prefixes if mark.is_same_owner(Mark.read(_read(admin, bucket, mark_key(prefix))))
    )


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


def _write_entry(admin: Admin, tenant: Tenant, encryption: Encryption | None) -> None:
    request = _request(tenant, tenant.entry_key, b"", encryption)
    with asking(admin, f"take the entry of prefix {tenant.prefix}", f"s3:PutObject on {OWN_FOLDER}/*"):
        s3_client(admin).put_object(**request)


def _remove(admin: Admin, key: str) -> None:
    with asking(admin, f"remove {key}", f"s3:DeleteObject on {OWN_FOLDER}/*"):
        s3_client(admin).delete_object(Bucket=admin.bucket.name, Key=key)


def _request(
    tenant: Tenant, key: str, body: bytes, encryption: Encryption | None
) -> "PutObjectRequestTypeDef":
    request: PutObjectRequestTypeDef = {
        "Bucket": tenant.bucket,
        "Key": key,
        "Body": body,
        "ContentType": "application/json",
    }
    if encryption:
        request["ServerSideEncryption"] = encryption
    return request


def _write(admin: Admin, tenant: Tenant, encryption: Encryption | None, *, only_new: bool) -> None:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    request = _request(tenant, tenant.mark_key, tenant.mark.text.encode(), encryption)
    if only_new:
        request["IfNoneMatch"] = "*"
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
    """What the team is told: whose the prefix is stands in the operator's log only."""
    other = Mark.read(text)
    if other:
        logger.warning("Prefix %s, asked for by %s, is marked as that of %s.", prefix, tenant.mark, other)
    if prefix == tenant.prefix and tenant.mark.is_of_earlier_namespace(other):
        return Invalid(
            Reason.PREFIX_TAKEN,
            f"The prefix {prefix} in bucket {tenant.bucket} is kept for an earlier namespace of that name, whose UID was "
            "another one. Nothing was written: give the server another name, or ask the platform team to hand it over "
            "(handOver of the class).",
        )
    whose = "another tracking server" if other else _FOREIGN
    if prefix == tenant.prefix:
        relation = f"The prefix {prefix} in bucket {tenant.bucket} belongs to {whose}"
    else:
        how = "lies within" if tenant.prefix.startswith(f"{prefix}/") else "contains"
        relation = f"The prefix {tenant.prefix} in bucket {tenant.bucket} {how} one that belongs to {whose}"
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
