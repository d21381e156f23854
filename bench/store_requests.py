"""Counting the requests to the object store in the cluster, in its own log."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dev.object_store import ClusterObjectStore
from dev.object_store.manifests import HEALTH, NAME

COLUMNS: Final = 8
QUIET_SECONDS: Final = 1.5
SETTLING_SECONDS: Final = 90.0
POLL_SECONDS: Final = 0.25

OWN_OBJECTS: Final = "/.tracking-operator"
UNFINISHED: Final = "creating"
"""Ends the prefix by which an admin looks whether a bucket is still being made: once for each look at everything."""


@dataclass(frozen=True)
class StoreRequest:
    """One request that was answered."""

    method: str
    path: str
    query: str

    @property
    def is_probe(self) -> bool:
        """Whether it only asks if the bucket is there; each class does so every four seconds."""
        return self.method == "HEAD" and self.path.count("/") == 1

    @property
    def begins_look_at_class(self) -> bool:
        """Whether it is the first one of a look at everything of a class's bucket."""
        return self.method == "GET" and f"%2F{UNFINISHED}" in self.query.replace("/", "%2F")

    @property
    def kind(self) -> str:
        """What it is about, in words."""
        if self.method == "PATCH":
            return f"admin API: {self.path.strip('/')}"
        if self.is_probe:
            return "HEAD bucket"
        what = "object"
        if "policy" in self.query:
            what = "policy"
        elif f"{OWN_OBJECTS}/" in self.path:
            what = "mark"
        elif self.path.count("/") == 1 or "list-type" in self.query:
            what = "listing"
        return f"{self.method} {what}"


def requests_in(log: str) -> list[StoreRequest]:
    """Read versitygw's log: `17:01:47 | vgw | 200 | 317.754µs | 127.0.0.1 | PUT | /bucket | - | versioning=`. Pure."""
    found = []
    for line in log.splitlines():
        words = [word.strip() for word in line.split("|")]
        if len(words) < COLUMNS or not words[2].isdigit() or words[6] == HEALTH:
            continue
        found.append(StoreRequest(words[5], words[6], words[-1]))
    return found


def by_kind(requests: Iterable[StoreRequest]) -> Mapping[str, int]:
    """How many there are of each kind. Pure."""
    return Counter(one.kind for one in requests)


def without_probes(requests: Iterable[StoreRequest]) -> list[StoreRequest]:
    """The requests that are about more than whether the bucket answers. Pure."""
    return [one for one in requests if not one.is_probe]


class StoreRequests:
    """What the store was asked for since a mark."""

    def __init__(self, store: ClusterObjectStore) -> None:
        self._store = store
        self._before = 0

    async def mark(self) -> None:
        """Begin to count."""
        self._before = len(await self._all())

    async def since(self) -> Sequence[StoreRequest]:
        """All requests since the mark."""
        return (await self._all())[self._before :]

    async def settled(
        self, counts: Callable[[Iterable[StoreRequest]], list[StoreRequest]] = without_probes
    ) -> list[StoreRequest]:
        """Wait until nothing was asked for a while that counts; return what was since the mark.

        Raises TimeoutError: it goes on and on.
        """
        found, quiet_since = counts(await self.since()), time.monotonic()
        async with asyncio.timeout(SETTLING_SECONDS):
            while time.monotonic() - quiet_since < QUIET_SECONDS:
                await asyncio.sleep(POLL_SECONDS)
                latest = counts(await self.since())
                if len(latest) != len(found):
                    found, quiet_since = latest, time.monotonic()
        return found

    async def _all(self) -> list[StoreRequest]:
        where = ("--namespace", self._store.namespace)
        log = await asyncio.to_thread(self._store.cluster.kubectl, "logs", f"deployment/{NAME}", *where)
        return requests_in(log)
