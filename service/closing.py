"""Let go of what may never end: connections of a broker that is away, or of a hanging client."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def close_within(seconds: float, closing: Coroutine[Any, Any, None]) -> None:
    """Wait at most so long for something to close, and then go on without it.

    `asyncio.wait_for` would wait until the coroutine has ended, and one of aiokafka may ignore its
    cancellation.
    """
    task = asyncio.create_task(closing)
    await asyncio.wait({task}, timeout=seconds)
    task.cancel()
    let_alone(task)


def let_alone(future: "asyncio.Future[Any]") -> None:
    """Let asyncio not log how this ends: nobody waits for it any more."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
