"""How objects are removed that may have any key, by the admin and by the pods of Jobs.

Keys of S3 are any text. Requests and answers in XML 1.0 carry less (https://www.w3.org/TR/xml/#charsets): one key with another
character makes a request for a thousand objects, or a list of uploads, unreadable as a whole.
Pods carry this file, so it imports the standard library and the SDK only.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ErrorTypeDef, ObjectIdentifierTypeDef

MOST_PER_REQUEST: Final = 1000
"""The most that S3 lists, or removes, with one request."""
GONE: Final = frozenset({"NoSuchKey", "NoSuchVersion"})
NOT_XML: Final = "MalformedXML"
BEYOND_XML: Final = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""A carriage return is allowed, but some that read it make a new line of it."""

Upload = tuple[str, str]
"""The key of an upload that was not finished, and its id."""


def remove_objects(
    client: "S3Client",
    bucket: str,
    objects: "Sequence[ObjectIdentifierTypeDef]",
    is_time_up: Callable[[], bool] = lambda: False,
) -> "Sequence[ErrorTypeDef]":
    """Remove objects or versions; return what the store says of those that are still there.

    Whose keys no XML carries go one by one, as long as there is time. Raises what the SDK raises.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415

    together = [one for one in objects if not BEYOND_XML.search(one["Key"])]
    alone = [one for one in objects if BEYOND_XML.search(one["Key"])]
    errors: list[ErrorTypeDef] = []
    if together:
        try:
            answer = client.delete_objects(Bucket=bucket, Delete={"Objects": together, "Quiet": True})
            errors += answer.get("Errors", [])
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != NOT_XML:
                raise
            alone += together
    for one in alone:
        if is_time_up():
            break
        errors += _remove(client, bucket, one)
    return [one for one in errors if one.get("Code") not in GONE]


def _remove(client: "S3Client", bucket: str, one: "ObjectIdentifierTypeDef") -> "Sequence[ErrorTypeDef]":
    from botocore.exceptions import ClientError  # noqa: PLC0415

    version = one.get("VersionId")
    try:
        if version:
            client.delete_object(Bucket=bucket, Key=one["Key"], VersionId=version)
        else:
            client.delete_object(Bucket=bucket, Key=one["Key"])
    except ClientError as error:
        said = error.response.get("Error", {})
        return [{"Key": one["Key"], "Code": said.get("Code", ""), "Message": said.get("Message", "")}]
    return []


def unfinished_uploads(client: "S3Client", bucket: str, prefix: str) -> list[Upload]:
    """The first uploads under a prefix that were never finished. Raises what the SDK raises."""
    page = client.list_multipart_uploads(
        Bucket=bucket, Prefix=prefix, MaxUploads=MOST_PER_REQUEST, EncodingType="url"
    )
    # Of other lists the SDK itself asks for keys in this form, and reads them.
    read = unquote_plus if page.get("EncodingType") == "url" else str
    return [(read(one["Key"]), one["UploadId"]) for one in page.get("Uploads", [])]
