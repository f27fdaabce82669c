"""Read the start positions of assigned partitions, and commit those of new partitions.

Source: architecture.md D3.

Rule 1: positions are read only when no transaction can change them any more.
Rule 2: no position is lost silently: a position that the broker no longer has is reported.
Rule 3: a partition whose leader does not answer holds up no other: its position is read later.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps.committed_positions import stable_committed
from service.adapters.kafka.aiokafka_gaps.fencing_producer import OffsetsRefusedError
from service.adapters.kafka.aiokafka_gaps.group_membership import GroupMetadata
from service.adapters.kafka.aiokafka_gaps.identity import Identity, identify
from service.adapters.kafka.beginning import Beginning, begin_group, count_outcomes, logs_of
from service.adapters.kafka.ends import LATEST, ask_offsets
from service.adapters.kafka.positions import Committed, Log, decide_start, is_above_end
from service.adapters.kafka.transaction import TransactionLog
from service.contracts.documents import page
from service.core.facts import (
    Fact,
    GroupBegun,
    GroupBegunAgain,
    PartitionsUnreadable,
    PositionLost,
)
from service.core.inputs import Start
from service.core.model import Partition
from service.core.records import PositionCommit
from service.core.settle import offset_map
from service.settings import KafkaSettings

REREAD_SECONDS = 10.0
"""Waiting time before a position above the end of its log is read again.

A broker that is starting may not have loaded all records yet.
"""

LOOK_SECONDS = 5.0
"""How long after one look for the leaders of partitions the next one follows."""


class Starts(NamedTuple):
    """The start of each partition whose position is usable now."""

    starts: dict[TopicPartition, Start]
    reread_seconds: float | None
    """After this time the positions above the ends of their logs have to be read again."""
    unreadable: frozenset[TopicPartition] = frozenset()
    """Partitions whose leaders do not answer; their positions have to be read once they do."""


class StartPositions:
    """Decides for one replica where its assigned partitions begin."""

    def __init__(
        self, kafka: KafkaSettings, log: TransactionLog, note: Callable[[Fact], None]
    ) -> None:
        self._kafka = kafka
        self._log = log
        self._note = note
        self._above_end: dict[TopicPartition, float] = {}
        """When each position or offset map above the end of its log was first seen (monotonic)."""
        self._begun: set[TopicPartition] = set()
        """Every partition for which this process has read or committed a position."""
        self._unreadable: frozenset[TopicPartition] = frozenset()
        """The partitions whose leaders did not answer last."""

    async def read(
        self,
        consumer: AIOKafkaConsumer,
        group: GroupMetadata,
        topic_partitions: list[TopicPartition],
    ) -> Starts:
        """Return where each partition begins, and when to read the positions of others again.

        Args:
            consumer: the consumer to which the partitions are assigned.
            group: its membership in this assignment. A heartbeat may reset the consumer's own.
            topic_partitions: the assigned partitions.

        Raises:
            GroupMovedOnError: the group rebalances, so this assignment is over.
            OffsetsRefusedError: the coordinator refused the positions of new partitions.
        """
        if not topic_partitions:
            self._above_end = {}
            return Starts({}, None)
        topics = (*self._kafka.events_topic_names, self._kafka.outcomes_topic)
        identity = await identify(consumer, topics)
        if not self._begun:
            await self._begin_group(consumer, group, identity)
        committed = await stable_committed(consumer, topic_partitions)
        logs = await logs_of(consumer, topic_partitions)
        self._note_unreadable(frozenset(topic_partitions) - logs.keys())
        new = {
            topic_partition: log
            for topic_partition, log in logs.items()
            if topic_partition not in committed
        }
        starts = await self._begin_new(consumer, identity, new)
        resumed = self._resume(identity, committed, logs)
        starts |= resumed.starts
        self._begun |= starts.keys()
        return Starts(starts, resumed.reread_seconds, self._unreadable)

    def _note_unreadable(self, unreadable: frozenset[TopicPartition]) -> None:
        """Report partitions that are not read for want of their leaders, when they change."""
        if unreadable and unreadable != self._unreadable:
            names = ", ".join(f"{at.topic}/{at.partition}" for at in sorted(unreadable))
            self._note(
                PartitionsUnreadable(
                    f"The leaders of these partitions do not answer: {names}. They are read as "
                    "soon as they do; the others are read meanwhile. See the brokers and their "
                    "logs."
                )
            )
        self._unreadable = unreadable

    async def _begin_group(
        self, consumer: AIOKafkaConsumer, group: GroupMetadata, identity: Identity
    ) -> None:
        """Commit a position in each partition, if the group has no position at all."""
        begun = await begin_group(consumer, self._kafka, group, identity)
        if begun is not None:
            self._note_begun(_group_message(self._kafka, begun), begun.outcomes)

    async def _begin_new(
        self, consumer: AIOKafkaConsumer, identity: Identity, logs: Mapping[TopicPartition, Log]
    ) -> dict[TopicPartition, Start]:
        """Begin partitions without a position at their earliest record, and commit that.

        The group has positions in other partitions.
        """
        if not logs:
            return {}
        starts = {
            topic_partition: Start(
                log.first, binding=identity.binding(self._kafka.group_id, topic_partition)
            )
            for topic_partition, log in logs.items()
        }
        chosen = {
            Partition(topic_partition.topic, topic_partition.partition): PositionCommit(
                start.position, offset_map.encode(start.position, 0, start.binding)
            )
            for topic_partition, start in starts.items()
        }
        refusal = await self._log.commit_positions(chosen)
        if refusal is not None:
            raise OffsetsRefusedError(refusal)
        message = _partitions_message(self._kafka, logs)
        if self._begun & logs.keys():
            self._note(PositionLost(message))
        else:
            outcomes = await count_outcomes(consumer, self._kafka, identity)
            self._note_begun(message, outcomes)
        return starts

    def _note_begun(self, message: str, outcomes: int) -> None:
        """Report a beginning that this replica committed."""
        if not outcomes:
            self._note(GroupBegun(message))
            return
        message += (
            f" {outcomes} records were written to the outcomes topic before. If the records of "
            "these partitions were completed then, the group's offsets expired "
            "(offsets.retention.minutes of the broker) or were deleted. A source that is new in "
            "translate has none either. See "
            f"{page('operations.md', 'positions-of-the-consumer-group')}."
        )
        self._note(GroupBegunAgain(message))

    def _resume(
        self,
        identity: Identity,
        committed: Mapping[TopicPartition, OffsetAndMetadata],
        logs: Mapping[TopicPartition, Log],
    ) -> Starts:
        """Return where partitions with a position begin, by their logs and offset maps."""
        starts: dict[TopicPartition, Start] = {}
        undecided: dict[TopicPartition, float] = {}
        now = time.monotonic()
        for topic_partition, log in logs.items():
            if topic_partition not in committed:
                continue
            known = Committed(*committed[topic_partition])
            binding = identity.binding(self._kafka.group_id, topic_partition)
            if is_above_end(known, log, binding):
                seen_at = self._above_end.get(topic_partition, now)
                if now - seen_at < REREAD_SECONDS:
                    undecided[topic_partition] = seen_at
                    continue
            decision = decide_start(topic_partition, known, log, binding)
            if decision.fact is not None:
                self._note(decision.fact)
            starts[topic_partition] = decision.start
        self._above_end = undecided
        if not undecided:
            return Starts(starts, None)
        return Starts(starts, min(undecided.values()) + REREAD_SECONDS - now)


async def until_readable(
    consumer: AIOKafkaConsumer, topic_partitions: Collection[TopicPartition]
) -> None:
    """Wait until the leader of one of these partitions answers.

    Raises:
        KafkaError: a leader refuses to answer.
    """
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if await ask_offsets(consumer, topic_partitions, LATEST):
            return


def _group_message(kafka: KafkaSettings, begun: Beginning) -> str:
    """Say where a group without a position begins."""
    start = (
        f"The group {kafka.group_id} has no committed offset: the {begun.partitions} partitions of "
        f"{', '.join(kafka.events_topic_names)} begin at their"
    )
    if kafka.start_from == "earliest":
        end = f"earliest record, and {begun.records} records are read"
    else:
        end = f"end, and the {begun.records} records before it are not read"
    return f"{start} {end} (ASSET_SYNC_KAFKA__START_FROM={kafka.start_from})."


def _partitions_message(kafka: KafkaSettings, logs: Mapping[TopicPartition, Log]) -> str:
    """Say where partitions without a position begin, in a group that has positions elsewhere."""
    listed = ", ".join(
        f"{topic_partition.topic}/{topic_partition.partition} at {log.first} "
        f"({log.last - log.first} records)"
        for topic_partition, log in sorted(logs.items())
    )
    return (
        f"The group {kafka.group_id} has committed offsets, but none in these partitions (added, "
        f"created again, or expired). They begin at their earliest record: {listed}."
    )
