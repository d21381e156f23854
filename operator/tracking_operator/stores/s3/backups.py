"""Backups of servers, where no server's identity reaches: ``.tracking-operator/backups/NAMESPACE-UID/BACKUP-UID/ATTEMPT/``.

Pods write and read them with URLs that are signed for one object and one thing each, for some hours. What is written is only written
where there is nothing (``If-None-Match``, which is part of what is signed). The admin itself reads the manifest and the listing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import failure_for
from tracking_operator.pod_tools.backup_manifest import LARGEST_MANIFEST, MANIFEST_NAME, MOST_PARTS, part_name
from tracking_operator.stores.s3.clients import s3_client
from tracking_operator.stores.s3.errors import asking, code_of
from tracking_operator.stores.s3.objects import remove_folder
from tracking_operator.stores.s3.tenant import OWN_FOLDER, Admin, Encryption

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import PutObjectRequestTypeDef

SECONDS_SIGNED: Final = 12 * 3600
"""How long URLs are good for, at most: those that a role signs end with its session."""
GONE: Final = frozenset({"NoSuchKey", "NoSuchBucket", "404"})


@dataclass(frozen=True)
class SignedUrls:
    """What lets a pod at the objects of one backup."""

    urls: Mapping[str, str]
    """By the name of the object."""
    headers: Mapping[str, str]
    """What has to be sent with each of them, as it was signed."""


def folder_of_backup(namespace_uid: str, uid: str) -> str:
    """Where the attempts of a backup are stored; with a slash at its end."""
    return f"{OWN_FOLDER}/backups/{namespace_uid}/{uid}/"


def folder_of_attempt(namespace_uid: str, uid: str, attempt: int) -> str:
    """Where one attempt is stored: another one never meets what the first has left."""
    return f"{folder_of_backup(namespace_uid, uid)}{attempt}/"


def sign_uploads(
    admin: Admin, folder: str, encryption: Encryption | None, parts: int = MOST_PARTS
) -> SignedUrls:
    """Sign URLs to write a backup with.

    Raises:
        Failure: the admin's keys cannot be had.

    """
    names = [MANIFEST_NAME, *(part_name(number) for number in range(parts))]
    headers = {"If-None-Match": "*"}
    if encryption:
        headers["x-amz-server-side-encryption"] = encryption
    with asking(admin, "sign requests", "s3:PutObject"):
        urls = {name: _upload(admin, f"{folder}{name}", encryption) for name in names}
    return SignedUrls(urls, headers)


def sign_downloads(admin: Admin, folder: str, parts: int) -> SignedUrls:
    """Sign URLs to read a backup with that has so many parts.

    Raises:
        Failure: the admin's keys cannot be had.

    """
    names = [MANIFEST_NAME, *(part_name(number) for number in range(parts))]
    with asking(admin, "sign requests", "s3:GetObject"):
        urls = {
            name: s3_client(admin).generate_presigned_url(
                "get_object",
                Params={"Bucket": admin.bucket.name, "Key": f"{folder}{name}"},
                ExpiresIn=SECONDS_SIGNED,
            )
            for name in names
        }
    return SignedUrls(urls, {})


def _upload(admin: Admin, key: str, encryption: Encryption | None) -> str:
    request: PutObjectRequestTypeDef = {"Bucket": admin.bucket.name, "Key": key, "IfNoneMatch": "*"}
    if encryption:
        request["ServerSideEncryption"] = encryption
    return s3_client(admin).generate_presigned_url("put_object", Params=request, ExpiresIn=SECONDS_SIGNED)


def read_manifest(admin: Admin, folder: str) -> bytes | None:
    """The manifest of a stored backup; None if there is none.

    Raises:
        Failure: the object store does not answer, or refuses; or the manifest is too large to be one.

    """
    from botocore.exceptions import ClientError  # noqa: PLC0415

    with asking(admin, "give the manifest of a backup", f"s3:GetObject on {OWN_FOLDER}/*"):
        try:
            found = s3_client(admin).get_object(Bucket=admin.bucket.name, Key=f"{folder}{MANIFEST_NAME}")
            content = found["Body"].read(LARGEST_MANIFEST + 1)
        except ClientError as error:
            if code_of(error) in GONE:
                return None
            raise
    if len(content) > LARGEST_MANIFEST:
        raise failure_for(Reason.BACKUP_BROKEN, f"{folder}{MANIFEST_NAME} is too large for a manifest.")
    return content


def stored_sizes(admin: Admin, folder: str) -> Mapping[str, int]:
    """How many bytes each object of a backup has, by its name.

    Raises:
        Failure: the object store does not answer, or refuses.

    """
    with asking(admin, "list a backup", "s3:ListBucket"):
        listed = s3_client(admin).list_objects_v2(Bucket=admin.bucket.name, Prefix=folder)
    return {one["Key"].removeprefix(folder): one["Size"] for one in listed.get("Contents", [])}


def remove_backups(admin: Admin, folders: Iterable[str], *, seconds: float) -> bool:
    """Remove what is stored in folders of backups, for so many seconds; return whether something was there.

    Raises:
        Failure: the object store does not answer, or refuses. Calling again goes on from what is left.

    """
    found = [remove_folder(admin, folder, seconds=seconds) for folder in folders]
    return any(found)
