"""Reading and writing topics for the commands: no group is joined, no position committed."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.partitioner import murmur2

from service.adapters.kafka.aiokafka_gaps.fetching import OmittedValue, read_in_steps
from service.adapters.kafka.options import connection, producing
from service.core.model import Headers
from service.core.settle.dead_letters import VALUE_OMITTED_HEADER
from service.settings import KafkaSettings

POLL_MS = 500
RECORD_BYTES_MAX = 64 * 1024 * 1024
"""A record above this is read without its value."""
BATCH_RECORDS = 1000
REQUEST_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of a request: the broker judges what is too large for a topic, not the client."""


class WriteError(Exception):
    """Not every record was written; `__cause__` is Kafka's error."""

    def __init__(self, written: int, failed: int) -> None:
        super().__init__(f"{written} records were written; the one at index {failed} was not.")
        self.written = written
        """How many records Kafka has acknowledged."""
        self.failed = failed
        """The index of the first record that Kafka refused or did not acknowledge."""


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
    """Only the partitions in which records of this key may lie."""
    since_utc_ms: int | None = None
    """Only what was written from then on."""
    begin: Mapping[int, int] | None = None
    """Only these partitions, from these offsets on."""
    last: int | None = None
    """Only this many of the last offsets of each partition."""


ALL = Read()


async def write(
    kafka: KafkaSettings,
    topic: str,
    records: Iterable[NewRecord],
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write the records in order; return how many there were.

    Args:
        kafka: how to connect.
        topic: where to.
        records: what to write; taken one by one, as the broker takes them.
        progress: told how many records are acknowledged so far.

    Raises:
        WriteError: the broker refuses a record, or does not answer any more.
        KafkaError: the broker cannot be reached, or the topic is not there.
    """
    await partition_numbers(kafka, topic)
    producer = AIOKafkaProducer(
        **producing(kafka),
        enable_idempotence=True,
        linger_ms=5,
        max_request_size=REQUEST_BYTES_MAX,
    )
    sending = _Sending(producer, topic)
    try:
        await producer.start()
        for record in records:
            await sending.add(record)
            if len(sending.waiting) >= BATCH_RECORDS:
                await sending.finish()
                progress(sending.written)
        await sending.finish()
        progress(sending.written)
    finally:
        await producer.stop()
    return sending.written


class _Sending:
    """Records on their way to one topic, in order."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self.waiting: list[asyncio.Future[object]] = []
        self.written = 0

    async def add(self, record: NewRecord) -> None:
        """Hand one record to the producer."""
        headers = list(record.headers)
        try:
            sent = await self._producer.send(
                self._topic, record.value, key=record.key, headers=headers
            )
        except KafkaError as error:
            index = self.written + len(self.waiting)
            await self.finish()
            raise WriteError(self.written, index) from error
        self.waiting.append(sent)

    async def finish(self) -> None:
        """Wait until everything that was handed over is acknowledged."""
        first = self.written
        answers = await asyncio.gather(*self.waiting, return_exceptions=True)
        self.waiting.clear()
        refusals = [(n, x) for n, x in enumerate(answers) if isinstance(x, BaseException)]
        self.written += len(answers) - len(refusals)
        for index, error in refusals[:1]:
            raise WriteError(self.written, first + index) from error


async def read(
    kafka: KafkaSettings, topic: str, part: Read = ALL, *, follow: bool = False
) -> AsyncGenerator[StoredRecord]:
    """Committed records in the order of each partition. Ends at the end, unless it follows.

    Raises:
        KafkaError: the topic is not there, or the broker refuses us or does not answer.
    """
    read_in_steps(RECORD_BYTES_MAX)
    consumer = AIOKafkaConsumer(
        **connection(kafka),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        topic_partitions = await _topic_partitions(kafka, topic, part)
        if not topic_partitions:
            return
        consumer.assign(topic_partitions)
        ends = await consumer.end_offsets(topic_partitions)
        await _seek(consumer, ends, part)
        while True:
            for topic_partition, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                for found in map(_without_omitted, records):
                    yield StoredRecord(
                        topic_partition.partition,
                        found.offset,
                        found.key,
                        found.value,
                        tuple(found.headers),
                        found.timestamp,
                    )
            if follow:
                continue
            if all([await consumer.position(p) >= ends[p] for p in topic_partitions]):
                return
    finally:
        await consumer.stop()


def _without_omitted(record: ConsumerRecord) -> ConsumerRecord:
    """A record that is too large to hold says so by its headers, as a dead letter does."""
    if type(record.value) is not OmittedValue:
        return record
    headers = (*record.headers, (VALUE_OMITTED_HEADER, b"true"))
    return replace(record, value=None, headers=headers)


async def _seek(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], part: Read) -> None:
    topic_partitions = list(ends)
    await consumer.seek_to_beginning(*topic_partitions)
    for topic_partition in topic_partitions:
        if part.begin is not None:
            consumer.seek(
                topic_partition,
                min(part.begin[topic_partition.partition], ends[topic_partition]),
            )
        elif part.last is not None:
            consumer.seek(topic_partition, max(0, ends[topic_partition] - part.last))
    if part.since_utc_ms is not None:
        found = await consumer.offsets_for_times(dict.fromkeys(topic_partitions, part.since_utc_ms))
        for topic_partition in topic_partitions:
            if found[topic_partition] is not None:
                consumer.seek(topic_partition, found[topic_partition].offset)
            else:
                await consumer.seek_to_end(topic_partition)


async def partition_numbers(kafka: KafkaSettings, topic: str) -> list[int]:
    """The partitions of a topic, in ascending order.

    Raises:
        KafkaError: the topic is not there, or the broker refuses or does not answer.
    """
    admin = AIOKafkaAdminClient(**connection(kafka))
    try:
        await admin.start()
        (described,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    if code := described["error_code"]:
        raise for_code(code)(topic)
    return sorted(topic_partition["partition"] for topic_partition in described["partitions"])


def partition_of(key: bytes, count: int) -> int:
    """The partition of a key in a topic of `count` partitions: Kafka's default, murmur2."""
    return int(murmur2(key) & 0x7FFFFFFF) % count


def partitions_of(key: bytes, count: int) -> set[int]:
    """The partitions in which records of a key may lie.

    One is the key's partition today. Where partitions were added, older records lie where the key
    led while the topic had fewer partitions.
    """
    return {partition_of(key, earlier) for earlier in range(1, count + 1)}


async def _topic_partitions(kafka: KafkaSettings, topic: str, part: Read) -> list[TopicPartition]:
    numbers = await partition_numbers(kafka, topic)
    if part.key is not None:
        wanted = partitions_of(part.key, len(numbers))
        numbers = [number for number in numbers if number in wanted]
    if part.begin is not None:
        numbers = [number for number in numbers if number in part.begin]
    return [TopicPartition(topic, number) for number in numbers]
