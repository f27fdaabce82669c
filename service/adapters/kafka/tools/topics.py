"""Read and write topics for the commands, without joining a group or committing a position."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, LeaderNotAvailableError, for_code
from aiokafka.partitioner import murmur2

from service.adapters.kafka.aiokafka_gaps.fetching import OmittedValue, read_in_steps
from service.adapters.kafka.ends import ask_ends
from service.adapters.kafka.options import connection, producing
from service.adapters.kafka.tools.silence import (
    LOOK_SECONDS,
    Silence,
    TopicChangedError,
    close,
    unless_silent,
)
from service.adapters.kafka.tools.time_order import StoredRecord, TimeOrder
from service.closing import let_alone
from service.core.model import Headers
from service.core.settle.dead_letters import VALUE_OMITTED_HEADER
from service.settings import KafkaSettings

POLL_MS = 500
POSITIONS_SECONDS_MAX = 0.2
"""How long to wait for positions: one that must be looked up has none until a leader answers."""
METADATA_SECONDS_MAX = 5
"""A partition that is added is followed after this time at the latest (aiokafka's own: 300 s)."""
RECORD_BYTES_MAX = 64 * 1024 * 1024
"""A larger record is read without its value."""
BATCH_RECORDS = 1000


class WriteError(Exception):
    """Not all records were written; `__cause__` is Kafka's error."""

    def __init__(self, written: int, failed: int) -> None:
        super().__init__(f"{written} records were written; the record at index {failed} was not.")
        self.written = written
        """How many records Kafka has acknowledged."""
        self.failed = failed
        """The index of the first record that Kafka refused or did not acknowledge."""


class NewRecord(NamedTuple):
    """A record to write."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Read(NamedTuple):
    """Which part of a topic to read; by default all of it."""

    key: bytes | None = None
    """Read only the partitions that may have records with this key."""
    since_utc_ms: int | None = None
    """Read only records with this timestamp or a later one (UTC, in milliseconds)."""
    begin: Mapping[int, int] | None = None
    """Read only these partitions, each from this offset on."""
    last: int | None = None
    """Read only this many of the last offsets of each partition."""


ALL = Read()


async def write(
    kafka: KafkaSettings,
    topic: str,
    records: Iterable[NewRecord],
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write the records in order, and return how many there were.

    Args:
        kafka: how to connect.
        topic: the topic to write to.
        records: the records to write; they are consumed as the broker acknowledges them.
        progress: called with the number of records that are acknowledged so far.

    Raises:
        WriteError: the broker refuses a record, or stops answering.
        KafkaError: the broker cannot be reached, or the topic does not exist.
    """

    async def question() -> None:
        await partition_numbers(kafka, topic)

    await question()
    producer = AIOKafkaProducer(
        **producing(kafka),
        enable_idempotence=True,
        linger_ms=5,
    )
    sender = _Sender(producer, topic, Silence(question))
    try:
        await unless_silent(producer.start(), question)
        for record in records:
            await sender.add(record)
            if len(sender.waiting) >= BATCH_RECORDS:
                await sender.finish()
                progress(sender.written)
        await sender.finish()
        progress(sender.written)
    finally:
        sender.forget()
        await close(producer)
    return sender.written


class _Sender:
    """Sends records to one topic, in order."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, silence: Silence) -> None:
        self._producer = producer
        self._topic = topic
        self._silence = silence
        self.waiting: list[asyncio.Future[object]] = []
        self.written = 0

    async def add(self, record: NewRecord) -> None:
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
        """Wait until all added records are acknowledged."""
        await self._until_answered()
        first = self.written
        answers = await asyncio.gather(*self.waiting, return_exceptions=True)
        self.waiting.clear()
        refusals = [(n, x) for n, x in enumerate(answers) if isinstance(x, BaseException)]
        self.written += len(answers) - len(refusals)
        for index, error in refusals[:1]:
            raise WriteError(self.written, first + index) from error

    def forget(self) -> None:
        """Let nobody wait any more for the records that are still on their way."""
        for sent in self.waiting:
            let_alone(sent)

    async def _until_answered(self) -> None:
        """Wait until each added record is acknowledged or refused.

        Raises:
            WriteError: Kafka has fallen silent.
        """
        pending: set[asyncio.Future[object]] = set(self.waiting)
        while pending:
            answered, pending = await asyncio.wait(pending, timeout=LOOK_SECONDS)
            if answered:
                self._silence.end()
                continue
            try:
                await self._silence.continues()
            except (KafkaError, OSError) as error:
                count = sum(sent.done() for sent in self.waiting)
                first = next(n for n, sent in enumerate(self.waiting) if not sent.done())
                raise WriteError(self.written + count, self.written + first) from error


async def read(kafka: KafkaSettings, topic: str, part: Read = ALL) -> AsyncGenerator[StoredRecord]:
    """Yield committed records, in order within each partition, up to the topic's present end.

    Raises:
        KafkaError: the topic does not exist, the broker refuses to answer or does not answer, or
            the topic no longer has all of its records.
    """
    async with _opened(kafka, topic, part) as walk:
        while not walk.is_complete:
            for record in await walk.poll():
                yield record


async def read_by_time(
    kafka: KafkaSettings,
    topic: str,
    part: Read = ALL,
    *,
    follow: bool = False,
    tell: Callable[[Exception | None], None] = lambda _: None,
) -> AsyncGenerator[StoredRecord | None]:
    """Yield committed records by their timestamps, and in order within each partition.

    At most `AHEAD_RECORDS_MAX` records of each partition, and one poll, are in memory. After the
    last record that the topic had at the start comes None.

    Args:
        kafka: how to connect.
        topic: the topic to read.
        part: which part of the topic to read.
        follow: whether to yield every new record then, as it arrives, also of partitions that are
            added.
        tell: while new records are awaited, called with the reason why none can come, and with
            None when they can again.

    Raises:
        KafkaError: as `read` does; but not while new records are awaited.
    """
    async with _opened(kafka, topic, part) as walk:
        consumer, ends = walk.consumer, walk.ends
        order = TimeOrder(found.partition for found in ends)
        while not order.is_complete:
            for record in await walk.poll():
                order.add(record)
            for reached in walk.reached:
                order.end(reached.partition)
            full = [found for found in ends if order.is_ahead(found.partition)]
            consumer.pause(*full)
            consumer.resume(*ends.keys() - full)
            for record in order.take():
                yield record
        yield None
        consumer.resume(*ends)
        while ends and follow:
            await _assign_added(consumer, topic, part)
            for record in await walk.follow(tell):
                yield record


class _Walk:
    """Reads up to the ends of partitions, and notices when Kafka has fallen silent."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        consumer: AIOKafkaConsumer,
        ends: Mapping[TopicPartition, int],
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self.consumer = consumer
        self.ends = ends
        """Where the partitions ended at the start."""
        self._positions: dict[TopicPartition, int] = {}
        self._silence = Silence(self._question)
        self._is_told = False

    @property
    def reached(self) -> set[TopicPartition]:
        """The partitions that are read up to their ends."""
        return {at for at, end in self.ends.items() if self._positions.get(at, -1) >= end}

    @property
    def is_complete(self) -> bool:
        return len(self.reached) == len(self.ends)

    async def poll(self) -> list[StoredRecord]:
        """Return the next records, perhaps none.

        Raises:
            KafkaError: Kafka has fallen silent, or the topic no longer has what is to be read.
        """
        records = await _poll(self.consumer)
        if await self.has_moved() or records:
            self._silence.end()
        else:
            await self._silence.continues()
        return records

    async def has_moved(self) -> bool:
        """Look at the positions, and return whether one has changed."""
        before = self._positions
        self._positions = before | await _positions_of(self.consumer, self.ends)
        return self._positions != before

    async def follow(self, tell: Callable[[Exception | None], None]) -> list[StoredRecord]:
        """Return the next new records, perhaps none, and tell if none can come."""
        records = await _poll(self.consumer)
        if records:
            self._silence.end()
        else:
            await self._silence.ask_if_due()
        reason = self._silence.reason
        if self._is_told != (reason is not None):
            self._is_told = reason is not None
            tell(reason)
        return records

    async def _question(self) -> None:
        """Ask whether the topic still has what is to be read, and whether its leaders answer."""
        numbers = await partition_numbers(self._kafka, self._topic)
        found = await ask_ends(self.consumer, self.ends)
        for at, end in self.ends.items():
            is_cut = at in found and found[at].stable < end and not self.is_complete
            if at.partition not in numbers or is_cut:
                raise TopicChangedError(
                    f"the topic {self._topic} was created again or cut off while it was read; run "
                    "the command again."
                )
            if at not in found:
                raise LeaderNotAvailableError(at)


@asynccontextmanager
async def _opened(kafka: KafkaSettings, topic: str, part: Read) -> AsyncGenerator[_Walk]:
    """Yield a walk that is at the beginning of the part."""
    read_in_steps(RECORD_BYTES_MAX)
    consumer = AIOKafkaConsumer(
        **connection(kafka),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        metadata_max_age_ms=METADATA_SECONDS_MAX * 1000,
    )
    try:
        await consumer.start()
        topic_partitions = _chosen(topic, await partition_numbers(kafka, topic), part)
        consumer.assign(topic_partitions)
        ends = await consumer.end_offsets(topic_partitions) if topic_partitions else {}
        if ends:
            await _seek(consumer, ends, part)
        walk = _Walk(kafka, topic, consumer, ends)
        await walk.has_moved()
        yield walk
    finally:
        await close(consumer)


async def _poll(consumer: AIOKafkaConsumer) -> list[StoredRecord]:
    polled = await consumer.getmany(timeout_ms=POLL_MS)
    return [_stored(record) for records in polled.values() for record in records]


async def _positions_of(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the positions that are known."""
    known: dict[TopicPartition, int] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(POSITIONS_SECONDS_MAX):
            for at in partitions:
                known[at] = await consumer.position(at)
    return known


def _stored(record: ConsumerRecord) -> StoredRecord:
    """Return the record, with the header of an omitted value if it was too large to read."""
    value, headers = record.value, tuple(record.headers)
    if type(value) is OmittedValue:
        value, headers = None, (*headers, (VALUE_OMITTED_HEADER, b"true"))
    return StoredRecord(
        record.partition, record.offset, record.key, value, headers, record.timestamp
    )


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
    """Return the numbers of the partitions of a topic, in ascending order.

    Raises:
        KafkaError: the topic does not exist, or the broker refuses to answer or does not answer.
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
    """Return the partition of a key among `count` partitions, by Kafka's default (murmur2)."""
    return int(murmur2(key) & 0x7FFFFFFF) % count


def partitions_ever_of(key: bytes, count: int) -> set[int]:
    """Return the partitions that may have records with a key.

    One of them is the key's partition today. If partitions were added, older records are on the
    partition that the key had while the topic had fewer partitions.
    """
    return {partition_of(key, earlier) for earlier in range(1, count + 1)}


async def _assign_added(consumer: AIOKafkaConsumer, topic: str, part: Read) -> None:
    """Read partitions that were added to the topic as well, from their beginnings."""
    numbers = sorted(consumer.partitions_for_topic(topic) or ())
    assigned = consumer.assignment()
    added = set(_chosen(topic, numbers, part)) - assigned
    if not added:
        return
    positions = {known: await consumer.position(known) for known in assigned}
    consumer.assign([*assigned, *added])
    for known, position in positions.items():
        consumer.seek(known, position)
    await consumer.seek_to_beginning(*added)


def _chosen(topic: str, numbers: Sequence[int], part: Read) -> list[TopicPartition]:
    """Return the partitions of the part, of those that the topic has."""
    if part.key is not None:
        wanted = partitions_ever_of(part.key, len(numbers))
        numbers = [number for number in numbers if number in wanted]
    if part.begin is not None:
        numbers = [number for number in numbers if number in part.begin]
    return [TopicPartition(topic, number) for number in numbers]
