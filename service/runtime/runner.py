"""The one task that owns a state machine: it steps through its inbox and performs the effects.

The pipeline of `run` is such a machine, and so is the translator of each source of `translate`.

Rule 1: no other task changes the machine; what others report enters through the inbox. They may
read its status, because a step is never interrupted.
Rule 2: an exception here ends the process, because it is a bug, or the outcome log can promise
nothing any more.
"""

import asyncio
from collections.abc import Mapping
from typing import Generic, TypeVar

from service.core.effects import Commit, CommonEffect, Drained, DropAssignment, SetIntake
from service.core.facts import Fact
from service.core.inputs import (
    Assigned,
    CommitRefused,
    Committed,
    CommonInput,
    Released,
    TimePassed,
)
from service.core.model import Partition
from service.core.status import HeldBack
from service.ports import Clock, Intake, Observer, OutcomeLog
from service.runtime.inbox import RunnerInbox
from service.runtime.machine import Machine, Requests

ROUND_SECONDS_MAX = 1.0
"""How long the runner rests at most: its rounds are how others see that it works."""

OwnInput = TypeVar("OwnInput")
"""What the machine is told of its requests."""
OwnEffect = TypeVar("OwnEffect")
"""What the machine asks of its requests."""


class Runner(Generic[OwnInput, OwnEffect]):
    """Runs a machine between its neighbours until it is cancelled or fails."""

    def __init__(
        self,
        machine: Machine[OwnInput, OwnEffect],
        inbox: RunnerInbox[OwnInput],
        *,
        requests: Requests[OwnEffect],
        log: OutcomeLog,
        intake: Intake,
        observer: Observer,
        clock: Clock,
    ) -> None:
        self._machine = machine
        self._inbox = inbox
        self._log = log
        self._intake = intake
        self._observer = observer
        self._clock = clock
        self._requests = requests
        self._commits: set[asyncio.Task[None]] = set()
        self._due_at = float("-inf")
        """When the machine has something to do although nothing happened (monotonic seconds)."""
        self.stepped_at = clock.now().seconds
        """When the last round began; one begins at least every `ROUND_SECONDS_MAX`."""
        self.is_fenced = asyncio.Event()
        """Set when the group fenced this replica, which then has to join the group again."""

    async def run(self) -> None:
        """Step through the inbox until cancelled.

        Raises:
            FatalError: the outcome log can promise nothing any more.
        """
        try:
            while True:
                self._step_through_inbox()
                self._due_at = self._next_due()
                await self._inbox.wait(self._seconds_to_rest())
        finally:
            self._inbox.close()
            await self._requests.close()
            for task in self._commits:
                task.cancel()

    def held_back(self) -> HeldBack | None:
        """Return what `release` would let go; None if neither limit nor ceiling is reached."""
        return self._machine.held_back() if self._is_held_back() else None

    def release(self, lags: Mapping[Partition, int]) -> int | None:
        """Release what the dead-letter limit and the ceiling on deletes hold back; return how much.

        Return None when neither is reached. `lags` are the records behind each partition's
        position: those are released as well, so that they are not held back again.
        """
        if not self._is_held_back():
            return None
        status = self._machine.status(self._clock.now().seconds)
        ends = {
            one.partition: one.position + lags.get(one.partition, 0) for one in status.partitions
        }
        self._inbox.submit(Released(ends))
        return status.withheld_changes + status.held_changes

    def _is_held_back(self) -> bool:
        status = self._machine.status(self._clock.now().seconds)
        return status.is_limit_reached or bool(status.over_ceiling)

    def _step_through_inbox(self) -> None:
        self.stepped_at = self._clock.now().seconds
        # Time first: after a pause the lease must be seen as lost before anything else.
        if self.stepped_at >= self._due_at:
            self._step(TimePassed())
        for happened in self._inbox.take():
            self._step(happened)

    def _step(self, happened: CommonInput | OwnInput) -> None:
        if isinstance(happened, Assigned):
            self.is_fenced.clear()  # by joining again, whatever caused it
        for effect in self._machine.step(happened, self._clock.now()):
            self._perform(effect)

    def _next_due(self) -> float:
        next_time = self._machine.next_time()
        return float("inf") if next_time is None else next_time

    def _seconds_to_rest(self) -> float:
        return min(ROUND_SECONDS_MAX, max(0.0, self._due_at - self._clock.now().seconds))

    def _perform(self, effect: CommonEffect | OwnEffect) -> None:
        match effect:
            case Fact():
                self._observer.note(effect)
            case Commit():
                self._start_commit(effect)
            case SetIntake(paused):
                self._intake.set_paused(paused)
            case Drained(pending):
                self._inbox.end_drains(pending)
            case DropAssignment():
                self.is_fenced.set()
            case _:
                self._requests.perform(effect)

    def _start_commit(self, commit: Commit) -> None:
        task = asyncio.create_task(self._commit(commit))
        self._commits.add(task)  # the event loop itself keeps no task alive
        task.add_done_callback(self._commits.discard)

    async def _commit(self, commit: Commit) -> None:
        try:
            refusal = await self._log.write(commit.transaction)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the run
            self._inbox.fail(error)
            return
        if refusal is None:
            self._inbox.submit(Committed(commit.number))
        else:
            self._inbox.submit(CommitRefused(commit.number, refusal))
