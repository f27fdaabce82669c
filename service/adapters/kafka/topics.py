"""Reading and writing topics for the commands: no group is joined, no position committed."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.partitioner import DefaultPartitioner

from service.adapters.kafka.header_names import read_odd_names
from service.adapters.kafka.options import connection, producing
from service.core.model import Headers
from service.settings import KafkaSettings

POLL_MS = 500
BATCH_RECORDS = 1000


class NewRecord(NamedTuple):
    """A record to write."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class StoredRecord(NamedTuple):
    """A record that was read."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class Read(NamedTuple):
    """Which part of a topic to read: all of it, or less."""

    key: bytes | None = None
    """Only the partition of this key."""
    since_utc_ms: int | None = None
    """Only what was written from then on."""
    begin: Mapping[int, int] | None = None
    """Only these partitions, from these offsets on."""


ALL = Read()


async def write(kafka: KafkaSettings, topic: str, records: Iterable[NewRecord]) -> int:
    """Write the records in order; how many there were."""
    producer = AIOKafkaProducer(**producing(kafka), enable_idempotence=True, linger_ms=5)
    count = 0
    try:
        await producer.start()
        waiting: list[asyncio.Future[object]] = []
        for record in records:
            waiting.append(
                await producer.send(
                    topic, record.value, key=record.key, headers=list(record.headers)
                )
            )
            count += 1
            if len(waiting) >= BATCH_RECORDS:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)
    finally:
        await producer.stop()
    return count


async def read(
    kafka: KafkaSettings, topic: str, part: Read = ALL, *, follow: bool = False
) -> AsyncGenerator[StoredRecord]:
    """Committed records in the order of each partition. Ends at the end, unless it follows.

    Raises:
        KafkaError: the topic is not there, or the broker refuses us or does not answer.
    """
    read_odd_names()
    consumer = AIOKafkaConsumer(
        **connection(kafka),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        places = await _places(kafka, topic, part)
        if not places:
            raise UnknownTopicOrPartitionError(topic)
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await _seek(consumer, places, part)
        while True:
            for place, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                for found in records:
                    yield StoredRecord(
                        place.partition,
                        found.offset,
                        found.key,
                        found.value,
                        tuple(found.headers),
                        found.timestamp,
                    )
            if follow:
                continue
            if all([await consumer.position(p) >= ends[p] for p in places]):
                return
    finally:
        await consumer.stop()


async def _seek(consumer: AIOKafkaConsumer, places: list[TopicPartition], part: Read) -> None:
    await consumer.seek_to_beginning(*places)
    for place in places:
        if part.begin is not None:
            consumer.seek(place, part.begin[place.partition])
    if part.since_utc_ms is not None:
        found = await consumer.offsets_for_times(dict.fromkeys(places, part.since_utc_ms))
        for place in places:
            if found[place] is not None:
                consumer.seek(place, found[place].offset)
            else:
                await consumer.seek_to_end(place)


async def _places(kafka: KafkaSettings, topic: str, part: Read) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(**connection(kafka))
    try:
        await admin.start()
        described = await admin.describe_topics([topic])
    finally:
        await admin.close()
    numbers = sorted(place["partition"] for place in described[0]["partitions"])
    if part.key is not None and numbers:
        numbers = [DefaultPartitioner()(part.key, numbers, numbers)]
    if part.begin is not None:
        numbers = [number for number in numbers if number in part.begin]
    return [TopicPartition(topic, number) for number in numbers]
