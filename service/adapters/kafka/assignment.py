"""Where an assignment begins, and how it ends (architecture.md D3, D8).

Rule 1: positions are read only when no transaction can change them any more.
Rule 2: no position is lost silently: what the broker no longer has is said.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from service.adapters.kafka.fencing import (
    InstanceFencedError,
    group_metadata,
    keep_heartbeat,
    request_rejoin,
    stable_committed,
    watch_membership,
)
from service.adapters.kafka.rights import in_words
from service.adapters.kafka.transaction import TransactionLog
from service.core import offset_map
from service.core.effects import PositionCommit
from service.core.inputs import Assigned, DrainKind, LeaseRenewed, Start
from service.core.model import Partition
from service.ports import FatalError
from service.settings import KafkaSettings

STABLE_SECONDS_MAX = 60.0
SECOND_LOOK_SECONDS = 10.0
LEASE_MARGIN_SECONDS = 1.0


class Assignee(Protocol):
    """Who works on the assignment: the runner."""

    def tell(self, happened: LeaseRenewed) -> None: ...  # noqa: D102
    def assign(self, assigned: Assigned) -> None: ...  # noqa: D102
    def forget(self) -> None: ...  # noqa: D102
    async def drain(self, kind: DrainKind, seconds: float) -> int: ...  # noqa: D102


SayLost = Callable[[str], None]
"""Says in a sentence that a committed position is lost."""


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Follows the group: revocation drains, assignment reads where to begin."""

    def __init__(
        self,
        kafka: KafkaSettings,
        drain_seconds: float,
        log: TransactionLog,
        fail: Callable[[BaseException], None],
        say_lost: SayLost,
    ) -> None:
        self._kafka = kafka
        self._drain_seconds = drain_seconds
        self._log = log
        self._fail = fail
        self._say_lost = say_lost
        self._epoch = 0
        self._above_end: dict[TopicPartition, float] = {}
        self._widths: dict[str, int] = {}
        """Partitions of each topic at the last assignment; those above were added since."""
        self.assignee: Assignee | None = None
        self.meet: Callable[[], AIOKafkaConsumer] | None = None
        """Where the consumer is to be had, once it is made; it exists before the first join."""
        self.epoch: int | None = None
        """The epoch that records belong to now; None between two assignments."""
        self.partitions: frozenset[Partition] = frozenset()
        self.lease_renewed_at = time.monotonic()
        self._second_look: asyncio.TimerHandle | None = None

    async def on_partitions_revoked(
        self,
        revoked: Iterable[TopicPartition],  # noqa: ARG002 - an eager rebalance revokes all
    ) -> None:
        """Finish calls in flight, write the last transaction, forget."""
        try:
            self._watch()
            if self.epoch is not None:
                assert self.assignee is not None
                await self.assignee.drain(DrainKind.REVOCATION, self._drain_seconds)
                self._end()
        except Exception as error:  # noqa: BLE001 - aiokafka would only log it
            self._fail(error)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Read where each partition begins, and hand the assignment over."""
        try:
            self._watch()
            await self._begin(list(assigned))
        except FatalError as error:
            self._fail(error)
        except (KafkaError, TimeoutError) as error:
            words = in_words(error, self._kafka)
            self._fail(FatalError(f"The positions of the group could not be read: {words}"))
        except Exception as error:  # noqa: BLE001 - aiokafka would only log it
            self._fail(error)

    def owns(self, place: TopicPartition) -> bool:
        """Whether the partition was handed over; before, its beginning is still looked for."""
        return Partition(place.topic, place.partition) in self.partitions

    def rejoin(self) -> None:
        """The group fenced us: go through revocation and assignment once more."""
        request_rejoin(self.consumer)

    def _end(self) -> None:
        self.epoch = None
        self.partitions = frozenset()
        self._log.group = None
        assert self.assignee is not None
        self.assignee.forget()

    @property
    def consumer(self) -> AIOKafkaConsumer:
        """The consumer that this listener listens to."""
        assert self.meet is not None
        return self.meet()

    def _watch(self) -> None:
        watch_membership(self.consumer, self._acknowledged, self._fenced)

    def _acknowledged(self, sent_at: float) -> None:
        self.lease_renewed_at = sent_at
        assert self.assignee is not None
        lease = self._kafka.session_timeout_seconds - LEASE_MARGIN_SECONDS
        self.assignee.tell(LeaseRenewed(sent_at + lease))

    def _fenced(self, error: InstanceFencedError) -> None:
        self._fail(FatalError(in_words(error, self._kafka)))

    async def _begin(self, places: list[TopicPartition]) -> None:
        consumer, assignee = self.consumer, self.assignee
        assert assignee is not None
        if self.epoch is not None:
            self._end()
        keep_heartbeat(consumer)
        self._log.group = group_metadata(consumer)
        starts = await asyncio.wait_for(self._starts(consumer, places), STABLE_SECONDS_MAX)
        if starts is None:
            request_rejoin(consumer)
            return
        if in_doubt := set(places) - starts.keys():
            consumer.pause(*in_doubt)
        for place, start in starts.items():
            consumer.seek(place, start.position)
        self._epoch += 1
        partitions = {Partition(p.topic, p.partition): start for p, start in starts.items()}
        self.epoch = self._epoch
        self.partitions = frozenset(partitions)
        assignee.assign(Assigned(self._epoch, partitions, self._total(consumer)))
        # What was fetched for the last assignment stands in cycles of aiokafka's, by the megabyte.
        gc.collect()

    async def _starts(
        self, consumer: AIOKafkaConsumer, places: list[TopicPartition]
    ) -> dict[TopicPartition, Start] | None:
        """Where each partition begins; None where the group moved on meanwhile."""
        if not places:
            return {}
        committed = await stable_committed(consumer, places)
        first = await consumer.beginning_offsets(places)
        last = await consumer.end_offsets(places)
        starts: dict[TopicPartition, Start] = {}
        chosen: dict[Partition, PositionCommit] = {}
        for place in places:
            known = committed.get(place)
            if known is None:
                starts[place] = Start((first if self._begins_early(place) else last)[place])
                commit = PositionCommit(starts[place].position, "")
                chosen[Partition(place.topic, place.partition)] = commit
                continue
            start = self._checked(place, known.offset, known.metadata, first[place], last[place])
            if start is not None:
                starts[place] = start
        if chosen and await self._log.commit_positions(chosen) is not None:
            return None
        return starts

    def _begins_early(self, place: TopicPartition) -> bool:
        """Whether to read all of a partition that has no position.

        One that was added while we ran holds what came since: nothing of it is skipped.
        """
        is_added = place.partition >= self._widths.get(place.topic, place.partition + 1)
        return is_added or self._kafka.start_from == "earliest"

    def _checked(
        self, place: TopicPartition, position: int, metadata: str, first: int, last: int
    ) -> Start | None:
        """The committed position, held against what the broker has; None: look again later."""
        try:
            settled = offset_map.decode(position, metadata)
        except offset_map.OffsetMapError as error:
            raise FatalError(
                f"{place.topic}/{place.partition}: {error}. Does another service use "
                f"the group {self._kafka.group_id}?"
            ) from error
        if position < first:
            self._say_lost(
                f"{place.topic}/{place.partition}: the records {position} to {first - 1} are no "
                "longer there (retention); going on at the earliest.",
            )
            return Start(first, frozenset(offset for offset in settled if offset >= first))
        if position <= last:
            self._above_end.pop(place, None)
            return Start(position, settled)
        looked_at = self._above_end.setdefault(place, time.monotonic())
        if time.monotonic() - looked_at < SECOND_LOOK_SECONDS:
            self._look_again()
            return None
        del self._above_end[place]
        self._say_lost(
            f"{place.topic}/{place.partition}: position {position} is above the end {last}: "
            "the topic was re-created; beginning at its start.",
        )
        return Start(first)

    def _look_again(self) -> None:
        consumer = self.consumer
        if self._second_look is None:
            loop = asyncio.get_running_loop()

            def look() -> None:
                self._second_look = None
                request_rejoin(consumer)

            self._second_look = loop.call_later(SECOND_LOOK_SECONDS, look)

    def _total(self, consumer: AIOKafkaConsumer) -> int:
        """Partitions of all events topics: what shares are counted by."""
        self._widths = {
            topic: len(consumer.partitions_for_topic(topic) or ())
            for topic in self._kafka.events_topic_names
        }
        return max(sum(self._widths.values()), len(self.partitions), 1)
