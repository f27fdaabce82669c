"""Poll a consumer, and handle its errors before FastStream's loop sees them.

Rule 1: a poll waits until there are records, because FastStream's loop sleeps after an empty poll,
and a record that comes meanwhile would wait.
Rule 2: a poll that fails may have taken records of another partition, which are lost with it. So no
record is returned after a failed poll: a commit of later records would skip the lost ones.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    ConsumerStoppedError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from service.adapters.kafka.aiokafka_gaps.fetching import Budget, bound_fetches, budget
from service.adapters.kafka.aiokafka_gaps.group_membership import has_moved_on, request_rejoin
from service.adapters.kafka.ends import EARLIEST, ask_offsets
from service.adapters.kafka.errors import can_wait

POLL_SECONDS = 0.25
"""How long a poll waits for records, or for partitions that are not paused."""


class Polls:
    """Polls one consumer. FastStream calls `getmany` in place of the consumer's own."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        to_poll: Callable[[], Awaitable[Sequence[TopicPartition]]],
        polled: Callable[[], None],
        fail: Callable[[BaseException], None],
        owns: Callable[[TopicPartition], bool],
        note_lost_position: Callable[[str], None],
    ) -> None:
        self._consumer = consumer
        self._stock = consumer.getmany
        self._to_poll = to_poll
        self._polled = polled
        self._fail = fail
        self._owns = owns
        self._note_lost_position = note_lost_position
        self._has_failed = False

    def guard(self) -> None:
        """Replace the consumer's `getmany`."""
        bound_fetches(self._consumer)
        self._consumer.getmany = self.getmany

    async def getmany(self, *, max_records: int, **_: object) -> Any:  # noqa: ANN401 - aiokafka's
        """Return the next records by partition; none if a poll failed."""
        while not self._has_failed and (records := await self._poll(max_records)) is not None:
            if records:
                return records
            await asyncio.sleep(0)  # other tasks run, even if no poll waits for anything
        return {}

    async def _poll(self, max_records: int) -> Any:  # noqa: ANN401 - aiokafka's
        """Return the records that came in time; None if the poll failed."""
        records = None
        try:
            records = await self._read(max_records)
        except ConsumerStoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - FastStream would restart its loop
            if not can_wait(error):
                self._has_failed = True
                self._fail(error)
        self._polled()
        return records

    async def _read(self, max_records: int) -> Any:  # noqa: ANN401 - aiokafka's
        """Return the records that came in time; None if a position had to be handled."""
        budget.set(Budget())
        try:
            partitions = await self._to_poll()
            timeout_ms = round(POLL_SECONDS * 1000)
            return await self._stock(*partitions, timeout_ms=timeout_ms, max_records=max_records)
        except NoOffsetForPartitionError:
            return None  # the start position is still being read; the seek follows
        except OffsetOutOfRangeError as error:
            lost = error.args[0]
        await self._seek_in_range(lost)
        return None

    async def _seek_in_range(self, positions: Mapping[TopicPartition, int]) -> None:
        """Handle positions that the broker no longer has.

        A position below the start of the log moves to that start. A position above the end means
        that the topic was created again or lost records, so the group is joined again, which reads
        where the partition begins. The start of a partition that the pipeline does not own is read
        anyway, and a partition whose leader does not say where its log begins fails its next fetch
        too.
        """
        owned = [topic_partition for topic_partition in positions if self._owns(topic_partition)]
        if not owned or has_moved_on(self._consumer):
            return
        first = await ask_offsets(self._consumer, owned, EARLIEST)
        # A partition that was revoked meanwhile: its next assignment reads where it begins.
        lost = {at: positions[at] for at in owned if at in first and self._owns(at)}
        if not lost:
            return
        self._note_lost_position(
            "The broker no longer has these offsets (retention or a re-created topic): "
            f"{_listed(lost)}"
        )
        for topic_partition, position in lost.items():
            if position < first[topic_partition]:
                self._consumer.seek(topic_partition, first[topic_partition])
            else:
                request_rejoin(self._consumer)


def _listed(positions: Mapping[TopicPartition, int]) -> str:
    return ", ".join(f"{p.topic}/{p.partition} at {at}" for p, at in positions.items())
