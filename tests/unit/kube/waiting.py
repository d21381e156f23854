"""Waiting inside an event loop, with a deadline."""

import asyncio
from collections.abc import Callable

from tests.waiting import patient

PATIENCE_SECONDS = 10.0


async def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Let the event loop run until the condition is true; TimeoutError after ``seconds``, or longer on a busy machine."""
    async with asyncio.timeout(patient(seconds)):
        while not condition():  # noqa: ASYNC110 — the condition has no event to wait for
            await asyncio.sleep(0.002)
