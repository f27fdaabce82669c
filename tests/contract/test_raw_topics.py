"""The writer of raw topics on a real broker: acknowledgements, outages, broken producers."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from service.adapters.kafka import raw_topics
from service.adapters.kafka.raw_topics import RawTopicsWriter
from service.core.facts import Fact, KafkaReachable, KafkaUnreachable
from service.playground.embedded_kafka import EmbeddedKafka
from service.playground.local_system import create_topics
from service.ports import FatalError
from service.settings import KafkaSettings
from service.webhooks.facts import ProducerReplaced, RecordNotWritten
from service.webhooks.record import IngressRecord

pytestmark = pytest.mark.kafka

WRITE_SECONDS = 1.0


@dataclass
class Bench:
    """A writer, its topic with one partition, and the facts that it noted."""

    writer: RawTopicsWriter
    bootstrap: str
    topic: str
    facts: list[Fact] = field(default_factory=list)

    async def write(self, value: bytes = b"v") -> bool:
        record = IngressRecord(self.topic, b"k", value, (("ingress.source", b"s"),))
        return await self.writer.write(record)

    async def until_it_writes(self) -> None:
        """Write until that succeeds."""
        async with asyncio.timeout(60):
            while not await self.write(b"again"):  # noqa: ASYNC110 - the broker decides
                await asyncio.sleep(0.2)

    async def until_settled(self) -> None:
        """Wait until nothing is unsettled."""
        async with asyncio.timeout(60):
            while self.writer.unsettled:  # noqa: ASYNC110 - the broker decides
                await asyncio.sleep(0.1)

    async def values(self) -> list[bytes]:
        """Return the values on the topic."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        partition = TopicPartition(self.topic, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        found = []
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [record.value for record in records]
        await consumer.stop()
        return found

    def noted(self, kind: type[Fact]) -> int:
        return sum(isinstance(fact, kind) for fact in self.facts)


@contextlib.asynccontextmanager
async def bench_on(bootstrap: str) -> AsyncIterator[Bench]:
    """Give a started writer whose producer is watched."""
    topic = f"raw.{uuid.uuid4().hex[:8]}"
    await create_topics(bootstrap, [NewTopic(topic, 1, 1)])
    kafka = KafkaSettings.model_validate({"bootstrap_servers": bootstrap})
    facts: list[Fact] = []
    writer = RawTopicsWriter(kafka, facts.append, WRITE_SECONDS)
    await writer.start()
    keeping = asyncio.create_task(writer.keep_going())
    yield Bench(writer, bootstrap, topic, facts)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await writer.stop()


@pytest.fixture
async def bench(bootstrap: str) -> AsyncIterator[Bench]:
    """Yield a writer on the broker of the session."""
    async with bench_on(bootstrap) as made:
        yield made


async def test_concurrent_writes_are_acknowledged(bench: Bench) -> None:
    values = [f"{number}".encode() for number in range(500)]
    assert all(await asyncio.gather(*map(bench.write, values)))
    assert sorted(await bench.values()) == sorted(values)
    assert not bench.facts


@pytest.mark.xdist_group("broker of ingress")
async def test_an_outage_is_no_success_and_leaves_nothing_behind(
    own_broker: EmbeddedKafka,
) -> None:
    """What was answered with 503 counts until it is written or given up."""
    async with bench_on(own_broker.bootstrap_servers) as bench:
        assert await bench.write(b"before")
        own_broker.kill()
        started = asyncio.get_running_loop().time()
        assert not any(await asyncio.gather(*(bench.write(b"during") for _ in range(20))))
        assert asyncio.get_running_loop().time() - started < 10 * WRITE_SECONDS
        assert bench.writer.unsettled == 20
        assert bench.noted(RecordNotWritten) == 20
        async with asyncio.timeout(30):
            while bench.writer.problem is None:  # noqa: ASYNC110 - the writer decides
                await asyncio.sleep(0.1)

        await asyncio.to_thread(own_broker.start)
        await bench.until_it_writes()
        await bench.until_settled()
        async with asyncio.timeout(30):
            while bench.writer.problem is not None:  # noqa: ASYNC110 - the writer decides
                await asyncio.sleep(0.1)
        values = await bench.values()
        assert {b"before", b"again"} <= set(values)
        assert (bench.noted(KafkaUnreachable), bench.noted(KafkaReachable)) == (1, 1)


async def test_a_producer_that_lost_count_is_replaced(bench: Bench) -> None:
    """The broker refuses its sequence numbers for ever."""
    assert await bench.write(b"first")
    session = bench.writer._session
    assert session is not None
    manager = session.producer._txn_manager
    manager.increment_sequence_number(TopicPartition(bench.topic, 0), 7)

    assert not await bench.write(b"lost")
    await bench.until_it_writes()
    assert bench.noted(ProducerReplaced) == 1
    assert bench.writer._session is not session
    assert await bench.values() == [b"first", b"again"]


async def test_a_producer_that_hangs_is_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender has ended without a word, as bugs of the library made it."""
    monkeypatch.setattr(raw_topics, "STUCK_SECONDS_MAX", 2.0)
    session = bench.writer._session
    assert session is not None
    session.producer._sender.sender_task.cancel()

    assert not await bench.write(b"lost")
    await bench.until_it_writes()
    assert bench.noted(ProducerReplaced) == 1
    assert bench.writer.unsettled == 0


async def test_a_send_that_hangs_is_given_up_in_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for metadata, or for room in a batch; aiokafka allows each its own time."""
    assert await bench.write()
    session = bench.writer._session
    assert session is not None
    with monkeypatch.context() as patched:
        patched.setattr(session.producer, "send", lambda *_, **__: asyncio.Event().wait())
        async with asyncio.timeout(5 * WRITE_SECONDS):
            assert await asyncio.gather(*(bench.write() for _ in range(3))) == [False] * 3
        cancelled = asyncio.create_task(bench.write())
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    assert bench.noted(RecordNotWritten) == 3
    await bench.until_settled()
    assert await bench.write()


async def test_a_record_given_up_after_its_producer_closed_is_not_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = bench.writer._session
    assert session is not None
    monkeypatch.setattr(session.producer, "send", lambda *_, **__: asyncio.Event().wait())
    writing = asyncio.create_task(bench.write())
    await asyncio.sleep(0)
    await raw_topics._close(session)
    assert not await writing
    assert session.settling is None


async def test_a_busy_producer_is_not_taken_for_a_stuck_one(bench: Bench) -> None:
    """A look finds it with open records, at its first moment and whenever it goes on."""
    session = bench.writer._session
    assert session is not None
    session.open = 1
    now = time.monotonic()
    assert not session.look(now)
    session.settled += 1
    assert not session.look(now + 2 * raw_topics.STUCK_SECONDS_MAX)
    assert not session.look(now + 3 * raw_topics.STUCK_SECONDS_MAX)
    assert session.look(now + 3 * raw_topics.STUCK_SECONDS_MAX + 1)
    session.open = 0
    assert not session.look(now + 9 * raw_topics.STUCK_SECONDS_MAX)


async def test_a_cancelled_write_counts_until_it_is_settled(bench: Bench) -> None:
    """A request may end before its record is acknowledged; the record is still on its way."""
    assert await bench.write()
    writing = asyncio.create_task(bench.write())
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert bench.writer.unsettled == 1
    await bench.until_settled()
    assert await bench.write()


async def test_a_start_without_broker_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_topics, "START_SECONDS_MAX", 1.0)
    kafka = KafkaSettings.model_validate({"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(FatalError, match=r"127\.0\.0\.1:1"):
        await RawTopicsWriter(kafka, lambda _: None).start()
