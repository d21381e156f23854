"""Answers that are hard to provoke at a real server: which kind of failure each is, and what the sentence says."""

import subprocess
import sys

import pytest
from botocore.exceptions import ClientError

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid, Unavailable, Waiting
from tracking_operator.store_answers import OBJECT_STORE_CODES, Answer
from tracking_operator.stores.s3.bucket_address import Bucket, Keys
from tracking_operator.stores.s3.errors import asking
from tracking_operator.stores.s3.tenant import Admin

ADMIN = Admin(Bucket("ml-artifacts", "eu-central-1"), Keys("AKIA", "the secret", "Secret operators/s3-admin"))


def answered(code: str, status: int, message: str = "", **headers: str) -> Failure:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    with pytest.raises(Failure) as caught, asking(ADMIN, "take its policy", "s3:PutBucketPolicy"):
        raise ClientError(response, "PutBucketPolicy")  # type: ignore[arg-type]
    assert "the secret" not in str(caught.value)
    assert caught.value.message.startswith(
        "Bucket ml-artifacts at AWS in eu-central-1 did not take its policy: "
    )
    return caught.value


@pytest.mark.parametrize(
    ("code", "status", "kind", "reason", "sentence"),
    [
        ("NoSuchKey", 404, Unavailable, Reason.STORE_FAILED, "goes on trying"),
        ("429", 429, Waiting, Reason.BUSY, "goes on trying"),
        ("SlowDown", 503, Waiting, Reason.BUSY, "goes on trying"),
        ("Throttling", 400, Waiting, Reason.BUSY, "goes on trying"),
        ("503", 503, Waiting, Reason.BUSY, "goes on trying"),
        ("InternalError", 500, Unavailable, Reason.STORE_FAILED, "goes on trying"),
        ("XMinioStorageFull", 507, Unavailable, Reason.DISK_FULL, "more space"),
        ("QuotaExceeded", 403, Unavailable, Reason.DISK_FULL, "larger quota"),
        ("LimitExceeded", 409, Unavailable, Reason.QUOTA_EXCEEDED, "quota raised"),
        ("RequestTimeTooSkewed", 403, Waiting, Reason.LOGIN_REFUSED, "clocks"),
        ("ExpiredToken", 400, Waiting, Reason.LOGIN_REFUSED, "Secret operators/s3-admin"),
        ("BucketAlreadyExists", 409, Invalid, Reason.BUCKET_ELSEWHERE, "belongs to another account"),
        ("NoSuchBucket", 404, Waiting, Reason.BUCKET_NOT_FOUND, "Create the bucket"),
        ("404", 404, Waiting, Reason.BUCKET_NOT_FOUND, "Create the bucket"),
        ("403", 403, Waiting, Reason.INSUFFICIENT_PRIVILEGES, "Allow s3:PutBucketPolicy to access key AKIA"),
        ("NotImplemented", 501, Invalid, Reason.INVALID_SPEC, "cannot do that"),
    ],
)  # fmt: skip
def test_answers(code: str, status: int, kind: type[Failure], reason: Reason, sentence: str) -> None:
    failure = answered(code, status)
    assert type(failure) is kind
    assert failure.reason is reason
    assert sentence in failure.message
    assert failure.message.endswith(".")


@pytest.mark.parametrize("answer", OBJECT_STORE_CODES)
def test_whatever_is_answered_has_a_remedy(answer: Answer) -> None:
    for code in OBJECT_STORE_CODES[answer]:
        assert answered(code, 400).reason == answer.reason_for_admin


@pytest.mark.parametrize("code", ["PermanentRedirect", "301"])
def test_a_bucket_elsewhere(code: str) -> None:
    failure = answered(code, 301, **{"x-amz-bucket-region": "us-west-2"})
    assert failure.reason is Reason.BUCKET_ELSEWHERE
    assert "It is in region us-west-2: set s3.region" in failure.message


def test_a_region_that_only_the_text_names() -> None:
    text = "The authorization header is malformed; the region 'eu-central-1' is wrong; expecting 'eu-west-3'"
    assert "region eu-west-3" in answered("AuthorizationHeaderMalformed", 400, text).message


def test_boto3_is_imported_by_those_only_who_need_it() -> None:
    program = (
        "import sys\n"
        "import tracking_operator.stores.s3.provision, tracking_operator.stores.s3.finalize\n"
        "import tracking_operator.stores.s3.preflight, tracking_operator.stores.s3.objects\n"
        "sys.exit(any(name in sys.modules for name in ('boto3', 'botocore')))"
    )
    environment = {"PYTHONPATH": "operator"}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0
