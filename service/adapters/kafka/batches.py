"""Put records into batches by partition, in order, and send them in a transaction.

The producer's own `send` is not used, because it refuses a record without key and value. A
tombstone without a key is such a record, and it has to be dead-lettered and replayed like others.
"""

import asyncio
import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from service.adapters.kafka.aiokafka_gaps.header_names import (
    batch_with_non_utf8_names,
    has_non_utf8_name,
)
from service.core.records import LogRecord

PartitionedRecord = tuple[TopicPartition, LogRecord]

_SEED, _MIX, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF
_WORD = struct.Struct("<I")


@dataclass(eq=False)
class Batch:
    """Records for one partition, and the result of sending them."""

    topic_partition: TopicPartition
    builder: BatchBuilder
    records: list[LogRecord] = field(default_factory=list)
    sent: asyncio.Future[object] = field(default_factory=asyncio.Future)

    def append(self, record: LogRecord) -> bool:
        """Add a record; return False if the batch is full."""
        is_taken = self.builder.append(
            timestamp=None, key=record.key, value=record.value, headers=list(record.headers)
        )
        if is_taken:
            self.records.append(record)
        return bool(is_taken)

    @property
    def is_too_large(self) -> bool:
        """Whether the broker refused the batch for its size."""
        refused = MessageSizeTooLargeError | RecordListTooLargeError
        return isinstance(self.sent.exception(), refused)


async def partition_by_key(
    producer: AIOKafkaProducer, topic: str, records: Iterable[LogRecord]
) -> list[PartitionedRecord]:
    """Return each record with its partition by Kafka's default, murmur2 of the key."""
    topic_partitions = [
        TopicPartition(topic, number) for number in sorted(await producer.partitions_for(topic))
    ]
    return [(_partition_for(record.key, topic_partitions), record) for record in records]


def _partition_for(key: bytes | None, topic_partitions: Sequence[TopicPartition]) -> TopicPartition:
    """Return the partition by Kafka's default partitioner.

    aiokafka's implementation takes three times as long for a key.
    """
    if key is None:
        return random.choice(topic_partitions)  # noqa: S311 - no secret
    length = len(key)
    hashed = _SEED ^ length
    for (word,) in _WORD.iter_unpack(key[: length & ~3]):
        mixed = (word * _MIX) & _MASK
        mixed = ((mixed ^ (mixed >> 24)) * _MIX) & _MASK
        hashed = ((hashed * _MIX) & _MASK) ^ mixed
    if rest := key[length & ~3 :]:
        hashed = ((hashed ^ int.from_bytes(rest, "little")) * _MIX) & _MASK
    hashed = ((hashed ^ (hashed >> 13)) * _MIX) & _MASK
    hashed ^= hashed >> 15
    return topic_partitions[(hashed & 0x7FFFFFFF) % len(topic_partitions)]


def fill(
    producer: AIOKafkaProducer,
    records: Iterable[PartitionedRecord],
    *,
    alone: bool = False,
    has_foreign_headers: bool = True,
) -> list[Batch]:
    """Return the records in as few batches as possible, or each in a batch of its own."""
    batches: list[Batch] = []
    filling: dict[TopicPartition, Batch] = {}
    for topic_partition, record in records:
        batch = filling.get(topic_partition)
        is_non_utf8 = has_foreign_headers and has_non_utf8_name(record.headers)
        if batch is None or alone or is_non_utf8 or not batch.append(record):
            builder = (
                batch_with_non_utf8_names(producer) if is_non_utf8 else producer.create_batch()
            )
            batch = filling[topic_partition] = Batch(topic_partition, builder)
            batches.append(batch)
            is_taken = batch.append(record)
            assert is_taken, "an empty batch takes any record"
    for batch in batches:
        batch.builder.close()
    return batches


async def send(producer: AIOKafkaProducer, batches: Sequence[Batch]) -> None:
    """Send the batches and wait for all of them; `Batch.sent` has the result of each."""
    for batch in batches:
        batch.sent = await producer.send_batch(
            batch.builder, batch.topic_partition.topic, partition=batch.topic_partition.partition
        )
    await asyncio.gather(*(batch.sent for batch in batches), return_exceptions=True)
