"""Measures what the libraries alone cost: the least that a bridge between Kafka and HTTP could use.

`python -m benchmarks.floor` reads the same topics with stock aiokafka, sends a call for every
hundred records with httpx2's own client, and writes an outcome for each record and the positions in
transactions. There is no work between: bodies and outcomes are constant, and no answer is read.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx2
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.corpus import STRUCTURED, corpus_event, family_code
from benchmarks.system import ROOT, MeasuredSystem
from service.adapters.kafka.aiokafka_gaps.fetching import FETCH_LIMITS
from service.core.limits import DecodeLimits
from service.core.model import Origin, Partition, Rejection, SourceRecord, UpsertAsset
from service.core.read.convert import convert
from service.core.read.decode import decode

ASSETS = 100
CALLS_AT_ONCE = 8
BATCH_BYTES = 256 * 1024
FAMILIES = 20
SECONDS_MAX = 300
RECORD_BYTES_MAX = 64 * 1024
APP_TOKEN = "bench"
"""A token that the PIM simulator has to accept."""
OUTCOME = b"x" * 900
"""As many bytes as an outcome has."""
HEADERS = [*STRUCTURED, *((f"ce_{number}", b"x" * 24) for number in range(7))]
"""As many headers as an outcome has, and about as many bytes."""


@dataclass(frozen=True)
class Job:
    """What the program is told on its command line."""

    bootstrap: str
    events: str
    outcomes: str
    partitions: int
    records: int
    pim_url: str


def cost(system: MeasuredSystem) -> float:
    """Return the seconds of CPU for 10,000 records, between a tenth and nine tenths of all.

    Raises:
        CalledProcessError: the program failed.
    """
    job = Job(
        system.bootstrap,
        system.events,
        system.outcomes,
        system.partitions,
        system.loaded,
        system.pim_url,
    )
    command = [sys.executable, "-m", "benchmarks.floor", json.dumps(vars(job))]
    done = subprocess.run(  # noqa: S603 - our own program
        command, stdout=subprocess.PIPE, cwd=ROOT, timeout=SECONDS_MAX, check=True
    )
    return float(done.stdout)


class _Floor:
    """Moves every record of the events topic."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._partitions = [TopicPartition(job.events, n) for n in range(job.partitions)]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=job.bootstrap,
            group_id=f"{job.events}.floor",
            isolation_level="read_committed",
            enable_auto_commit=False,
            **FETCH_LIMITS,
        )
        self._producer = AIOKafkaProducer(
            bootstrap_servers=job.bootstrap,
            transactional_id=f"{job.events}.floor",
            max_batch_size=BATCH_BYTES,
        )
        self._client = httpx2.AsyncClient(trust_env=False)
        headers = {"authorization": f"Bearer {APP_TOKEN}"}
        self._headers = headers | {"content-type": "application/json"}
        self._bodies = itertools.cycle([(family_code(n), _body(n)) for n in range(FAMILIES)])
        self._moved = 0

    async def run(self) -> float:
        """Return the seconds of CPU for 10,000 records."""
        async with self._consumer, self._producer, self._client:
            self._consumer.assign(self._partitions)
            await self._consumer.seek_to_beginning()
            await self._move_until(0.1)
            first, began = self._moved, time.process_time()
            await self._move_until(0.9)
            return (time.process_time() - began) / (self._moved - first) * 10_000

    async def _move_until(self, share: float) -> None:
        while self._moved < share * self._job.records:
            polled = await self._consumer.getmany(timeout_ms=50, max_records=ASSETS * CALLS_AT_ONCE)
            count = sum(map(len, polled.values()))
            if not count:
                continue
            await asyncio.gather(*(self._call() for _ in range(max(1, count // ASSETS))))
            async with self._producer.transaction():
                await self._write(count)
                positions = {one: records[-1].offset + 1 for one, records in polled.items()}
                await self._producer.send_offsets_to_transaction(
                    positions, f"{self._job.events}.floor"
                )
            self._moved += count

    async def _call(self) -> None:
        family, body = next(self._bodies)
        url = f"{self._job.pim_url}/api/rest/v1/asset-families/{family}/assets"
        answer = await self._client.patch(url, content=body, headers=self._headers)
        answer.raise_for_status()

    async def _write(self, count: int) -> None:
        """Write this many outcomes, an equal share to each partition."""
        sent = []
        for partition in range(self._job.partitions):
            batch = self._producer.create_batch()
            for _ in range(count // self._job.partitions):
                batch.append(timestamp=None, key=b"x" * 24, value=OUTCOME, headers=HEADERS)
            sent.append(
                await self._producer.send_batch(batch, self._job.outcomes, partition=partition)
            )
        await asyncio.gather(*sent)


async def _move(job: Job) -> float:
    return await _Floor(job).run()


def _body(family: int) -> bytes:
    """Return the body of a call that sets a hundred assets of the corpus."""
    assets = [_asset(family, number) for number in range(ASSETS)]
    return msgspec.json.encode(assets)


def _asset(family: int, number: int) -> dict[str, object]:
    key, value, headers, _ = corpus_event(family, number)
    record = SourceRecord(Origin(Partition("", 0), number, 0), key, value, headers)
    change = decode(record, DecodeLimits(RECORD_BYTES_MAX))
    assert not isinstance(change, Rejection)
    command = convert(change)
    assert isinstance(command, UpsertAsset)
    return {"code": command.asset.code, "values": command.values}


def main(arguments: Sequence[str]) -> None:
    """Move the records of a job, and print the seconds of CPU."""
    job = Job(**json.loads(arguments[0]))
    sys.stdout.write(f"{asyncio.run(_move(job))}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
