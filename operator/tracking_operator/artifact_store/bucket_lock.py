"""One writer per bucket: S3 has no way to say "only if nobody has changed it since" for a bucket's policy.

Between replicas of the operator there is one writer because only the leader works; between its threads, this.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.artifact_store.place import Bucket
from tracking_operator.failures import Waiting

SECONDS_TO_WAIT: Final = 30.0
SECONDS_AFTER: Final = 1.0

_locks: "dict[tuple[str, str], RLock]" = {}
_making = Lock()


@contextmanager
def alone_on(bucket: Bucket) -> Iterator[None]:
    """Let nobody else of this process write to a bucket's policy or claim a prefix while the block runs.

    Raises:
        Waiting: somebody else has been at it for long; with the reason Busy.

    """
    with _making:
        lock = _locks.setdefault(bucket.address, RLock())
    if not lock.acquire(timeout=SECONDS_TO_WAIT):
        raise Waiting(
            Reason.BUSY,
            f"The policy of {bucket} is being changed for other servers; this one comes next.",
            retry_after=SECONDS_AFTER,
        )
    try:
        yield
    finally:
        lock.release()
