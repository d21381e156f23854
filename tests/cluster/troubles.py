"""What can go wrong with a class's store, and is put right again; a trap for who goes where nobody should."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tests.operator_stores import StoreClass

Class = TypeVar("Class", bound=StoreClass)


@dataclass(frozen=True)
class Trouble(Generic[Class]):
    """Something that goes wrong with a class, as the reason says, and is put right again."""

    what: str
    reason: str
    words: str
    cause: Callable[[Class], object]
    cure: Callable[[Class], object]


def change(**offer: object) -> Callable[[StoreClass], object]:
    """Change what the class says of its store."""
    return lambda class_: class_.change(**offer)


@dataclass
class Trap:
    """A listener that remembers who came."""

    port: int
    visitors: list[object] = field(default_factory=list)


@contextmanager
def listening(host: str) -> Iterator[Trap]:
    """Accept connections at an address of the loopback for the time of the block."""
    with socket.create_server((host, 0)) as listener:
        trap = Trap(int(listener.getsockname()[1]))

        def accept() -> None:
            with suppress(OSError):
                while True:
                    trap.visitors.append(listener.accept()[1])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield trap
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
