"""What to say when object stores, IAM or the network do not do as asked: what happened, and what the platform team can do.

What an answer means, ``store_answers.py`` tells.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tracking_operator.api.conditions import Reason, reason_of
from tracking_operator.failures import Failure, failure_for
from tracking_operator.store_answers import OBJECT_STORE_CODES, Answer, object_store_answer, silence
from tracking_operator.stores.s3.tenant import Admin

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

SECONDS_WHEN_BUSY: Final = 2.0
LONGEST_ANSWER: Final = 300

NOT_FOUND: Final = frozenset({"NoSuchKey", "NoSuchEntity", "NoSuchBucketPolicy", "XAdminUserNotFound"})
UNKNOWN_FEATURE: Final = OBJECT_STORE_CODES[Answer.UNKNOWN_REQUEST]
DENIED: Final = OBJECT_STORE_CODES[Answer.DENIED]


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


def _answered(error: "ClientError", attempt: Attempt) -> Failure:
    code, said = code_of(error), answer_of(error)
    said = said if said.startswith(code) else f"{code}: {said}"
    answer = object_store_answer(code, status_of(error))
    return failure_for(
        reason_of(answer.reason_for_admin),
        f"{attempt.where} did not {attempt.doing}: {said}. {_REMEDIES[answer](attempt, error)}",
        retry_after=SECONDS_WHEN_BUSY if answer in (Answer.BUSY, Answer.CHANGED_MEANWHILE) else None,
    )


def _correct_keys(attempt: Attempt, _: "ClientError") -> str:
    if attempt.admin.keys:
        return f"Correct accessKeyId and secretAccessKey in {attempt.admin.keys.source}."
    return (
        "Give the operator's ServiceAccount a cloud identity that works, or name keys in s3.adminSecretRef."
    )


def _correct_region(_: Attempt, error: "ClientError") -> str:
    region = region_in(error)
    remedy = (
        f"It is in region {region}: set s3.region of the class to it"
        if region
        else "Correct s3.region of the class"
    )
    return f"{remedy}, or name another bucket."


def _wait(_: Attempt, __: "ClientError") -> str:
    return _GOES_ON


_REMEDIES: Final[Mapping[Answer, Callable[[Attempt, "ClientError"], str]]] = {
    Answer.LOGIN_REFUSED: _correct_keys,
    Answer.IDENTITY_UNKNOWN: _correct_keys,
    Answer.CLOCK_DIFFERS: lambda _, __: (
        "The clocks of the operator's node and of the object store differ: set both by NTP. " + _GOES_ON
    ),
    Answer.DENIED: lambda attempt, _: (
        f"Allow {attempt.action} to {attempt.who}; if the bucket belongs to another account, name one of your "
        "own in s3.bucket of the class."
    ),
    Answer.NO_BUCKET: lambda attempt, _: (
        f"Create the bucket {attempt.admin.bucket.name}, correct s3.bucket of the class, or have the class "
        "create it with s3.create."
    ),
    Answer.ELSEWHERE: _correct_region,
    Answer.OF_OTHERS: lambda attempt, _: (
        f"The name {attempt.admin.bucket.name} belongs to another account: choose another one in s3.bucket."
    ),
    Answer.BUSY: _wait,
    Answer.CHANGED_MEANWHILE: _wait,
    Answer.FULL: lambda _, __: f"Give the object store more space, or the bucket a larger quota. {_GOES_ON}",
    Answer.ACCOUNT_FULL: lambda _, __: (
        f"Have the account's quota raised, or remove what nobody uses. {_GOES_ON}"
    ),
    Answer.UNKNOWN_REQUEST: lambda _, __: (
        "This object store cannot do that: take it out of the class's s3, or use another object store."
    ),
    # It answers: other servers' requests need not be kept from it.
    Answer.FAILED: lambda _, __: f"Its own log may say more. {_GOES_ON}",
}


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
    endpoint = attempt.admin.bucket.endpoint or "AWS"
    start = f"{attempt.where} did not {attempt.doing}"
    text = _cause_of(error)
    answer = silence(f"{type(error).__name__}: {text}")
    reason = reason_of(answer.reason_for_admin)
    if answer is Answer.TLS_FAILED:
        why = re.search(r"(certificate verify failed[^(\])]*|\[SSL[^\]]*\][^(]*)", text)
        return failure_for(
            reason,
            f"{start}: {why[1].strip() if why else 'the TLS handshake failed'}. The certificate must be for the host of "
            f"s3.endpoint, {endpoint}, and signed by the CA in caConfigMapRef.",
        )
    if answer is Answer.HOST_NOT_FOUND:
        return failure_for(
            reason,
            f"{start}: the host name does not resolve. Correct s3.endpoint in the class, or the DNS. {_GOES_ON}",
        )
    return failure_for(
        reason,
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
        return failure_for(
            Reason.LOGIN_REFUSED,
            f"{start}: the operator found no credentials. Name keys in s3.adminSecretRef of the class, or give the "
            "operator's ServiceAccount a cloud identity.",
        )
    return failure_for(Reason.STORE_UNREACHABLE, f"{start}: {answer_of(error)}. {_GOES_ON}")


def _no_s3(attempt: Attempt) -> Failure:
    return failure_for(
        Reason.STORE_UNREACHABLE,
        f"{attempt.where} did not {attempt.doing}: what answers there is no S3 server. Correct s3.endpoint in the "
        f"class. {_GOES_ON}",
    )
