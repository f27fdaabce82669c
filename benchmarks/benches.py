"""The benches: each loads a system, measures it and compares that with a target."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer

from benchmarks import floor, ingress, media, translate
from benchmarks.corpus import corpus_event, tombstone, x_event
from benchmarks.http_calls import AKENEO_CALLS_PER_SECOND, cost
from benchmarks.system import (
    UNLIMITED,
    MeasuredSystem,
    arrivals,
    measured_system,
    pim_process,
    wait_until_it_owns,
)
from benchmarks.usage import Course, cpu_seconds, metrics, peak_memory_bytes, total, watch
from service.playground.embedded_kafka import EmbeddedKafka
from service.playground.local_system import Event

ASSETS_PER_CALL = 100
COMMIT_INTERVAL_MS = 100
CALLS_PER_SECOND = 50
"""The defaults of the service."""
SHORT_INTERVAL_MS = 10
"""A commit interval that adds hardly anything to the time of a transaction itself."""
SEED = 11
BARE_SHARE_MIN = 0.7
"""The least share of the rate of a bare webhook handler."""
WEBHOOKS = 40_000
UPLOADS_PER_CPU_SECOND = 30_000
WARM_UP_SECONDS = 3.0
"""How long events come before their latency counts: meanwhile structures are read, once."""
LATENCY_ROUNDS = 3
"""Rounds of which the median counts where there is a target: a machine that stands still for a
moment decides about the p99 of a single one."""
FLAT = 0.03
"""Growth of memory that still counts as flat: an allocator's own variation."""


@dataclass(frozen=True)
class Result:
    """A line of the table; `is_met` is None where there is no target."""

    bench: str
    measured: str
    target: str
    is_met: bool | None = None


@dataclass
class Run:
    """What the benches share: the broker, a folder, the scale, and earlier results."""

    broker: EmbeddedKafka
    folder: Path
    scale: float
    results: list[Result] = field(default_factory=list)

    def count(self, events: int) -> int:
        """Return the number of events by the scale of this run."""
        return max(1000, round(events * self.scale))


@contextlib.asynccontextmanager
async def loaded_system(
    run: Run,
    events: Iterable[Event],
    families: int,
    *,
    with_options: bool = True,
    **pim: object,
) -> AsyncIterator[MeasuredSystem]:
    """Give a system with these events; `pim` are options of its simulator."""
    options = {"calls_per_second": UNLIMITED} | pim
    with pim_process(run.folder, families, with_options=with_options, **options) as url:
        async with measured_system(run.broker, run.folder, url) as system:
            await system.load(events)
            yield system


async def limit(run: Run) -> list[Result]:
    """Compare with what the PIM's slots allow: 100 ms a call, 4 at once, 20 families, no rate."""
    count = run.count(40_000)
    events = [corpus_event(n % 20, n) for n in range(count)]
    async with loaded_system(run, events, 20, call_seconds=0.1) as system:
        replica = system.start_replica(PIM__MAX_CALLS_PER_SECOND=UNLIMITED)
        course = watch([replica], count, 300)
    allowed = 4 * ASSETS_PER_CALL / course.mean_call_seconds
    rate = course.outcomes_per_second
    share = rate / allowed
    return [
        Result(
            "throughput at the PIM's limit",
            f"{share:.1%} of what the slots allow ({rate:,.0f} of {allowed:,.0f} assets/s); "
            f"{rate / 4000:.1%} of 4,000/s",
            "≥ 95 %",
            share >= 0.95,
        )
    ]


async def _cpu(
    run: Run,
    events: Iterable[Event],
    families: int,
    *,
    with_options: bool = True,
    **more: object,
) -> tuple[Course, int]:
    """Run without delay, 8 calls at once, no call rate; return course and highest memory."""
    async with loaded_system(
        run, events, families, with_options=with_options, calls_at_once=8
    ) as system:
        replica = system.start_replica(
            PIM__MAX_CALLS_PER_SECOND=UNLIMITED, PIM__MAX_CONCURRENCY=8, **more
        )
        course = watch([replica], system.loaded, 900)
        memory = peak_memory_bytes(replica.pid)
    return course, memory


async def cpu(run: Run) -> list[Result]:
    """Measure CPU in one process, with structures checked, beside the floor of its libraries.

    The goal is 1.5 times the CPU of the floor, or that of the cheapest other bridge if that is
    more. Only the comparison of bridges runs others, so this row has no target of its own.
    """
    least = await _floor(run)
    count = run.count(1_000_000)
    course, memory = await _cpu(run, (corpus_event(n % 20, n) for n in range(count)), 20)
    rate = course.outcomes_per_cpu_second
    growth = course.peak_bytes(0.6, 1.0) / course.peak_bytes(0.2, 0.6) - 1
    x_course, _ = await _cpu(run, [x_event(n % 20, n) for n in range(run.count(100_000))], 20)
    return [
        Result(
            "floor",
            f"{least:,.0f} events per second of CPU: the same topics read, written and committed "
            f"in transactions by aiokafka alone, and the calls by httpx2, without any work between",
            "reported",
        ),
        Result(
            "CPU",
            f"{rate:,.0f} events per second of CPU ({course.outcomes_per_second:,.0f} events/s "
            f"by the clock), {least / rate:.2f} times the CPU of the floor; "
            f"{course.mean_assets:.0f} assets a call; {count:,} events; "
            f"docs/peers.md compares it with other bridges",
            "reported",
        ),
        Result(
            "CPU, x-events",
            f"{x_course.outcomes_per_cpu_second:,.0f} events per second of CPU where the "
            f"kilobyte of an event is one text of x",
            "reported",
        ),
        Result(
            "memory",
            f"at most {memory / 1e6:.0f} MB; the peak of the last two fifths of {count:,} events "
            f"differs by {growth:+.1%} from that of the second and third fifth",
            "≤ 200 MB, flat",
            memory <= 200e6 and growth <= FLAT,
        ),
    ]


async def _floor(run: Run) -> float:
    """Return the events per second of CPU of the libraries alone."""
    events = [corpus_event(n % 20, n) for n in range(run.count(100_000))]
    options: dict[str, Any] = {"calls_at_once": floor.CALLS_AT_ONCE, "app_token": floor.APP_TOKEN}
    async with loaded_system(run, events, floor.FAMILIES, **options) as system:
        return 10_000 / await asyncio.to_thread(floor.cost, system)


async def _of_families(run: Run, families: int) -> Course:
    """Do the same as `cpu` with fewer events, to compare runs that are near in time."""
    count = run.count(100_000)
    course, _ = await _cpu(run, [corpus_event(n % families, n) for n in range(count)], families)
    return course


async def one_family(run: Run) -> list[Result]:
    """Compare one family with twenty; in turns, because the machine's speed changes."""
    rates = [(await _of_families(run, families)).outcomes_per_second for families in (20, 1, 1, 20)]
    one, twenty = (rates[1] + rates[2]) / 2, (rates[0] + rates[3]) / 2
    return [
        Result(
            "one family",
            f"{one / twenty:.0%} of the rate of twenty ({one:,.0f} and {twenty:,.0f} events/s)",
            "≥ 90 %",
            one / twenty >= 0.9,
        )
    ]


async def many_small(run: Run) -> list[Result]:
    """Measure 5,000 families with 10 events each, shuffled; all may be pending.

    Their values are texts: a family's structure is read by one call, before the one that writes.
    All of them are read before the first window is due, so the whole run counts.
    """
    families = run.count(5_000)
    events = [corpus_event(n // 10, n, with_options=False) for n in range(10 * families)]
    random.Random(SEED).shuffle(events)  # noqa: S311 - the same each time
    settings = {"PIPELINE__MAX_PENDING_CHANGES": len(events)}
    small, twenty = [], []
    for _ in range(2):
        twenty.append((await _of_families(run, 20)).all_per_cpu_second)
        course, _ = await _cpu(run, events, families, with_options=False, **settings)
        small.append(course.all_per_cpu_second)
    share = sum(small) / sum(twenty)
    return [
        Result(
            "many small families",
            f"{sum(small) / 2:,.0f} events per second of CPU, {share:.0%} of the "
            f"{sum(twenty) / 2:,.0f} with twenty families, measured in turns; "
            f"{families:,} families of 10, MAX_PENDING_CHANGES {len(events):,}",
            "reported",
        )
    ]


async def calls(run: Run) -> list[Result]:
    """Measure what HTTP costs: calls of a hundred assets, eight at once."""
    ours, bare = await cost(run.count(10_000))
    share = ours * AKENEO_CALLS_PER_SECOND / 1e6
    return [
        Result(
            "a call over HTTP",
            f"{ours:.0f} µs of CPU, {ours / bare:.2f} times httpx2's own client ({bare:.0f} µs); "
            f"at the {AKENEO_CALLS_PER_SECOND} calls per second that Akeneo allows, {share:.1%} of "
            f"a core",
            "≤ 1.3 times",
            ours / bare <= 1.3,
        )
    ]


@dataclass(frozen=True)
class _Ages:
    """How old events were when a committed reader got what became of them, in milliseconds."""

    sorted: list[float]

    def percentile(self, percent: float) -> float:
        return self.sorted[int(len(self.sorted) * percent / 100)]

    @property
    def text(self) -> str:
        return (
            f"p50 {self.percentile(50):.0f} ms, p99 {self.percentile(99):.0f} ms, "
            f"at most {self.sorted[-1]:.0f} ms"
        )

    def result(self, bench: str, measured: str, p99_max: int) -> Result:
        return Result(bench, measured, f"p99 ≤ {p99_max} ms", self.percentile(99) <= p99_max)


AnyAges = TypeVar("AnyAges", bound=_Ages)


async def _median_round(measure: Callable[[], Awaitable[AnyAges]]) -> tuple[AnyAges, str]:
    """Return the round with the median p99, and what is to be said of the others."""
    rounds = sorted([await measure() for _ in range(LATENCY_ROUNDS)], key=_p99)
    least, most = _p99(rounds[0]), _p99(rounds[-1])
    text = f"the median of {LATENCY_ROUNDS} rounds, whose p99 are {least:.0f} to {most:.0f} ms"
    return rounds[LATENCY_ROUNDS // 2], text


def _p99(ages: _Ages) -> float:
    return ages.percentile(99)


@dataclass(frozen=True)
class _AgesOfRun(_Ages):
    """The ages of events at their outcomes, and what they took."""

    transaction: float
    """The mean duration of a transaction."""
    core_share: float
    """The share of a core that the service used meanwhile."""

    @property
    def use(self) -> str:
        return (
            f"the broker needs {self.transaction:.0f} ms for a transaction; "
            f"{self.core_share:.0%} of a core"
        )


async def latency(run: Run) -> list[Result]:
    """Measure 500 events/s over five families, calls of 50 ms; with a window of 0.2 s and without.

    The targets are for the settings that operations.md advises for low latency: by default, up to
    100 ms pass until the next transaction, whatever else is quick. What that adds is shown. The
    structures of the families are known by then: their first events wait for them once.
    """
    results = []
    for window_ms, p99_max in ((200, 325), (0, 200)):
        short, rounds = await _median_round(
            partial(_ages, run, window_ms, SHORT_INTERVAL_MS, AKENEO_CALLS_PER_SECOND)
        )
        usual = await _ages(run, window_ms, COMMIT_INTERVAL_MS, AKENEO_CALLS_PER_SECOND)
        p50, p99 = (usual.percentile(rank) - short.percentile(rank) for rank in (50, 99))
        bench = f"latency, window {window_ms / 1000:g} s"
        setting = f"PIPELINE__COMMIT_INTERVAL_SECONDS {SHORT_INTERVAL_MS / 1000:g}"
        measured = (
            f"from event to outcome at a read_committed reader: {short.text}; {rounds}; {short.use}"
        )
        results.append(short.result(f"{bench}, {setting}", measured, p99_max))
        measured = (
            f"{usual.text}; the commit interval of {COMMIT_INTERVAL_MS} ms adds {p50:.0f} ms to "
            f"p50 and {p99:.0f} ms to p99; {usual.use}"
        )
        results.append(Result(f"{bench}, default commit interval", measured, "reported"))
    slow = await _ages(run, 0, COMMIT_INTERVAL_MS, CALLS_PER_SECOND)
    bench = f"latency, window 0 s, default commit interval and {CALLS_PER_SECOND} calls a second"
    results.append(Result(bench, f"{slow.text}; {slow.use}", "reported"))
    return results


async def _ages(run: Run, window_ms: int, interval_ms: int, calls_per_second: int) -> _AgesOfRun:
    async with loaded_system(run, [], 5, call_seconds=0.05) as system:
        replica = system.start_replica(
            WINDOW__MAX_SECONDS=window_ms / 1000,
            PIPELINE__COMMIT_INTERVAL_SECONDS=interval_ms / 1000,
            PIM__MAX_CALLS_PER_SECOND=calls_per_second,
        )
        await asyncio.sleep(5)
        async with arrivals(system, system.outcomes) as seen:
            first = await _trickle(system, 500, WARM_UP_SECONDS)
            began, used = time.monotonic(), cpu_seconds(replica.pid)
            written = await _trickle(system, 500, max(5.0, 30 * run.scale))
            core_share = (cpu_seconds(replica.pid) - used) / (time.monotonic() - began)
            count = len(first) + len(written)
            await asyncio.to_thread(watch, [replica], count, 60)  # the reader reads meanwhile
            await asyncio.sleep(1)
        found = metrics(replica)
    name = "asset_sync_transaction_duration_seconds"
    transaction = 1000 * total(found, f"{name}_sum") / total(found, f"{name}_count")
    return _AgesOfRun(sorted(seen[key] - written[key] for key in written), transaction, core_share)


async def _trickle(system: MeasuredSystem, rate: int, seconds: float) -> dict[str, float]:
    """Write events at a rate; return when each was written (ms) by its outcome's id."""
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap)
    await producer.start()
    sent: list[asyncio.Future[Any]] = []
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        while len(sent) < elapsed * rate:
            key, value, headers, _ = corpus_event(len(sent) % 5, len(sent))
            sent.append(await producer.send(system.events, value, key, headers=list(headers)))
        await asyncio.sleep(0.005)
    found = await asyncio.gather(*sent)
    await producer.stop()
    return {f"{one.topic}/{one.partition}/{one.offset}": one.timestamp for one in found}


async def deletes(run: Run) -> list[Result]:
    """Delete half of the assets: one a call, four at once, 20 ms each; upserts beside them."""
    count = run.count(10_000)
    events = [corpus_event(n % 20, n) if n % 2 else tombstone(n % 20, n) for n in range(count)]
    async with loaded_system(run, events, 20, call_seconds=0.02) as system:
        replica = system.start_replica(
            PIM__MAX_CALLS_PER_SECOND=UNLIMITED, DELETES_MAX_PER_HOUR="0"
        )
        course = watch([replica], count, 600, look_seconds=0.2)
    share = course.calls_per_second * course.mean_call_seconds / 4
    upserts = count // 2
    complete = next(look for look in course.looks if look.outcomes >= upserts + 0.05 * count)
    early = (complete.at - course.looks[0].at) / (course.looks[-1].at - course.looks[0].at)
    return [
        Result(
            "delete-heavy",
            f"{share:.1%} of what 4 concurrent calls allow "
            f"({course.calls_per_second:,.0f} calls/s); the upserts and a tenth of the deletes "
            f"were completed after {early:.0%} of the time",
            "≥ 95 %, upserts not starved",
            share >= 0.95 and early < 0.5,
        )
    ]


async def growth(run: Run) -> list[Result]:
    """Compare one replica with four; twelve partitions, and the PIM is not the limit.

    Four processes keep a small machine busier than one, so each is slower. Four groups of one
    replica, each with a quarter of the events, show the machine's part in that.
    """
    count = run.count(120_000)
    one = await _grown(run, count, [1])
    turns = [await _grown(run, count, groups) for groups in ([4], [1] * 4, [1] * 4, [4])]
    four, alone = (turns[0] + turns[3]) / 2, (turns[1] + turns[2]) / 2
    return [
        Result(
            "growth, 1 to 4 replicas",
            f"{four / alone - 1:+.0%} events per second of CPU compared with four groups of one "
            f"replica at the same time ({four:,.0f} and {alone:,.0f}); {four / one - 1:+.0%} "
            f"compared with one replica alone on the machine ({one:,.0f})",
            "≥ -10 %",
            four / alone >= 0.90,
        )
    ]


async def _grown(run: Run, count: int, groups: Sequence[int]) -> float:
    """Return events a second of CPU with this many replicas in each group, all at the same time.

    The events are written when each replica has its partitions: no rebalance is measured.
    """
    share = count // len(groups)
    partitions = 12 // len(groups)
    settings = {
        "PIM__MAX_CALLS_PER_SECOND": str(UNLIMITED),
        "PIM__MAX_CONCURRENCY": str(16 // len(groups)),
    }
    events = [corpus_event(n % 20, n) for n in range(share)]
    async with contextlib.AsyncExitStack() as stack:
        pim = stack.enter_context(
            pim_process(run.folder, 20, calls_at_once=16, calls_per_second=UNLIMITED)
        )
        systems = [
            await stack.enter_async_context(
                measured_system(run.broker, run.folder, pim, partitions)
            )
            for _ in groups
        ]
        replicas = [
            system.start(**settings)
            for system, number in zip(systems, groups, strict=True)
            for _ in range(number)
        ]
        for replica in replicas:
            wait_until_it_owns(replica, 12 // len(replicas))
        await asyncio.gather(*(system.load(events) for system in systems))
        course = watch(replicas, share * len(groups), 900)
    return course.outcomes_per_cpu_second


async def writes_beside_uploads(run: Run) -> list[Result]:
    """Compare writes beside long uploads with the same writes that have the slots left over.

    An operator asks what a wave of large files costs all other changes. That uploads take up to
    half of the slots is documented; this shows whether they cost more than that, by their turns
    or by the writes that follow them. In turns, because the machine's speed changes.
    """
    count = run.count(40_000)
    ways = (media.alone, media.beside_uploads, media.beside_uploads, media.alone)
    rates = [(await way(run.broker, run.folder, count)).outcomes_per_second for way in ways]
    beside, alone = (rates[1] + rates[2]) / 2, (rates[0] + rates[3]) / 2
    return [
        Result(
            "writes beside uploads",
            f"{beside / alone:.1%} of the rate with the slots that uploads leave "
            f"({beside:,.0f} and {alone:,.0f} assets/s); uploads of {media.UPLOAD_SECONDS:g} s "
            f"each took {media.SLOTS - media.LEFT_SLOTS} of {media.SLOTS} slots all the time",
            "≥ 95 %",
            beside / alone >= 0.95,
        )
    ]


async def start_and_drain(run: Run) -> list[Result]:
    """Measure the time from start to first outcome, and of a drain at full load."""
    count = run.count(40_000)
    events = [corpus_event(n % 20, n) for n in range(count)]
    async with loaded_system(run, events, 20, call_seconds=0.1) as system:
        began = time.monotonic()
        replica = system.start_replica(PIM__MAX_CALLS_PER_SECOND=UNLIMITED)
        watch([replica], 1, 30, look_seconds=0.02)
        first = time.monotonic() - began
        await asyncio.sleep(1)
        began = time.monotonic()
        code = replica.stop(120)
        drained = time.monotonic() - began
        assert code == 0, replica.log.read_text()[-2000:]
    return [
        Result("start to first outcome", f"{first:.1f} s", "reported"),
        Result("drain at full load", f"{drained:.1f} s, exit 0", "reported"),
    ]


async def webhooks(run: Run) -> list[Result]:
    """Compare ingress with a bare handler that has the same checks."""
    ours, bare = await ingress.compare(
        run.broker.bootstrap_servers, run.folder, run.count(WEBHOOKS)
    )
    share = bare.cpu_seconds / ours.cpu_seconds
    measured = (
        f"{ours.cpu_seconds * 1e6:.0f} µs of CPU a webhook, {share:.0%} of the rate of a bare "
        f"handler with the same checks ({bare.cpu_seconds * 1e6:.0f} µs); {ours.per_second:,.0f} a "
        f"second by the clock ({bare.per_second:,.0f}), p50 {ours.p50_seconds * 1e3:.0f} ms, "
        f"p99 {ours.p99_seconds * 1e3:.0f} ms with {ingress.SENDERS} senders; the best of "
        f"{ingress.ROUNDS} rounds"
    )
    p99_ms = ours.paced_p99_seconds * 1e3
    paced = f"p99 {p99_ms:.0f} ms at half of that rate, the best of {ingress.PACED_ROUNDS} rounds"
    return [
        Result("webhooks", measured, "≥ 70 % of bare", share >= BARE_SHARE_MIN),
        Result("latency of webhooks", paced, "p99 ≤ 50 ms", p99_ms <= 50),
    ]


async def raw_uploads(run: Run) -> list[Result]:
    """Translate uploads of Cloudinary from a raw topic into changes."""
    count = run.count(300_000)
    found = await translate.throughput(run.broker, run.folder, count)
    measured = (
        f"{found.per_cpu_second:,.0f} raw Cloudinary uploads per second of CPU "
        f"({found.per_second:,.0f} a second by the clock), from the raw topic to committed "
        f"changes; at most {found.memory_bytes / 1e6:.0f} MB; {count:,} events"
    )
    is_met = found.per_cpu_second >= UPLOADS_PER_CPU_SECOND
    return [Result("translate", measured, f"≥ {UPLOADS_PER_CPU_SECOND:,}", is_met)]


async def nine_sources(run: Run) -> list[Result]:
    """Translate nine sources side by side, two of which read back."""
    count = run.count(10_000)
    found, ends = await translate.side_by_side(run.broker, run.folder, count)
    first, last = (chosen(ends, key=lambda one: ends[one]) for chosen in (min, max))
    measured = (
        f"{found.per_cpu_second:,.0f} events per second of CPU of nine sources of one replica, "
        f"{count:,} of each; the first ({first}) was done after {ends[first]:.0%} of the time, the "
        f"last is {last}; at most {found.memory_bytes / 1e6:.0f} MB"
    )
    return [Result("nine sources", measured, "reported")]


async def translate_latency(run: Run) -> list[Result]:
    """Measure what translate adds between a raw event and its change, at 500 events/s."""
    ages, rounds = await _median_round(partial(_translate_ages, run))
    measured = (
        f"from raw event to change at a read_committed reader: {ages.text}; {rounds}; "
        f"500 events/s, the commit interval is {COMMIT_INTERVAL_MS} ms"
    )
    return [ages.result("latency of translate", measured, 300)]


async def _translate_ages(run: Run) -> _Ages:
    return _Ages(await translate.latency(run.broker, run.folder, 500, max(5.0, 30 * run.scale)))


Bench = Callable[[Run], Coroutine[Any, Any, list[Result]]]
BENCHES: dict[str, Bench] = {
    "limit": limit,
    "cpu": cpu,
    "one-family": one_family,
    "many-small": many_small,
    "calls": calls,
    "latency": latency,
    "deletes": deletes,
    "media": writes_beside_uploads,
    "growth": growth,
    "start": start_and_drain,
    "webhooks": webhooks,
    "translate": raw_uploads,
    "nine-sources": nine_sources,
    "translate-latency": translate_latency,
}
"""The benches by name, in the order of the table."""
