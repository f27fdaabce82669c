"""Load that goes on beside a test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

BEAT_SECONDS = 0.5
"""Between two steps."""


@asynccontextmanager
async def repeated(step: Callable[[int], Awaitable[None]]) -> AsyncIterator[None]:
    """Take a step, which is given its number, in each beat until the context ends."""
    is_over = asyncio.Event()

    async def repeat() -> None:
        for number in count():
            if is_over.is_set():
                return
            await step(number)
            await asyncio.sleep(BEAT_SECONDS)

    repeating = asyncio.create_task(repeat())
    try:
        yield
    finally:
        is_over.set()
        await repeating
