"""The reader of the outcomes topic loses nothing of a batch, and reads partitions side by side."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)

from service.adapters.kafka import ends, outcomes_reader
from service.adapters.kafka.aiokafka_gaps.fetching import FetchedRecord
from service.adapters.kafka.aiokafka_gaps.identity import Identity
from service.adapters.kafka.ends import EARLIEST, Ends
from service.adapters.kafka.outcomes_reader import (
    AHEAD_MS,
    BATCH_RECORDS_MAX,
    MANY_RECORDS,
    OutcomesReader,
)
from service.console.facts import OutcomesMissed
from service.core.facts import Fact, KafkaUnreachable
from service.ports import FatalError, OutcomeBatch
from service.settings import KafkaSettings

ZERO, ONE = TopicPartition("outcomes", 0), TopicPartition("outcomes", 1)
EMPTY = OutcomeBatch((), {})
KAFKA = KafkaSettings.model_validate({"outcomes_topic": "outcomes"})


def record(at: TopicPartition, offset: int, timestamp: int = 1, size: int = 1) -> FetchedRecord:
    return FetchedRecord(at.topic, at.partition, offset, timestamp, None, b"x" * size, (), size)


class Consumer:
    """A consumer that returns or raises what a test says, one after another."""

    def __init__(
        self, *polls: Mapping[TopicPartition, Sequence[FetchedRecord]] | KafkaError
    ) -> None:
        self._polls: Iterator[Any] = iter(polls)
        self.places = {ZERO: 0, ONE: 0}
        self.begins = {ZERO: 0, ONE: 0}
        self.ends = {ZERO: 100, ONE: 100}
        self.at_pause: set[TopicPartition] = set()
        self.leaderless: set[TopicPartition] = set()

    async def getmany(self, **_: object) -> Mapping[TopicPartition, Sequence[FetchedRecord]]:
        polled: Any = next(self._polls, {})
        if isinstance(polled, KafkaError):
            raise polled
        for at, records in polled.items():
            self.places[at] = records[-1].offset + 1
        found: Mapping[TopicPartition, Sequence[FetchedRecord]] = polled
        return found

    async def position(self, at: TopicPartition) -> int:
        return self.places[at]

    async def offsets_for_times(self, given: Mapping[TopicPartition, int]) -> dict[object, object]:
        return dict.fromkeys(given)

    def assignment(self) -> set[TopicPartition]:
        return set(self.places)

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Forget all positions, as aiokafka does."""
        self.places = dict.fromkeys(partitions, -1)

    def seek(self, at: TopicPartition, offset: int) -> None:
        self.places[at] = offset

    def paused(self) -> set[TopicPartition]:
        return set(self.at_pause)

    def pause(self, *at: TopicPartition) -> None:
        self.at_pause |= set(at)

    def resume(self, *at: TopicPartition) -> None:
        self.at_pause -= set(at)


def answering(
    monkeypatch: pytest.MonkeyPatch, consumer: Consumer, ends: Mapping[TopicPartition, Ends]
) -> None:
    """Let every look find the partitions of the consumer's ends, and these ends."""
    partitions = {"outcomes": tuple(sorted(consumer.ends))}

    async def identify(*_: object) -> Identity:
        return Identity("", {}, partitions)

    async def ask(*_: object) -> Mapping[TopicPartition, Ends]:
        return ends

    monkeypatch.setattr(outcomes_reader, "identify_once", identify)
    monkeypatch.setattr(outcomes_reader, "ask_ends", ask)


@pytest.fixture(autouse=True)
def _leaders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the consumer of a test answer for the leaders of its partitions."""

    async def ask(
        consumer: Consumer, asked: Collection[TopicPartition], at: int
    ) -> dict[TopicPartition, int]:
        answers = consumer.begins if at == EARLIEST else consumer.ends
        return {one: answers[one] for one in asked if one not in consumer.leaderless}

    monkeypatch.setattr(ends, "ask_offsets", ask)


def reader_of(consumer: Consumer, facts: list[Fact] | None = None) -> OutcomesReader:
    """Return a reader that has begun, and does not look at the topic during a test."""
    noted = [] if facts is None else facts
    made = OutcomesReader(KAFKA, lambda: 0, noted.append)
    made._consumer = consumer
    made._looked_at = float("inf")
    made._ends, made._positions = dict(consumer.ends), dict(consumer.places)
    return made


async def test_polls_that_need_not_wait_are_one_batch() -> None:
    consumer = Consumer({ZERO: [record(ZERO, 4)]}, {ONE: [record(ONE, 7), record(ONE, 8)]}, {})
    batch = await reader_of(consumer).read()
    assert batch is not None
    assert [(one.partition, one.offset) for one in batch.records] == [(0, 4), (1, 7), (1, 8)]
    assert batch.positions == {0: 5, 1: 9}


@pytest.mark.parametrize(("count", "together"), [(MANY_RECORDS, 2), (MANY_RECORDS - 1, 1)])
async def test_where_there_are_many_more_are_waited_for(count: int, together: int) -> None:
    many = [record(ZERO, n) for n in range(count)]
    batch = await reader_of(Consumer({ZERO: many}, {}, {ONE: [record(ONE, 7)]})).read()
    assert batch is not None
    assert len({one.partition for one in batch.records}) == together


async def test_more_are_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes_reader, "GATHER_SECONDS", 0.05)
    many = [record(ZERO, n) for n in range(MANY_RECORDS)]
    batch = await reader_of(Consumer({ZERO: many})).read()
    assert batch is not None
    assert len(batch.records) == MANY_RECORDS


@pytest.mark.parametrize("error", [KafkaConnectionError(), OffsetOutOfRangeError({ONE: 7})])
async def test_an_error_after_records_loses_none_of_them(error: KafkaError) -> None:
    consumer = Consumer({ZERO: [record(ZERO, 4)]}, error)
    batch = await reader_of(consumer).read()
    assert batch is not None
    assert [one.offset for one in batch.records] == [4]
    assert batch.positions == {0: 5, 1: 0}


@pytest.mark.slow
@pytest.mark.parametrize(("size", "most"), [(1, BATCH_RECORDS_MAX), (100_000, 90)])
async def test_a_batch_is_bounded(size: int, most: int) -> None:
    """90 times 100,000 bytes are the first ten records by ten that reach 8 MiB."""
    polls = [{ZERO: [record(ZERO, 10 * n + i, size=size) for i in range(10)]} for n in range(2000)]
    batch = await reader_of(Consumer(*polls)).read()
    assert batch is not None
    assert len(batch.records) == most
    assert batch.positions[0] == batch.records[-1].offset + 1


async def test_where_nothing_moved_nothing_is_to_be_written() -> None:
    made = reader_of(Consumer({ZERO: [record(ZERO, 4)]}, {}))
    await made.read()
    assert await made.read() == EMPTY


async def test_a_position_that_passes_the_end_of_a_transaction_is_to_be_written() -> None:
    consumer = Consumer({ZERO: [record(ZERO, 4)]}, {})
    made = reader_of(consumer)
    await made.read()
    consumer.places[ZERO] = 6
    assert await made.read() == ((), {0: 6, 1: 0})


@pytest.mark.parametrize(("position", "noted"), [(7, [OutcomesMissed(1, 43)]), (50, [])])
async def test_what_retention_removed_is_noted_and_skipped(
    position: int, noted: list[Fact]
) -> None:
    """Nothing was missed where the log begins at the position."""
    facts: list[Fact] = []
    consumer = Consumer(OffsetOutOfRangeError({ONE: position}))
    consumer.begins = {ZERO: 0, ONE: 50}
    assert await reader_of(consumer, facts).read() == ((), {})
    assert consumer.places[ONE] == 50
    assert facts == noted


async def test_a_topic_that_ends_before_the_position_is_another_one() -> None:
    consumer = Consumer(OffsetOutOfRangeError({ONE: 700}))
    assert await reader_of(consumer).read() is None


async def test_an_outage_is_noted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes_reader, "RETRY_SECONDS", 0.0)
    facts: list[Fact] = []
    made = reader_of(Consumer(KafkaConnectionError(), KafkaConnectionError()), facts)
    assert [await made.read(), await made.read()] == [((), {})] * 2
    assert [type(fact) for fact in facts] == [KafkaUnreachable]
    assert made.problem is not None
    assert made.lag is None


async def test_a_refusal_ends_the_console() -> None:
    with pytest.raises(FatalError):
        await reader_of(Consumer(TopicAuthorizationFailedError({"outcomes"}))).read()


async def test_a_partition_that_is_ahead_waits_for_the_others() -> None:
    """So that the index gets the outcomes about in the order of time."""
    old, new = 1_000, 1_000 + AHEAD_MS + 1
    consumer = Consumer(
        {ZERO: [record(ZERO, 1, old)], ONE: [record(ONE, 1, new)]},
        {},
        {ZERO: [record(ZERO, 2, new)]},
        {},
        {},
    )
    made = reader_of(consumer)
    await made.read()
    await made.read()
    assert consumer.at_pause == {ONE}
    await made.read()
    assert consumer.at_pause == set()


async def test_a_partition_at_its_end_holds_up_no_other() -> None:
    consumer = Consumer({ZERO: [record(ZERO, 99, 1)], ONE: [record(ONE, 1, AHEAD_MS * 9)]}, {}, {})
    made = reader_of(consumer)
    await made.read()
    await made.read()
    assert consumer.at_pause == set()
    assert made.lag == 98


async def test_a_partition_without_a_leader_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has records that nobody can read, so that the others would wait for it without end."""
    consumer = Consumer(
        {ZERO: [record(ZERO, 1, 1_000)], ONE: [record(ONE, 1, 1_001 + AHEAD_MS)]}, {}, {}
    )
    made = reader_of(consumer)
    made._identity = "/outcomes/"
    answering(monkeypatch, consumer, {ONE: Ends(100, 100)})
    await made.read()
    made._pace()
    assert consumer.at_pause == {ONE}
    made._looked_at = float("-inf")
    await made.read()
    assert consumer.at_pause == set()
    answering(monkeypatch, consumer, {ZERO: Ends(100, 100), ONE: Ends(100, 100)})
    made._looked_at = float("-inf")
    await made.read()
    assert consumer.at_pause == {ONE}


async def test_a_new_partition_without_a_leader_is_added_once_it_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The consumer waits without end for the position of a partition that has none."""
    two = TopicPartition("outcomes", 2)
    consumer = Consumer({ZERO: [record(ZERO, 1)]}, {}, {two: [record(two, 0)]})
    made = reader_of(consumer)
    made._identity = "/outcomes/"
    consumer.begins[two], consumer.ends[two] = 0, 5
    consumer.leaderless = {two}
    answering(monkeypatch, consumer, {ZERO: Ends(100, 100), ONE: Ends(100, 100)})
    made._looked_at = float("-inf")
    assert (await made.read() or EMPTY).positions == {0: 2, 1: 0}
    assert made.problem is None
    made._looked_at = float("-inf")
    consumer.leaderless = set()
    assert (await made.read() or EMPTY).positions == {0: 2, 1: 0, 2: 1}


@pytest.mark.parametrize(("position", "is_same"), [(7, True), (101, False)])
async def test_a_partition_without_a_leader_at_the_start_is_read_on_once_it_has_one(
    position: int, monkeypatch: pytest.MonkeyPatch, *, is_same: bool
) -> None:
    """It may have become shorter meanwhile, as one that was created again."""
    consumer = Consumer({ZERO: [record(ZERO, 4)]}, {}, {ONE: [record(ONE, 7)]})
    consumer.leaderless = {ONE}
    made = reader_of(consumer)
    answering(monkeypatch, consumer, {ZERO: Ends(100, 100)})
    assert await made.identify()
    assert await made.begin({0: 4, 1: position})
    made._looked_at = float("-inf")
    assert (await made.read() or EMPTY).positions == {0: 5}
    consumer.leaderless = set()
    made._looked_at = float("-inf")
    if is_same:
        assert (await made.read() or EMPTY).positions == {0: 5, 1: position + 1}
    else:
        assert await made.read() is None


async def test_a_topic_that_was_deleted_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise everything would seem to be read."""
    facts: list[Fact] = []
    consumer = Consumer()
    made = reader_of(consumer, facts)
    made._identity = "/outcomes/"
    consumer.ends = {}
    answering(monkeypatch, consumer, {})
    made._looked_at = float("-inf")
    assert await made.read() == EMPTY
    assert "does not exist, or was deleted" in (made.problem or "")
    assert made.lag is None
    assert [type(fact) for fact in facts] == [KafkaUnreachable]
