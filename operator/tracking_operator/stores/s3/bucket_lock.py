"""One writer per bucket: S3 has no way to say "only if nobody has changed it since" for a bucket's policy.

Between replicas of the operator there is one writer because only the leader works; between its threads, this. Namespaces
take turns: however many servers one of them has, another waits for one write of each that waits before it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Waiting
from tracking_operator.shares import TurnsOfThreads
from tracking_operator.stores.s3.bucket_address import Bucket

SECONDS_TO_WAIT: Final = 30.0
SECONDS_AFTER: Final = 1.0

FOR_THE_CLASS: Final = ""
"""Who writes when it is for no single namespace; none is called like it."""

_turns: dict[tuple[str, str], TurnsOfThreads] = {}
_making = Lock()


@contextmanager
def alone_on(bucket: Bucket, namespace: str) -> Iterator[None]:
    """Let nobody else of this process write to a bucket's policy or claim a prefix while the block runs.

    Not to be entered again inside of the block. ``namespace`` is the one whose server it is for.

    Raises:
        Waiting: others have been at it for long; with the reason Busy.

    """
    with _making:
        turns = _turns.setdefault(bucket.address, TurnsOfThreads())
    if not turns.take(namespace, SECONDS_TO_WAIT):
        raise Waiting(
            Reason.BUSY,
            f"The policy of {bucket} is being changed for other servers; this one comes next.",
            retry_after=SECONDS_AFTER,
        )
    try:
        yield
    finally:
        turns.give_back(namespace)
