"""The consumer's polls on a real broker: a pause of all partitions keeps fetched records."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.consumer.fetcher import PartitionRecords

from service.adapters.kafka.aiokafka_gaps.fetching import FETCH_BYTES_MAX
from service.adapters.kafka.consumer import NOWHERE, Consumer
from service.adapters.kafka.polls import Polls
from service.adapters.kafka.subscription import Subscription
from service.adapters.kafka.transaction import TransactionLog
from service.core.inputs import Arrived, Assigned, DrainKind, Input
from service.settings import KafkaSettings
from tests.support.admin import admin_of
from tests.support.service import SystemUnderTest

RECORDS = 500
TAKEN = 20

pytestmark = pytest.mark.kafka


class Tap:
    """A guarded consumer of one partition that can be paused."""

    def __init__(self, consumer: AIOKafkaConsumer, topic_partition: TopicPartition) -> None:
        self.consumer = consumer
        self.is_paused = False
        self._topic_partition = topic_partition

    async def to_poll(self) -> list[TopicPartition]:
        """The partitions to poll."""
        return [NOWHERE if self.is_paused else self._topic_partition]

    async def poll(self) -> list[int]:
        """The offsets of the next records; none if none come in time."""
        polling = self.consumer.getmany(timeout_ms=50, max_records=TAKEN)
        try:
            found = await asyncio.wait_for(polling, 0.3 if self.is_paused else 20)
        except TimeoutError:
            return []
        return [record.offset for record in found[self._topic_partition]]


def no_error(error: BaseException) -> None:
    """Fail the test."""
    raise error


@pytest.fixture
async def tap(system: SystemUnderTest) -> AsyncIterator[Tap]:
    """A partition with records, and its consumer."""
    topic_partition = TopicPartition(system.events, 0)
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap)
    await producer.start()
    for number in range(RECORDS):
        await producer.send(system.events, b"%d" % number, partition=0)
    await producer.stop()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=system.bootstrap,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
    )
    await consumer.start()
    consumer.assign([topic_partition])
    tap = Tap(consumer, topic_partition)
    Polls(consumer, tap.to_poll, lambda: None, no_error, lambda _: True, lambda _: None).guard()
    yield tap
    await consumer.stop()


async def test_a_pause_keeps_fetched_records(system: SystemUnderTest, tap: Tap) -> None:
    """They are read from memory, as the broker has deleted them."""
    assert await tap.poll() == list(range(TAKEN))
    tap.is_paused = True
    assert await tap.poll() == []
    async with admin_of(system.bootstrap) as admin:
        await admin.delete_records({TopicPartition(system.events, 0): RecordsToDelete(RECORDS)})
    assert await tap.poll() == []
    tap.is_paused = False
    assert await tap.poll() == list(range(TAKEN, 2 * TAKEN))


async def test_a_record_larger_than_a_fetch_is_read(system: SystemUnderTest, tap: Tap) -> None:
    """It is fetched alone, and then the records after it."""
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap, max_request_size=1 << 20)
    await producer.start()
    for content in (b"x" * 3 * FETCH_BYTES_MAX, b"small"):
        await producer.send_and_wait(system.events, content, partition=0)
    await producer.stop()
    found: list[int] = []
    while len(found) < RECORDS + 2 and (more := await tap.poll()):
        found += more
    assert found == list(range(RECORDS + 2))


async def test_pauses_leave_no_garbage(tap: Tap) -> None:
    """Each pause of aiokafka itself would leave fetched records in a reference cycle."""
    gc.collect()
    gc.disable()
    try:
        for turn in range(10):
            tap.is_paused = False
            assert await tap.poll() == list(range(turn * TAKEN, (turn + 1) * TAKEN))
            tap.is_paused = True
            assert await tap.poll() == []
        kept = [one for one in gc.get_objects() if isinstance(one, PartitionRecords)]
        assert len(kept) == 1
    finally:
        gc.enable()


class Member:
    """An `Inbox` that keeps the assignment."""

    def __init__(self) -> None:
        self.assigned: asyncio.Future[Assigned] = asyncio.get_running_loop().create_future()

    def submit(self, happened: Input) -> None:
        """Keep the assignment."""
        if isinstance(happened, Assigned):
            self.assigned.set_result(happened)

    async def take_in(self, arrived: Arrived) -> None:
        """Nothing is published here."""

    async def drain(self, kind: DrainKind, seconds: float) -> int:  # noqa: ARG002 - of the port
        """Nothing is open."""
        return 0


@contextlib.asynccontextmanager
async def refusing_at_first(bootstrap: str, times: int) -> AsyncIterator[str]:
    """The address of a broker that closes its first connections as soon as they are open."""
    host, _, port = bootstrap.rpartition(":")
    left = times

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            writer.close()
            return
        behind, before = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, before), pump(behind, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    assert left < 0, "the consumer tried again"


async def test_a_broker_that_restarts_before_the_first_join_is_waited_for(
    system: SystemUnderTest,
) -> None:
    """The check of its topics has succeeded before."""
    async with refusing_at_first(system.bootstrap, 2) as bootstrap:
        names = {
            "bootstrap_servers": bootstrap,
            "group_id": system.group,
            "events_topics": system.events,
            "outcomes_topic": system.outcomes,
            "dead_letters_topic": system.dead_letters,
        }
        kafka = KafkaSettings.model_validate(names)
        inbox, log = Member(), TransactionLog(kafka)
        consumer = Consumer(Subscription(kafka, 10), log, inbox, lambda _: None, no_error)
        try:
            await consumer.open()
            assigned = await inbox.assigned
        finally:
            await consumer.close()

    assert len(assigned.partitions) == system.partitions
