"""Attempts that are one request each, which the API server has to refuse whether there is such an object or not."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from typing import Final

from tracking_operator.isolation.attempts import Attempt, Book, By
from tracking_operator.isolation.by_api.scene import ApiScene

FORBIDDEN: Final = "^403"

Acts = dict[str, Callable[[], Awaitable[object]]]
"""What is sent, by the names of rows."""


def add_requests(
    book: Book[ApiScene],
    requests: Iterable[tuple[str, str, str]],
    acts: Callable[[ApiScene], Acts],
    *,
    harmful: Collection[str] = (),
) -> None:
    """Add a row for each request: its name among ``acts``, what is tried, and against what."""
    for name, tried, against in requests:
        words = f"{book.area.value.lower().replace(' ', '-')}/{name}"
        attempt = Attempt(
            words, book.area, By.TENANT, against, tried, FORBIDDEN, harmless=name not in harmful
        )
        book.add(attempt, partial(_send, acts=acts, name=name))


async def _send(scene: ApiScene, acts: Callable[[ApiScene], Acts], name: str) -> str:
    found = await acts(scene)[name]()
    return f"got {len(found)} objects" if isinstance(found, list) else "it was done"
