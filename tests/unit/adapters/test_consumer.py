"""What the guard makes of polls that fail, without a broker."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaConnectionError

from service.adapters.kafka.consumer import Consumer, guard
from service.adapters.kafka.transaction import TransactionLog
from service.core.model import Partition
from service.settings import Settings

PLACE = TopicPartition("events", 0)
Poll = dict[TopicPartition, list[str]]


def no_error(error: BaseException) -> None:
    """Nothing is to fail here."""
    raise error


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


async def test_a_partition_whose_position_is_in_doubt_stays_paused() -> None:
    """Resumed, it would be fetched above its end again and again until the second look."""
    ours, doubtful = PLACE, TopicPartition("events", 1)
    paused = {ours, doubtful}
    settings = Settings.model_validate({"pim": {"base_url": "https://pim", "app_token": "-"}})
    nothing_arrives: Any = object()
    log = TransactionLog(settings.kafka)
    door = Consumer(settings, log, nothing_arrives, lambda _: None, no_error)
    door.assignment.partitions = frozenset({Partition("events", 0)})
    consumer: Any = SimpleNamespace(
        assignment=lambda: {ours, doubtful},
        paused=lambda: set(paused),
        pause=lambda *topic_partitions: paused.update(topic_partitions),
        resume=lambda *topic_partitions: paused.difference_update(topic_partitions),
    )
    door._subscriber.consumer = consumer
    door.set_paused(frozenset())

    assert paused == {doubtful}
