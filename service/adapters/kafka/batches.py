"""Put records into batches by partition, in order, and send them in a transaction.

The producer's own `send` is not used, because it refuses a record without key and value. A
tombstone without a key is such a record, and it has to be dead-lettered and replayed like others.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from service.adapters.kafka.aiokafka_gaps.header_names import (
    batch_with_non_utf8_names,
    has_non_utf8_name,
)
from service.adapters.kafka.partitioner import partitions_of
from service.core.records import LogRecord

PartitionedRecord = tuple[TopicPartition, LogRecord]


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
    producer: AIOKafkaProducer, topic: str, records: Sequence[LogRecord]
) -> list[PartitionedRecord]:
    """Return each record with its partition by Kafka's default."""
    topic_partitions = [
        TopicPartition(topic, number) for number in sorted(await producer.partitions_for(topic))
    ]
    indices = partitions_of([record.key for record in records], len(topic_partitions))
    return [
        (topic_partitions[index], record) for index, record in zip(indices, records, strict=True)
    ]


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
