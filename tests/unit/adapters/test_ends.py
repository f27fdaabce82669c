"""The offsets of partitions, while some of their leaders do not answer."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NodeNotReadyError, TopicAuthorizationFailedError

from service.adapters.kafka import ends
from service.adapters.kafka.ends import EARLIEST, LATEST, Ends, ask_ends, ask_offsets
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
