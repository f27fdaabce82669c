"""Wait for a fact that nobody tells."""

import asyncio
from collections.abc import Callable

SECONDS_MAX = 60.0
"""A machine under load is slow, not wrong."""
LOOK_SECONDS = 0.005


async def until(is_so: Callable[[], object]) -> None:
    """Wait until the condition is true.

    Raises:
        TimeoutError: it is not true in time.
    """
    async with asyncio.timeout(SECONDS_MAX):
        while not is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(LOOK_SECONDS)
