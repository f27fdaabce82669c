"""The system of a bench: replicas and a PIM simulator, each a process of its own."""

import asyncio
import contextlib
import os
import re
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from benchmarks import corpus
from benchmarks.usage import metrics
from service.adapters.kafka.options import quieten_aiokafka
from service.playground.embedded_kafka import EmbeddedKafka, embedded_kafka
from service.playground.local_system import Event, LocalSystem, LoggedProcess
from service.playground.pim.tokens import Tokens

ROOT = Path(__file__).resolve().parent.parent
BATCH_BYTES = 512 * 1024
START_SECONDS_MAX = 30.0
UNLIMITED = 1_000_000
"""Calls a second that are never reached."""
READ_WAIT_MS = 20
"""How long a reader waits for records at a time; a measured latency may be longer by that."""


@dataclass
class MeasuredSystem(LocalSystem):
    """A local system that is loaded fast and whose replicas run the code beside these benches."""

    loaded: int = 0
    """How many events were written."""

    def environ(self, **settings: str) -> dict[str, str]:
        """Return the environment of a replica."""
        return super().environ(**settings) | {"PYTHONPATH": str(ROOT)}

    async def load(self, events: Iterable[Event], topic: str = "") -> None:
        """Write the events in order, dealt to the partitions of the events topic or another."""
        async with loader(self.bootstrap) as producer:
            self.loaded += await deal(producer, topic or self.events, self.partitions, events)

    def start_replica(self, **settings: object) -> LoggedProcess:
        """Start a replica and wait until it listens."""
        replica = self.start(**{name: str(value) for name, value in settings.items()})
        wait_until_it_listens(replica)
        return replica


def loader(bootstrap: str) -> AIOKafkaProducer:
    """Return a producer for `deal`."""
    return AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=BATCH_BYTES)


async def deal(
    producer: AIOKafkaProducer, topic: str, partitions: int, events: Iterable[Event]
) -> int:
    """Write the events in order, dealt to the partitions in turn; return how many there were."""
    filling = [producer.create_batch() for _ in range(partitions)]
    count = 0
    for count, event in enumerate(events, 1):
        at = (count - 1) % partitions
        if not _append(filling[at], event):
            await producer.send_batch(filling[at], topic, partition=at)
            filling[at] = producer.create_batch()
            _append(filling[at], event)
    for at, batch in enumerate(filling):
        await producer.send_batch(batch, topic, partition=at)
    await producer.flush()
    return count


def _append(batch: BatchBuilder, event: Event) -> bool:
    """Add an event to a batch; return False if the batch is full."""
    key, value, headers, _ = event
    return bool(batch.append(timestamp=None, key=key, value=value, headers=list(headers)))


def wait_until_it_listens(replica: LoggedProcess) -> None:
    """Wait until the HTTP port of a replica answers."""
    for _ in range(round(START_SECONDS_MAX / 0.02)):
        if replica.url is not None:
            return
        time.sleep(0.02)
    raise RuntimeError(replica.log.read_text())


def wait_until_it_owns(replica: LoggedProcess, partitions: int) -> None:
    """Wait until the group has assigned this many partitions to a replica."""
    wait_until_it_listens(replica)
    for _ in range(round(START_SECONDS_MAX / 0.1)):
        if metrics(replica)["asset_sync_assigned_partitions"] == partitions:
            return
        time.sleep(0.1)
    raise RuntimeError(replica.log.read_text())


@contextlib.contextmanager
def broker() -> Iterator[tuple[EmbeddedKafka, Path]]:
    """Run one broker for all benches; give it and a folder for logs."""
    quieten_aiokafka(entirely=True)  # a new topic has no leader for a moment
    with embedded_kafka() as running, tempfile.TemporaryDirectory(prefix="asset-sync-bench-") as at:
        yield running, Path(at)


@contextlib.contextmanager
def pim_process(
    folder: Path, families: int, *, with_options: bool = True, **options: object
) -> Iterator[str]:
    """Run a simulator as a process; give its URL. `options` are those of its command.

    Its families are those of the corpus; `with_options` is that of `corpus.structure`.
    """
    name = uuid.uuid4().hex[:8]
    structure = folder / f"structure-{name}.json"
    structure.write_bytes(
        msgspec.json.encode(corpus.structure(families, with_options=with_options))
    )
    command = [sys.executable, "-m", "service", "pim-simulator", "--port", "0"]
    command += ["--structure", str(structure)]
    for option, value in options.items():
        command += [f"--{option.replace('_', '-')}", str(value)]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = LoggedProcess(command, environ, folder / f"pim-{name}.log")
    try:
        yield _address(process.log)
    finally:
        process.kill()
        process.wait()


def _address(log: Path) -> str:
    for _ in range(round(START_SECONDS_MAX / 0.1)):
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise RuntimeError(log.read_text())


@contextlib.asynccontextmanager
async def measured_system(
    broker: EmbeddedKafka, folder: Path, pim_url: str, partitions: int = 6
) -> AsyncIterator[MeasuredSystem]:
    """Give a system with topics of its own on the broker; its replicas end with the context."""
    own = Path(tempfile.mkdtemp(dir=folder))
    async with MeasuredSystem(
        broker.bootstrap_servers, pim_url, Tokens(), own, partitions
    ) as system:
        yield system


@contextlib.asynccontextmanager
async def reading(
    system: MeasuredSystem, topic: str, take: Callable[[bytes], None]
) -> AsyncIterator[None]:
    """Give `take` each value that a committed reader of the topic sees, until the context ends."""
    task = asyncio.ensure_future(_read(system, topic, take))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _read(system: MeasuredSystem, topic: str, take: Callable[[bytes], None]) -> None:
    async with system.reader(topic, READ_WAIT_MS) as consumer:
        while True:
            for records in (await consumer.getmany(timeout_ms=READ_WAIT_MS)).values():
                for record in records:
                    take(record.value)


@contextlib.asynccontextmanager
async def arrivals(system: MeasuredSystem, topic: str) -> AsyncIterator[dict[str, float]]:
    """Give when a committed reader got each CloudEvent of a topic (ms) by its id, as they come."""
    seen: dict[str, float] = {}

    def note(value: bytes) -> None:
        seen[msgspec.json.decode(value)["id"]] = time.time() * 1000

    async with reading(system, topic, note):
        yield seen


@contextlib.asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[int]:
    """Answer every GET on a free port of loopback; give the port."""
    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
