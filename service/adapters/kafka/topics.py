"""Reading and writing topics for the commands: no group is joined, no position committed."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.partitioner import DefaultPartitioner

from service.adapters.kafka.options import connection
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


async def write(kafka: KafkaSettings, topic: str, records: Iterable[NewRecord]) -> int:
    """Write the records in order; how many there were."""
    producer = AIOKafkaProducer(**connection(kafka), enable_idempotence=True, linger_ms=5)
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
    kafka: KafkaSettings,
    topic: str,
    *,
    follow: bool = False,
    key: bytes | None = None,
) -> AsyncIterator[StoredRecord]:
    """Committed records from the start; of one key only its partition. Ends at the end."""
    consumer = AIOKafkaConsumer(
        **connection(kafka),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        places = await _places(kafka, topic, key)
        if not places:
            raise UnknownTopicOrPartitionError(topic)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        while True:
            for place, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                for record in records:
                    yield StoredRecord(place.partition, record.offset, record.key, record.value)
            if follow:
                continue
            if all([await consumer.position(p) >= ends[p] for p in places]):
                return
    finally:
        await consumer.stop()


async def _places(kafka: KafkaSettings, topic: str, key: bytes | None) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(**connection(kafka))
    try:
        await admin.start()
        described = await admin.describe_topics([topic])
    finally:
        await admin.close()
    numbers = sorted(place["partition"] for place in described[0]["partitions"])
    if key is not None and numbers:
        numbers = [DefaultPartitioner()(key, numbers, numbers)]
    return [TopicPartition(topic, number) for number in numbers]
