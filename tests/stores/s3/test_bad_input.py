"""What platform teams get wrong with a bucket: each mistake has its own reason and a sentence that says what to do."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dev.loopback import free_port
from dev.versitygw import versitygw_server
from tests.certificates import make_certificates
from tests.stores.s3.conftest import make_admin
from tests.stores.s3.world import (
    ADMIN_NAME,
    ADMIN_SECRET,
    HOST,
    ROOT,
    World,
    desired,
    new_name,
    tenant,
)
from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid, Unavailable, Waiting
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.bucket_address import Bucket, Keys
from tracking_operator.stores.s3.preflight import BucketSettings, objection_to_region, preflight, probe
from tracking_operator.stores.s3.tenant import Admin, VersitygwUser
from tracking_operator.stores.s3.versitygw_users import UserAdmin

SECONDS = 20.0


@contextmanager
def refused(kind: type[Failure], reason: Reason, sentence: str, seconds: float = SECONDS) -> Iterator[None]:
    """The block fails in time, for this reason, with this in the sentence, and without a secret."""
    started = time.monotonic()
    with pytest.raises(kind, match=sentence) as caught:
        yield
    assert time.monotonic() - started < seconds
    assert caught.value.reason is reason
    assert ADMIN_SECRET not in str(caught.value)
    assert caught.value.message.endswith(".")


def at(admin: Admin, **changes: str) -> Admin:
    return replace(admin, bucket=replace(admin.bucket, **changes))  # type: ignore[arg-type]


def test_a_good_bucket_and_admin(world: World) -> None:
    remarks = preflight(world.admin, create=None, identity=VersitygwUser())
    assert len(remarks) == 1
    assert "not encrypted on their way" in remarks[0]
    probe(world.admin)


def test_a_bucket_that_does_not_exist(world: World) -> None:
    missing = at(world.admin, name="no-such-bucket")
    with refused(Waiting, Reason.BUCKET_NOT_FOUND, "Create the bucket no-such-bucket"):
        preflight(missing, create=None)
    with refused(Waiting, Reason.BUCKET_NOT_FOUND, "s3.create"):
        probe(missing)
    with refused(Waiting, Reason.BUCKET_NOT_FOUND, "no-such-bucket"):
        World(world.running, "no-such-bucket").provision(desired(tenant("no-such-bucket")))
    assert world.users() == set()


def test_a_bucket_that_held_artifacts_and_is_gone(world: World) -> None:
    gone = World(world.running, "gone-bucket")
    with refused(Invalid, Reason.PREFIX_LOST, "is gone, and the artifacts with it"):
        gone.provision(desired(tenant("gone-bucket"), must_exist=True))
    assert world.users() == set()


def test_a_wrong_region_names_the_right_one(world: World) -> None:
    for ask in (lambda admin: preflight(admin, create=None), probe):
        with refused(Invalid, Reason.BUCKET_ELSEWHERE, "set s3.region of the class to it"):
            ask(at(world.admin, region="eu-central-1"))


def test_a_region_of_aws_that_is_another_one() -> None:
    bucket = Bucket("ml-artifacts", region="eu-central-1")
    assert objection_to_region(bucket, "eu-central-1") is None
    objection = objection_to_region(bucket, "us-west-2")
    assert objection
    assert "is in region us-west-2: set s3.region" in objection.message
    assert objection_to_region(replace(bucket, endpoint="https://ceph"), "default") is None


@pytest.mark.parametrize(
    "keys",
    [Keys("nobody", "x", "Secret operators/s3-admin"), Keys(ADMIN_NAME, "x", "Secret operators/s3-admin")],
)
def test_wrong_keys(world: World, keys: Keys) -> None:
    wrong = replace(world.admin, keys=keys)
    for ask in (lambda admin: preflight(admin, create=None), probe):
        with refused(Waiting, Reason.LOGIN_REFUSED, "secretAccessKey in Secret operators/s3-admin"):
            ask(wrong)


def test_no_keys_at_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with refused(Waiting, Reason.LOGIN_REFUSED, "found no credentials"):
        preflight(replace(world.admin, keys=None), create=None)


def test_an_admin_who_is_denied(world: World) -> None:
    keys = replace(
        UserAdmin(world.admin, VersitygwUser()).create("just-somebody"), source="Secret operators/s3-admin"
    )
    denied = replace(world.admin, keys=keys)
    with refused(Waiting, Reason.INSUFFICIENT_PRIVILEGES, "Allow s3:ListBucket to access key just-somebody"):
        preflight(denied, create=None)
    with refused(Waiting, Reason.INSUFFICIENT_PRIVILEGES, "Allow s3:ListBucket"):
        probe(denied)
    listing = policy.bucket_arn(world.name)
    statement: policy.Statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ["just-somebody"]},
        "Action": ["s3:ListBucket", "s3:GetBucketPolicy"],
        "Resource": listing,
    }
    text = policy.compact({"Version": policy.VERSION, "Statement": [statement]})
    world.s3.put_bucket_policy(Bucket=world.name, Policy=text)
    preflight(denied, create=None)
    with refused(Waiting, Reason.INSUFFICIENT_PRIVILEGES, "the role admin in versitygw"):
        preflight(denied, create=None, identity=VersitygwUser())


def test_an_endpoint_where_nobody_listens(world: World) -> None:
    down = at(world.admin, endpoint=f"http://{HOST}:{free_port()}")
    for ask in (lambda admin: preflight(admin, create=None), probe):
        with refused(Unavailable, Reason.STORE_UNREACHABLE, "connection refused"):
            ask(down)
    with refused(Unavailable, Reason.STORE_UNREACHABLE, "admin API of versitygw"):
        UserAdmin(down, VersitygwUser()).users()


def test_a_host_that_does_not_resolve(world: World) -> None:
    with refused(Unavailable, Reason.HOST_NOT_FOUND, "Correct s3.endpoint in the class, or the DNS"):
        probe(at(world.admin, endpoint="http://s3.invalid:7070"))


def test_a_server_that_hangs(world: World) -> None:
    world.running.pause()
    try:
        with refused(Unavailable, Reason.STORE_UNREACHABLE, "no answer in time", seconds=8):
            probe(world.admin)
    finally:
        world.running.resume()
    probe(world.admin)


def test_prefix_and_bucket_of_others_are_named_when_creating_fails(world: World) -> None:
    keys = UserAdmin(world.admin, VersitygwUser()).create("just-somebody")
    denied = Admin(replace(world.bucket, name=new_name()), keys)
    with refused(Waiting, Reason.INSUFFICIENT_PRIVILEGES, "Allow s3:CreateBucket"):
        preflight(denied, create=BucketSettings())


def test_an_isolation_that_the_object_store_does_not_know(world: World) -> None:
    wanted = desired(tenant(world.name), require_encryption="AES256")
    with refused(Invalid, Reason.INVALID_SPEC, "does not understand the policy.*leave requireEncryption out"):
        world.provision(wanted)
    assert world.statements() == []


# TLS


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway with a certificate of its own CA."""
    folder: Path = tmp_path_factory.mktemp("tls")
    ca, certificate, key = make_certificates(HOST)
    for name, text in (("ca", ca), ("certificate", certificate), ("key", key)):
        (folder / name).write_text(text)
    files = folder / "certificate", folder / "key"
    with versitygw_server(
        free_port(), ROOT.access_key_id, ROOT.secret_access_key, certificate=files
    ) as server:
        world = World(server, new_name(), ca_certificates=ca)
        make_admin(server, ca)
        yield world


def test_with_tls_plain_http_is_denied_and_what_is_encrypted_works(encrypted: World) -> None:
    own = tenant(encrypted.name)
    preflight(encrypted.admin, create=BucketSettings())
    keys = encrypted.provision(desired(own)).keys
    assert keys
    assert encrypted.sids() == [f"{own.sid}L", f"{own.sid}O", policy.DENY_PLAIN_HTTP]
    # The deny is a real one: versitygw has evaluated it for this request and found that it came by TLS.
    from tracking_operator.stores.s3.clients import s3_client  # noqa: PLC0415

    s3_client(replace(encrypted.admin, keys=keys)).put_object(
        Bucket=encrypted.name, Key=f"{own.folder}x", Body=b""
    )


def test_a_certificate_of_an_unknown_authority(encrypted: World) -> None:
    stranger = replace(encrypted.bucket, ca_certificates=make_certificates(HOST)[0])
    for bucket in (stranger, replace(encrypted.bucket, ca_certificates=None)):
        admin = replace(encrypted.admin, bucket=bucket)
        with refused(Waiting, Reason.TLS_FAILED, "signed by the CA in caConfigMapRef"):
            probe(admin)
        with refused(Waiting, Reason.TLS_FAILED, "certificate verify failed"):
            UserAdmin(admin, VersitygwUser()).users()


def test_plain_http_to_a_server_with_tls(encrypted: World) -> None:
    plain = at(encrypted.admin, endpoint=encrypted.running.endpoint.replace("https", "http"))
    with pytest.raises(Failure) as caught:
        probe(plain)
    assert caught.value.reason in (Reason.STORE_UNREACHABLE, Reason.INVALID_SPEC)
