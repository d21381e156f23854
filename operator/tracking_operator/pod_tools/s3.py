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

from tracking_operator.pod_tools.checks import CheckFailed
from tracking_operator.store_answers import OBJECT_STORE_CODES, Answer, object_store_answer, silence

if TYPE_CHECKING:
    from typing import Any

    from botocore.exceptions import ClientError
    from types_boto3_s3 import S3Client

CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 10
TRUE_WORDS = ("true", "1")
LONGEST_ANSWER = 300

DENIED = OBJECT_STORE_CODES[Answer.DENIED]
NOT_FOUND = frozenset({"NoSuchKey", "NotFound", "NoSuchVersion", "404"})
"""Said of an object that nobody has to have put there."""
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
    client.put_object(Bucket=bucket, Key=key, Body=body, **added_to_uploads())


def added_to_uploads() -> "dict[str, Any]":
    """What MLflow adds to each upload."""
    added: dict[str, Any] = json.loads(os.environ.get("MLFLOW_S3_UPLOAD_EXTRA_ARGS") or "{}")
    return added


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
        raise CheckFailed(
            "LoginRefused", f"There are no credentials for {request}: {one_line(error)}. {identity.remedy}"
        ) from error
    except (sdk.ParamValidationError, ValueError) as error:
        raise CheckFailed("UnsupportedUri", f"{request} cannot be asked for: {one_line(error)}.") from error
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


def answered(error: "ClientError", request: str, identity: Identity) -> CheckFailed:
    """Say what an answer means that is no success."""
    code = code_of(error)
    said = f"{code}: {one_line(error)}"
    if error.operation_name.startswith("AssumeRole"):
        return CheckFailed(
            "LoginRefused",
            f"AWS does not let the ServiceAccount assume its role ({said}): make the role, and have it trust the "
            "ServiceAccount.",
            is_awaited=True,
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return failure_for(object_store_answer(code, status), request, said, identity)


def failure_for(answer: Answer, request: str, said: str, identity: Identity) -> CheckFailed:
    """Say what an answer means, and what to do."""
    if answer is Answer.IDENTITY_UNKNOWN and identity.may_be_fresh:
        return CheckFailed("IdentityPending", f"The object store does not know the identity yet ({said}).")
    if answer is Answer.CLOCK_DIFFERS:
        remedy = "set the clocks of node and object store by NTP."
        return CheckFailed(answer.reason, f"{request} was refused ({said}): {remedy}")
    if answer.reason == "LoginRefused":
        return CheckFailed(answer.reason, f"{request} was refused ({said}). {identity.remedy}")
    return CheckFailed(answer.reason, WORDS[answer].format(request=request, said=said))


WORDS = {
    Answer.NO_BUCKET: "There is no such bucket or container ({said}); asked for: {request}.",
    Answer.ELSEWHERE: "The bucket is in another region ({said}); asked for: {request}. Correct the region.",
    Answer.OF_OTHERS: "The bucket belongs to somebody else ({said}); asked for: {request}.",
    Answer.BUSY: "The object store is busy ({said}); asked for: {request}.",
    Answer.CHANGED_MEANWHILE: "Something else changed the same ({said}); asked for: {request}.",
    Answer.FULL: "The object store is full, or a quota of it is ({said}); asked for: {request}.",
    Answer.ACCOUNT_FULL: "A quota of the object store's account is used up ({said}); asked for: {request}.",
    Answer.UNKNOWN_REQUEST: "The object store does not know {request} ({said}).",
    Answer.DENIED: "{request} was denied ({said}): allow it in the policies of the identity and of the bucket.",
    Answer.FAILED: "The object store fails ({said}); asked for: {request}.",
}
"""How the sentences go that say what the object store answered."""


def unanswered(text: str, request: str, *, cause: str = "") -> CheckFailed:
    """Say why there was no answer; the libraries tell it in words only, of theirs or of a ``cause`` that they hide."""
    line = shortened(text)
    answer = silence(f"{text} {cause}")
    if answer is Answer.TLS_FAILED:
        return CheckFailed(
            answer.reason,
            f"The TLS certificate of the object store does not verify, or it speaks no TLS: {line}. The certificate has "
            "to be for the host of the endpoint, and signed by a CA that the image, the class, or caConfigMapRef of an external store "
            "names.",
        )
    if answer is Answer.HOST_NOT_FOUND:
        return CheckFailed(answer.reason, f"The object store's host is not known: {line}.")
    return CheckFailed(answer.reason, f"The object store does not answer to {request}: {line}.")


def one_line(error: Exception) -> str:
    """What an error says: one line, without the name of the SDK's operation, without keys."""
    response = getattr(error, "response", None)
    message = response.get("Error", {}).get("Message") if isinstance(response, dict) else None
    return shortened(str(message or error))


def shortened(text: str) -> str:
    """A text of somebody else's as part of a sentence, without the queries of URLs."""
    return " ".join(QUERY.sub("", text).split())[:LONGEST_ANSWER].rstrip(".")


@dataclass(frozen=True)
class S3Store:
    """A bucket of an S3 server."""

    client: "S3Client"
    bucket: str
    identity: Identity

    def asking(self, action: str, key: str) -> contextlib.AbstractContextManager[None]:
        """Name a request in the failures of a block."""
        return asking(f"{action} of s3://{self.bucket}/{key}", self.identity)

    def put(self, key: str, content: bytes) -> None:
        """Upload an object."""
        with self.asking("PutObject", key):
            put(self.client, self.bucket, key, content)

    def keys_under(self, prefix: str) -> list[str]:
        """List what begins with a prefix."""
        with self.asking("ListBucket", prefix):
            return keys_under(self.client, self.bucket, prefix)

    def get(self, key: str) -> bytes:
        """Download an object."""
        with self.asking("GetObject", key):
            return get(self.client, self.bucket, key)

    def delete(self, key: str) -> None:
        """Remove an object."""
        with self.asking("DeleteObject", key):
            self.client.delete_object(Bucket=self.bucket, Key=key)
