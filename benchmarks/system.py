"""The system of a bench: replicas and a PIM simulator, each a process of its own."""

import contextlib
import json
import os
import re
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from benchmarks.usage import metrics
from service.adapters.kafka.options import quieten_aiokafka
from service.playground.embedded_kafka import EmbeddedKafka, embedded_kafka
from service.playground.local_system import LocalSystem, LoggedProcess
from service.playground.pim import structure as pim_structure
from service.playground.pim.tokens import Tokens

ROOT = Path(__file__).resolve().parent.parent
BATCH_BYTES = 512 * 1024
START_SECONDS_MAX = 30.0

KeyValue = tuple[bytes, bytes | None]
"""Key and value of an event."""


@dataclass
class MeasuredSystem(LocalSystem):
    """A local system that is loaded fast and whose replicas run the code beside these benches."""

    loaded: int = 0
    """How many events were written."""

    def environ(self, **settings: str) -> dict[str, str]:
        """Return the environment of a replica."""
        return super().environ(**settings) | {"PYTHONPATH": str(ROOT)}

    async def load(self, events: Iterable[KeyValue]) -> None:
        """Write the events in order, dealt to the partitions in turn."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, max_batch_size=BATCH_BYTES)
        await producer.start()
        filling = [producer.create_batch() for _ in range(self.partitions)]
        for number, (key, value) in enumerate(events):
            at = number % self.partitions
            self.loaded += 1
            if filling[at].append(timestamp=None, key=key, value=value) is None:
                await producer.send_batch(filling[at], self.events, partition=at)
                filling[at] = producer.create_batch()
                filling[at].append(timestamp=None, key=key, value=value)
        for at, batch in enumerate(filling):
            await producer.send_batch(batch, self.events, partition=at)
        await producer.flush()
        await producer.stop()

    def start_replica(self, **settings: object) -> LoggedProcess:
        """Start a replica and wait until it listens."""
        replica = self.start(**{name: str(value) for name, value in settings.items()})
        wait_until_it_listens(replica)
        return replica


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

    Its families have the attributes that `upsert` sets. With `with_options=False` these are texts
    alone: then a structure is read by one call, not by three.
    """
    name = uuid.uuid4().hex[:8]
    structure = folder / f"structure-{name}.json"
    structure.write_bytes(msgspec.json.encode(_structure(families, with_options=with_options)))
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


def _structure(families: int, *, with_options: bool) -> pim_structure.Structure:
    """Return families that differ by their name only."""
    attributes = [
        pim_structure.Attribute("photographer"),
        pim_structure.Attribute("caption", value_per_locale=True),
        pim_structure.Attribute("notes"),
    ]
    if with_options:
        photographers: dict[str, dict[str, str]] = {"ben_levy": {}, "ann_lee": {}}
        colors: dict[str, dict[str, str]] = {"red": {}, "purple": {}}
        attributes[0] = pim_structure.Attribute(
            "photographer", "single_option", options=photographers
        )
        attributes.append(
            pim_structure.Attribute("main_colors", "multiple_options", options=colors)
        )
    codes = [f"family{n:04}" for n in range(families)]
    return pim_structure.Structure(
        {code: pim_structure.family(code, *attributes) for code in codes}
    )


def upsert(
    family: int,
    code: int,
    size: int = 1000,
    *,
    caption: str | None = None,
    with_options: bool = True,
) -> KeyValue:
    """Return key and value of an event of about `size` bytes."""
    caption = caption or f"Side view {code}"
    options = {"main_colors": ["red", "purple"]} if with_options else {}
    event = {
        "action": "upsert",
        "asset_family": f"family{family:04}",
        "code": f"asset_{code:07}",
        "values": {
            "photographer": "ben_levy",
            **options,
            "caption": [{"locale": "en_US", "channel": None, "data": caption}],
            "notes": "",
        },
    }
    padding = size - len(json.dumps(event))
    event["values"]["notes"] = "x" * max(0, padding)  # type: ignore[index]
    return f"family{family:04}/asset_{code:07}".encode(), json.dumps(event).encode()


def delete(family: int, code: int) -> KeyValue:
    """Return key and value of a tombstone."""
    return f"family{family:04}/asset_{code:07}".encode(), None
