"""The inbox of a runner: the only way into its state machine, for all that neighbours report.

Rule 1: `submit` never waits. What may pile up here is limited by pausing the intake.
Rule 2: records come last, because the end of a call frees a slot of the PIM's limit at once.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from service.core.inputs import Arrived, CommonInput, DrainKind, DrainStarted, LeaseRenewed
from service.ports import Clock

Own = TypeVar("Own")
"""What the state machine is told besides the common inputs: the ends of its requests."""

RECORDS_PER_STEP = 200
"""Stepping through so many records takes some milliseconds; then other inputs get their turn."""


class RunnerInbox(Generic[Own]):
    """An `Inbox` that keeps its inputs until the runner takes them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._inputs: deque[CommonInput | Own] = deque()
        self._arrivals: deque[Arrived] = deque()
        self._arrivals_taken = asyncio.Event()
        self._woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._lease_until = float("-inf")
        self._drains: list[asyncio.Future[int]] = []
        self._failure: Exception | None = None

    def submit(self, happened: CommonInput | Own) -> None:
        if isinstance(happened, LeaseRenewed):
            self._lease_until = max(self._lease_until, happened.until)
        if isinstance(happened, Arrived):
            self._arrivals.extend(_in_portions(happened))
        else:
            self._inputs.append(happened)
        self._wake()

    async def take_in(self, arrived: Arrived) -> None:
        self._arrivals_taken.clear()
        self.submit(arrived)
        await self._arrivals_taken.wait()

    async def drain(self, kind: DrainKind, seconds: float) -> int:
        drained: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._drains.append(drained)
        self.submit(DrainStarted(kind, self._clock.now().seconds + seconds))
        return await drained

    def end_drains(self, pending: int) -> None:
        """Let every `drain` return the number of changes that are left to the next owner."""
        for drained in self._drains:
            if not drained.done():
                drained.set_result(pending)
        self._drains.clear()

    def fail(self, error: Exception) -> None:
        """Let `wait` raise this error, unless it raises an earlier one."""
        self._failure = self._failure or error
        self._wake()

    def has_lease(self) -> bool:
        """Return whether calls may be sent now: the lease may end between two steps."""
        return self._clock.now().seconds < self._lease_until

    def take(self) -> Iterator[CommonInput | Own]:
        """Yield the inputs in order, then one portion of records."""
        while self._inputs:
            yield self._inputs.popleft()
        if self._arrivals:
            yield self._arrivals.popleft()
        if not self._arrivals:
            self._arrivals_taken.set()

    async def wait(self, seconds_max: float) -> None:
        """Wait until something is submitted, at most this long; other tasks run meanwhile.

        Raises:
            Exception: what `fail` was given.
        """
        if self._inputs or self._arrivals or seconds_max <= 0.0:
            await asyncio.sleep(0)
        else:
            self._woken = asyncio.get_running_loop().create_future()
            self._set_timer(seconds_max)
            await self._woken
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Let nobody wait for records to be taken: the runner has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._arrivals_taken.set()

    def _set_timer(self, seconds: float) -> None:
        """Wake up by then. A timer that is already set and goes off earlier is kept.

        It costs one more round of the runner, which is cheaper than a new timer for every round.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._timer is None or not now < self._timer.when() <= now + seconds:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)


def _in_portions(arrived: Arrived) -> Iterator[Arrived]:
    records = arrived.records
    for begin in range(0, len(records), RECORDS_PER_STEP):
        yield Arrived(records[begin : begin + RECORDS_PER_STEP])
