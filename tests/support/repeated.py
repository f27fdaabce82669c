"""What goes on beside a test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count


@asynccontextmanager
async def repeated(
    step: Callable[[int], Awaitable[None]], pause_seconds: float = 0.5
) -> AsyncIterator[None]:
    """Take steps, each of which is given its number, with pauses until the context ends."""
    is_over = asyncio.Event()

    async def repeat() -> None:
        for number in count():
            if is_over.is_set():
                return
            await step(number)
            await asyncio.sleep(pause_seconds)

    repeating = asyncio.create_task(repeat())
    try:
        yield
    finally:
        is_over.set()
        await repeating
