"""What a replay writes in one transaction, and what it leaves out, on producers with a script."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import partial

import pytest
from aiokafka.errors import (
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    ProducerFenced,
    UnknownTopicOrPartitionError,
)

from service.adapters.kafka.tools import replay
from service.adapters.kafka.tools.replay import (
    TRANSACTION_RECORDS,
    Replayer,
    ReplayError,
    letters_by_time,
    replayed_ids,
)
from service.adapters.kafka.tools.time_order import StoredRecord
from service.core.model import Origin, Partition, Rejection, SourceRecord
from service.core.settle.dead_letters import DeadLetter, Filter, read_dead_letter
from service.core.settle.report import Reporter
from service.settings import KafkaSettings
from tests.support.scripted_producer import PARTITIONS, Script, ScriptedProducer

KAFKA = KafkaSettings.model_validate({})
MIB = 1024 * 1024
GONE = "gone"


def buried(
    offset: int, *, size: int = 1, partition: int = 0, topic: str = "events"
) -> tuple[DeadLetter, StoredRecord]:
    """A dead letter of this offset, of a record of so many bytes from that partition."""
    record = SourceRecord(Origin(Partition(topic, partition), offset, 0), None, b"x" * size)
    why = Rejection("rejected", "invalid_event", "It is not JSON.")
    dead = Reporter("/asset-sync/test").of_rejection(record, why, 1).dead_letter
    assert dead is not None
    letter = read_dead_letter((0, offset), dead.key, dead.value, dead.headers, 0)
    return letter, StoredRecord(0, offset, dead.key, dead.value, dead.headers, 0)


class Scripted:
    """A replayer, the dead letters on its topic, and what it told of its progress."""

    def __init__(self) -> None:
        self.script = Script()
        self.topic: list[StoredRecord] = []
        self.progress: list[int] = []
        self.on_progress: Callable[[int], None] = self.progress.append

    async def replay(
        self, found: Sequence[tuple[DeadLetter, StoredRecord]], *, deleted: int | None = None
    ) -> replay.Replayed:
        """Write these dead letters back; that of one offset is not on the topic any more."""
        self.topic = [record for _, record in found if record.offset != deleted]
        replayer = Replayer(KAFKA)
        await replayer.start()
        try:
            return await replayer.replay([letter for letter, _ in found], self.on_progress)
        finally:
            await replayer.stop()

    async def read(self, *_: object) -> AsyncIterator[StoredRecord]:
        """Yield the dead-letter topic."""
        for record in self.topic:
            yield record


async def numbers(_: KafkaSettings, topic: str) -> list[int]:
    """Return the partitions of a topic; `gone` is not there."""
    if topic == GONE:
        raise UnknownTopicOrPartitionError(topic)
    return list(range(PARTITIONS))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    made = Scripted()
    monkeypatch.setattr(replay, "AIOKafkaProducer", partial(ScriptedProducer, made.script))
    monkeypatch.setattr(replay, "read", made.read)
    monkeypatch.setattr(replay, "partition_numbers", numbers)
    return made


@pytest.mark.parametrize(
    ("count", "size", "transactions"),
    [
        (3, 1, [3]),
        (TRANSACTION_RECORDS + 1, 1, [TRANSACTION_RECORDS, 1]),
        (6, MIB, [4, 2]),
    ],
)
async def test_a_transaction_is_bounded(
    scripted: Scripted, count: int, size: int, transactions: list[int]
) -> None:
    """In records, and in bytes: the broker aborts what takes too long."""
    done = await scripted.replay([buried(offset, size=size) for offset in range(count)])

    assert (done.count, done.refused) == (count, [])
    assert scripted.progress == transactions
    assert scripted.script.steps.count("commit") == len(transactions)


async def test_a_record_that_is_too_large_is_refused_alone(scripted: Scripted) -> None:
    """The others of its transaction are written, by new producers: sequence numbers have a gap."""
    refused_at = ("events of both", "markers of both", "event of the first")
    scripted.script.send_errors = [MessageSizeTooLargeError(batch) for batch in refused_at]
    first, second = buried(1), buried(2)
    done = await scripted.replay([first, second])

    assert done.count == 1
    assert done.refused == [(first[0], "the events topic refuses it as too large")]
    events_and_markers = ["begin", "events", KAFKA.dead_letters_topic]
    refused = ["open", *events_and_markers]
    assert scripted.script.steps == [*refused, *refused, "open", *events_and_markers, "commit"]


@pytest.mark.parametrize("gone", [buried(1, partition=PARTITIONS), buried(1, topic=GONE)])
async def test_a_record_whose_partition_or_topic_is_gone_is_refused(
    scripted: Scripted, gone: tuple[DeadLetter, StoredRecord]
) -> None:
    """The others are replayed."""
    done = await scripted.replay([gone, buried(2)])

    assert done.count == 1
    assert done.refused == [(gone[0], "its original topic or partition no longer exists")]


async def test_what_kafka_refuses_tells_how_many_were_replayed(scripted: Scripted) -> None:
    """The same command continues with the others."""
    found = [buried(offset) for offset in range(TRANSACTION_RECORDS + 1)]

    def refuse(_: int) -> None:
        scripted.script.send_errors = [NotEnoughReplicasError()]

    scripted.on_progress = refuse
    with pytest.raises(ReplayError) as raised:
        await scripted.replay(found)

    assert raised.value.count == TRANSACTION_RECORDS
    assert isinstance(raised.value.__cause__, NotEnoughReplicasError)


async def test_a_dead_letter_that_retention_removed_is_refused(scripted: Scripted) -> None:
    lost, there = buried(1), buried(2)
    done = await scripted.replay([lost, there], deleted=1)

    assert done.count == 1
    assert done.refused == [(lost[0], "the broker deleted it meanwhile")]


async def test_a_later_run_ends_this_one(scripted: Scripted) -> None:
    scripted.script.send_errors = [ProducerFenced()]
    with pytest.raises(ReplayError, match="Another replay run has taken over"):
        await scripted.replay([buried(1)])
    assert "commit" not in scripted.script.steps


async def test_dead_letters_are_listed_while_they_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There may be more of them than fit into memory; markers are no dead letters."""
    letter, record = buried(1)
    marked = StoredRecord(0, 2, None, None, (("dlq.replayed", b"0/1"),), 0)

    async def endless(*_: object) -> AsyncIterator[StoredRecord | None]:
        yield marked
        while True:
            yield record

    monkeypatch.setattr(replay, "read_by_time", endless)
    async with aclosing(letters_by_time(KAFKA, Filter())) as listed:
        assert [await anext(listed), await anext(listed)] == [letter, letter]


async def test_a_list_knows_what_was_replayed(
    scripted: Scripted,
) -> None:
    marked = StoredRecord(0, 2, None, None, (("dlq.replayed", b"0/1"),), 0)
    scripted.topic = [buried(1)[1], marked]
    assert await replayed_ids(KAFKA, Filter()) == {(0, 1)}
