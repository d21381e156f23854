"""How object stores and IAM are asked: clients that give up soon, made once, and never with somebody else's keys."""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeVar, cast

from tracking_operator.stores.ca_files import ca_file
from tracking_operator.stores.s3.bucket_address import Keys
from tracking_operator.stores.s3.tenant import Admin, IamUser

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.credentials import Credentials
    from types_boto3_iam import IAMClient
    from types_boto3_s3 import S3Client

MOST_CLIENTS: Final = 64
"""How many clients are kept; each takes about a megabyte."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds: for a connection, and then for each part of an answer; and how often to try."""

    connect: float
    read: float
    attempts: int = 2


WORK: Final = Patience(connect=4, read=8)
PROBE: Final = Patience(connect=3, read=5, attempts=1)

Client = TypeVar("Client")

# botocore's clients may be used from several threads; making them may not happen twice at once.
_clients: dict[tuple[object, ...], object] = {}
_making = Lock()


def s3_client(admin: Admin, patience: Patience = WORK) -> "S3Client":
    """A client for an admin's bucket."""
    return _kept(("s3", admin.bucket, admin.keys, patience), lambda: _new_s3_client(admin, patience))


def iam_client(admin: Admin, identity: IamUser) -> "IAMClient":
    """A client for the IAM where the users of an identity are."""
    key = ("iam", admin.bucket, admin.keys, identity.endpoint)
    return _kept(key, lambda: _new_iam_client(admin, identity))


def credentials_of(admin: Admin) -> "Credentials | None":
    """The admin's keys, to sign requests with; without keys what the surroundings give, None if that is nothing."""
    from botocore.credentials import Credentials  # noqa: PLC0415

    if admin.keys:
        return Credentials(admin.keys.access_key_id, admin.keys.secret_access_key)
    with _making:
        return _session().get_credentials()


@cache
def _session() -> "Session":
    """One for all clients: it keeps what it has read of the services' descriptions, and is used under a lock."""
    import boto3  # noqa: PLC0415 — 25 MiB, for those who have a class that needs it

    return boto3.session.Session()


def _kept(key: tuple[object, ...], make: Callable[[], Client]) -> Client:
    with _making:
        if key not in _clients:
            if len(_clients) >= MOST_CLIENTS:
                _clients.pop(next(iter(_clients)))
            _clients[key] = make()
        return cast("Client", _clients[key])


def _new_s3_client(admin: Admin, patience: Patience) -> "S3Client":
    from botocore.config import Config  # noqa: PLC0415
    from botocore.handlers import add_expect_header  # noqa: PLC0415

    bucket = admin.bucket
    key_id, secret = _pair(admin.keys)
    client = _session().client(
        "s3",
        region_name=bucket.region,
        endpoint_url=bucket.endpoint,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        verify=ca_file(bucket.ca_certificates),
        config=Config(  # type: ignore[call-arg] # what the last argument is called, its types do not know
            connect_timeout=patience.connect,
            read_timeout=patience.read,
            retries={"mode": "standard", "total_max_attempts": patience.attempts},
            s3={"addressing_style": bucket.addressing_style.value},
            signature_version="s3v4",
            # Other S3 servers refuse the checksums that SDKs send by themselves since 2025.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True,
        ),
    )
    client.meta.events.register("before-call.s3", _stay_in_region)
    # What we write is short; servers that do not know the question would be waited for, a second each time.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    return client


def _stay_in_region(context: MutableMapping[str, dict[str, object]], **_: object) -> None:
    """Keep the SDK from asking in another region when a bucket is not where the class says: people have to know.

    botocore's S3RegionRedirectorv2 follows once, and takes this for having done so.
    """
    context.setdefault("s3_redirect", {})["redirected"] = True


def _new_iam_client(admin: Admin, identity: IamUser) -> "IAMClient":
    from botocore.config import Config  # noqa: PLC0415

    is_aws = identity.endpoint is None
    key_id, secret = _pair(admin.keys)
    # AWS's partitions have IAM endpoints of their own, which the bucket's region leads to.
    return _session().client(
        "iam",
        region_name=admin.bucket.region,
        endpoint_url=identity.endpoint,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        verify=None if is_aws else ca_file(admin.bucket.ca_certificates),
        config=Config(  # type: ignore[call-arg] # what the last argument is called, its types do not know
            connect_timeout=WORK.connect,
            read_timeout=WORK.read,
            retries={"mode": "standard", "total_max_attempts": WORK.attempts},
            ignore_configured_endpoint_urls=True,
        ),
    )


def _pair(keys: Keys | None) -> tuple[str | None, str | None]:
    return (keys.access_key_id, keys.secret_access_key) if keys else (None, None)
