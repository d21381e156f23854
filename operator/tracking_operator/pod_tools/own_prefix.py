"""A prefix of the server's own: it has to be open to the server, and everything else shut."""

from collections.abc import Callable

from tracking_operator.pod_tools import s3
from tracking_operator.pod_tools.checks import CheckFailed
from tracking_operator.pod_tools.object_trial import (
    CONTENT,
    Found,
    put_list_get,
    removed_at_the_end,
    say,
)
from tracking_operator.pod_tools.s3 import S3Store

MARK = ".tracking-operator/prefixes/{prefix}/owner.json"
"""Where the operator notes whose a prefix is: an object that exists, outside of the prefix."""
TRIAL = ".tracking-operator-check"
"""The object that comes and goes. It has one name, so that attempts that may put and not delete leave one behind."""
OPERATORS = s3.Identity(
    "The operator makes the identity: the server's condition ArtifactStoreReady says how far it is.",
    may_be_fresh=True,
)
TEAMS = s3.Identity("Correct accessKeyId and secretAccessKey in the Secret.")


def try_own_prefix(bucket: str, prefix: str, *, has_own_keys: bool) -> Found:
    """Find the prefix open, and everything else shut."""
    store = S3Store(s3.s3_client(), bucket, TEAMS if has_own_keys else OPERATORS)
    require_open(store, f"{prefix}/")
    reached = what_is_open_outside(store, prefix)
    if not reached:
        return Found(f"The identity reaches s3://{bucket}/{prefix}/, and nothing beside it was open.")
    beyond = f"outside of s3://{bucket}/{prefix}/ it is possible to {', to '.join(reached)}"
    if has_own_keys:
        return Found(f"With the keys of the Secret, {beyond}.", "ReachesBeyondPrefix")
    raise CheckFailed(
        "IsolationNotProved",
        f"With the server's identity, {beyond}: take that away from the policies of the identity and of the bucket.",
    )


def require_open(store: S3Store, folder: str) -> None:
    """Do everything that MLflow does under the prefix."""
    key = f"{folder}{TRIAL}"
    with removed_at_the_end(store, key):
        put_list_get(store, key)
        store.keys_under(folder)
        store.delete(key)
        say(f"Deleted {key}.")


def what_is_open_outside(store: S3Store, prefix: str) -> list[str]:
    """Try what has to be denied, and say what is not; nothing is left behind.

    The neighbour's name begins like the prefix, which a policy on ``prefix*`` instead of ``prefix/*`` would match.
    Where a key does not exist, some stores deny what they would allow otherwise: the mark does exist.
    """
    neighbour = f"{prefix}-tracking-operator-check/{TRIAL}"
    mark = MARK.format(prefix=prefix)
    client, bucket = store.client, store.bucket
    attempts: list[tuple[str, str, Callable[[], object]]] = [
        ("list the whole bucket", "", lambda: s3.keys_under(client, bucket, "")),
        (f"list all that begins with {prefix}", prefix, lambda: s3.keys_under(client, bucket, prefix)),
        (f"list {neighbour}", neighbour, lambda: s3.keys_under(client, bucket, neighbour)),
        (f"put {neighbour}", neighbour, lambda: s3.put(client, bucket, neighbour, CONTENT)),
        (f"get {neighbour}", neighbour, lambda: s3.get(client, bucket, neighbour)),
        (
            f"delete {neighbour}",
            neighbour,
            lambda: client.delete_object(Bucket=bucket, Key=neighbour),
        ),
        (f"get {mark}", mark, lambda: s3.get(client, bucket, mark)),
    ]
    reached = [what for what, key, attempt in attempts if is_open(store, what, key, attempt)]
    if f"put {neighbour}" in reached and f"delete {neighbour}" not in reached:
        reached.append(f"but not to delete it again: remove {neighbour}")
    return reached


def is_open(store: S3Store, what: str, key: str, attempt: Callable[[], object]) -> bool:
    """Whether a request that has to be denied is not. "There is no such key" is not a denial."""
    from botocore.exceptions import ClientError

    with store.asking(what, key):
        try:
            attempt()
        except ClientError as error:
            if s3.says(error, s3.DENIED):
                say(f"Denied, as it should be: to {what}.")
                return False
            if not (s3.says(error, s3.NOT_FOUND) and s3.code_of(error) != "NoSuchBucket"):
                raise
    say(f"Open: to {what}.")
    return True
