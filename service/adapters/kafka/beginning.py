"""Decide where a group without any position begins, once and for all partitions.

The replica that finds no position commits the beginnings of all partitions of the events topics in
one transaction, before the first record is read. So the decision cannot differ later: neither in
another replica, nor after a restart, nor after partitions were added.

The transactional id `GROUP_ID.beginning` is the lock. A replica that takes it fences the previous
holder and aborts what that holder left open. Only then does it read whether the group has a
position.
"""

import asyncio
import contextlib
import random
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps.committed_positions import has_positions
from service.adapters.kafka.aiokafka_gaps.fencing_producer import (
    FencingProducer,
    OffsetsRefusedError,
)
from service.adapters.kafka.aiokafka_gaps.group_membership import GroupMetadata
from service.adapters.kafka.aiokafka_gaps.identity import Identity
from service.adapters.kafka.ends import EARLIEST, LATEST, ask_offsets
from service.adapters.kafka.errors import is_final
from service.adapters.kafka.options import (
    REQUEST_TIMEOUT_MS,
    TRANSACTION_TIMEOUT_MS,
    connection,
)
from service.adapters.kafka.positions import Log
from service.core.settle import offset_map
from service.settings import KafkaSettings

SECONDS_MAX = 15.0
"""The limit of one try, longer than the transaction of a killed replica keeps the lock."""
RETRY_SECONDS_MAX = 0.5
TRIES_MAX = 20


@dataclass(frozen=True, slots=True)
class Beginning:
    """The partitions for which a replica committed a beginning, and their records."""

    partitions: int
    records: int
    """Records in the partitions at that moment."""
    outcomes: int
    """Records that were written to the outcomes topic before this beginning."""


async def logs_of(
    consumer: AIOKafkaConsumer, topic_partitions: list[TopicPartition]
) -> dict[TopicPartition, Log]:
    """Return which offsets the brokers have of these partitions, of those whose leaders answer.

    Raises:
        KafkaError: a leader refuses to answer.
    """
    first = await ask_offsets(consumer, topic_partitions, EARLIEST)
    last = await ask_offsets(consumer, list(first), LATEST)
    return {
        topic_partition: Log(first[topic_partition], at) for topic_partition, at in last.items()
    }


async def count_outcomes(
    consumer: AIOKafkaConsumer, kafka: KafkaSettings, identity: Identity
) -> int:
    """Return how many records were ever written to the outcomes topic, as far as brokers answer.

    Those that retention deleted since count too: by default, outcomes are kept no longer than the
    positions of a group without members.
    """
    topic_partitions = identity.partitions.get(kafka.outcomes_topic, ())
    with contextlib.suppress(KafkaError):
        return sum((await ask_offsets(consumer, topic_partitions, LATEST)).values())
    return 0


async def begin_group(
    consumer: AIOKafkaConsumer, kafka: KafkaSettings, group: GroupMetadata, identity: Identity
) -> Beginning | None:
    """Commit the beginnings of all partitions, or return None if the group has a position by now.

    Raises:
        OffsetsRefusedError: the group rebalanced, and the coordinator refused the positions.
        GroupMovedOnError: the group rebalances.
        KafkaError: the broker refuses, or another replica took the lock in every try.
        TimeoutError: a broker does not answer.
    """
    for attempt in range(1, TRIES_MAX + 1):
        if await has_positions(consumer):
            return None
        try:
            async with asyncio.timeout(SECONDS_MAX):
                return await _begin_alone(consumer, kafka, group, identity)
        except KafkaError as error:
            # Another replica took the lock meanwhile, and commits the beginnings instead.
            if is_final(error) or attempt == TRIES_MAX:
                raise
            await asyncio.sleep(random.uniform(0.0, RETRY_SECONDS_MAX))  # noqa: S311 - no secret
    return None


async def _begin_alone(
    consumer: AIOKafkaConsumer, kafka: KafkaSettings, group: GroupMetadata, identity: Identity
) -> Beginning | None:
    lock = FencingProducer(
        **connection(kafka),
        transactional_id=f"{kafka.group_id}.beginning",
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        retry_backoff_ms=20,
    )
    try:
        await lock.start()
        if await has_positions(consumer):
            return None
        names = kafka.events_topic_names
        topic_partitions = [
            topic_partition
            for name in names
            for topic_partition in identity.partitions.get(name, ())
        ]
        logs = await logs_of(consumer, topic_partitions)
        if len(logs) < len(topic_partitions):
            raise TimeoutError  # with `latest`, the others would begin at their earliest record
        # Other replicas may write outcomes as soon as the beginning is committed.
        outcomes = await count_outcomes(consumer, kafka, identity)
        await lock.begin_transaction()
        await lock.send_offsets(
            {
                topic_partition: _beginning(kafka, identity, topic_partition, log)
                for topic_partition, log in logs.items()
            },
            group,
        )
        await lock.commit_transaction()
    except OffsetsRefusedError:
        await lock.abort_transaction()
        raise
    finally:
        await lock.abandon()  # `stop` may wait for as long as Kafka is unreachable
    return Beginning(len(logs), sum(log.last - log.first for log in logs.values()), outcomes)


def _beginning(
    kafka: KafkaSettings, identity: Identity, topic_partition: TopicPartition, log: Log
) -> OffsetAndMetadata:
    position = log.first if kafka.start_from == "earliest" else log.last
    binding = identity.binding(kafka.group_id, topic_partition)
    return OffsetAndMetadata(position, offset_map.encode(position, 0, binding))
