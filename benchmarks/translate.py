"""What translate does in a second of CPU: raw events from a broker, mapped, written as changes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from benchmarks import raw_events
from benchmarks.system import (
    MeasuredSystem,
    arrivals,
    measured_system,
    serving,
    wait_until_it_listens,
)
from benchmarks.usage import cpu_seconds, metrics, peak_memory_bytes, total
from service.playground.embedded_kafka import EmbeddedKafka
from service.playground.local_system import Event, LoggedProcess, create_topics

RAW_PARTITIONS = 6
SECONDS_MAX = 900.0
LOOK_SECONDS = 0.25
SETTINGS = {"DEAD_LETTERS__MAX_SHARE": "1", "DELETES_MAX_PER_HOUR": "0"}
"""The cases hold many events that are refused or delete something: no limit on them stops."""


@dataclass(frozen=True)
class Translated:
    """What a replica did in the middle of a run, without its start and its end."""

    per_cpu_second: float
    per_second: float
    memory_bytes: int


@contextlib.asynccontextmanager
async def translating(
    broker: EmbeddedKafka, folder: Path, sources: Sequence[str], dam_url: str = ""
) -> AsyncIterator[MeasuredSystem]:
    """Give a system with the raw topics of these sources, and the file that describes them."""
    async with measured_system(broker, folder, "http://127.0.0.1:1") as system:
        names = [raw_events.topic_of(source, system.suffix) for source in sources]
        await create_topics(system.bootstrap, [NewTopic(name, RAW_PARTITIONS, 1) for name in names])
        text = raw_events.sources_file(tuple(sources), system.suffix, dam_url)
        (system.folder / "sources.yaml").write_text(text)
        yield system


def start(system: MeasuredSystem, **settings: object) -> LoggedProcess:
    """Start a replica of translate, and wait until it listens."""
    given = {name: str(value) for name, value in settings.items()}
    file = str(system.folder / "sources.yaml")
    replica = system.start_program("translate", SOURCES_FILE=file, **SETTINGS, **given)
    wait_until_it_listens(replica)
    return replica


async def load(system: MeasuredSystem, source: str, events: Iterable[Event]) -> None:
    """Write events to the raw topic of a source, dealt to its partitions in turn."""
    await system.load(events, raw_events.topic_of(source, system.suffix))


def watch(replica: LoggedProcess, records: int) -> Translated:
    """Wait until so many raw records are translated.

    Raises:
        RuntimeError: they are not translated in time.
    """
    looks: list[tuple[float, float, float]] = []
    deadline = time.monotonic() + SECONDS_MAX
    while not looks or looks[-1][0] < records:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{looks[-1]} of {records}\n{replica.log.read_text()[-1500:]}")
        done = total(metrics(replica), "asset_sync_translated_records_total")
        looks.append((done, cpu_seconds(replica.pid), time.monotonic()))
        time.sleep(LOOK_SECONDS)
    first = next(look for look in looks if look[0] >= 0.1 * records)
    last = next(look for look in looks if look[0] >= 0.9 * records)
    done, cpu, seconds = (after - before for before, after in zip(first, last, strict=True))
    if not done:
        raise RuntimeError("The run was too short: use more events.")
    return Translated(done / cpu, done / seconds, peak_memory_bytes(replica.pid))


async def throughput(broker: EmbeddedKafka, folder: Path, count: int) -> Translated:
    """Translate uploads of Cloudinary by one replica."""
    async with translating(broker, folder, ["cloudinary"]) as system:
        await load(system, "cloudinary", raw_events.uploads(count))
        return watch(start(system), count)


async def side_by_side(
    broker: EmbeddedKafka, folder: Path, count: int
) -> tuple[Translated, Mapping[str, float]]:
    """Translate so many events of each of nine sources by one replica.

    Two of the sources read back from a DAM. Return also when each source was done, as a share of
    the whole time.
    """
    async with (
        serving(_answer_of_a_dam()) as port,
        translating(broker, folder, raw_events.NINE, f"http://127.0.0.1:{port}") as system,
    ):
        for source in raw_events.NINE:
            await load(system, source, raw_events.events_of(source, count))
        replica = start(system)
        ended = asyncio.ensure_future(_ends(replica, count))
        translated = await asyncio.to_thread(watch, replica, count * len(raw_events.NINE))
        return translated, await ended


async def latency(broker: EmbeddedKafka, folder: Path, rate: int, seconds: float) -> list[float]:
    """Return how many milliseconds after its raw event each change could be read, sorted."""
    async with translating(broker, folder, ["cloudinary"]) as system:
        start(system)
        await asyncio.sleep(5)
        async with arrivals(system, system.events) as seen:
            written = await _trickle(system, rate, seconds)
            await _until(lambda: seen.keys() >= written.keys(), 60)
        return sorted(seen[part] - written[part] for part in written)


async def _until(is_so: Callable[[], bool], seconds_max: float) -> None:
    """Wait until something is so, or the time is up."""
    deadline = time.monotonic() + seconds_max
    while not is_so() and time.monotonic() < deadline:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0.1)


async def _trickle(system: MeasuredSystem, rate: int, seconds: float) -> dict[str, float]:
    """Write uploads at a rate; return when each was written (ms) by the id of its change."""
    topic = raw_events.topic_of("cloudinary", system.suffix)
    events = raw_events.uploads(round(rate * seconds))
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap)
    await producer.start()
    sent: list[asyncio.Future[Any]] = []
    began = time.monotonic()
    for number, event in enumerate(events):
        if (early := number / rate - (time.monotonic() - began)) > 0:
            await asyncio.sleep(max(0.005, early))
        partition = number % RAW_PARTITIONS
        sent.append(await producer.send(topic, event.value, partition=partition))
    found = await asyncio.gather(*sent)
    await producer.stop()
    return {f"{one.topic}/{one.partition}/{one.offset}#0": one.timestamp for one in found}


async def _ends(replica: LoggedProcess, count: int) -> Mapping[str, float]:
    """Return when each source was done, as a share of the time until all were."""
    began = time.monotonic()
    done: dict[str, float] = {}
    while len(done) < len(raw_events.NINE):
        found = await asyncio.to_thread(metrics, replica)
        for source in raw_events.NINE:
            label = f'source="{source}"'
            if total(found, "asset_sync_translated_records_total", label) >= count:
                done.setdefault(source, time.monotonic() - began)
        await asyncio.sleep(LOOK_SECONDS)
    return {source: seconds / max(done.values()) for source, seconds in done.items()}


def _answer_of_a_dam() -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return what answers as the DAMs of the example do, each by the kind of its API's path."""
    bynder, aprimo = raw_events.answers()[0], raw_events.answers()[-1]

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(bynder if "media" in request.path else aprimo)

    return answer
