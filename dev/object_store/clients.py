"""An S3 client for a versitygw: with somebody's keys, and without what the machine's environment says."""

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from dev.object_store.manifests import REGION
from tracking_operator.stores.s3.bucket_address import Keys

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

CONNECT_TIMEOUT = 5
READ_TIMEOUT = 30

_making = Lock()
"""Clients may be used by any thread, and made by one at a time (https://boto3.amazonaws.com/v1/documentation/api/latest/guide/session.html)."""


def s3_client(url: str, keys: Keys, ca_file: str | None = None) -> "S3Client":
    """A client for the server at a URL. ``ca_file`` is the path of its authority's certificate; None over plain HTTP."""
    with _making:
        return _session().client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
            verify=ca_file,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                retries={"mode": "standard", "total_max_attempts": 2},
                s3={"addressing_style": "path"},
                # A checksum behind the body makes versitygw reset the connection, at which `kubectl port-forward` ends.
                request_checksum_calculation="when_required",
            ),
        )


@cache
def _session() -> boto3.session.Session:
    """One for all clients: each session reads the descriptions of all services anew, which takes a tenth of a second of CPU."""
    return boto3.session.Session(region_name=REGION)
