"""Trying an artifact store out: an object of a random name comes and goes."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tracking_operator.pod_tools.checks import CheckFailed

CONTENT = b"Written by the tracking operator to try the store out; it can be deleted.\n"


@dataclass(frozen=True)
class Found:
    """How the check ended well; a ``reason`` makes it a remark."""

    message: str
    reason: str = ""


class Store(Protocol):
    """A place for objects. Every method raises CheckFailed."""

    def put(self, key: str, content: bytes) -> None:
        """Upload an object."""

    def keys_under(self, prefix: str) -> list[str]:
        """List what begins with a prefix."""

    def get(self, key: str) -> bytes:
        """Download an object."""

    def delete(self, key: str) -> None:
        """Remove an object."""


def put_list_get(store: Store, key: str) -> None:
    """Upload an object, find it in the listing and download it again."""
    store.put(key, CONTENT)
    say(f"Put {key}.")
    if key not in store.keys_under(key):
        raise CheckFailed("StoreFailed", f"The store took {key}, but does not list it.")
    say(f"Listed {key}.")
    if store.get(key) != CONTENT:
        raise CheckFailed("StoreFailed", f"The store took {key}, but gives another content.")
    say(f"Got {key}.")


def random_name() -> str:
    """The name of an object that nobody else has."""
    return f".tracking-operator-check-{uuid.uuid4().hex}"


def say(line: str) -> None:
    """Tell whoever reads the log how far it is."""
    print(line, flush=True)


@contextlib.contextmanager
def removed_at_the_end(store: Store, key: str) -> Iterator[None]:
    """Leave nothing behind when the block fails, as far as that is permitted."""
    try:
        yield
    except CheckFailed:
        with contextlib.suppress(CheckFailed):
            store.delete(key)
        raise
