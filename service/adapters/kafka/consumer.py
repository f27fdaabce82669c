"""Read records from the topics of a group, by FastStream's batch subscriber (architecture.md D1).

Rule 1: the handler never raises, and waits only until the pipeline has taken the records. It has to
wait, because a poll that finds fetched records does not yield to other tasks. For back-pressure,
partitions are paused.
Rule 2: errors of aiokafka are handled before FastStream's loop sees them, which would log them for
ever (`polls.py`).
Rule 3: while all partitions are paused, fetched records are kept. aiokafka's own pause drops them,
so they are fetched again, and leaves them in a reference cycle until the next garbage collection.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaConnectionError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage

from service.adapters.kafka.aiokafka_gaps.fetching import (
    FETCH_LIMITS,
    FetchedRecord,
    OmittedValue,
    read_in_steps,
)
from service.adapters.kafka.assignment import Assignment
from service.adapters.kafka.ends import Lags
from service.adapters.kafka.errors import describe, is_final
from service.adapters.kafka.options import (
    IDLE_MS_MAX,
    RETRY_SECONDS,
    START_SECONDS_MAX,
    security,
)
from service.adapters.kafka.polls import POLL_SECONDS, Polls
from service.adapters.kafka.subscription import Subscription
from service.adapters.kafka.transaction import TransactionLog
from service.core.facts import Fact, PositionLost
from service.core.inputs import Arrived
from service.core.model import Origin, Partition, SourceRecord
from service.ports import FatalError, Inbox
from service.settings import KafkaSettings

POLL_RECORDS_MAX = 200
METADATA_SECONDS_MAX = 30
"""A partition that is added is read after this time at the latest (aiokafka's own: 300 s)."""
FAILED_POLL_SECONDS = 0.05
"""How long after a failed poll the next one follows."""
POLL_INTERVAL_SECONDS_MAX = 300
NOWHERE = TopicPartition("", -1)
"""Polled while every partition is paused: without polls the consumer would leave its group."""
DRAIN_MARGIN_SECONDS = 15.0
"""How much longer than the drain the group waits for a member in a rebalance."""


class Consumer:
    """Reads the topics of a group, submits every record, pauses and resumes partitions."""

    def __init__(
        self,
        subscription: Subscription,
        log: TransactionLog,
        inbox: Inbox,
        note: Callable[[Fact], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._kafka = kafka = subscription.kafka
        read_in_steps(kafka.max_record_bytes)
        self._inbox = inbox
        self._note = note
        self._fail = fail
        self.assignment = Assignment(subscription, log, inbox, note, fail, self._guarded_consumer)
        self.polled_at = time.monotonic()
        self._lags = Lags()
        self._broker = _broker(kafka)
        self._subscriber = self._broker.subscriber(
            *kafka.events_topic_names,
            group_id=kafka.group_id,
            group_instance_id=kafka.group_instance_id,
            batch=True,
            max_records=POLL_RECORDS_MAX,
            **FETCH_LIMITS,
            # FastStream sleeps for it after a failed poll; `Polls` sets the time of a poll itself.
            batch_timeout_ms=round(FAILED_POLL_SECONDS * 1000),
            # Positions are committed only together with outcomes, in a transaction (kafka.md §1).
            ack_policy=AckPolicy.MANUAL,
            # A change that its producer aborted must not be applied.
            isolation_level="read_committed",
            # start_positions.py decides where a partition begins, and aiokafka must not.
            auto_offset_reset="none",
            listener=self.assignment,
            **_timeouts(kafka, subscription.drain_seconds),
            partition_assignment_strategy=(StickyPartitionAssignor,),
            parser=_parse_nothing,
            decoder=_decode_nothing,
        )
        self._subscriber(self._handle)
        self._guarded: AIOKafkaConsumer | None = None
        self._paused: frozenset[Partition] = frozenset()
        self._intake_changed = asyncio.Event()

    def _guarded_consumer(self) -> AIOKafkaConsumer:
        """Return the consumer. The group's listener asks for it before the first poll."""
        consumer = self._subscriber.consumer
        assert consumer is not None
        if self._guarded is not consumer:
            self._guarded = consumer
            Polls(
                consumer,
                self._to_poll,
                self._polled,
                self._consumer_failed,
                self.assignment.owns,
                self._note_lost_position,
            ).guard()
        return consumer

    def _polled(self) -> None:
        self.polled_at = time.monotonic()

    def _note_lost_position(self, message: str) -> None:
        self._note(PositionLost(message))

    def _consumer_failed(self, error: BaseException) -> None:
        text = describe(error, self._kafka)
        self._fail(FatalError(f"Events cannot be read from Kafka: {text}"))

    @property
    def lags(self) -> Mapping[Partition, int]:
        """The records to read in each partition, as they were measured last."""
        return self._lags.records

    @property
    def behind_transactions(self) -> Mapping[Partition, int]:
        """Records that are not read yet because they are in open transactions."""
        return self._lags.behind_transactions

    def unread_seconds(self) -> dict[Partition, float]:
        """Return for how long partitions have had records to read without any being read."""
        return self._lags.unread_seconds()

    async def measure_lags(self) -> None:
        """Update the lags, by comparing the positions with the ends of the partitions."""
        consumer = self._subscriber.consumer
        if consumer is not None:
            await self._lags.measure(consumer, self.assignment.partitions, self._paused)

    async def open(self) -> None:
        """Join the group and start to read, with retries while Kafka cannot be reached.

        Raises:
            KafkaError: Kafka refuses the connection, or cannot be reached in time.
        """
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                return await self._broker.start()
            except KafkaConnectionError as error:  # aiokafka itself tries only once
                if is_final(error) or time.monotonic() >= deadline:
                    raise
            if self._subscriber.consumer is not None:
                await self._subscriber.consumer.stop()
            await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Leave the group; a static member stays in it until its session times out."""
        await self._broker.stop()

    def set_paused(self, partitions: frozenset[Partition]) -> None:
        """Pause these partitions, and resume all others.

        If all partitions are paused, their fetched records are kept, because such a pause is short.
        If only some are paused, their fetched records are dropped, because records that are not
        taken make aiokafka delay its fetches from the same broker. A partition whose start position
        is not decided yet stays paused.
        """
        self._paused = partitions
        self._intake_changed.set()
        consumer = self._subscriber.consumer
        assigned = consumer.assignment() if consumer is not None else frozenset()
        if not assigned:
            return
        paused_alone = {
            topic_partition
            for topic_partition in assigned
            if Partition(topic_partition.topic, topic_partition.partition) in partitions
        }
        if paused_alone == assigned:
            paused_alone = set()
        consumer.pause(*paused_alone - consumer.paused())
        consumer.resume(*filter(self.assignment.owns, consumer.paused() - paused_alone))

    async def _to_poll(self) -> Sequence[TopicPartition]:
        """Return the partitions to poll; while there is none, wait some time for them."""
        if partitions := self._open_partitions():
            return partitions
        self._intake_changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._intake_changed.wait(), POLL_SECONDS)
        return self._open_partitions() or (NOWHERE,)

    def _open_partitions(self) -> list[TopicPartition]:
        """Return the partitions that are not paused.

        This includes those that do not belong to the pipeline yet, to see their errors.
        """
        consumer = self._subscriber.consumer
        assert consumer is not None, "a consumer polls"
        return [
            topic_partition
            for topic_partition in consumer.assignment()
            if Partition(topic_partition.topic, topic_partition.partition) not in self._paused
        ]

    async def _handle(self, records: Sequence[FetchedRecord]) -> None:
        """Submit records to the pipeline, but not those of partitions that it does not own.

        Such records are fetched again once their partition has its start position.
        """
        epoch, owned = self.assignment.epoch, self.assignment.partitions
        if epoch is None:
            return
        taken = []
        partition = Partition("", -1)
        for record in records:
            if record.partition != partition.number or record.topic != partition.topic:
                partition = Partition(record.topic, record.partition)
            if partition in owned:
                taken.append(_source_record(record, Origin(partition, record.offset, epoch)))
        if taken:
            await self._inbox.take_in(Arrived(tuple(taken)))
        else:
            await asyncio.sleep(0)


def _broker(kafka: KafkaSettings) -> KafkaBroker:
    return KafkaBroker(
        kafka.bootstrap_servers.split(","),
        client_id=kafka.client_id,
        **security(kafka),
        metadata_max_age_ms=METADATA_SECONDS_MAX * 1000,
        connections_max_idle_ms=IDLE_MS_MAX,
        apply_types=False,
        allow_auto_create_topics=False,
        logger=None,
        consumer_only=True,
    )


def _source_record(record: FetchedRecord, origin: Origin) -> SourceRecord:
    value, headers, timestamp = record.value, record.headers, record.timestamp
    if type(value) is OmittedValue:
        return SourceRecord(
            origin, record.key, None, headers, timestamp, value.omission, record.size
        )
    return SourceRecord(origin, record.key, value, headers, timestamp, None, record.size)


def _timeouts(kafka: KafkaSettings, drain_seconds: float) -> dict[str, Any]:
    """Return how long the group waits for this member, in milliseconds."""
    return {
        "session_timeout_ms": round(kafka.session_timeout_seconds * 1000),
        # A tenth of the session timeout, so that the lease survives several lost heartbeats.
        "heartbeat_interval_ms": round(kafka.session_timeout_seconds * 100),
        "rebalance_timeout_ms": round((drain_seconds + DRAIN_MARGIN_SECONDS) * 1000),
        "max_poll_interval_ms": POLL_INTERVAL_SECONDS_MAX * 1000,
    }


async def _parse_nothing(records: Any) -> KafkaMessage:  # noqa: ANN401 - FastStream's seam
    """Replace FastStream's default parser, which would decode every record."""
    return KafkaMessage(body=records, raw_message=records, consumer=None)  # type: ignore[arg-type]


async def _decode_nothing(message: Any) -> Any:  # noqa: ANN401 - FastStream's seam
    return message.raw_message
