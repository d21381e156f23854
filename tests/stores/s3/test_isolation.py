"""What each server may do, tried with its own keys against a real server: 20 teams, 8 actions, 6 kinds of keys."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.stores.s3.world import World, desired, is_denied, tenant
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.bucket_address import Keys
from tracking_operator.stores.s3.tenant import Tenant

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

TEAMS = [f"team-{letter}" for letter in "abcdefghijklmnopqrst"]
ROOT_KEY = "of-nobody"


def put(s3: "S3Client", bucket: str, key: str, _: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=b"mine")


def get(s3: "S3Client", bucket: str, key: str, _: str) -> None:
    s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def head(s3: "S3Client", bucket: str, key: str, _: str) -> None:
    s3.head_object(Bucket=bucket, Key=key)


def list_folder(s3: "S3Client", bucket: str, key: str, _: str) -> None:
    folder = key.rpartition("/")[0]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{folder}/" if folder else "")
    assert key in [found["Key"] for found in listed["Contents"]]


def upload_in_parts(s3: "S3Client", bucket: str, key: str, _: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"only part")
    assert len(s3.list_parts(Bucket=bucket, Key=key, UploadId=upload)["Parts"]) == 1
    s3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )  # fmt: skip


def abort_upload(s3: "S3Client", bucket: str, key: str, _: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


def copy_home(s3: "S3Client", bucket: str, key: str, home: str) -> None:
    s3.copy_object(Bucket=bucket, Key=f"{home}copied", CopySource={"Bucket": bucket, "Key": key})


def delete(s3: "S3Client", bucket: str, key: str, _: str) -> None:
    s3.delete_object(Bucket=bucket, Key=key)


ACTIONS = [put, get, head, list_folder, upload_in_parts, abort_upload, copy_home, delete]
Action = Callable[["S3Client", str, str, str], None]


def is_allowed(action: Action, s3: "S3Client", bucket: str, key: str, home: str) -> bool:
    try:
        action(s3, bucket, key, home)
    except ClientError as error:
        assert is_denied(error), f"{action.__name__} {key}: {error}"
        return False
    return True


def kinds_of_keys(own: Tenant, other: Tenant) -> dict[str, str]:
    return {
        "own": f"{own.folder}model",
        "own, nested": f"{own.folder}1/ab12/artifacts/model/MLmodel",
        "another's": f"{other.folder}model",
        "a neighbour's whose name begins the same": f"{own.prefix}-secret/model",
        "the bucket's root": ROOT_KEY,
        "the mark": own.mark_key,
    }


EXPECTED = {
    action.__name__: {kind: kind.startswith("own") for kind in kinds_of_keys(tenant("b"), tenant("b"))}
    for action in ACTIONS
}


def test_each_of_20_teams_may_do_exactly_8_actions_with_its_own_keys_and_nothing_with_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "LARGEST_DOCUMENT", 60_000)
    tenants = [tenant(world.name, team) for team in TEAMS]
    # Every neighbour whose name begins the same is a server, too, with rights of its own.
    neighbours = [tenant(world.name, team, "mlflow-secret") for team in TEAMS]
    keys = {one: world.provision(desired(one)).keys for one in (*tenants, *neighbours)}
    others = dict(zip(tenants, [*tenants[1:], tenants[0]], strict=True))
    world.put(ROOT_KEY)
    for one in (*tenants, *neighbours):
        world.put(f"{one.folder}model")

    clients = {one: world.s3_as(keys[one]) for one in tenants}

    def matrix(own: Tenant) -> dict[str, dict[str, bool]]:
        s3 = clients[own]
        found: dict[str, dict[str, bool]] = {}
        for action in ACTIONS:
            kinds = kinds_of_keys(own, others[own])
            found[action.__name__] = {
                kind: is_allowed(action, s3, world.name, key, own.folder) for kind, key in kinds.items()
            }
        return found

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(matrix, tenants))
    assert found == [EXPECTED] * 20
    # Denied means that nothing happened.
    left = set(world.objects())
    assert {f"{one.folder}model" for one in neighbours} | {ROOT_KEY} <= left
    assert {one.mark_key for one in tenants} <= left
    assert world.s3.get_object(Bucket=world.name, Key=ROOT_KEY)["Body"].read() == b"artifact"


LISTINGS = {
    "team-a/mlflow/": True,
    "team-a/mlflow/deep/": True,
    "team-a/mlflow": False,
    "team-a/": False,
    "": False,
    "team-a/mlflow-secret/": False,
    "team-a/mlflow/../mlflow-secret/": True,  # a name like any other: keys are no paths, and nothing is found
    ".tracking-operator/": False,
}


@pytest.mark.parametrize(("prefix", "expected"), LISTINGS.items())
def test_a_listing_ends_at_the_prefix(world: World, prefix: str, expected: bool) -> None:
    keys = world.provision(desired(tenant(world.name))).keys
    world.put("team-a/mlflow-secret/model")
    s3 = world.s3_as(keys)
    try:
        listed = s3.list_objects_v2(Bucket=world.name, Prefix=prefix)
    except ClientError as error:
        assert is_denied(error)
        assert not expected
    else:
        assert expected
        assert listed.get("Contents", []) == []


def test_a_server_may_not_look_around_in_the_bucket(world: World) -> None:
    s3 = world.s3_as(world.provision(desired(tenant(world.name))).keys)
    looks: tuple[Callable[[], object], ...] = (
        lambda: s3.list_objects_v2(Bucket=world.name),
        lambda: s3.list_object_versions(Bucket=world.name, Prefix="team-a/mlflow/"),
        lambda: s3.list_multipart_uploads(Bucket=world.name),
        lambda: s3.get_bucket_policy(Bucket=world.name),
        lambda: s3.delete_bucket_policy(Bucket=world.name),
        lambda: s3.create_bucket(Bucket="of-my-own"),
    )
    for look in looks:
        with pytest.raises(ClientError) as caught:
            look()
        assert is_denied(caught.value)
    assert s3.list_buckets()["Buckets"] == []


def test_versions_can_be_listed_and_deleted_only_while_the_prefix_is_being_emptied(world: World) -> None:
    world.s3.put_bucket_versioning(Bucket=world.name, VersioningConfiguration={"Status": "Enabled"})
    own = tenant(world.name)
    keys: Keys | None = world.provision(desired(own)).keys
    s3, place = world.s3_as(keys), {"Bucket": world.name, "Key": f"{own.folder}model"}
    version = s3.put_object(**place, Body=b"1")["VersionId"]  # type: ignore[arg-type]

    def may_delete_versions() -> bool:
        try:
            s3.list_object_versions(Bucket=world.name, Prefix=own.folder)
            s3.delete_object(**place, VersionId=version)  # type: ignore[arg-type]
        except ClientError as error:
            assert is_denied(error)
            return False
        return True

    assert not may_delete_versions()
    assert world.provision(desired(own, deletes=True), keys).keys == keys
    assert may_delete_versions()
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_object_versions(Bucket=world.name, Prefix="team-a/mlflow-secret/")
    world.provision(desired(own), keys)
    assert not may_delete_versions()
