"""Signed URLs to the objects of a backup, on a real versitygw: each opens one object for one thing, and nothing is replaced."""

import pytest
import urllib3

from tests.stores.s3.world import World
from tests.waiting import patient
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure
from tracking_operator.pod_tools.backup_manifest import LARGEST_MANIFEST, MANIFEST_NAME, part_name
from tracking_operator.stores.s3.backups import (
    SignedUrls,
    folder_of_attempt,
    folder_of_backup,
    read_manifest,
    remove_backups,
    sign_downloads,
    sign_uploads,
    stored_sizes,
)

FOLDER = folder_of_attempt("namespace-uid", "backup-uid", 1)
POOL = urllib3.PoolManager(timeout=patient(30.0))


def put(signed: SignedUrls, name: str, body: bytes, *, headers: dict[str, str] | None = None) -> int:
    sent = dict(signed.headers) if headers is None else headers
    return POOL.request("PUT", signed.urls[name], body=body, headers=sent, retries=False).status


def get(url: str) -> tuple[int, bytes]:
    answer = POOL.request("GET", url, retries=False)
    return answer.status, answer.data


def test_a_url_writes_its_object_once_and_another_one_reads_it(world: World) -> None:
    signed = sign_uploads(world.admin, FOLDER, None, parts=2)
    assert set(signed.urls) == {MANIFEST_NAME, part_name(0), part_name(1)}
    assert put(signed, part_name(0), b"first") == 200
    assert put(signed, part_name(0), b"second") == 412
    assert put(signed, part_name(0), b"third", headers={}) == 403  # what was signed has to be sent
    assert put(signed, MANIFEST_NAME, b"{}") == 200
    downloads = sign_downloads(world.admin, FOLDER, 1)
    assert get(downloads.urls[part_name(0)]) == (200, b"first")
    assert stored_sizes(world.admin, FOLDER) == {MANIFEST_NAME: 2, part_name(0): 5}
    assert read_manifest(world.admin, FOLDER) == b"{}"


def test_a_url_opens_nothing_else(world: World) -> None:
    uploads = sign_uploads(world.admin, FOLDER, None, parts=2)
    assert put(uploads, part_name(0), b"first") == 200
    downloads = sign_downloads(world.admin, FOLDER, 1)
    url = downloads.urls[part_name(0)]
    assert get(uploads.urls[part_name(0)])[0] == 403  # one to write does not read
    assert POOL.request("DELETE", url, retries=False).status == 403
    assert get(url.replace("backup-uid", "other-uid"))[0] == 403
    assert get(url.partition("?")[0])[0] == 403


def test_removing_a_backup_takes_all_of_its_attempts_and_nothing_beside_it(world: World) -> None:
    second = folder_of_attempt("namespace-uid", "backup-uid", 2)
    other = folder_of_attempt("namespace-uid", "backup-uid2", 1)
    for folder in (FOLDER, second, other):
        assert put(sign_uploads(world.admin, folder, None, parts=1), part_name(0), b"part") == 200
    assert remove_backups(world.admin, [folder_of_backup("namespace-uid", "backup-uid")], seconds=30)
    assert not remove_backups(world.admin, [folder_of_backup("namespace-uid", "backup-uid")], seconds=30)
    assert [stored_sizes(world.admin, folder) for folder in (FOLDER, second)] == [{}, {}]
    assert stored_sizes(world.admin, other) == {part_name(0): 4}


def test_a_manifest_that_is_not_there_or_too_large_is_none(world: World) -> None:
    assert read_manifest(world.admin, FOLDER) is None
    large = b" " * (LARGEST_MANIFEST + 1)
    assert put(sign_uploads(world.admin, FOLDER, None, parts=1), MANIFEST_NAME, large) == 200
    with pytest.raises(Failure) as refused:
        read_manifest(world.admin, FOLDER)
    assert refused.value.reason is Reason.BACKUP_BROKEN
