"""The shell around the core: effects are performed, everything enters by one door."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from service.core.effects import Effect
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
from service.runtime.runner import Runner
from tests.simulation.pim import SimPim
from tests.support.memory import MemoryLog

PLACE = Partition("events", 0)


@dataclass
class LoopClock:
    """The event loop's own time."""

    def now(self) -> Moment:
        """Now."""
        seconds = asyncio.get_running_loop().time()
        return Moment(seconds, round(seconds * 1000))


@dataclass
class GatedApi:
    """A PIM that answers when it is allowed to; permits are asked for where wanted."""

    pim: SimPim = field(default_factory=SimPim)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    wants_permit: bool = False
    requests: list[Request] = field(default_factory=list)
    cut: int = 0
    bug: Exception | None = None

    async def send(
        self,
        request: Request,
        origins: tuple[Origin, ...] = (),  # noqa: ARG002 - of the port
        *,
        permit: Callable[[], Awaitable[None]],
        may_write: Callable[[], bool],
    ) -> Answer:
        """Answer as the simulation's PIM."""
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
            self.cut += 1
            raise
        return self.pim.answer(request)


@dataclass
class Neighbours:
    """Intake and observer: they remember."""

    paused: list[frozenset[Partition]] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def set_paused(self, partitions: frozenset[Partition]) -> None:
        """Remember."""
        self.paused.append(partitions)

    def note(self, fact: Fact) -> None:
        """Remember."""
        self.facts.append(fact.name)


@dataclass
class Bench:
    """A runner between neighbours in memory."""

    runner: Runner
    inbox: RunnerInbox
    pipeline: Pipeline
    api: GatedApi
    log: MemoryLog
    neighbours: Neighbours
    running: asyncio.Task[None]

    async def assign(self) -> None:
        """One partition, a lease of a minute."""
        self.inbox.submit(LeaseRenewed(asyncio.get_running_loop().time() + 60))
        self.inbox.submit(Assigned(1, {PLACE: Start(0)}, 1))
        await asyncio.sleep(0)

    def arrive(self, *codes: str) -> None:
        """Upserts of these assets."""
        records = []
        for offset, code in enumerate(codes):
            event = {"action": "upsert", "asset_family": "packshots", "code": code, "values": {}}
            origin = Origin(PLACE, offset, 1)
            records.append(SourceRecord(origin, None, json.dumps(event).encode()))
        self.inbox.submit(Arrived(tuple(records)))

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds, or fail."""
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - any condition
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def bench_with(log: MemoryLog) -> AsyncIterator[Bench]:
    """A running runner."""
    rules = Limits(decode=DecodeLimits(1 << 20), window_seconds_max=0.0)
    api, neighbours = GatedApi(), Neighbours()
    api.opened.set()
    clock = LoopClock()
    inbox, pipeline = RunnerInbox(clock), Pipeline(rules, lambda: 0.5)
    runner = Runner(
        pipeline,
        inbox,
        api=api,
        log=log,
        intake=neighbours,
        observer=neighbours,
        clock=clock,
    )
    running = asyncio.ensure_future(runner.run())
    try:
        yield Bench(runner, inbox, pipeline, api, log, neighbours, running)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A running runner on a log that takes everything."""
    async with bench_with(MemoryLog()) as made:
        yield made


async def test_records_become_outcomes(bench: Bench) -> None:
    """In, through the PIM, onto the log."""
    await bench.assign()
    bench.arrive("a", "b")
    await bench.until(lambda: len(bench.log.outcomes) == 2)

    assert set(bench.api.pim.assets) == {("packshots", "a"), ("packshots", "b")}
    assert bench.log.positions[PLACE].position == 2


async def test_a_further_request_waits_for_its_permit(bench: Bench) -> None:
    """A token takes from the rate; the core says when."""
    bench.api.wants_permit = True
    await bench.assign()
    bench.arrive("a")
    await bench.until(lambda: len(bench.log.outcomes) == 1)


async def test_a_drain_finishes_and_says_what_is_left(bench: Bench) -> None:
    """Everything open is finished: nothing is left."""
    await bench.assign()
    bench.arrive("a", "b", "c")
    await bench.until(lambda: bench.pipeline.pending_changes or bench.log.outcomes)
    left = await bench.inbox.drain(DrainKind.SHUTDOWN, 5)

    assert left == 0
    assert len(bench.log.outcomes) == 3


async def test_records_wait_behind_everything_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a call frees a slot at once; many records are taken in portions, in order."""
    taken: list[Input] = []
    stock = bench.pipeline.step

    def step(happened: Input, moment: Moment) -> list[Effect]:
        taken.append(happened)
        return stock(happened, moment)

    await bench.assign()
    monkeypatch.setattr(bench.pipeline, "step", step)
    bench.arrive(*(f"a{number}" for number in range(500)))
    bench.inbox.submit(LeaseRenewed(0.0))
    await bench.until(lambda: sum(isinstance(one, Arrived) for one in taken) == 3)

    told = [one for one in taken if not isinstance(one, TimePassed)]
    assert isinstance(told[0], LeaseRenewed)
    portions = [one for one in told if isinstance(one, Arrived)]
    assert [len(one.records) for one in portions] == [200, 200, 100]
    offsets = [record.origin.offset for one in portions for record in one.records]
    assert offsets == sorted(offsets)


async def test_a_drain_cuts_at_its_deadline(bench: Bench) -> None:
    """What hangs is given up, and counted as left."""
    await bench.assign()
    bench.api.opened.clear()
    bench.arrive("a")
    await bench.until(lambda: len(bench.api.requests) >= 2)
    left = await bench.inbox.drain(DrainKind.SHUTDOWN, 0.1)

    assert left == 1
    assert bench.api.cut >= 1
    assert bench.log.outcomes == []


async def test_an_assignment_that_is_over_cuts_its_calls(bench: Bench) -> None:
    """No call outlives its assignment, and its answer is nobody's."""
    await bench.assign()
    bench.api.opened.clear()
    bench.arrive("a")
    await bench.until(lambda: len(bench.api.requests) >= 2)
    bench.inbox.submit(Forgotten())
    await bench.until(lambda: bench.api.cut >= 1)

    assert bench.log.outcomes == []


async def test_a_fenced_log_is_told(bench: Bench) -> None:
    """Whoever watches makes the replica join anew."""
    await bench.assign()
    bench.log.ours = 0
    bench.arrive("a")
    async with asyncio.timeout(5):
        await bench.runner.is_fenced.wait()


async def test_a_bug_in_a_call_ends_the_run(bench: Bench) -> None:
    """It is no answer of the PIM's: it must not be retried for ever."""
    bench.api.bug = ValueError("a bug")
    await bench.assign()
    with pytest.raises(ValueError, match="a bug"):
        await asyncio.wait_for(bench.running, 5)


async def test_a_log_that_can_promise_nothing_ends_the_run() -> None:
    """Only a restart can read what is true."""

    class Broken(MemoryLog):
        async def write(self, transaction: Transaction) -> CommitRefusal | None:
            raise FatalError(f"unknown: {len(transaction.outcomes)}")

    async with bench_with(Broken()) as bench:
        await bench.assign()
        bench.arrive("a")
        with pytest.raises(FatalError, match="unknown: 1"):
            await asyncio.wait_for(bench.running, 5)


async def test_the_intake_is_told_after_each_assignment(bench: Bench) -> None:
    """Aiokafka forgets pauses at a rebalance; the core says them again."""
    await bench.assign()
    await bench.until(lambda: bench.neighbours.paused)
    said = len(bench.neighbours.paused)
    bench.inbox.submit(Assigned(2, {PLACE: Start(0)}, 1))
    await bench.until(lambda: len(bench.neighbours.paused) > said)


async def test_a_call_that_is_cut_before_it_began_gives_its_slot_back(bench: Bench) -> None:
    """Assigned, started and forgotten in one turn of the loop: a slot must not be lost."""
    for epoch in range(1, 11):
        bench.inbox.submit(LeaseRenewed(asyncio.get_running_loop().time() + 60))
        bench.inbox.submit(Assigned(epoch, {PLACE: Start(0)}, 1))
        bench.inbox.submit(Forgotten())
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)

    assert bench.pipeline.dispatcher.gate.in_flight == set()
