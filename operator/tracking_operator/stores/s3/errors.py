"""What object stores, IAM and the network say when they do not do as asked, and which kind of failure that is.

The codes are those of S3 (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html), of IAM, and what
versitygw, MinIO and Ceph say beside them. A HEAD request is answered without a body: its code is the HTTP status.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid, Unavailable, Waiting
from tracking_operator.stores.s3.tenant import Admin

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

SECONDS_WHEN_BUSY: Final = 2.0
LONGEST_ANSWER: Final = 300

NOT_FOUND: Final = frozenset({"NoSuchKey", "NoSuchEntity", "NoSuchBucketPolicy", "XAdminUserNotFound"})
UNKNOWN_FEATURE: Final = frozenset(
    {"NotImplemented", "MethodNotAllowed", "VersioningNotConfigured", "XNotImplemented", "501", "405"}
)
DENIED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "UnauthorizedAccess",
        "XAdminAccessDenied",
        "403",
    }
)


@dataclass(frozen=True)
class Attempt:
    """What was tried, for the sentence that says why it failed. ``action`` is what the admin must be allowed to do."""

    admin: Admin
    doing: str
    action: str
    where: str

    @property
    def who(self) -> str:
        """How people call the admin."""
        if self.admin.keys is None:
            return "the operator's own cloud identity"
        return f"access key {self.admin.keys.access_key_id} of {self.admin.keys.source}"


@contextmanager
def asking(admin: Admin, doing: str, action: str, where: str | None = None) -> Iterator[None]:
    """Turn what the block's requests raise into a Failure.

    ``doing`` completes "The bucket … did not"; ``where`` is the URL of another server than the bucket's.
    Errors that the caller has an answer to are caught inside of the block.
    """
    from botocore import exceptions as sdk  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    attempt = Attempt(admin, doing, action, where or admin.bucket.title)
    try:
        yield
    except sdk.ClientError as error:
        raise _answered(error, attempt) from error
    except (sdk.HTTPClientError, sdk.ConnectionError) as error:
        raise _unanswered(error, attempt) from error
    except ResponseParserError as error:
        raise _no_s3(attempt) from error
    except sdk.BotoCoreError as error:
        raise _unsent(error, attempt) from error


def code_of(error: "ClientError") -> str:
    """The code of an answer, for example NoSuchKey; the HTTP status where there was no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: "ClientError") -> int:
    """The HTTP status of an answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def says(error: "ClientError", codes: frozenset[str]) -> bool:
    """Whether an answer has one of these codes, or their HTTP status."""
    return code_of(error) in codes or str(status_of(error)) in codes


def answer_of(error: Exception) -> str:
    """The other side's sentence: one line, without the name of the SDK's operation and without a full stop."""
    response = getattr(error, "response", None)
    text = str(error)
    if isinstance(response, Mapping):
        text = str(response.get("Error", {}).get("Message") or text)
    text = re.sub(r"An error occurred \(.*?\) when calling the \w+ operation.*?: ", "", text)
    return " ".join(text.split())[:LONGEST_ANSWER].rstrip(".") or "an answer without a word"


_GOES_ON: Final = "The operator goes on trying."


@dataclass(frozen=True)
class _Rule:
    codes: frozenset[str]
    failure: Callable[[str, Attempt, "ClientError"], Failure]


def _answered(error: "ClientError", attempt: Attempt) -> Failure:
    code = code_of(error)
    said = answer_of(error) if answer_of(error).startswith(code) else f"{code}: {answer_of(error)}"
    start = f"{attempt.where} did not {attempt.doing}: {said}."
    for rule in _RULES:
        if code in rule.codes:
            return rule.failure(start, attempt, error)
    status = str(status_of(error))
    for rule in _RULES:
        if status in rule.codes:
            return rule.failure(start, attempt, error)
    # It answers: other servers' requests need not be kept from it.
    return Unavailable(Reason.STORE_FAILED, f"{start} Its own log may say more. {_GOES_ON}")


def _login_refused(text: str, attempt: Attempt, _: "ClientError") -> Failure:
    return Invalid(
        Reason.LOGIN_REFUSED,
        f"{text} Correct accessKeyId and secretAccessKey in {attempt.admin.keys.source}."
        if attempt.admin.keys
        else f"{text} Give the operator's ServiceAccount a cloud identity that works, or name keys in s3.adminSecretRef.",
    )


def _clock_differs(text: str, _: Attempt, __: "ClientError") -> Failure:
    return Unavailable(
        Reason.LOGIN_REFUSED,
        f"{text} The clocks of the operator's node and of the object store differ: set both by NTP. {_GOES_ON}",
    )


def _denied(text: str, attempt: Attempt, _: "ClientError") -> Failure:
    return Unavailable(
        Reason.INSUFFICIENT_PRIVILEGES,
        f"{text} Allow {attempt.action} to {attempt.who}; if the bucket belongs to another account, name one of your "
        "own in s3.bucket of the class.",
    )


def _no_bucket(text: str, attempt: Attempt, _: "ClientError") -> Failure:
    return Invalid(
        Reason.BUCKET_NOT_FOUND,
        f"{text} Create the bucket {attempt.admin.bucket.name}, correct s3.bucket of the class, or have the class "
        "create it with s3.create.",
    )


def _elsewhere(text: str, attempt: Attempt, error: "ClientError") -> Failure:
    region = region_in(error)
    remedy = (
        f"It is in region {region}: set s3.region of the class to it"
        if region
        else "Correct s3.region of the class"
    )
    return Invalid(Reason.BUCKET_ELSEWHERE, f"{text} {remedy}, or name another bucket.")


def _of_others(text: str, attempt: Attempt, _: "ClientError") -> Failure:
    return Invalid(
        Reason.BUCKET_ELSEWHERE,
        f"{text} The name {attempt.admin.bucket.name} belongs to another account: choose another one in s3.bucket.",
    )


def _busy(text: str, _: Attempt, __: "ClientError") -> Failure:
    return Waiting(Reason.BUSY, f"{text} {_GOES_ON}", retry_after=SECONDS_WHEN_BUSY)


def _full(text: str, _: Attempt, __: "ClientError") -> Failure:
    return Unavailable(
        Reason.DISK_FULL, f"{text} Give the object store more space, or the bucket a larger quota. {_GOES_ON}"
    )


def _too_many(text: str, _: Attempt, __: "ClientError") -> Failure:
    return Unavailable(
        Reason.QUOTA_EXCEEDED,
        f"{text} Have the account's quota raised, or remove what nobody uses. {_GOES_ON}",
    )


def _unknown_feature(text: str, _: Attempt, __: "ClientError") -> Failure:
    return Invalid(
        Reason.INVALID_SPEC,
        f"{text} This object store cannot do that: take it out of the class's s3, or use another object store.",
    )


_ELSEWHERE_CODES: Final = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "InvalidLocationConstraint",
        "301",
        "307",
    }
)

_RULES: Final = (
    _Rule(
        frozenset(
            {
                "InvalidAccessKeyId",
                "SignatureDoesNotMatch",
                "InvalidClientTokenId",
                "UnrecognizedClientException",
                "AuthFailure",
                "ExpiredToken",
                "ExpiredTokenException",
                "InvalidToken",
                "InvalidSecurity",
                "401",
            }
        ),
        _login_refused,
    ),
    _Rule(frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}), _clock_differs),
    _Rule(
        frozenset(
            {
                "QuotaExceeded",
                "InsufficientStorage",
                "XMinioStorageFull",
                "XMinioAdminBucketQuotaExceeded",
                "507",
            }
        ),
        _full,
    ),
    _Rule(frozenset({"NoSuchBucket"}), _no_bucket),
    _Rule(frozenset({"BucketAlreadyExists"}), _of_others),
    _Rule(_ELSEWHERE_CODES, _elsewhere),
    _Rule(
        frozenset(
            {
                "SlowDown",
                "Throttling",
                "ThrottlingException",
                "RequestLimitExceeded",
                "TooManyRequests",
                "TooManyRequestsException",
                "ServiceUnavailable",
                "OperationAborted",
                "ConditionalRequestConflict",
                "ConcurrentModification",
                "EntityTemporarilyUnmodifiable",
                "429",
                "503",
            }
        ),
        _busy,
    ),
    _Rule(frozenset({"LimitExceeded", "TooManyBuckets"}), _too_many),
    _Rule(UNKNOWN_FEATURE, _unknown_feature),
    _Rule(DENIED, _denied),
    _Rule(frozenset({"404"}), _no_bucket),
)


def region_in(error: "ClientError") -> str | None:
    """The region that an answer names as the right one, if it does."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if found := headers.get("x-amz-bucket-region"):
        return str(found)
    detail: Mapping[str, object] = {**error.response.get("Error", {})}
    if found := detail.get("Region"):
        return str(found)
    expected = re.search(r"expecting '([a-z0-9-]+)'", answer_of(error))
    return expected[1] if expected else None


def _unanswered(error: Exception, attempt: Attempt) -> Failure:
    """The request got no answer. urllib3's reason is in the text only."""
    from botocore.exceptions import SSLError  # noqa: PLC0415

    endpoint = attempt.admin.bucket.endpoint or "AWS"
    start = f"{attempt.where} did not {attempt.doing}"
    text = _cause_of(error)
    if isinstance(error, SSLError) or "SSLError" in text or "CERTIFICATE_VERIFY_FAILED" in text:
        why = re.search(r"(certificate verify failed[^(\])]*|\[SSL[^\]]*\][^(]*)", text)
        return Invalid(
            Reason.TLS_FAILED,
            f"{start}: {why[1].strip() if why else 'the TLS handshake failed'}. The certificate must be for the host of "
            f"s3.endpoint, {endpoint}, and signed by the CA in caConfigMapRef.",
        )
    if re.search("resolve|Name or service not known|nodename nor servname|name resolution|No address", text):
        return Unavailable(
            Reason.HOST_NOT_FOUND,
            f"{start}: the host name does not resolve. Correct s3.endpoint in the class, or the DNS. {_GOES_ON}",
        )
    return Unavailable(
        Reason.STORE_UNREACHABLE,
        f"{start}: {_short(error)}. Check the server, s3.endpoint in the class, firewall and NetworkPolicy. {_GOES_ON}",
    )


def _cause_of(error: Exception) -> str:
    """What urllib3 has said, which the SDK's own text does not always repeat."""
    details = getattr(error, "kwargs", {})
    return f"{error} {details.get('error', '')}"


def _short(error: Exception) -> str:
    from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError  # noqa: PLC0415

    if isinstance(error, ConnectTimeoutError):
        return "no connection in time"
    if isinstance(error, ReadTimeoutError):
        return "no answer in time"
    if "refused" in _cause_of(error):
        return "connection refused"
    return answer_of(error)


def _unsent(error: "BotoCoreError", attempt: Attempt) -> Failure:
    """The request was never sent."""
    from botocore.exceptions import (  # noqa: PLC0415
        CredentialRetrievalError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    start = f"{attempt.where} did not {attempt.doing}"
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return Invalid(
            Reason.LOGIN_REFUSED,
            f"{start}: the operator found no credentials. Name keys in s3.adminSecretRef of the class, or give the "
            "operator's ServiceAccount a cloud identity.",
        )
    return Unavailable(Reason.STORE_UNREACHABLE, f"{start}: {answer_of(error)}. {_GOES_ON}")


def _no_s3(attempt: Attempt) -> Failure:
    return Unavailable(
        Reason.STORE_UNREACHABLE,
        f"{attempt.where} did not {attempt.doing}: what answers there is no S3 server. Correct s3.endpoint in the "
        f"class. {_GOES_ON}",
    )
