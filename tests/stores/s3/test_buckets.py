"""S3Admin that a class makes: settings that moto's S3 knows, and what happens where they are unknown."""

from dataclasses import dataclass

import pytest

from tests.stores.s3.world import Crashed, Wire, World, client, new_name, tapped
from tracking_operator.api.conditions import Reason
from tracking_operator.api.s3_connection import AddressingStyle
from tracking_operator.failures import Invalid
from tracking_operator.stores.s3.bucket_address import Bucket, Keys
from tracking_operator.stores.s3.preflight import BucketSettings, preflight
from tracking_operator.stores.s3.tenant import Admin

KEYS = Keys("AKIAADMIN", "the admin's secret")
EVERYTHING = BucketSettings(
    versioning=True,
    encryption="aws:kms",
    kms_key_id="arn:aws:kms:eu-central-1:123456789012:key/ab",
    abort_incomplete_uploads_after_days=3,
)


@dataclass
class Plan:
    """A bucket that does not exist yet."""

    url: str
    name: str

    def admin(self, region: str = "eu-central-1") -> Admin:
        return Admin(Bucket(self.name, region, self.url, AddressingStyle.PATH), KEYS)

    def settings(self) -> dict[str, object]:
        """The settings of the bucket, as AWS tells them."""
        s3, name = client(self.url, KEYS, "eu-central-1"), self.name
        encryption = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"][0]
        lifecycle = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"][0]
        return {
            "region": s3.get_bucket_location(Bucket=name)["LocationConstraint"],
            "versioning": s3.get_bucket_versioning(Bucket=name).get("Status"),
            "encryption": encryption["ApplyServerSideEncryptionByDefault"],
            "public": set(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values()),
            "days": lifecycle["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"],
            "objects": s3.list_objects_v2(Bucket=name)["KeyCount"],
        }


EXPECTED = {
    "region": "eu-central-1",
    "versioning": "Enabled",
    "encryption": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": EVERYTHING.kms_key_id},
    "public": {True},
    "days": 3,
    "objects": 0,
}


@pytest.fixture
def plan(aws: str) -> Plan:
    return Plan(aws, new_name())


def test_a_bucket_is_made_with_its_settings(plan: Plan) -> None:
    preflight(plan.admin(), create=EVERYTHING)
    assert plan.settings() == EXPECTED


def test_a_bucket_that_was_there_before_is_left_as_it_is(plan: Plan) -> None:
    s3 = client(plan.url, KEYS, "eu-central-1")
    s3.create_bucket(Bucket=plan.name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    preflight(plan.admin(), create=EVERYTHING)
    assert "Status" not in s3.get_bucket_versioning(Bucket=plan.name)
    with tapped(Wire()) as wire:
        preflight(plan.admin(), create=EVERYTHING)
    assert wire.writes == []


def test_killed_after_any_request_and_run_again_all_settings_are_made(aws: str) -> None:
    number, has_crashed = 0, True
    while has_crashed:
        plan, has_crashed = Plan(aws, new_name()), False
        with tapped(Wire(crash_after=number)) as wire:
            try:
                preflight(plan.admin(), create=EVERYTHING)
            except Crashed:
                has_crashed = True
        preflight(plan.admin(), create=EVERYTHING)
        # Between the two, nothing tells it from somebody else's bucket, which is left as it is.
        if wire.writes != [f"PUT {aws}/{plan.name}"]:
            assert plan.settings() == EXPECTED, wire.sent
        number += 1
    assert number > 7


def test_settings_that_nobody_asked_for_are_left_out_where_they_are_unknown(world: World) -> None:
    admin = Admin(
        Bucket(new_name(), endpoint=world.running.endpoint, addressing_style=AddressingStyle.PATH),
        world.admin.keys,
    )
    remarks = preflight(admin, create=BucketSettings(versioning=True))
    assert any("block public access" in remark for remark in remarks)
    assert any("unfinished uploads" in remark for remark in remarks)
    assert world.s3.get_bucket_versioning(Bucket=admin.bucket.name)["Status"] == "Enabled"


def test_settings_that_were_asked_for_and_are_unknown_are_an_error(world: World) -> None:
    admin = Admin(
        Bucket(new_name(), endpoint=world.running.endpoint, addressing_style=AddressingStyle.PATH),
        world.admin.keys,
    )
    for _ in range(2):  # not only while it is new
        with pytest.raises(Invalid, match=r"encrypt with AES256.*take it out of the class's s3") as caught:
            preflight(admin, create=BucketSettings(encryption="AES256"))
        assert caught.value.reason is Reason.INVALID_SPEC
