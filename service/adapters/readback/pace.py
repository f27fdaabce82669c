"""How many requests go to a host at once and in a second."""

import asyncio
import math
import time
from collections import deque


class Pace:
    """Lets requests pass within a host's limits, in the order in which they ask."""

    def __init__(self, at_once_max: int, per_second_max: float) -> None:
        self.slots = asyncio.Semaphore(at_once_max)
        """Held by each request that is under way."""
        self._turn = asyncio.Lock()
        self._sent: deque[float] = deque(maxlen=max(1, math.floor(per_second_max)))
        """When the last requests passed, in seconds of the monotonic clock."""
        self._seconds = max(1.0, 1 / per_second_max)
        """In so many seconds, no more requests pass than are remembered."""

    async def turn(self) -> None:
        """Wait until one more request may pass; each request takes a turn, a token's too."""
        async with self._turn:
            if len(self._sent) == self._sent.maxlen:
                await asyncio.sleep(self._sent[0] + self._seconds - time.monotonic())
            self._sent.append(time.monotonic())
