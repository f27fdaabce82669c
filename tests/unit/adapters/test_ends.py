"""The offsets of partitions, while some of their leaders do not answer."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NodeNotReadyError, TopicAuthorizationFailedError

from service.adapters.kafka import ends
from service.adapters.kafka.ends import (
    EARLIEST,
    LATEST,
    MEASURED_SECONDS_MAX,
    Ends,
    Lags,
    ask_ends,
    ask_offsets,
)
from service.core.model import Partition
from tests.support.leaders import AWAY, HANGS, Answer, Leaders

ZERO, ONE = TopicPartition("events", 0), TopicPartition("events", 1)
NOT_LEADER = 6
TOPIC_REFUSED = 29


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for leaders only shortly."""
    monkeypatch.setattr(ends, "LEADERS_SECONDS_MAX", 0.05)
    monkeypatch.setattr(ends, "RETRY_SECONDS", 0.001)


def consumer_of(leaders: Leaders) -> Any:  # noqa: ANN401 - a fake
    """Return a consumer with this client."""
    return SimpleNamespace(_client=leaders)


@pytest.mark.parametrize("answer", [NOT_LEADER, AWAY, HANGS])
async def test_a_leader_that_does_not_answer_holds_up_no_other_partition(answer: Answer) -> None:
    """Its partition is left out."""
    consumer = consumer_of(Leaders({ZERO: answer, ONE: (3, 9)}))
    assert await ask_offsets(consumer, [ZERO, ONE], EARLIEST) == {ONE: 3}
    assert await ask_offsets(consumer, [ZERO, ONE], LATEST) == {ONE: 9}
    assert await ask_ends(consumer, [ZERO, ONE], 0.05) == {ONE: Ends(9, 9)}


async def test_a_partition_without_a_leader_holds_up_no_other() -> None:
    """Its broker is away, and no other has its records."""
    leaders = Leaders({ZERO: (0, 5), ONE: (3, 9)})
    leaders.leaderless.add(ZERO)
    assert await ask_offsets(consumer_of(leaders), [ZERO, ONE], EARLIEST) == {ONE: 3}


async def test_a_leader_that_is_elected_meanwhile_is_asked() -> None:
    """The first answer comes from a broker that is no longer the leader."""
    leaders = Leaders({ZERO: NOT_LEADER})
    leaders.force_metadata_update = lambda: leaders.answers.update({ZERO: (3, 9)})  # type: ignore[method-assign]
    assert await ask_offsets(consumer_of(leaders), [ZERO], EARLIEST) == {ZERO: 3}


async def test_a_topic_that_the_client_does_not_know_is_looked_up() -> None:
    """The consumer follows the topics alone that it reads."""
    leaders = Leaders({})
    assert await ask_offsets(consumer_of(leaders), [ZERO], EARLIEST) == {}
    assert leaders.topics == {"events"}


async def test_a_missing_permission_is_no_reason_to_wait() -> None:
    """Only a person can grant it."""
    consumer = consumer_of(Leaders({ZERO: TOPIC_REFUSED, ONE: (3, 9)}))
    with pytest.raises(TopicAuthorizationFailedError):
        await ask_offsets(consumer, [ZERO, ONE], EARLIEST)


async def test_a_committed_reader_ends_before_open_transactions() -> None:
    """Their offsets are between the two ends."""
    leaders = Leaders({ZERO: (3, 9)})
    leaders.open_transactions[ZERO] = 2
    consumer = consumer_of(leaders)
    assert await ask_offsets(consumer, [ZERO], LATEST) == {ZERO: 7}
    assert await ask_ends(consumer, [ZERO]) == {ZERO: Ends(7, 9)}


@pytest.mark.parametrize(("answer", "error"), [(AWAY, NodeNotReadyError), (HANGS, TimeoutError)])
async def test_ends_that_no_leader_tells(answer: Answer, error: type[Exception]) -> None:
    """Kafka is unreachable, rather than one broker."""
    with pytest.raises(error):
        await ask_ends(consumer_of(Leaders({ZERO: answer, ONE: answer})), [ZERO, ONE], 0.05)


class Reader:
    """A consumer of partition 0, at position 4 of 9, and the lags that are measured of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.fetched_at: float | None = None
        """When the last answer to a fetch came, which said that the partition ends at 9."""
        self.position = 4
        self.paused: frozenset[Partition] = frozenset()
        self.leaders = Leaders({ZERO: (0, 9)})
        self._lags = Lags()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(ends, "ENDS_SECONDS_MAX", 5.0)

    async def measure(self) -> tuple[int | None, float | None]:
        """Return the lag, and for how long nothing was read."""
        is_fetched = self.fetched_at is not None
        consumer: Any = SimpleNamespace(
            _client=self.leaders,
            assignment=lambda: {ZERO},
            last_stable_offset=lambda _: 9 if is_fetched else None,
            highwater=lambda _: 9 if is_fetched else None,
            last_poll_timestamp=lambda _: self.fetched_at and self.fetched_at * 1000,
            position=self._position,
        )
        await self._lags.measure(consumer, frozenset({Partition(*ZERO)}), self.paused)
        [lag] = self._lags.records.values() or [None]
        return lag, self.unread_seconds()

    def unread_seconds(self) -> float | None:
        """Return for how long nothing was read; None where there was nothing to read."""
        return self._lags.unread_seconds().get(Partition(*ZERO))

    async def _position(self, _: TopicPartition) -> int:
        return self.position


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A consumer whose clock is set by the test."""
    return Reader(monkeypatch)


async def test_ends_come_with_the_answers_to_fetches(reader: Reader) -> None:
    """Leaders are asked only of what is not fetched."""
    reader.fetched_at = reader.now
    assert await reader.measure() == (5, 0.0)
    assert reader.leaders.requests == 0

    reader.paused = frozenset({Partition(*ZERO)})
    assert await reader.measure() == (5, None)
    assert reader.leaders.requests == 2


async def test_a_partition_is_unread_since_its_records_could_be_read(reader: Reader) -> None:
    """Each measurement says so, and what is read ends that time."""
    for seconds in range(3):
        assert await reader.measure() == (5, float(seconds))
        reader.now += 1
    reader.position = 6
    assert await reader.measure() == (3, 0.0)
    reader.position = 9
    assert await reader.measure() == (0, None)


@pytest.mark.parametrize("is_leaderless", [False, True])
async def test_what_was_paused_is_unread_since_the_pause(
    reader: Reader, *, is_leaderless: bool
) -> None:
    """A pause is on purpose, however long it is."""
    await reader.measure()
    reader.paused = frozenset({Partition(*ZERO)})
    reader.leaders.leaderless = {ZERO} if is_leaderless else set()
    reader.now += 1
    assert await reader.measure() == (5, None)
    reader.paused, reader.leaders.leaderless = frozenset(), set()
    assert await reader.measure() == (5, 0.0)


@pytest.mark.parametrize("is_fetched", [False, True])
async def test_an_old_answer_does_not_tell_that_a_partition_can_be_read(
    reader: Reader, *, is_fetched: bool
) -> None:
    """Its leader is away: its last lag is shown, and it is not unread."""
    reader.fetched_at = reader.now if is_fetched else None
    assert await reader.measure() == (5, 0.0)
    reader.leaders.leaderless.add(ZERO)
    reader.now += MEASURED_SECONDS_MAX + 1
    assert reader.unread_seconds() is None
    assert await reader.measure() == (5, None)

    reader.leaders.leaderless.clear()
    assert await reader.measure() == (5, 0.0), "its leader is back"


async def test_one_measurement_that_fails_is_not_an_outage(reader: Reader) -> None:
    """Else a slow broker would hide a consumer that is stuck."""
    await reader.measure()
    reader.leaders.leaderless.add(ZERO)
    reader.now += MEASURED_SECONDS_MAX / 2
    assert await reader.measure() == (5, MEASURED_SECONDS_MAX / 2)
    reader.leaders.leaderless.clear()
    reader.now += 1
    assert await reader.measure() == (5, MEASURED_SECONDS_MAX / 2 + 1)


async def test_nothing_is_known_of_a_partition_that_was_revoked(reader: Reader) -> None:
    """Its next owner measures it."""
    await reader.measure()
    await reader._lags.measure(SimpleNamespace(), frozenset(), frozenset())
    assert (reader._lags.records, reader._lags.behind_transactions) == ({}, {})
    assert reader.unread_seconds() is None
