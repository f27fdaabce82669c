"""The commands' tools on a broker that goes away, or whose topic does, while they work."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError

from service.adapters.kafka.tools import silence
from service.adapters.kafka.tools.replay import Replayer, ReplayError, survey
from service.adapters.kafka.tools.silence import TopicChangedError
from service.adapters.kafka.tools.topics import (
    BATCH_RECORDS,
    NewRecord,
    WriteError,
    read,
    read_by_time,
    write,
)
from service.core.settle.dead_letters import Filter
from service.playground.embedded_kafka import EmbeddedKafka
from service.settings import KafkaSettings
from tests.support.admin import admin_of

pytestmark = [pytest.mark.kafka, pytest.mark.brokers]

RECORDS = 3 * BATCH_RECORDS
LONG = b"x" * 1000
"""So many of them do not come with one answer to a fetch."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command gives up soon."""
    monkeypatch.setattr(silence, "ASK_SECONDS", 0.5)
    monkeypatch.setattr(silence, "SILENT_SECONDS_MAX", 3.0)
    monkeypatch.setattr(silence, "CLOSE_SECONDS_MAX", 1.0)


@pytest.fixture
def kafka(own_broker: EmbeddedKafka) -> KafkaSettings:
    """Settings with topics of the test's own."""
    run = uuid.uuid4().hex[:6]
    return KafkaSettings.model_validate(
        {
            "bootstrap_servers": own_broker.bootstrap_servers,
            "events_topics": f"events-{run}",
            "outcomes_topic": f"outcomes-{run}",
            "dead_letters_topic": f"dead-{run}",
            "group_id": f"group-{run}",
        }
    )


async def create(kafka: KafkaSettings, topic: str) -> None:
    async with admin_of(kafka.bootstrap_servers) as admin:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    await asyncio.sleep(0.5)


async def delete(kafka: KafkaSettings, topic: str) -> None:
    async with admin_of(kafka.bootstrap_servers) as admin:
        await admin.delete_topics([topic])
    await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def half_read(kafka: KafkaSettings) -> AsyncIterator[asyncio.Future[int]]:
    """Read the outcomes, wait until something changes behind the first one, then read on."""
    topic = kafka.outcomes_topic
    await create(kafka, topic)
    await write(kafka, topic, [NewRecord(None, LONG)] * RECORDS)
    records = read(kafka, topic)
    await anext(records)

    async def rest() -> int:
        return 1 + len([record async for record in records])

    reading = asyncio.get_running_loop().create_future()
    try:
        yield reading
        async with asyncio.timeout(60):
            try:
                reading.set_result(await rest())
            except Exception as error:  # noqa: BLE001 - it is looked at
                reading.set_exception(error)
    finally:
        await records.aclose()


async def test_a_topic_that_is_deleted_while_it_is_read(kafka: KafkaSettings) -> None:
    async with half_read(kafka) as reading:
        await delete(kafka, kafka.outcomes_topic)
    with pytest.raises(UnknownTopicOrPartitionError):
        await reading


async def test_a_topic_that_is_created_again_while_it_is_read(kafka: KafkaSettings) -> None:
    """What was to be read is gone: the rest of it never comes."""
    async with half_read(kafka) as reading:
        await delete(kafka, kafka.outcomes_topic)
        await create(kafka, kafka.outcomes_topic)
    with pytest.raises(TopicChangedError, match="was created again or cut off"):
        await reading


async def test_a_broker_that_goes_away_while_a_topic_is_read(
    own_broker: EmbeddedKafka, kafka: KafkaSettings
) -> None:
    async with half_read(kafka) as reading:
        own_broker.kill()
    with pytest.raises(KafkaConnectionError):
        await reading


async def test_a_broker_that_restarts_while_a_topic_is_read(
    own_broker: EmbeddedKafka, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SILENT_SECONDS_MAX", 60.0)
    async with half_read(kafka) as reading:
        own_broker.kill()
        await asyncio.to_thread(own_broker.start)
    assert await reading == RECORDS


async def test_who_follows_a_topic_is_told_of_an_outage(
    own_broker: EmbeddedKafka, kafka: KafkaSettings
) -> None:
    """The reading goes on afterwards."""
    topic = kafka.outcomes_topic
    await create(kafka, topic)
    told: asyncio.Queue[Exception | None] = asyncio.Queue()
    found = read_by_time(kafka, topic, follow=True, tell=told.put_nowait)
    async with contextlib.aclosing(found), asyncio.timeout(60):
        assert await anext(found) is None
        following = asyncio.ensure_future(anext(found))
        own_broker.kill()
        assert isinstance(await told.get(), KafkaConnectionError)
        await asyncio.to_thread(own_broker.start)
        assert await told.get() is None
        await write(kafka, topic, [NewRecord(None, b"after the outage")])
        record = await following
        assert record is not None
        assert record.value == b"after the outage"


async def test_a_broker_that_goes_away_while_a_file_is_published(
    own_broker: EmbeddedKafka, kafka: KafkaSettings
) -> None:
    """With the first record that was not acknowledged; and the command ends."""
    topic = kafka.events_topic_names[0]
    await create(kafka, topic)

    def kill(_: int) -> None:
        if own_broker.is_running:
            own_broker.kill()

    records = [NewRecord(None, b"v")] * RECORDS
    async with asyncio.timeout(60):
        with pytest.raises(WriteError) as raised:
            await write(kafka, topic, records, kill)
    assert (raised.value.written, raised.value.failed) == (BATCH_RECORDS, BATCH_RECORDS)
    assert isinstance(raised.value.__cause__, KafkaConnectionError)


async def test_a_broker_that_goes_away_during_a_replay(
    own_broker: EmbeddedKafka, kafka: KafkaSettings
) -> None:
    """The next run continues: each dead letter is replayed once."""
    events = kafka.events_topic_names[0]
    for topic in (events, kafka.dead_letters_topic):
        await create(kafka, topic)
    await write(
        kafka,
        kafka.dead_letters_topic,
        [NewRecord(None, LONG, letter_of(events, number)) for number in range(RECORDS)],
    )
    found = await survey(kafka, Filter())
    replayer = Replayer(kafka)
    await replayer.start()

    def kill(_: int) -> None:
        if own_broker.is_running:
            own_broker.kill()

    async with asyncio.timeout(60):
        with pytest.raises(ReplayError) as raised:
            await replayer.replay(found.letters, kill)
        await replayer.stop()
    assert 0 < raised.value.count < RECORDS

    await asyncio.to_thread(own_broker.start)
    await replayer.start()
    left = await survey(kafka, Filter())
    letters = [one for one in left.letters if one.record_id not in left.replayed]
    done = await replayer.replay(letters, lambda _: None)
    await replayer.stop()
    assert done.count == RECORDS - raised.value.count
    assert len([record async for record in read(kafka, events)]) == RECORDS


def letter_of(topic: str, number: int) -> tuple[tuple[str, bytes], ...]:
    """Return the headers of a dead letter."""
    return (
        ("dlq.original.topic", topic.encode()),
        ("dlq.original.partition", b"0"),
        ("dlq.original.offset", b"%d" % number),
    )
