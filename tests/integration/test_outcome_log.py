"""The outcome log on a failing broker: when it retries, waits or ends."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions

from service.adapters.kafka.aiokafka_gaps.fencing_producer import FencingProducer
from service.adapters.kafka.batches import partition_by_key
from service.adapters.kafka.options import PRODUCER_METADATA_SECONDS_MAX
from service.adapters.kafka.transaction import TransactionLog
from service.core.facts import Fact
from service.core.inputs import CommitRefusal
from service.core.model import Partition
from service.core.records import LogRecord, PositionCommit, Transaction
from service.playground.embedded_kafka import EmbeddedKafka, started
from service.ports import FatalError
from service.settings import KafkaSettings
from tests.support.admin import admin_of
from tests.support.group import Group, group_of_one

pytestmark = [pytest.mark.kafka, pytest.mark.brokers, pytest.mark.xdist_group("outcome log")]

FORGETFUL = """
transactional.id.expiration.ms=2000
transaction.remove.expired.transaction.cleanup.interval.ms=500
producer.id.expiration.ms=2000
producer.id.expiration.check.interval.ms=500
"""
EXPIRY_SECONDS = 8.0


class ForgetfulKafka(EmbeddedKafka):
    """A broker that forgets an idle producer after two seconds instead of a week."""

    def __init__(self, folder: Path, classpath: str, java: Path) -> None:
        super().__init__(folder, classpath, java)
        with self._properties.open("a") as properties:
            properties.write(FORGETFUL)


@pytest.fixture(scope="module")
def forgetful() -> Iterator[EmbeddedKafka]:
    """A broker that may be killed, and is started again by the test that kills it."""
    with started(ForgetfulKafka) as broker:
        yield broker


@pytest.fixture
async def group(forgetful: EmbeddedKafka) -> AsyncIterator[Group]:
    """A group with one member on this broker."""
    async with group_of_one(forgetful.bootstrap_servers) as made:
        yield made


@pytest.fixture
def notes() -> list[Fact]:
    """The facts that the log reported."""
    return []


@pytest.fixture
async def log(group: Group, notes: list[Fact]) -> AsyncIterator[TransactionLog]:
    """A log for the member of the group."""
    made = log_of(group, notes)
    await made.start()
    made.group = group.member
    yield made
    await made.stop()


def log_of(group: Group, notes: list[Fact]) -> TransactionLog:
    """A log that is not started yet."""
    names = {
        "bootstrap_servers": group.bootstrap,
        "group_id": group.name,
        "events_topics": group.events,
        "outcomes_topic": group.outcomes,
        "dead_letters_topic": group.dead,
    }
    return TransactionLog(KafkaSettings.model_validate(names), notes.append)


def transaction(group: Group, position: int) -> Transaction:
    """One outcome, and the position after it."""
    outcome = LogRecord(b"packshots/a", b"%d" % position, ())
    return Transaction((outcome,), (), {Partition(group.events, 0): PositionCommit(position, "")})


async def outcomes(group: Group) -> list[int]:
    """The outcomes that a committed reader sees."""
    return [int(record.value) for record in await group.visible(group.outcomes)]


async def test_a_producer_that_the_broker_forgot_is_renewed(
    group: Group, log: TransactionLog, notes: list[Fact]
) -> None:
    """As after a quiet week: nothing was in flight, so the transaction is retried once."""
    assert await log.write(transaction(group, 1)) is None
    await asyncio.sleep(EXPIRY_SECONDS)

    assert await log.write(transaction(group, 2)) is None
    assert await log.write(transaction(group, 3)) is None

    assert await outcomes(group) == [1, 2, 3]
    assert [note.name for note in notes] == ["transaction.retried"]


async def test_an_outage_is_waited_for(
    forgetful: EmbeddedKafka, group: Group, log: TransactionLog
) -> None:
    """It lasts longer than a transaction may take; the transaction is retried afterwards."""
    assert await log.write(transaction(group, 1)) is None
    forgetful.kill()
    writing = asyncio.create_task(log.write(transaction(group, 2)))
    done, _ = await asyncio.wait({writing}, timeout=25)
    assert not done, "it waits"

    await asyncio.to_thread(forgetful.start)

    written = await asyncio.wait_for(writing, 60)
    if written is CommitRefusal.FENCED:  # the group was lost meanwhile: its next owner writes it
        assert await outcomes(group) == [1]
    else:
        assert (written, await outcomes(group)) == (None, [1, 2])


async def test_an_old_assignment_s_work_is_not_done_for_the_next_one(
    forgetful: EmbeddedKafka, group: Group, log: TransactionLog
) -> None:
    """Its positions belong to the assignment in which its outcomes were completed."""
    forgetful.kill()
    writing = asyncio.create_task(log.write(transaction(group, 1)))
    await asyncio.sleep(1)
    log.group = group.member._replace()

    await asyncio.to_thread(forgetful.start)

    assert await asyncio.wait_for(writing, 60) is CommitRefusal.FENCED
    assert await outcomes(group) == []


async def test_a_commit_whose_answer_is_lost_ends_it(
    group: Group, log: TransactionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been committed, so a retry could write its outcomes twice."""
    stock = FencingProducer.commit_transaction

    async def commit(producer: FencingProducer) -> None:
        producer.unanswered_ends += 1  # as when the connection breaks behind the request
        successor = log_of(group, [])
        successor._transactional_id = log._transactional_id
        await successor.start()  # and nobody accepts the request any more
        await successor.stop()
        await stock(producer)

    monkeypatch.setattr(FencingProducer, "commit_transaction", commit)

    with pytest.raises(FatalError, match="After a restart, asset-sync reads whether it succeeded"):
        await log.write(transaction(group, 1))

    assert log.is_commit_unresolved
    assert await outcomes(group) == []


async def test_a_commit_that_is_refused_is_done_again(
    group: Group, log: TransactionLog, notes: list[Fact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker aborted the transaction before the commit arrived, and its answer says so."""
    stock = FencingProducer.commit_transaction
    commits = 0

    async def commit(producer: FencingProducer) -> None:
        nonlocal commits
        commits += 1
        if commits == 1:
            successor = log_of(group, [])
            successor._transactional_id = log._transactional_id
            await successor.start()
            await successor.stop()
        await stock(producer)

    monkeypatch.setattr(FencingProducer, "commit_transaction", commit)

    assert await log.write(transaction(group, 1)) is None

    assert await outcomes(group) == [1]
    assert not log.is_commit_unresolved
    assert [note.name for note in notes] == ["transaction.retried"]


async def test_a_broker_killed_between_offsets_and_commit(
    forgetful: EmbeddedKafka,
    group: Group,
    log: TransactionLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No commit was sent: whatever the broker answers afterwards, there is one outcome."""
    stock = FencingProducer.commit_transaction
    commits = 0

    async def commit(producer: FencingProducer) -> None:
        nonlocal commits
        commits += 1
        if commits == 1:
            forgetful.kill()
            asyncio.get_running_loop().call_later(20, forgetful.start)
        await stock(producer)

    monkeypatch.setattr(FencingProducer, "commit_transaction", commit)

    written = await asyncio.wait_for(log.write(transaction(group, 1)), 90)

    assert await outcomes(group) == ([1] if written is None else [])
    assert written in {None, CommitRefusal.FENCED, CommitRefusal.NOT_IN_TIME}


async def test_partitions_that_are_added_are_written_to(group: Group, log: TransactionLog) -> None:
    """Outcomes use them by key, as every other producer and reader does from then on."""
    assert await log.write(transaction(group, 1)) is None
    async with admin_of(group.bootstrap) as admin:
        for topic in (group.outcomes, group.dead):
            await admin.create_partitions({topic: NewPartitions(8)})
    producer = log._producer
    assert producer is not None

    record = LogRecord(b"packshots/a", b"", ())
    deadline = asyncio.get_running_loop().time() + 2 * PRODUCER_METADATA_SECONDS_MAX
    for topic in (group.outcomes, group.dead):
        while len(await producer.partitions_for(topic)) < 8:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.2)
        topic_partitions = {
            topic_partition
            for topic_partition, _ in await partition_by_key(producer, topic, [record] * 3)
        }
        assert topic_partitions == {TopicPartition(topic, 0)}
