"""How many requests go to a host at once and in a second."""

import asyncio
import math
import time

from service.core.rate import Rate


class Pace:
    """Lets requests pass within a host's limits, in the order in which they ask."""

    def __init__(self, at_once_max: int, per_second_max: float) -> None:
        self.slots = asyncio.Semaphore(at_once_max)
        """Held by each request that is under way."""
        self._turn = asyncio.Lock()
        self._rate = Rate(max(1, math.floor(per_second_max)), seconds=max(1.0, 1 / per_second_max))

    async def turn(self) -> None:
        """Wait until one more request may pass; each request takes a turn, a token's too."""
        async with self._turn:
            now = time.monotonic()
            if (allowed_at := self._rate.next_time(now)) is not None:
                await asyncio.sleep(allowed_at - now)
            self._rate.count(time.monotonic())
