"""The one task that owns the pipeline: next input or next due time → step → perform.

Rule 1: everything enters by `submit`; nobody else touches the pipeline.
Rule 2: an exception here is our bug, or a log that can promise nothing: it ends the process.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping

from service.core.effects import (
    AllowRequest,
    CancelCall,
    Commit,
    Drained,
    DropAssignment,
    Effect,
    SetIntake,
    StartCall,
)
from service.core.facts import Fact
from service.core.inputs import (
    Arrived,
    Assigned,
    CommitRefused,
    Committed,
    DrainKind,
    DrainStarted,
    Forgotten,
    Input,
    LeaseRenewed,
    Released,
    TimePassed,
)
from service.core.model import Partition
from service.core.pipeline import Pipeline
from service.core.status import Status
from service.ports import AssetApi, Clock, Intake, Observer, OutcomeLog
from service.runtime.requests import RequestRunner

ROUND_SECONDS_MAX = 1.0
"""The longest sleep: a loop that turns is how others see that it lives."""


RECORDS_PER_STEP = 200
"""Some milliseconds of work, between two looks at what else happened."""


class Runner:
    """Runs a pipeline between its neighbours until it is cancelled or fails."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        api: AssetApi,
        log: OutcomeLog,
        intake: Intake,
        observer: Observer,
        clock: Clock,
    ) -> None:
        self.pipeline = pipeline
        self._log = log
        self._intake = intake
        self._observer = observer
        self._clock = clock
        self._inbox: deque[Input] = deque()
        self._arrivals: deque[Arrived] = deque()
        """Records wait behind everything else: the end of a call frees a slot of the PIM's."""
        self._arrivals_taken = asyncio.Event()
        self._woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._requests = RequestRunner(api, self.submit, self._has_lease, self._fail)
        self._lease_until = float("-inf")
        self._commits: set[asyncio.Task[None]] = set()
        self._failure: Exception | None = None
        self._drains: list[asyncio.Future[int]] = []
        self._due_at = float("-inf")
        """When time alone is a reason to step; nothing else can change between two rounds."""
        self.stepped_at = clock.now().seconds
        """When the loop went round last: it does at least every `ROUND_SECONDS_MAX`."""
        self.is_fenced = asyncio.Event()
        """Set when the group fenced this replica: it has to join anew."""

    def submit(self, happened: Input) -> None:
        """Something happened. Never waits; what may enter is bounded by the intake."""
        if isinstance(happened, LeaseRenewed):
            self._lease_until = max(self._lease_until, happened.until)
        if isinstance(happened, Arrived):
            self._arrivals.extend(_in_parts(happened))
        else:
            self._inbox.append(happened)
        self._wake()

    async def take_in(self, arrived: Arrived) -> None:
        """Hand records over, and return when the pipeline has taken them: it may have paused."""
        self._arrivals_taken.clear()
        self.submit(arrived)
        await self._arrivals_taken.wait()

    async def run(self) -> None:
        """Step until cancelled.

        Raises:
            FatalError: the outcome log can promise nothing any more.
        """
        try:
            while self._failure is None:
                self._step_through_inbox()
                self._due_at = self._next_due()
                await self._rest(self._seconds_to_next())
            raise self._failure
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._arrivals_taken.set()
            await self._requests.close()
            for task in self._commits:
                task.cancel()

    async def drain(self, kind: DrainKind, seconds: float) -> int:
        """Finish within so many seconds; the changes that were left unsettled."""
        drained: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._drains.append(drained)
        self.submit(DrainStarted(kind, self._clock.now().seconds + seconds))
        return await drained

    def assign(self, assigned: Assigned) -> None:
        """A new assignment begins."""
        self.is_fenced.clear()
        self.submit(assigned)

    def forget(self) -> None:
        """The assignment is over."""
        self.submit(Forgotten())

    def status(self) -> Status:
        """What is open now."""
        return self.pipeline.status(self._clock.now().seconds)

    def release(self, lags: Mapping[Partition, int]) -> int | None:
        """Let go what the limit on dead letters holds back; how much, None where it is not.

        `lags` are the records behind each partition's position: they are released as well.
        """
        status = self.status()
        if not status.is_limit_reached:
            return None
        ends = {
            one.partition: one.position + lags.get(one.partition, 0) for one in status.partitions
        }
        self.submit(Released(ends))
        return status.withheld_changes

    def _has_lease(self) -> bool:
        return self._clock.now().seconds < self._lease_until

    async def _rest(self, seconds: float) -> None:
        """Until something happens, or so long; answers of the PIM are read meanwhile."""
        if seconds <= 0.0:
            await asyncio.sleep(0)
            return
        self._woken = asyncio.get_running_loop().create_future()
        self._set_timer(seconds)
        await self._woken

    def _set_timer(self, seconds: float) -> None:
        """Wake up by then; a timer that is set to go off before only makes one more round."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._timer is None or not now < self._timer.when() <= now + seconds:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)

    def _step_through_inbox(self) -> None:
        self.stepped_at = self._clock.now().seconds
        # Time first: after a pause the lease must be seen as lost before anything else.
        if self.stepped_at >= self._due_at:
            self._step(TimePassed())
        while self._inbox:
            self._step(self._inbox.popleft())
        if self._arrivals:
            self._step(self._arrivals.popleft())
        if not self._arrivals:
            self._arrivals_taken.set()

    def _step(self, happened: Input) -> None:
        for effect in self.pipeline.step(happened, self._clock.now()):
            self._perform(effect)

    def _next_due(self) -> float:
        next_time = self.pipeline.next_time()
        return float("inf") if next_time is None else next_time

    def _seconds_to_next(self) -> float:
        if self._inbox or self._arrivals:
            return 0.0
        return min(ROUND_SECONDS_MAX, max(0.0, self._due_at - self._clock.now().seconds))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Fact():
                self._observer.note(effect)
            case StartCall():
                self._requests.start(effect)
            case CancelCall(call_id):
                self._requests.cut(call_id)
            case AllowRequest(call_id):
                self._requests.allow(call_id)
            case Commit():
                self._start(effect)
            case SetIntake(paused):
                self._intake.set_paused(paused)
            case Drained(pending):
                self._end_drains(pending)
            case DropAssignment():
                self.is_fenced.set()

    def _start(self, commit: Commit) -> None:
        task = asyncio.create_task(self._commit(commit))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)

    async def _commit(self, commit: Commit) -> None:
        try:
            refusal = await self._log.write(commit.transaction)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the run
            self._fail(error)
            return
        if refusal is None:
            self.submit(Committed(commit.number))
        else:
            self.submit(CommitRefused(commit.number, refusal))

    def _fail(self, error: Exception) -> None:
        """Nothing more can be promised: `run` raises it."""
        self._failure = self._failure or error
        self._wake()

    def _end_drains(self, pending: int) -> None:
        for drained in self._drains:
            if not drained.done():
                drained.set_result(pending)
        self._drains.clear()


def _in_parts(arrived: Arrived) -> Iterator[Arrived]:
    """The same records, in order, in portions of a step."""
    records = arrived.records
    for begin in range(0, len(records), RECORDS_PER_STEP):
        yield Arrived(records[begin : begin + RECORDS_PER_STEP])
