"""A partition whose only broker is away, on two real brokers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.consumer import Consumer
from service.adapters.kafka.outcomes_reader import OutcomesReader
from service.adapters.kafka.subscription import Subscription
from service.adapters.kafka.transaction import TransactionLog
from service.core.facts import Fact, PartitionsUnreadable
from service.core.inputs import Arrived, Assigned, DrainKind, Input
from service.playground.embedded_kafka import EmbeddedKafka, embedded_kafka
from service.settings import KafkaSettings
from tests.support.admin import admin_of
from tests.support.two_brokers import (
    SecondKafka,
    create,
    create_internal_topics,
    second_broker,
    until_led,
)

pytestmark = [pytest.mark.kafka, pytest.mark.brokers]

RECORDS = 20
FETCHES_SECONDS = 2.0
CPU_SHARE_MAX = 0.2


class Member:
    """An `Inbox` that keeps the assignments, and counts the records of each partition."""

    def __init__(self) -> None:
        self.assigned: asyncio.Queue[list[int]] = asyncio.Queue()
        self.offsets: set[tuple[int, int]] = set()

    def submit(self, happened: Input) -> None:
        """Keep an assignment."""
        if isinstance(happened, Assigned):
            self.assigned.put_nowait(sorted(one.number for one in happened.partitions))

    async def take_in(self, arrived: Arrived) -> None:
        """Count the records."""
        origins = (record.origin for record in arrived.records)
        self.offsets |= {(origin.partition.number, origin.offset) for origin in origins}

    async def drain(self, kind: DrainKind, seconds: float) -> int:  # noqa: ARG002 - of the port
        """Nothing is open."""
        return 0

    async def until_read(self, *numbers: int) -> None:
        """Wait until all records of these partitions, and no others, were read."""
        wanted = {(number, offset) for number in numbers for offset in range(RECORDS)}
        async with asyncio.timeout(30):
            while self.offsets != wanted:  # noqa: ASYNC110 - of the code under test
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def joined(
    kafka: KafkaSettings, member: Member, facts: list[Fact]
) -> AsyncIterator[Consumer]:
    """A consumer that has joined its group."""
    log = TransactionLog(kafka, facts.append)
    await log.start()
    consumer = Consumer(Subscription(kafka, 10), log, member, facts.append, fail)
    try:
        await consumer.open()
        yield consumer
    finally:
        consumer.assignment.leave()
        await consumer.close()
        await log.stop()


def fail(error: BaseException) -> None:
    """Fail the test."""
    raise error


@pytest.fixture
def first() -> Iterator[EmbeddedKafka]:
    """The broker that stays."""
    with embedded_kafka() as broker:
        yield broker


@pytest.fixture
async def kafka(first: EmbeddedKafka) -> KafkaSettings:
    """The settings of a group, before its topics exist."""
    await create_internal_topics(first.bootstrap_servers)
    names = {"events_topics": "events", "outcomes_topic": "outcomes", "dead_letters_topic": "dead"}
    return KafkaSettings.model_validate(
        {"bootstrap_servers": first.bootstrap_servers, "group_id": "group", **names}
    )


@pytest.fixture
async def second(first: EmbeddedKafka, kafka: KafkaSettings) -> AsyncIterator[SecondKafka]:
    """The only broker of the second partition, with records in both."""
    with second_broker(first) as broker:
        await create(kafka.bootstrap_servers, {"events": [1, 2], "outcomes": [1], "dead": [1]})
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
        await producer.start()
        for number in range(2 * RECORDS):
            await producer.send_and_wait("events", b"{}", partition=number % 2)
        await producer.stop()
        yield broker


async def test_the_other_partitions_are_read_meanwhile(
    kafka: KafkaSettings, second: SecondKafka
) -> None:
    """And the partition itself as soon as its broker is back."""
    async with joined(kafka, member := Member(), []):
        assert await member.assigned.get() == [0, 1], "their positions are committed"
    second.kill()
    async with admin_of(kafka.bootstrap_servers) as admin:
        await until_led(admin, {"events": [1, -1]})
    await assert_the_other_is_read_meanwhile(kafka, second)


async def test_a_new_partition_whose_broker_has_just_gone(
    kafka: KafkaSettings, second: SecondKafka
) -> None:
    """The cluster still takes that broker for its leader, and it has no position."""
    await commit_first(kafka)
    second.kill()
    await assert_the_other_is_read_meanwhile(kafka, second)


async def commit_first(kafka: KafkaSettings) -> None:
    """Commit a position in the first partition alone."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, group_id=kafka.group_id, enable_auto_commit=False
    )
    await consumer.start()
    at = TopicPartition("events", 0)
    consumer.assign([at])
    await consumer.commit({at: OffsetAndMetadata(0, "")})
    await consumer.stop()


async def assert_the_other_is_read_meanwhile(kafka: KafkaSettings, second: SecondKafka) -> None:
    """A replica reads the first partition, and the second one when its broker is back."""
    member, facts = Member(), list[Fact]()
    async with joined(kafka, member, facts) as consumer, asyncio.timeout(60):
        assert await member.assigned.get() == [0]
        await member.until_read(0)
        assert [type(fact) for fact in facts] == [PartitionsUnreadable]
        used = time.process_time()
        await asyncio.sleep(FETCHES_SECONDS)
        assert time.process_time() - used < CPU_SHARE_MAX * FETCHES_SECONDS, "it waits"
        await consumer.measure_lags()
        assert list(consumer.lags.values()) == [0]

        await asyncio.to_thread(second.start)
        assert await member.assigned.get() == [0, 1]
        await member.until_read(0, 1)


async def test_the_console_reads_the_others_meanwhile(
    kafka: KafkaSettings, second: SecondKafka
) -> None:
    """From its start on, and the partition itself from its position once its broker is back."""
    second.kill()
    async with admin_of(kafka.bootstrap_servers) as admin:
        await until_led(admin, {"events": [1, -1]})
    facts = list[Fact]()
    reader = OutcomesReader(
        kafka.model_copy(update={"outcomes_topic": "events"}), lambda: 0, facts.append
    )
    await reader.start()
    try:
        async with asyncio.timeout(60):
            await reader.identify()
            assert await reader.begin({0: 5, 1: 7})
            assert await offsets_until(reader, 0) == set(range(5, RECORDS))
            await asyncio.to_thread(second.start)
            assert await offsets_until(reader, 1) == set(range(7, RECORDS))
    finally:
        await reader.stop()
    assert facts == []


async def offsets_until(reader: OutcomesReader, partition: int) -> set[int]:
    """Read until this partition is read to its end, and return its offsets."""
    offsets = set[int]()
    while RECORDS - 1 not in offsets:
        batch = await reader.read()
        assert batch is not None
        offsets |= {one.offset for one in batch.records if one.partition == partition}
    return offsets
