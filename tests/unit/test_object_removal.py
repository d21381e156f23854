"""Objects with any key go, although XML cannot carry each; a client of the SDK's tells what is asked of the store."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import pytest
from botocore.exceptions import ClientError

from tracking_operator.object_removal import remove_objects, unfinished_uploads

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

PLAIN = ("a", "tab\tand\nnew line", "ü😀", '&<>"')
BEYOND = ("\x01", "a\x1f", "\ufffe", "\uffff", "return\r", "\x00")
LOCKED = "locked\x02"


class Store:
    """A store that reads XML as strictly as it is written, or says that it cannot."""

    def __init__(self, unreadable: str = "") -> None:
        self.together: list[str] = []
        self.alone: list[tuple[str, str | None]] = []
        self._unreadable = unreadable

    def delete_objects(self, Bucket: str, Delete: Mapping[str, Sequence[Mapping[str, str]]]) -> object:  # noqa: N803
        keys = [one["Key"] for one in Delete["Objects"]]
        if self._unreadable in keys:
            raise ClientError({"Error": {"Code": "MalformedXML"}}, "DeleteObjects")
        self.together += keys
        return {"Errors": [{"Key": "gone", "Code": "NoSuchKey"}]}

    def delete_object(self, Bucket: str, Key: str, VersionId: str | None = None) -> None:  # noqa: N803
        if Key == LOCKED:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "locked"}}, "DeleteObject")
        self.alone.append((Key, VersionId))

    def list_multipart_uploads(self, **asked: object) -> object:
        is_encoded = asked.get("EncodingType") == "url"
        key = "p/%01+%2B" if is_encoded else "p/\ufffd +"
        return {
            "Uploads": [{"Key": key, "UploadId": "1"}],
            **({"EncodingType": "url"} if is_encoded else {}),
        }

    def as_client(self) -> "S3Client":
        return cast("S3Client", self)


def objects(*keys: str) -> "list[ObjectIdentifierTypeDef]":
    return [{"Key": key, "VersionId": "v"} if key in BEYOND else {"Key": key} for key in keys]


def test_keys_that_no_xml_carries_go_one_by_one_and_the_rest_together() -> None:
    store = Store()
    assert remove_objects(store.as_client(), "bucket", objects(*PLAIN, *BEYOND)) == []
    assert store.together == list(PLAIN)
    assert store.alone == [(key, "v") for key in BEYOND]


def test_a_request_that_a_store_cannot_read_is_made_for_each_object() -> None:
    store = Store(unreadable=PLAIN[2])
    assert remove_objects(store.as_client(), "bucket", objects(*PLAIN)) == []
    assert (store.together, store.alone) == ([], [(key, None) for key in PLAIN])


def test_one_that_stays_keeps_no_other_and_is_told() -> None:
    store = Store()
    (error,) = remove_objects(store.as_client(), "bucket", objects(LOCKED, BEYOND[0]))
    assert (error.get("Key"), error.get("Code")) == (LOCKED, "AccessDenied")
    assert store.alone == [(BEYOND[0], "v")]


def test_one_by_one_ends_when_the_time_is_up() -> None:
    store = Store()
    remove_objects(store.as_client(), "bucket", objects(*PLAIN, *BEYOND), lambda: len(store.alone) == 2)
    assert (store.together, len(store.alone)) == (list(PLAIN), 2)


def test_what_is_no_matter_of_keys_is_told() -> None:
    class Denying(Store):
        def delete_objects(self, **_: object) -> object:  # type: ignore[override]
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "DeleteObjects")

    with pytest.raises(ClientError, match="AccessDenied"):
        remove_objects(Denying().as_client(), "bucket", objects(*PLAIN))


def test_uploads_have_the_keys_that_they_were_begun_with() -> None:
    assert unfinished_uploads(Store().as_client(), "bucket", "p/") == [("p/\x01 +", "1")]
