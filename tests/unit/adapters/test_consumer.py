"""The consumer's handling of failed polls and of pauses, without a broker."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    KafkaConnectionError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)

from service.adapters.kafka import ends
from service.adapters.kafka.consumer import NOWHERE, Consumer
from service.adapters.kafka.polls import Polls
from service.adapters.kafka.subscription import Subscription
from service.adapters.kafka.transaction import TransactionLog
from service.core.model import Partition
from service.settings import KafkaSettings
from tests.support.leaders import AWAY, HANGS, Answer, Leaders

TOPIC_PARTITION = TopicPartition("events", 0)
NOT_LEADER = 6
TOPIC_REFUSED = 29
Poll = dict[TopicPartition, list[str]]


def no_error(error: BaseException) -> None:
    """Fail the test."""
    raise error


class Guarded:
    """A guarded consumer whose polls follow a script. Its log begins at offset 50."""

    def __init__(
        self, *polls: Poll | Exception, owns: bool = True, leader: Answer = (50, 90)
    ) -> None:
        self.failures: list[BaseException] = []
        self.lost: list[str] = []
        self.seeks: list[tuple[TopicPartition, int]] = []
        self.leaders = Leaders({TOPIC_PARTITION: leader})
        self.rejoins = 0
        self.rejoining: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        script = iter(polls)

        async def to_poll() -> list[TopicPartition]:
            return [TOPIC_PARTITION]

        async def getmany(*_: TopicPartition, **__: object) -> Poll:
            poll = next(script)
            if isinstance(poll, Exception):
                raise poll
            return poll

        def request_rejoin() -> None:
            self.rejoins += 1
            self.rejoining.set_result(None)

        group = SimpleNamespace(
            request_rejoin=request_rejoin,
            _rejoin_needed_fut=self.rejoining,
            _closing=asyncio.get_running_loop().create_future(),
        )
        fetcher = SimpleNamespace(_records={}, _get_actions_per_node=None)
        self.consumer: Any = SimpleNamespace(
            getmany=getmany,
            _client=self.leaders,
            _coordinator=group,
            seek=lambda *at: self.seeks.append(at),
            _fetcher=fetcher,
        )
        Polls(
            self.consumer,
            to_poll,
            lambda: None,
            self.failures.append,
            lambda _: owns,
            self.lost.append,
        ).guard()

    async def poll(self, times: int) -> Sequence[Poll]:
        """The results of this number of polls."""
        return [await self.consumer.getmany(max_records=1) for _ in range(times)]


@pytest.mark.parametrize("error", [CorruptRecordException(), IndexError("our bug")])
async def test_nothing_is_returned_after_a_failed_poll(error: Exception) -> None:
    """It may have taken records, which a later position would skip."""
    guarded = Guarded(error, {TOPIC_PARTITION: ["behind"]})
    assert await guarded.poll(2) == [{}, {}]
    assert (guarded.failures, guarded.lost) == ([error], [])


async def test_an_empty_poll_is_followed_by_the_next_one() -> None:
    """FastStream would sleep after it, and a record that comes meanwhile would wait."""
    guarded = Guarded({}, {}, {TOPIC_PARTITION: ["next"]})
    assert await guarded.poll(1) == [{TOPIC_PARTITION: ["next"]}]


@pytest.mark.parametrize("error", [KafkaConnectionError(), KafkaTimeoutError(), TimeoutError()])
async def test_an_unreachable_broker_is_waited_for(error: Exception) -> None:
    """The next poll returns the next records."""
    guarded = Guarded(error, {TOPIC_PARTITION: ["next"]})
    assert await guarded.poll(2) == [{}, {TOPIC_PARTITION: ["next"]}]
    assert guarded.failures == []


async def test_a_position_that_retention_overtook_moves_to_the_start_of_the_log() -> None:
    """And says so: the records between them are lost."""
    guarded = Guarded(OffsetOutOfRangeError({TOPIC_PARTITION: 7}), {TOPIC_PARTITION: ["next"]})
    assert await guarded.poll(2) == [{}, {TOPIC_PARTITION: ["next"]}]
    assert guarded.seeks == [(TOPIC_PARTITION, 50)]
    assert [message.partition(": ")[2] for message in guarded.lost] == ["events/0 at 7"]
    assert guarded.failures == []


async def test_a_position_of_a_revoked_partition_is_not_reported() -> None:
    """The next owner reads where it begins."""
    guarded = Guarded(OffsetOutOfRangeError({TOPIC_PARTITION: 7}), owns=False)
    assert await guarded.poll(1) == [{}]
    assert (guarded.seeks, guarded.lost, guarded.failures) == ([], [], [])


LOST = OffsetOutOfRangeError({TOPIC_PARTITION: 7})
NEXT = {TOPIC_PARTITION: ["next"]}


@pytest.mark.parametrize("answer", [NOT_LEADER, AWAY, HANGS])
async def test_a_lost_position_is_reported_when_the_broker_says_where_the_log_begins(
    monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    """Until then nothing escapes to FastStream, which would log it and sleep."""
    monkeypatch.setattr(ends, "LEADERS_SECONDS_MAX", 0.01)
    guarded = Guarded(LOST, LOST, LOST, NEXT, leader=answer)
    assert await guarded.poll(2) == [{}, {}]
    assert (guarded.seeks, guarded.lost, guarded.failures) == ([], [], [])

    guarded.leaders.answers[TOPIC_PARTITION] = (50, 90)
    assert await guarded.poll(2) == [{}, NEXT]
    assert guarded.seeks == [(TOPIC_PARTITION, 50)]
    assert len(guarded.lost) == 1


async def test_a_permission_that_is_missing_for_the_log_ends_the_process() -> None:
    """As it does for a poll."""
    guarded = Guarded(LOST, NEXT, leader=TOPIC_REFUSED)
    assert await guarded.poll(2) == [{}, {}]
    assert [type(error) for error in guarded.failures] == [TopicAuthorizationFailedError]


async def test_a_position_above_the_end_is_reported_once() -> None:
    """The group is joined again, which takes until its coordinator answers."""
    above = OffsetOutOfRangeError({TOPIC_PARTITION: 91})
    guarded = Guarded(above, above, above)
    assert await guarded.poll(3) == [{}, {}, {}]
    assert (guarded.rejoins, len(guarded.lost), guarded.failures) == (1, 1, [])


async def test_a_partition_without_a_start_position_stays_paused() -> None:
    """Otherwise it would be fetched above its end until its position is read again."""
    owned, undecided = TOPIC_PARTITION, TopicPartition("events", 1)
    paused = {owned, undecided}
    kafka = KafkaSettings.model_validate({})
    nothing_arrives: Any = object()
    log = TransactionLog(kafka)
    adapter = Consumer(Subscription(kafka, 10), log, nothing_arrives, lambda _: None, no_error)
    adapter.assignment.partitions = frozenset({Partition("events", 0)})
    consumer: Any = SimpleNamespace(
        assignment=lambda: {owned, undecided},
        paused=lambda: set(paused),
        pause=lambda *topic_partitions: paused.update(topic_partitions),
        resume=lambda *topic_partitions: paused.difference_update(topic_partitions),
    )
    adapter._subscriber.consumer = consumer
    adapter.set_paused(frozenset())

    assert paused == {undecided}


async def test_what_is_paused_is_not_polled() -> None:
    """Its records would be taken in although there is no room for them."""
    adapter = two_partitions()
    adapter.set_paused(frozenset({Partition("events", 1)}))
    assert await adapter._to_poll() == [TopicPartition("events", 0)]

    adapter.set_paused(frozenset())
    assert len(await adapter._to_poll()) == 2


async def test_while_everything_is_paused_a_poll_waits_for_intake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And polls nothing from time to time, because the group wants polls."""
    adapter = two_partitions()
    adapter.set_paused(frozenset(Partition("events", number) for number in range(2)))
    assert await adapter._to_poll() == (NOWHERE,)

    monkeypatch.setattr("service.adapters.kafka.consumer.POLL_SECONDS", 60)
    waiting = asyncio.create_task(adapter._to_poll())
    await asyncio.sleep(0)
    adapter.set_paused(frozenset({Partition("events", 0)}))
    async with asyncio.timeout(10):
        assert await waiting == [TopicPartition("events", 1)]


def two_partitions() -> Consumer:
    """Return a consumer to which two partitions are assigned."""
    kafka = KafkaSettings.model_validate({})
    nothing: Any = object()
    adapter = Consumer(
        Subscription(kafka, 10), TransactionLog(kafka), nothing, lambda _: None, no_error
    )
    assigned = [TopicPartition("events", number) for number in range(2)]
    consumer: Any = SimpleNamespace(
        assignment=lambda: set(assigned),
        paused=set,
        pause=lambda *_: None,
        resume=lambda *_: None,
    )
    adapter._subscriber.consumer = consumer
    return adapter
