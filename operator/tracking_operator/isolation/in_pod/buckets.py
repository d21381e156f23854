"""What a team tries in the class's bucket, with its server's own keys."""

import configparser
import hashlib
import json
import os
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore import UNSIGNED
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session

from tracking_operator.isolation.attempts import Area, Attempt, Book, By, CannotTryError, Refused
from tracking_operator.isolation.in_pod.scene import Scene, Side

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

BOOK: Final = Book[Scene](Area.BUCKETS)
DENIED: Final = "AccessDenied|Forbidden|403"
QUICKLY: Final = Config(
    connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2}, signature_version="s3v4"
)
OWN: Final = "its own prefix"
OTHERS: Final = "another team's prefix"
BUCKET: Final = "the bucket"
MARKS: Final = "the marks of ownership"
STORED: Final = "what is stored of backups"
BACKUPS: Final = ".tracking-operator/backups/"


@cache
def client() -> "S3Client":
    """A client with the server's own keys. Raises CannotTryError: it has none."""
    if not os.environ.get("AWS_SHARED_CREDENTIALS_FILE"):
        raise CannotTryError("the server has no keys of its own for a bucket")
    return boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"), config=QUICKLY)


@cache
def anonymous() -> "S3Client":
    """A client without keys."""
    config = QUICKLY.merge(Config(signature_version=UNSIGNED))
    return boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"), config=config)


def key(side: Side, scene: Scene, name: str = "victim.txt") -> str:
    """An object of this run under a team's prefix."""
    return f"{side.prefix}/{scene.mark}/{name}"


def tried(act: Callable[[], object]) -> str:
    """What an act has got, in a few words."""
    found = act()
    code = found.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(found, dict) else found
    return f"answered {code}"


@BOOK.attempt("own", "put, get, list, copy, upload in parts, delete", against=OWN)
def use_own(scene: Scene) -> str:
    """The control: all of this works where it is allowed."""
    s3, mine = client(), key(scene.own, scene, "own.txt")
    place: dict[str, Any] = {"Bucket": scene.own.bucket, "Key": mine}
    s3.put_object(**place, Body=b"mine")
    assert s3.get_object(**place)["Body"].read() == b"mine"  # noqa: S101 - a control that is not so fails
    assert s3.list_objects_v2(Bucket=scene.own.bucket, Prefix=f"{scene.own.prefix}/{scene.mark}/")["KeyCount"]  # noqa: S101
    s3.copy_object(Bucket=scene.own.bucket, Key=f"{mine}.copy", CopySource=f"{scene.own.bucket}/{mine}")
    upload = s3.create_multipart_upload(**place)["UploadId"]
    s3.abort_multipart_upload(**place, UploadId=upload)
    for name in (mine, f"{mine}.copy"):
        s3.delete_object(Bucket=scene.own.bucket, Key=name)
    return "did all of it"


def leave(scene: Scene) -> str:
    """Put an object under the own prefix, and leave it there."""
    return tried(
        lambda: client().put_object(Bucket=scene.own.bucket, Key=key(scene.own, scene, "left.txt"), Body=b"x")
    )


def _requests(scene: Scene) -> dict[str, Callable[[], object]]:
    """Every request that only has to be sent, by its row's name."""
    s3, bucket = client(), scene.own.bucket
    theirs = key(scene.other, scene)
    there: dict[str, Any] = {"Bucket": bucket, "Key": theirs}
    mark = f".tracking-operator/prefixes/{scene.other.prefix}/owner.json"
    own_mark = f".tracking-operator/prefixes/{scene.own.prefix}/owner.json"
    own = key(scene.own, scene, "target.txt")
    backup = f"{BACKUPS}{scene.mark}/manifest.json"
    everybody = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                }
            ],
        }
    )
    return {
        "get": lambda: s3.get_object(**there),
        "head": lambda: s3.head_object(**there),
        "put": lambda: s3.put_object(Bucket=bucket, Key=key(scene.other, scene, "intruder.txt"), Body=b"x"),
        "list": lambda: s3.list_objects_v2(Bucket=bucket, Prefix=f"{scene.other.prefix}/"),
        "delete": lambda: s3.delete_object(**there),
        "multipart": lambda: s3.create_multipart_upload(**there),
        "tags": lambda: s3.put_object_tagging(**there, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
        "object-acl": lambda: s3.put_object_acl(**there, ACL="public-read"),
        "copy": lambda: s3.copy_object(Bucket=bucket, Key=own, CopySource=f"{bucket}/{theirs}"),
        "list-root": lambda: s3.list_objects_v2(Bucket=bucket),
        "list-without-slash": lambda: s3.list_objects_v2(Bucket=bucket, Prefix=scene.own.prefix),
        "list-namespace": lambda: s3.list_objects_v2(
            Bucket=bucket, Prefix=scene.own.prefix.partition("/")[0]
        ),
        "neighbour": lambda: s3.put_object(
            Bucket=bucket, Key=f"{scene.own.prefix}-{scene.mark}/x", Body=b"x"
        ),
        "root": lambda: s3.put_object(Bucket=bucket, Key=f"{scene.mark}.txt", Body=b"x"),
        "uploads": lambda: s3.list_multipart_uploads(Bucket=bucket),
        "versions": lambda: s3.list_object_versions(Bucket=bucket, Prefix=f"{scene.other.prefix}/"),
        "get-policy": lambda: s3.get_bucket_policy(Bucket=bucket),
        "put-policy": lambda: s3.put_bucket_policy(Bucket=bucket, Policy=everybody),
        "delete-policy": lambda: s3.delete_bucket_policy(Bucket=bucket),
        "bucket-acl": lambda: s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write"),
        "versioning": lambda: s3.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}
        ),
        "create-bucket": lambda: s3.create_bucket(Bucket=f"{scene.mark}-of-my-own"),
        "delete-bucket": lambda: s3.delete_bucket(Bucket=bucket),
        "get-mark": lambda: s3.get_object(Bucket=bucket, Key=mark),
        "put-mark": lambda: s3.put_object(Bucket=bucket, Key=own_mark, Body=b"{}"),
        "delete-mark": lambda: s3.delete_object(Bucket=bucket, Key=own_mark),
        "list-marks": lambda: s3.list_objects_v2(Bucket=bucket, Prefix=".tracking-operator/"),
        "get-backup": lambda: s3.get_object(Bucket=bucket, Key=backup),
        "put-backup": lambda: s3.put_object(Bucket=bucket, Key=backup, Body=b"{}"),
        "copy-backup": lambda: s3.copy_object(Bucket=bucket, Key=own, CopySource=f"{bucket}/{backup}"),
        "delete-backup": lambda: s3.delete_object(Bucket=bucket, Key=backup),
        "list-backups": lambda: s3.list_objects_v2(Bucket=bucket, Prefix=BACKUPS),
        "anonymous-get": lambda: anonymous().get_object(**there),
        "anonymous-list": lambda: anonymous().list_objects_v2(Bucket=bucket),
    }


REQUESTS: Final = (
    ("get", "GetObject", OTHERS),
    ("head", "HeadObject", OTHERS),
    ("put", "PutObject", OTHERS),
    ("list", "ListObjectsV2", OTHERS),
    ("delete", "DeleteObject", OTHERS),
    ("multipart", "CreateMultipartUpload", OTHERS),
    ("tags", "PutObjectTagging", OTHERS),
    ("object-acl", "PutObjectAcl", OTHERS),
    ("copy", "CopyObject into the own prefix", OTHERS),
    ("versions", "ListObjectVersions", OTHERS),
    ("neighbour", "PutObject under a name that begins like the own prefix", "a prefix beside its own"),
    ("list-root", "ListObjectsV2 without a prefix", BUCKET),
    (
        "list-without-slash",
        "ListObjectsV2 of the own prefix without its slash",
        "prefixes that begin like its own",
    ),
    ("list-namespace", "ListObjectsV2 of the namespace", "other servers of its namespace"),
    ("root", "PutObject at the top", BUCKET),
    ("uploads", "ListMultipartUploads", BUCKET),
    ("get-policy", "GetBucketPolicy", BUCKET),
    ("put-policy", "PutBucketPolicy that lets everybody in", BUCKET),
    ("delete-policy", "DeleteBucketPolicy", BUCKET),
    ("bucket-acl", "PutBucketAcl", BUCKET),
    ("versioning", "PutBucketVersioning", BUCKET),
    ("create-bucket", "CreateBucket", "the object store"),
    ("delete-bucket", "DeleteBucket", BUCKET),
    ("get-mark", "GetObject of another team's mark", MARKS),
    ("put-mark", "PutObject over the own mark", MARKS),
    ("delete-mark", "DeleteObject of the own mark", MARKS),
    ("list-marks", "ListObjectsV2", MARKS),
    ("get-backup", "GetObject", STORED),
    ("put-backup", "PutObject", STORED),
    ("copy-backup", "CopyObject into the own prefix", STORED),
    ("delete-backup", "DeleteObject", STORED),
    ("list-backups", "ListObjectsV2", STORED),
)

STRANGERS: Final = (
    ("anonymous-get", "GetObject without keys", OTHERS),
    ("anonymous-list", "ListObjectsV2 without keys", BUCKET),
)
HARMFUL: Final = (
    "put-policy",
    "delete-policy",
    "bucket-acl",
    "versioning",
    "delete-bucket",
    "delete-mark",
    "put-mark",
)
"""Where success would cost others something."""


def _send(scene: Scene, name: str) -> str:
    return tried(_requests(scene)[name])


for _rows, _by in ((REQUESTS, By.TENANT), (STRANGERS, By.STRANGER)):
    for _name, _tried, _against in _rows:
        BOOK.add(
            Attempt(
                f"buckets/{_name}", Area.BUCKETS, _by, _against, _tried, DENIED, harmless=_name not in HARMFUL
            ),
            partial(_send, name=_name),
        )


@BOOK.attempt("delete-many", "DeleteObjects", against=OTHERS, refusal=DENIED)
def delete_many(scene: Scene) -> str:
    """S3 answers 200 to this request and says in it what was denied."""
    answer = client().delete_objects(
        Bucket=scene.own.bucket, Delete={"Objects": [{"Key": key(scene.other, scene)}]}
    )
    if failed := answer.get("Errors"):
        raise Refused(f"{failed[0].get('Code')}: {failed[0].get('Message')}")
    return f"deleted {answer.get('Deleted')}"


@BOOK.attempt("copy-part", "UploadPartCopy into the own prefix", against=OTHERS, refusal=DENIED)
def copy_part(scene: Scene) -> str:
    """Copying reads with the copier's keys."""
    s3 = client()
    place: dict[str, Any] = {"Bucket": scene.own.bucket, "Key": key(scene.own, scene, "parts.txt")}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    try:
        source = f"{scene.own.bucket}/{key(scene.other, scene)}"
        s3.upload_part_copy(**place, UploadId=upload, PartNumber=1, CopySource=source)
    finally:
        s3.abort_multipart_upload(**place, UploadId=upload)
    return "copied a part"


@BOOK.attempt("presigned", "sign a URL with the own keys and open it", against=OTHERS, refusal=DENIED)
def open_presigned(scene: Scene) -> str:
    """A signed URL can do what its signer can."""
    place = {"Bucket": scene.own.bucket, "Key": key(scene.other, scene)}
    url = client().generate_presigned_url("get_object", Params=place)
    session = URLLib3Session(verify=os.environ.get("AWS_CA_BUNDLE") or True, timeout=10)  # type: ignore[arg-type]
    answer = session.send(AWSRequest("GET", url).prepare())
    if answer.status_code != 200:  # noqa: PLR2004
        raise Refused(f"{answer.status_code} {answer.text}")
    return f"read {len(answer.content)} bytes"


@BOOK.attempt(
    "dot-dot",
    "PutObject at its own prefix, `..` and another's",
    against=OTHERS,
    refusal=f"{DENIED}|InvalidArgument|InvalidURI|BadRequest|400|NoSuchKey|a name like any other",
)
def climb_out(scene: Scene) -> str:
    """To S3 a key is a name; a store on a file system might see a path in it."""
    s3, bucket = client(), scene.own.bucket
    steps = "../" * (scene.own.prefix.count("/") + 2)
    name = f"{scene.own.prefix}/{scene.mark}/{steps}{scene.other.prefix}/{scene.mark}/victim.txt"
    content = s3.get_object(Bucket=bucket, Key=name)["Body"].read()
    return f"read {content!r}"


@BOOK.attempt("buckets", "ListBuckets", against="other buckets", refusal=f"{DENIED}|^no bucket is listed$")
def list_buckets(_scene: Scene) -> str:
    """Names of buckets are names of tenants, too."""
    names = [bucket.get("Name") for bucket in client().list_buckets().get("Buckets", [])]
    if not names:
        raise Refused("no bucket is listed")
    return f"saw {len(names)} buckets"


@BOOK.attempt(
    "admin-api",
    "list-users and create-user of versitygw's admin API, with the own keys",
    against="the object store's users",
    refusal=f"{DENIED}|404|405|NotImplemented",
)
def ask_the_admin_api(scene: Scene) -> str:
    """Its admin API may be at the same port."""
    endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL")
    if not endpoint:
        raise CannotTryError("the object store is AWS, which has no such API")
    client()
    file = configparser.ConfigParser()
    file.read(os.environ["AWS_SHARED_CREDENTIALS_FILE"])
    keys = Credentials(file["default"]["aws_access_key_id"], file["default"]["aws_secret_access_key"])
    session = URLLib3Session(verify=os.environ.get("AWS_CA_BUNDLE") or True, timeout=10)  # type: ignore[arg-type]
    body = f"<Account><Access>{scene.mark}</Access><Secret>{scene.mark}</Secret><Role>admin</Role></Account>".encode()
    said = []
    for path, content in (("list-users", b""), ("create-user", body)):
        checksum = {"X-Amz-Content-SHA256": hashlib.sha256(content).hexdigest()}
        request = AWSRequest("PATCH", f"{endpoint}/{path}", headers=checksum, data=content)
        SigV4Auth(keys, "s3", os.environ.get("AWS_DEFAULT_REGION", "us-east-1")).add_auth(request)
        answer = session.send(request.prepare())
        if answer.status_code < 400:  # noqa: PLR2004
            return f"{path} answered {answer.status_code}"
        said.append(f"{answer.status_code} {answer.text}")
    raise Refused(said[0])
