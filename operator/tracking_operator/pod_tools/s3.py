"""What the pods' scripts have in common that ask an S3 server: how it is reached, and what its answers mean.

Requests are made as MLflow makes them (mlflow/store/artifact/s3_artifact_repo.py,
3.17.2), with the same variables, so that what works here works there.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracking_operator.pod_tools import check_backend_store as check

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from types_boto3_s3 import S3Client

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 10
TRUE_WORDS = ("true", "1")
LONGEST_ANSWER = 300

DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccessDeniedException", "Forbidden", "403"})
NOT_FOUND = frozenset({"NoSuchKey", "NotFound", "NoSuchVersion", "404"})
UNKNOWN_REQUEST = frozenset({"NotImplemented", "MethodNotAllowed", "XNotImplemented", "501", "405"})

UNKNOWN_IDENTITY = frozenset(
    {"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidToken"}
)
REFUSED_LOGIN = frozenset(
    {
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "ExpiredTokenException",
        "AuthFailure",
        "InvalidSecurity",
        "401",
    }
)
ELSEWHERE = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "301",
        "307",
    }
)
BUSY = frozenset(
    {"SlowDown", "Throttling", "RequestLimitExceeded", "TooManyRequests", "ServiceUnavailable", "503"}
)
CLOCK_DIFFERS = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})

NO_SUCH_HOST = re.compile(r"resolve|Name or service not known|name resolution|nodename nor servname")
NO_TLS = re.compile(r"SSLError|CERTIFICATE_VERIFY_FAILED|\[SSL|WRONG_VERSION_NUMBER|CA certificate bundle")
QUERY = re.compile(r"\?[^\s'\")]*")
"""Of a URL: some stores take their keys in it."""


@dataclass(frozen=True)
class Identity:
    """As whom requests are made: what somebody should do when it is refused, and whether it may be too new to be known."""

    remedy: str
    may_be_fresh: bool = False


def s3_client(*, attempts: int = 2) -> "S3Client":
    """A client for the store that the environment names; ``attempts`` are made for each request."""
    import boto3
    from botocore.config import Config

    style = os.environ.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE") or "auto"
    ignores_tls = os.environ.get("MLFLOW_S3_IGNORE_TLS", "").lower() in TRUE_WORDS
    with asking("a client", Identity("Correct the settings of the store.")):
        return boto3.client(
            "s3",
            endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None,
            verify=False if ignores_tls else None,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": style},  # type: ignore[arg-type]
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                read_timeout=READ_TIMEOUT_SECONDS,
                retries={"mode": "standard", "total_max_attempts": attempts},
            ),
        )


def put(client: "S3Client", bucket: str, key: str, body: bytes) -> None:
    """Upload an object with what MLflow adds to each upload, such as the encryption that a bucket demands."""
    added = json.loads(os.environ.get("MLFLOW_S3_UPLOAD_EXTRA_ARGS") or "{}")
    client.put_object(Bucket=bucket, Key=key, Body=body, **added)


def get(client: "S3Client", bucket: str, key: str) -> bytes:
    """The content of an object."""
    return client.get_object(Bucket=bucket, Key=key)["Body"].read()


def keys_under(client: "S3Client", bucket: str, prefix: str) -> list[str]:
    """The first keys that begin with ``prefix``."""
    page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=2)
    return [one["Key"] for one in page.get("Contents", [])]


@contextlib.contextmanager
def asking(request: str, identity: Identity) -> Iterator[None]:
    """Turn what the block's request raises into a CheckFailed, which names the request."""
    from botocore import exceptions as sdk
    from botocore.parsers import ResponseParserError

    try:
        yield
    except sdk.ClientError as error:
        raise answered(error, request, identity) from error
    except (
        sdk.NoCredentialsError,
        sdk.PartialCredentialsError,
        sdk.CredentialRetrievalError,
        sdk.ProfileNotFound,
    ) as error:
        raise check.CheckFailed(
            "LoginRefused", f"There are no credentials for {request}: {one_line(error)}. {identity.remedy}"
        ) from error
    except (sdk.ParamValidationError, ValueError) as error:
        raise check.CheckFailed(
            "UnsupportedUri", f"{request} cannot be asked for: {one_line(error)}."
        ) from error
    except (sdk.BotoCoreError, ResponseParserError, OSError) as error:
        cause = getattr(error, "kwargs", {}).get("error", "")
        raise unanswered(str(error), request, cause=str(cause)) from error


def code_of(error: "ClientError") -> str:
    """The code of an answer, for example NoSuchKey."""
    return str(error.response.get("Error", {}).get("Code", ""))


def says(error: "ClientError", codes: frozenset[str]) -> bool:
    """Whether an answer has one of these codes, or their HTTP status."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return code_of(error) in codes or str(status) in codes


def answered(error: "ClientError", request: str, identity: Identity) -> check.CheckFailed:
    """Say what an answer means that is no success."""
    said = f"{code_of(error)}: {one_line(error)}"
    codes = {code_of(error)}
    if error.operation_name.startswith("AssumeRole"):
        return check.CheckFailed(
            "LoginRefused",
            f"AWS does not let the ServiceAccount assume its role ({said}): make the role, and have it trust the "
            "ServiceAccount.",
            passing=True,
        )
    if codes & UNKNOWN_IDENTITY and identity.may_be_fresh:
        return check.CheckFailed(
            "IdentityPending", f"The object store does not know the identity yet ({said}).", passing=True
        )
    if codes & (UNKNOWN_IDENTITY | REFUSED_LOGIN):
        return check.CheckFailed("LoginRefused", f"{request} was refused ({said}). {identity.remedy}")
    if codes & CLOCK_DIFFERS:
        return check.CheckFailed(
            "LoginRefused", f"{request} was refused ({said}): set the clocks of node and object store by NTP."
        )
    return answered_otherwise(error, request, said)


def answered_otherwise(error: "ClientError", request: str, said: str) -> check.CheckFailed:
    """Say what an answer means that does not doubt who asks."""
    if says(error, frozenset({"NoSuchBucket"})):
        return check.CheckFailed("BucketNotFound", f"There is no such bucket ({said}); asked for: {request}.")
    if says(error, ELSEWHERE):
        return check.CheckFailed(
            "BucketElsewhere",
            f"The bucket is in another region ({said}); asked for: {request}. Correct the region.",
        )
    if says(error, BUSY):
        return check.CheckFailed(
            "Busy", f"The object store is busy ({said}); asked for: {request}.", passing=True
        )
    if says(error, UNKNOWN_REQUEST):
        return check.CheckFailed("UnsupportedUri", f"The object store does not know {request} ({said}).")
    if says(error, DENIED):
        return check.CheckFailed(
            "AccessDenied",
            f"{request} was denied ({said}): allow it in the policies of the identity and of the bucket.",
            passing=True,
        )
    return check.CheckFailed(
        "StoreUnreachable", f"The object store fails ({said}); asked for: {request}.", passing=True
    )


def unanswered(text: str, request: str, *, cause: str = "") -> check.CheckFailed:
    """Say why there was no answer; the libraries tell it in words only, of theirs or of a ``cause`` that they hide."""
    line, words = shortened(text), f"{text} {cause}"
    if NO_TLS.search(words):
        return check.CheckFailed(
            "TlsFailed",
            f"The TLS certificate of the object store does not verify, or it speaks no TLS: {line}. The certificate has "
            "to be for the host of the endpoint, and signed by a CA that the image or the class names.",
        )
    if NO_SUCH_HOST.search(words):
        return check.CheckFailed(
            "HostNotFound", f"The object store's host is not known: {line}.", passing=True
        )
    return check.CheckFailed(
        "StoreUnreachable", f"The object store does not answer to {request}: {line}.", passing=True
    )


def one_line(error: Exception) -> str:
    """What an error says: one line, without the name of the SDK's operation, without keys."""
    response = getattr(error, "response", None)
    message = response.get("Error", {}).get("Message") if isinstance(response, dict) else None
    return shortened(str(message or error))


def shortened(text: str) -> str:
    """A text of somebody else's as part of a sentence, without the queries of URLs."""
    return " ".join(QUERY.sub("", text).split())[:LONGEST_ANSWER].rstrip(".")
