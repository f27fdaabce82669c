"""The console over many outcomes: `python -m benchmarks.console [--outcomes N] [--seconds N]`.

A real broker gets the outcomes, a real console indexes them from nothing, and people search while
more outcomes arrive. The targets are those of 5,000,000 outcomes: rebuilt in 20 minutes, then 95 of
100 searches within 100 ms while 5,000 outcomes a second are indexed, and 200 MB of memory.

With 5,000,000 outcomes it takes half an hour, 4 GB for the broker and 3 GB for the index. What
writes to the broker is a process of its own, so that it does not delay those who search.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp
from aiokafka.admin import NewTopic
from rich.console import Console
from rich.table import Table

from benchmarks.outcomes import FAMILIES, code_of, dam_id_of, outcome
from benchmarks.system import MeasuredSystem, broker, deal, loader
from benchmarks.usage import cpu_seconds, machine, process_family, shared_memory_bytes
from service.playground.local_system import Event, LoggedProcess, create_topics
from service.playground.pim.tokens import Tokens

OUTCOMES = 5_000_000
PARTITIONS = 6
ARRIVING_PER_SECOND = 5_000
ARRIVING_TOGETHER = 500
SEARCHERS = 4
PAUSE_SECONDS = 0.2
"""How long a person waits between two searches."""
LOOK_SECONDS = 0.5
P95_SECONDS_MAX = 0.1
REBUILD_SECONDS_MAX = 20 * 60
MEMORY_BYTES_MAX = 200 * 1000**2
LAG_MAX = 5 * ARRIVING_PER_SECOND
"""Outcomes that may wait to be indexed while others arrive."""
CPU_PERCENT_MAX = 60
"""So that a core has time for searches while outcomes are indexed."""
MAX_BYTES = "8GiB"


@dataclass(frozen=True)
class Measured:
    """One line of the result. It meets its target if it is not above `most` nor below `least`."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met, or None where there is none."""
        if self.most is not None:
            return self.value <= self.most
        return None if self.least is None else self.value >= self.least

    @property
    def target(self) -> str:
        if self.most is not None:
            return f"at most {self.most:,.0f} {self.unit}"
        return "" if self.least is None else f"at least {self.least:,.0f} {self.unit}"


@dataclass
class Durations:
    """How long the searches of each kind took, in seconds."""

    by_kind: dict[str, list[float]] = field(default_factory=dict)

    def add(self, kind: str, seconds: float) -> None:
        self.by_kind.setdefault(kind, []).append(seconds)

    def measured(self) -> Iterator[Measured]:
        for kind, seconds in sorted(self.by_kind.items()):
            ordered = sorted(seconds)
            half, most = (1000 * ordered[int(len(ordered) * share)] for share in (0.5, 0.95))
            yield Measured(f"{kind} search, median of {len(ordered)}", half, "ms")
            yield Measured(f"{kind} search, 95th percentile", most, "ms", 1000 * P95_SECONDS_MAX)


def main() -> int:
    """Measure, print a table, and return 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--outcomes", type=int, default=OUTCOMES)
    parser.add_argument("--seconds", type=float, default=60, help="how long people search (60)")
    wanted = parser.parse_args()
    results = asyncio.run(_measure(wanted.outcomes, wanted.seconds))
    table = Table("measured", "value", "target", "met", title=machine())
    for one in results:
        met = {True: "yes", False: "NO", None: ""}[one.is_met]
        table.add_row(one.name, f"{one.value:,.1f} {one.unit}", one.target, met)
    Console().print(table)
    return 1 if any(one.is_met is False for one in results) else 0


async def _measure(count: int, seconds: float) -> list[Measured]:
    with broker() as (running, folder):
        system = MeasuredSystem(
            running.bootstrap_servers, "http://127.0.0.1:1", Tokens(), folder, PARTITIONS
        )
        await create_topics(system.bootstrap, [NewTopic(system.outcomes, PARTITIONS, 1)])
        began = time.monotonic()
        await system.load(_events(range(count)), system.outcomes)
        written = time.monotonic() - began
        Console(stderr=True).print(f"{count:,} outcomes written in {written:.0f} s", style="dim")
        process = _start(system)
        try:
            async with _watched_memory(process) as memory:
                rebuilt = await _rebuild(system, process, count)
                searched = await _search_while_more_arrive(system, process, count, seconds)
                stored = await _gauge(await system.url(-1), "console_index_bytes") / 1e6
            return [
                *rebuilt,
                *searched,
                Measured("memory at its peak", max(memory) / 1e6, "MB", MEMORY_BYTES_MAX / 1e6),
                Measured("size of the index", stored, "MB"),
            ]
        finally:
            system.end()


def _events(numbers: range) -> Iterator[Event]:
    return (Event(None, outcome(number)) for number in numbers)


def _start(system: MeasuredSystem) -> LoggedProcess:
    return system.start_program(
        "console",
        CONSOLE__HOST="127.0.0.1",
        CONSOLE__PORT="0",
        CONSOLE__DIR=str(system.folder / "index"),
        CONSOLE__MAX_BYTES=MAX_BYTES,
        LOG__FORMAT="json",
    )


async def _rebuild(system: MeasuredSystem, process: LoggedProcess, count: int) -> list[Measured]:
    """Wait until all outcomes are indexed, and return how long that took."""
    url = await system.url(-1)
    began, used = time.monotonic(), _cpu_seconds(process)
    while await _gauge(url, "console_index_outcomes") < count:  # noqa: ASYNC110 - another process
        await asyncio.sleep(LOOK_SECONDS)
    seconds, used = time.monotonic() - began, _cpu_seconds(process) - used
    cpu = 100 * used * ARRIVING_PER_SECOND / count
    rate = OUTCOMES / REBUILD_SECONDS_MAX
    return [
        Measured(f"{count:,} outcomes indexed from nothing", count / seconds, "/s", least=rate),
        Measured(f"CPU for {ARRIVING_PER_SECOND:,}/s", cpu, "% of a core", CPU_PERCENT_MAX),
    ]


def _cpu_seconds(process: LoggedProcess) -> float:
    return sum(cpu_seconds(pid) for pid in process_family(process.pid))


@contextlib.asynccontextmanager
async def _watched_memory(process: LoggedProcess) -> AsyncIterator[Sequence[int]]:
    """Give the bytes that all processes of the console have together, look by look."""
    found: list[int] = []

    async def look() -> None:
        while True:
            found.append(sum(shared_memory_bytes(pid) for pid in process_family(process.pid)))
            await asyncio.sleep(LOOK_SECONDS)

    looking = asyncio.create_task(look())
    yield found
    looking.cancel()


async def _gauge(url: str, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        found = re.search(rf"^asset_sync_{name} (\S+)$", await answer.text(), re.MULTILINE)
    return float(found[1]) if found else 0.0


async def _search_while_more_arrive(
    system: MeasuredSystem, process: LoggedProcess, count: int, seconds: float
) -> list[Measured]:
    """Let people search while outcomes arrive; return the durations, the rate and the lag."""
    durations = Durations()
    pages = process.url_of("console.listening")
    assert pages is not None, "the port of the pages opens before the index"
    searching = [
        asyncio.create_task(_search(pages, count, durations, random.Random(n)))  # noqa: S311 - the same each time
        for n in range(SEARCHERS)
    ]
    url, lag = await system.url(-1), 0.0
    more = range(count, count + int(seconds * ARRIVING_PER_SECOND))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        began = time.monotonic()
        arriving = asyncio.get_running_loop().run_in_executor(
            pool, _arrive, system.bootstrap, system.outcomes, more
        )
        while not arriving.done():
            await asyncio.sleep(LOOK_SECONDS)
            lag = max(lag, await _gauge(url, "console_lag"))
        indexed = await _gauge(url, "console_index_outcomes") - count
        rate = indexed / (time.monotonic() - began)
        await arriving
    for task in searching:
        task.cancel()
    await asyncio.gather(*searching, return_exceptions=True)
    return [
        *durations.measured(),
        Measured(f"indexed meanwhile, of {ARRIVING_PER_SECOND:,}/s", rate, "/s"),
        Measured("most to index at a moment", lag, "outcomes", LAG_MAX),
    ]


def _arrive(bootstrap: str, topic: str, numbers: range) -> None:
    """Write outcomes at their rate, in a process of its own."""
    asyncio.run(_write_at_rate(bootstrap, topic, numbers))


async def _write_at_rate(bootstrap: str, topic: str, numbers: range) -> None:
    async with loader(bootstrap) as producer:
        began = time.monotonic()
        for first in range(0, len(numbers), ARRIVING_TOGETHER):
            together = numbers[first : first + ARRIVING_TOGETHER]
            await deal(producer, topic, PARTITIONS, _events(together))
            due = began + (first + ARRIVING_TOGETHER) / ARRIVING_PER_SECOND
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _search(url: str, count: int, durations: Durations, chance: random.Random) -> None:
    """Search without end, for what people search for."""
    async with aiohttp.ClientSession() as session:
        while True:
            kind, fields = _question(count, chance)
            began = time.monotonic()
            async with session.get(f"{url}/?{urlencode(fields)}") as answer:
                await answer.read()
                assert answer.status == 200, "a search failed"
            durations.add(kind, time.monotonic() - began)
            await asyncio.sleep(PAUSE_SECONDS)


def _question(count: int, chance: random.Random) -> tuple[str, dict[str, str]]:
    number = chance.randrange(count)
    code = code_of(number)
    questions = (
        ("exact", {"code": code}),
        ("prefix", {"code": code[: chance.randrange(5, 11)], "begins": "1"}),
        ("identifier", {"id": dam_id_of(number)}),
        ("problems", {"ending": "problems", "family": chance.choice(FAMILIES)}),
    )
    return chance.choice(questions)


if __name__ == "__main__":
    sys.exit(main())
