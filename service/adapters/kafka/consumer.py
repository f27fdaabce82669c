"""The door: FastStream's batch subscriber, raw records in, nothing decided (architecture.md D1).

Rule 1: the handler never raises, and waits only until the pipeline has taken what it hands over:
a poll that finds records at hand never gives way by itself. Back-pressure is pause and return.
Rule 2: what aiokafka raises is seen here first: FastStream's loop would log it for ever.
Rule 3: what was fetched of a paused partition stays at hand. aiokafka's own pause drops it, to be
fetched anew, and in a cycle that keeps it until the garbage collector comes by.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    ConsumerStoppedError,
    KafkaConnectionError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage

from service.adapters.kafka.aiokafka_gaps.fencing import request_rejoin
from service.adapters.kafka.aiokafka_gaps.fetching import (
    FETCH_LIMITS,
    Budget,
    OmittedValue,
    bound_fetches,
    budget,
    read_in_steps,
)
from service.adapters.kafka.assignment import Assignment
from service.adapters.kafka.ends import Ends, ask_ends
from service.adapters.kafka.errors import describe, is_final
from service.adapters.kafka.options import security
from service.adapters.kafka.preflight import RETRY_SECONDS, START_SECONDS_MAX
from service.adapters.kafka.transaction import TransactionLog
from service.core.facts import Fact, PositionLost
from service.core.inputs import Arrived
from service.core.model import Origin, Partition, SourceRecord
from service.ports import FatalError, Inbox
from service.settings import KafkaSettings, Settings

POLL_RECORDS_MAX = 200
METADATA_SECONDS_MAX = 30
"""Partitions that are added are read after this time at the latest (aiokafka's own: 300 s)."""
LOOK_SECONDS_MAX = 0.2
ASK_SECONDS_MAX = 2.0
"""For the brokers to tell where partitions end that are not fetched."""
POLL_SECONDS = 0.05
POLL_INTERVAL_SECONDS_MAX = 300
NOWHERE = TopicPartition("", -1)
"""Polled while every partition is paused: a poll is what keeps the consumer in its group."""
DRAIN_MARGIN_SECONDS = 15.0

SayLost = Callable[[str], None]
"""Says in a sentence that a committed position is lost."""


class Consumer:
    """Opens the events topics, hands every record over, pauses and resumes."""

    def __init__(
        self,
        settings: Settings,
        log: TransactionLog,
        inbox: Inbox,
        note: Callable[[Fact], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._kafka = kafka = settings.kafka
        read_in_steps(kafka.max_record_bytes)
        self._inbox = inbox
        self._note = note
        self._fail = fail
        self.assignment = Assignment(settings, log, inbox, note, fail, self._guarded_consumer)
        self.polled_at = time.monotonic()
        self.lags: dict[Partition, int] = {}
        self.behind_transactions: dict[Partition, int] = {}
        """Records not read, as of the last look: readable ones, and ones in open transactions."""
        self._broker = KafkaBroker(
            kafka.bootstrap_servers.split(","),
            client_id=kafka.client_id,
            security=security(kafka),
            metadata_max_age_ms=METADATA_SECONDS_MAX * 1000,
            apply_types=False,
            allow_auto_create_topics=False,
            logger=None,
            consumer_only=True,
        )
        self._subscriber = self._broker.subscriber(
            *kafka.events_topic_names,
            group_id=kafka.group_id,
            group_instance_id=kafka.group_instance_id,
            batch=True,
            max_records=POLL_RECORDS_MAX,
            **FETCH_LIMITS,
            batch_timeout_ms=round(POLL_SECONDS * 1000),
            ack_policy=AckPolicy.MANUAL,
            isolation_level="read_committed",
            auto_offset_reset="none",
            listener=self.assignment,
            **_patience(kafka, settings.drain.max_seconds),
            partition_assignment_strategy=(StickyPartitionAssignor,),
            parser=_as_it_came,
            decoder=_pass_through,
        )
        self._subscriber(self._handle)
        self._guarded: AIOKafkaConsumer | None = None
        self._paused: frozenset[Partition] = frozenset()

    def _guarded_consumer(self) -> AIOKafkaConsumer:
        """Return the consumer. The group's listener asks for it before the first poll."""
        consumer = self._subscriber.consumer
        assert consumer is not None
        if self._guarded is not consumer:
            self._guarded = consumer
            guard(
                consumer,
                self._open_places,
                self._polled,
                self._consumer_failed,
                self.assignment.owns,
                self._say_lost,
            )
        return consumer

    def _polled(self) -> None:
        self.polled_at = time.monotonic()

    def _say_lost(self, message: str) -> None:
        self._note(PositionLost(message))

    def _consumer_failed(self, error: BaseException) -> None:
        words = describe(error, self._kafka)
        self._fail(FatalError(f"The consumer failed: {words}"))

    async def look_at_lags(self) -> None:
        """Hold the positions against the ends of the partitions."""
        consumer = self._subscriber.consumer
        owned = self.assignment.partitions
        lags = {one: self.lags[one] for one in owned & self.lags.keys()}
        behind = {one: self.behind_transactions[one] for one in owned & lags.keys()}
        if consumer is not None:
            for topic_partition, ends in (await self._ends(consumer, owned)).items():
                partition = Partition(topic_partition.topic, topic_partition.partition)
                with contextlib.suppress(KafkaError, TimeoutError):  # between two assignments
                    position = await asyncio.wait_for(
                        consumer.position(topic_partition), LOOK_SECONDS_MAX
                    )
                    lags[partition] = max(0, ends.stable - position)
                    behind[partition] = max(0, ends.high - max(ends.stable, position))
        self.lags, self.behind_transactions = lags, behind

    async def _ends(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[Partition]
    ) -> dict[TopicPartition, Ends]:
        """As the answers to fetches told them; of what is not fetched, the brokers are asked."""
        ends: dict[TopicPartition, Ends] = {}
        unknown = []
        for partition in partitions:
            topic_partition = TopicPartition(partition.topic, partition.number)
            if topic_partition not in consumer.assignment():
                continue
            stable, high = (
                consumer.last_stable_offset(topic_partition),
                consumer.highwater(topic_partition),
            )
            if partition in self._paused or stable is None or high is None:
                unknown.append(topic_partition)
            else:
                ends[topic_partition] = Ends(stable, high)
        if unknown:
            with contextlib.suppress(KafkaError, TimeoutError):  # the last look still stands
                ends |= await asyncio.wait_for(ask_ends(consumer, unknown), ASK_SECONDS_MAX)
        return ends

    async def open(self) -> None:
        """Join the group and start to read. Kafka may have gone since the topics were looked at.

        Raises:
            KafkaError: it refuses, or cannot be reached in time.
        """
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                return await self._broker.start()
            except KafkaConnectionError as error:  # aiokafka tries only once
                if is_final(error) or time.monotonic() >= deadline:
                    raise
            if self._subscriber.consumer is not None:
                await self._subscriber.consumer.stop()
            await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Leave the group (a static member keeps its place)."""
        await self._broker.stop()

    def set_paused(self, partitions: frozenset[Partition]) -> None:
        """From now on exactly these partitions are paused.

        What was fetched stays at hand where all are paused: that ends soon. A partition that is
        paused while others go on gives it up, or it would stand in the way of their fetches.
        What is assigned and not handed over, its position being in doubt, stays as it is.
        """
        self._paused = partitions
        consumer = self._subscriber.consumer
        assigned = consumer.assignment() if consumer is not None else frozenset()
        if not assigned:
            return
        alone = {
            topic_partition
            for topic_partition in assigned
            if Partition(topic_partition.topic, topic_partition.partition) in partitions
        }
        if alone == assigned:
            alone = set()
        consumer.pause(*alone - consumer.paused())
        consumer.resume(*filter(self.assignment.owns, consumer.paused() - alone))

    def _open_places(self) -> list[TopicPartition]:
        """What to take records of. What is not handed over yet is polled too, for its errors."""
        consumer = self._subscriber.consumer
        assert consumer is not None, "it polls"
        return [
            topic_partition
            for topic_partition in consumer.assignment()
            if Partition(topic_partition.topic, topic_partition.partition) not in self._paused
        ]

    async def _handle(self, records: Sequence[ConsumerRecord]) -> None:
        """Hand over; records of partitions that are not (yet, any more) ours come again."""
        epoch, ours = self.assignment.epoch, self.assignment.partitions
        if epoch is None:
            return
        taken = []
        partition = Partition("", -1)
        for record in records:
            if record.partition != partition.number or record.topic != partition.topic:
                partition = Partition(record.topic, record.partition)
            if partition in ours:
                taken.append(_source_record(record, Origin(partition, record.offset, epoch)))
        if taken:
            await self._inbox.take_in(Arrived(tuple(taken)))
        else:
            await asyncio.sleep(0)


def _source_record(record: ConsumerRecord, origin: Origin) -> SourceRecord:
    value = record.value
    if type(value) is not OmittedValue:
        return SourceRecord(origin, record.key, value, tuple(record.headers), record.timestamp)
    return SourceRecord(
        origin, record.key, None, tuple(record.headers), record.timestamp, value.omission
    )


def _patience(kafka: KafkaSettings, drain_seconds: float) -> dict[str, Any]:
    """How long the group waits for us, in milliseconds."""
    return {
        "session_timeout_ms": round(kafka.session_timeout_seconds * 1000),
        "heartbeat_interval_ms": round(kafka.session_timeout_seconds * 100),
        "rebalance_timeout_ms": round((drain_seconds + DRAIN_MARGIN_SECONDS) * 1000),
        "max_poll_interval_ms": POLL_INTERVAL_SECONDS_MAX * 1000,
    }


async def _as_it_came(records: Any) -> KafkaMessage:  # noqa: ANN401 - FastStream's seam
    """Replace the default parser: nothing is decoded here."""
    return KafkaMessage(body=records, raw_message=records, consumer=None)  # type: ignore[arg-type]


async def _pass_through(message: Any) -> Any:  # noqa: ANN401 - FastStream's seam
    return message.raw_message


def guard(
    consumer: AIOKafkaConsumer,
    open_places: Callable[[], Sequence[TopicPartition]],
    polled: Callable[[], None],
    fail: Callable[[BaseException], None],
    owns: Callable[[TopicPartition], bool],
    say_lost: SayLost,
) -> None:
    """See every poll of FastStream's loop, and what it raises, before the loop does.

    A poll that fails may have passed over records of another partition, which it does not return.
    So nothing more is handed over after it: what comes behind them must not be committed.
    """
    stock = consumer.getmany
    bound_fetches(consumer)
    has_failed = False

    def give_up(error: Exception) -> None:
        nonlocal has_failed
        has_failed = True
        fail(error)

    async def getmany(**options: Any) -> Any:  # noqa: ANN401 - aiokafka's
        if has_failed:
            await asyncio.sleep(POLL_SECONDS)
            return {}
        budget.set(Budget())
        try:
            records = await stock(*(open_places() or (NOWHERE,)), **options)
        except NoOffsetForPartitionError:
            records = {}  # its assignment is still being read; the seek follows
        except OffsetOutOfRangeError as error:
            await _go_on_in_range(consumer, error.args[0], owns, say_lost)
            records = {}
        except ConsumerStoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - FastStream would begin its loop again
            if not getattr(error, "retriable", False):  # a broker that is away is waited for
                give_up(error)
            records = {}
        polled()
        return records

    consumer.getmany = getmany


def _told(positions: Mapping[TopicPartition, int]) -> str:
    return ", ".join(f"{p.topic}/{p.partition} at {at}" for p, at in positions.items())


async def _go_on_in_range(
    consumer: AIOKafkaConsumer,
    positions: Mapping[TopicPartition, int],
    owns: Callable[[TopicPartition], bool],
    say_lost: SayLost,
) -> None:
    """Below the log's start: read on there, keeping what is held. Above its end: look anew."""
    # Of a partition that is not ours yet, the assignment finds the beginning.
    lost = {
        topic_partition: at for topic_partition, at in positions.items() if owns(topic_partition)
    }
    if not lost:
        return
    say_lost(f"Positions are out of range: {_told(lost)}")
    first = await consumer.beginning_offsets(list(lost))
    for topic_partition, position in lost.items():
        if not owns(topic_partition):
            continue  # revoked meanwhile: its next assignment finds the beginning
        if position < first[topic_partition]:
            consumer.seek(topic_partition, first[topic_partition])
        else:
            request_rejoin(consumer)
