"""What the guard makes of polls that fail, without a broker."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaConnectionError

from service.adapters.kafka.door import guard

PLACE = TopicPartition("events", 0)
Poll = dict[TopicPartition, list[str]]


class Guarded:
    """A guarded consumer whose polls go by a script."""

    def __init__(self, *polls: Poll | Exception) -> None:
        self.failures: list[BaseException] = []
        script = iter(polls)

        async def getmany(*_: TopicPartition, **__: object) -> Poll:
            poll = next(script)
            if isinstance(poll, Exception):
                raise poll
            return poll

        fetcher = SimpleNamespace(_records={}, _get_actions_per_node=None)
        self.consumer: Any = SimpleNamespace(getmany=getmany, _fetcher=fetcher)
        guard(
            self.consumer,
            lambda: [PLACE],
            lambda: None,
            self.failures.append,
            lambda _: True,
            pytest.fail,
        )

    async def poll(self, times: int) -> Sequence[Poll]:
        """What so many polls bring."""
        return [await self.consumer.getmany() for _ in range(times)]


@pytest.mark.parametrize("error", [CorruptRecordException(), IndexError("our bug")])
async def test_after_a_poll_that_failed_nothing_is_handed_over(error: Exception) -> None:
    """It may have passed over records: a position behind them would lose them."""
    guarded = Guarded(error, {PLACE: ["behind"]})
    assert await guarded.poll(2) == [{}, {}]
    assert guarded.failures == [error]


async def test_a_broker_that_is_away_is_waited_for() -> None:
    """The next poll brings what comes next."""
    guarded = Guarded(KafkaConnectionError(), {PLACE: ["next"]})
    assert await guarded.poll(2) == [{}, {PLACE: ["next"]}]
    assert guarded.failures == []
