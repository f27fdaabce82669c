"""The runner: it steps through its inbox, and performs the effects of the pipeline."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from service.core.effects import Effect, PipelineEffect
from service.core.facts import Fact
from service.core.inputs import (
    Answer,
    Arrived,
    Assigned,
    CallFault,
    CommitRefusal,
    DrainKind,
    FaultKind,
    Forgotten,
    Input,
    LeaseRenewed,
    PipelineInput,
    Start,
    TimePassed,
)
from service.core.limits import DecodeLimits, Limits
from service.core.model import Moment, Origin, Partition, SourceRecord
from service.core.pipeline import Pipeline
from service.core.records import Transaction
from service.core.requests import Request
from service.ports import FatalError
from service.runtime.inbox import RunnerInbox
from service.runtime.pipeline_tasks import PipelineTasks
from service.runtime.request_tasks import RequestTasks
from service.runtime.runner import Runner
from tests.simulation.pim import SimPim
from tests.support.memory import MemoryLog
from tests.support.waiting import SECONDS_MAX, until

PARTITION = Partition("events", 0)


@dataclass
class LoopClock:
    """A clock that shows the event loop's own time."""

    def now(self) -> Moment:
        seconds = asyncio.get_running_loop().time()
        return Moment(seconds, round(seconds * 1000))


@dataclass
class GatedApi:
    """A PIM that answers once `opened` is set; it asks for a permit if `wants_permit`."""

    pim: SimPim = field(default_factory=SimPim)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    wants_permit: bool = False
    requests: list[Request] = field(default_factory=list)
    cancelled: int = 0
    bug: Exception | None = None

    async def send(
        self,
        request: Request,
        origins: tuple[Origin, ...] = (),  # noqa: ARG002 - of the port
        *,
        permit: Callable[[], Awaitable[None]],
        may_write: Callable[[], bool],
    ) -> Answer:
        if self.bug is not None:
            raise self.bug
        if self.wants_permit:
            await permit()
        if not may_write():
            return CallFault(FaultKind.CANCELLED, "no lease")
        self.requests.append(request)
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.pim.answer(request)


@dataclass
class Neighbours:
    """The intake and the observer of the runner: they remember what they were given."""

    paused: list[frozenset[Partition]] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def set_paused(self, partitions: frozenset[Partition]) -> None:
        self.paused.append(partitions)

    def note(self, fact: Fact) -> None:
        self.facts.append(fact.name)


@dataclass
class RunnerUnderTest:
    """A running runner between neighbours in memory."""

    runner: Runner[PipelineInput, PipelineEffect]
    inbox: RunnerInbox[PipelineInput]
    pipeline: Pipeline
    api: GatedApi
    log: MemoryLog
    neighbours: Neighbours
    running: asyncio.Task[None]

    async def assign(self) -> None:
        """Submit an assignment of one partition, and a lease of a minute."""
        self.inbox.submit(LeaseRenewed(asyncio.get_running_loop().time() + 60))
        self.inbox.submit(Assigned(1, {PARTITION: Start(0)}, 1))
        await asyncio.sleep(0)

    def arrive(self, *codes: str) -> None:
        """Submit records that upsert these assets."""
        records = []
        for offset, code in enumerate(codes):
            event = {"action": "upsert", "asset_family": "packshots", "code": code, "values": {}}
            origin = Origin(PARTITION, offset, 1)
            records.append(SourceRecord(origin, None, json.dumps(event).encode()))
        self.inbox.submit(Arrived(tuple(records)))

    async def drain(self, seconds: float) -> int:
        """Drain within this time, and return what is left; fail 5 seconds after it."""
        async with asyncio.timeout(seconds + 5):
            return await self.inbox.drain(DrainKind.SHUTDOWN, seconds)


@contextlib.asynccontextmanager
async def run_on(log: MemoryLog) -> AsyncIterator[RunnerUnderTest]:
    """Make a runner on this log, and run it."""
    limits = Limits(decode=DecodeLimits(1 << 20), window_seconds_max=0.0)
    api, neighbours = GatedApi(), Neighbours()
    api.opened.set()
    clock = LoopClock()
    inbox = RunnerInbox[PipelineInput](clock)
    pipeline = Pipeline(limits, lambda: 0.5)
    runner = Runner[PipelineInput, PipelineEffect](
        pipeline,
        inbox,
        requests=PipelineTasks(RequestTasks(api, inbox), None),
        log=log,
        intake=neighbours,
        observer=neighbours,
        clock=clock,
    )
    running = asyncio.ensure_future(runner.run())
    try:
        yield RunnerUnderTest(runner, inbox, pipeline, api, log, neighbours, running)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def tested() -> AsyncIterator[RunnerUnderTest]:
    """A running runner on a log that refuses nothing."""
    async with run_on(MemoryLog()) as made:
        yield made


async def test_records_become_outcomes(tested: RunnerUnderTest) -> None:
    """Each record goes through the PIM, and its outcome onto the log."""
    await tested.assign()
    tested.arrive("a", "b")
    await until(lambda: len(tested.log.outcomes) == 2)

    assert set(tested.api.pim.assets) == {("packshots", "a"), ("packshots", "b")}
    assert tested.log.positions[PARTITION].position == 2


async def test_the_observer_is_told_every_fact(tested: RunnerUnderTest) -> None:
    """The log and the metrics know what happened by nothing else."""
    await tested.assign()
    tested.arrive("a")
    await until(lambda: "transaction.committed" in tested.neighbours.facts)

    assert "window.closed" in tested.neighbours.facts


async def test_an_additional_request_waits_for_its_permit(tested: RunnerUnderTest) -> None:
    """A token request counts against the rate limit, so the core decides when it leaves."""
    tested.api.wants_permit = True
    await tested.assign()
    tested.arrive("a")
    await until(lambda: len(tested.log.outcomes) == 1)


async def test_a_drain_finishes_and_returns_what_is_left(tested: RunnerUnderTest) -> None:
    """Everything that was open is finished, so nothing is left."""
    await tested.assign()
    tested.arrive("a", "b", "c")
    await until(lambda: tested.pipeline.pending_changes or tested.log.outcomes)
    left = await tested.drain(5)

    assert left == 0
    assert len(tested.log.outcomes) == 3


async def test_records_wait_behind_everything_else(
    tested: RunnerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a call frees a slot at once. Many records are taken in portions, in order."""
    taken: list[Input] = []
    stock = tested.pipeline.step

    def step(happened: Input, moment: Moment) -> list[Effect]:
        taken.append(happened)
        return stock(happened, moment)

    await tested.assign()
    monkeypatch.setattr(tested.pipeline, "step", step)
    tested.arrive(*(f"a{number}" for number in range(500)))
    tested.inbox.submit(LeaseRenewed(0.0))
    await until(lambda: sum(isinstance(one, Arrived) for one in taken) == 3)

    submitted = [one for one in taken if not isinstance(one, TimePassed)]
    assert isinstance(submitted[0], LeaseRenewed)
    portions = [one for one in submitted if isinstance(one, Arrived)]
    assert [len(one.records) for one in portions] == [200, 200, 100]
    offsets = [record.origin.offset for one in portions for record in one.records]
    assert offsets == sorted(offsets)


async def test_a_drain_cancels_calls_at_its_deadline(tested: RunnerUnderTest) -> None:
    """A change whose call hangs is counted as left to the next owner."""
    await tested.assign()
    tested.api.opened.clear()
    tested.arrive("a")
    await until(lambda: len(tested.api.requests) >= 2)
    left = await tested.drain(0.1)

    assert left == 1
    assert tested.api.cancelled >= 1
    assert tested.log.outcomes == []


async def test_the_end_of_an_assignment_cancels_its_calls(tested: RunnerUnderTest) -> None:
    """No call outlives its assignment, because the next owner sends the change again."""
    await tested.assign()
    tested.api.opened.clear()
    tested.arrive("a")
    await until(lambda: len(tested.api.requests) >= 2)
    tested.inbox.submit(Forgotten())
    await until(lambda: tested.api.cancelled >= 1)

    assert tested.log.outcomes == []


async def test_a_fenced_commit_is_shown(tested: RunnerUnderTest) -> None:
    """The watch over the replica then lets it join the group again."""
    await tested.assign()
    tested.log.ours = 0
    tested.arrive("a")
    await asyncio.wait_for(tested.runner.is_fenced.wait(), SECONDS_MAX)


async def test_a_new_assignment_ends_the_fence(tested: RunnerUnderTest) -> None:
    """The replica has joined the group again: the watch must not let it join once more."""
    tested.runner.is_fenced.set()
    await tested.assign()
    await until(lambda: not tested.runner.is_fenced.is_set())


async def test_a_bug_in_a_call_ends_the_run(tested: RunnerUnderTest) -> None:
    """A bug is not an answer of the PIM: it must not be retried for ever."""
    tested.api.bug = ValueError("a bug")
    await tested.assign()
    with pytest.raises(ValueError, match="a bug"):
        await asyncio.wait_for(tested.running, 5)


async def test_a_log_that_can_promise_nothing_ends_the_run() -> None:
    """Only a restart can read what was committed."""

    class Broken(MemoryLog):
        async def write(self, transaction: Transaction) -> CommitRefusal | None:
            raise FatalError(f"unknown: {len(transaction.outcomes)}")

    async with run_on(Broken()) as tested:
        await tested.assign()
        tested.arrive("a")
        with pytest.raises(FatalError, match="unknown: 1"):
            await asyncio.wait_for(tested.running, 5)


async def test_the_intake_is_set_after_each_assignment(tested: RunnerUnderTest) -> None:
    """The client forgets its pauses at a rebalance, so the core sets them again."""
    await tested.assign()
    await until(lambda: tested.neighbours.paused)
    count = len(tested.neighbours.paused)
    tested.inbox.submit(Assigned(2, {PARTITION: Start(0)}, 1))
    await until(lambda: len(tested.neighbours.paused) > count)


async def test_a_call_that_is_cancelled_before_it_began_gives_its_slot_back(
    tested: RunnerUnderTest,
) -> None:
    """An assignment may begin and end in one round of the event loop; no slot may be lost."""
    for epoch in range(1, 11):
        tested.inbox.submit(LeaseRenewed(asyncio.get_running_loop().time() + 60))
        tested.inbox.submit(Assigned(epoch, {PARTITION: Start(0)}, 1))
        tested.inbox.submit(Forgotten())
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)

    assert tested.pipeline.dispatcher.gate.in_flight == set()
