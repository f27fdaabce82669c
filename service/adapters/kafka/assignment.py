"""Begin and end assignments of partitions (architecture.md D3, D8).

Rule 1: positions are read only when no transaction can change them any more.
Rule 2: no position is lost silently: a position that the broker no longer has is reported.
"""

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Iterable, Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError, OffsetMetadataTooLargeError
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps.fencing import (
    GroupMovedOnError,
    InstanceFencedError,
    OffsetsRefusedError,
    group_metadata,
    keep_heartbeat,
    request_rejoin,
    stable_committed,
    watch_membership,
)
from service.adapters.kafka.aiokafka_gaps.identity import Identity, identify
from service.adapters.kafka.beginning import Beginning, begin_group, logs_of
from service.adapters.kafka.errors import describe
from service.adapters.kafka.options import RETRY_SECONDS
from service.adapters.kafka.positions import Committed, Log, decide_start, is_above_end
from service.adapters.kafka.transaction import TransactionLog
from service.core.facts import Fact, GroupBegun, GroupBegunAgain, GroupTooLarge, PositionLost
from service.core.inputs import (
    Assigned,
    CommitRefusal,
    DrainKind,
    Forgotten,
    LeaseRenewed,
    Start,
)
from service.core.model import Partition
from service.core.records import PositionCommit
from service.core.settle import offset_map
from service.ports import FatalError, Inbox
from service.settings import KafkaSettings, Settings

REREAD_SECONDS = 10.0
"""Waiting time before a position above the end of its log is read again.

A broker that is starting may not have loaded all records yet.
"""
LEASE_MARGIN_SECONDS = 1.0
"""The lease ends this long before the session, so that no call outlives the assignment."""


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """The group's listener: drains on revocation, reads start positions on assignment."""

    def __init__(
        self,
        settings: Settings,
        log: TransactionLog,
        inbox: Inbox,
        note: Callable[[Fact], None],
        fail: Callable[[BaseException], None],
        consumer: Callable[[], AIOKafkaConsumer],
    ) -> None:
        self._kafka = settings.kafka
        self._drain_seconds = settings.drain.max_seconds
        self._log = log
        self._inbox = inbox
        self._note = note
        self._fail = fail
        self._consumer = consumer
        """Returns the consumer of the group, which exists before it first joins."""
        self._replicas_max = settings.pim.max_concurrency
        """More replicas exceed the limit of concurrent calls: each makes at least one."""
        self._epoch = 0
        self._above_end: dict[TopicPartition, float] = {}
        """When each position or offset map above the end of its log was first seen (monotonic)."""
        self._begun: set[TopicPartition] = set()
        """Every partition for which this process has read or committed a position."""
        self._is_leaving = False
        self.epoch: int | None = None
        """The epoch of the current assignment; None between two assignments."""
        self.partitions: frozenset[Partition] = frozenset()
        self.lease_renewed_at = time.monotonic()
        self._reread: asyncio.TimerHandle | None = None

    async def on_partitions_revoked(
        self,
        revoked: Iterable[TopicPartition],  # noqa: ARG002 - an eager rebalance revokes all
    ) -> None:
        """Finish the calls in flight, write the last transaction, and end the assignment."""
        try:
            self._watch()
            self._cancel_reread()
            if self.epoch is not None:
                await self._inbox.drain(DrainKind.REVOCATION, self._drain_seconds)
                self._end()
        except Exception as error:  # noqa: BLE001 - aiokafka would only log it
            self._fail(error)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Read where each partition begins, and pass the assignment to the pipeline."""
        try:
            self._watch()
            if not self._is_leaving:
                await self._begin(list(assigned))
        except FatalError as error:
            self._fail(error)
        except OffsetsRefusedError as refused:
            self._begin_refused(refused.refusal)
        except GroupMovedOnError:
            request_rejoin(self._consumer())
        except (KafkaError, TimeoutError) as error:
            await self._begin_later(error)
        except Exception as error:  # noqa: BLE001 - aiokafka would only log it
            self._fail(error)

    def leave(self) -> None:
        """Ignore later assignments, because the process ends."""
        self._is_leaving = True
        self._cancel_reread()

    def owns(self, topic_partition: TopicPartition) -> bool:
        """Whether the partition was passed to the pipeline, after its start position was read."""
        return Partition(topic_partition.topic, topic_partition.partition) in self.partitions

    def rejoin(self) -> None:
        """Join the group again, after it fenced this member."""
        request_rejoin(self._consumer())

    def _end(self) -> None:
        self.epoch = None
        self.partitions = frozenset()
        self._log.group = None
        self._inbox.submit(Forgotten())

    def _watch(self) -> None:
        watch_membership(self._consumer(), self._acknowledged, self._fenced, self._led)

    def _acknowledged(self, sent_at: float) -> None:
        self.lease_renewed_at = sent_at
        lease = self._kafka.session_timeout_seconds - LEASE_MARGIN_SECONDS
        self._inbox.submit(LeaseRenewed(sent_at + lease))

    def _fenced(self, error: InstanceFencedError) -> None:
        self._fail(FatalError(describe(error, self._kafka)))

    def _led(self, members: int) -> None:
        """Warn if there are more replicas than calls allowed at once.

        Kafka tells only the leader of a group how many members the group has.
        """
        working = min(members, self._total(self._consumer()))
        if working > self._replicas_max:
            message = (
                f"{working} replicas own partitions, and each makes at least one call at a time: "
                f"more than ASSET_SYNC_PIM__MAX_CONCURRENCY={self._replicas_max} allows. "
                "Run fewer replicas, or raise the setting if the PIM permits it."
            )
            self._note(GroupTooLarge(message))

    async def _begin(self, topic_partitions: list[TopicPartition]) -> None:
        consumer = self._consumer()
        if self.epoch is not None:
            self._end()
        keep_heartbeat(consumer)
        self._log.group = group_metadata(consumer)
        self._cancel_reread()
        starts = await self._starts(consumer, topic_partitions)
        # A partition without a start position is not fetched until its position is read again.
        if undecided := set(topic_partitions) - starts.keys():
            consumer.pause(*undecided)
        for topic_partition, start in starts.items():
            consumer.seek(topic_partition, start.position)
        self._epoch += 1
        partitions = {Partition(p.topic, p.partition): start for p, start in starts.items()}
        self.epoch = self._epoch
        self.partitions = frozenset(partitions)
        total = max(self._total(consumer), len(partitions), 1)
        self._inbox.submit(Assigned(self._epoch, partitions, total))
        # Megabytes of records of the last assignment are in reference cycles of aiokafka.
        gc.collect()

    def _begin_refused(self, refusal: CommitRefusal) -> None:
        """Join again if the group rebalanced; end if the broker cannot store an offset map."""
        if refusal is not CommitRefusal.METADATA_TOO_LARGE:
            request_rejoin(self._consumer())
            return
        text = describe(OffsetMetadataTooLargeError(), self._kafka)
        self._fail(FatalError(f"The offsets of the group cannot be committed: {text}"))

    async def _begin_later(self, error: KafkaError | TimeoutError) -> None:
        """Join again after a broker did not answer; end if only a person can fix the error."""
        can_wait = isinstance(error, TimeoutError | KafkaTimeoutError) or error.retriable
        if not can_wait:
            text = describe(error, self._kafka)
            self._fail(FatalError(f"The committed offsets of the group cannot be read: {text}"))
            return
        await asyncio.sleep(RETRY_SECONDS)
        request_rejoin(self._consumer())

    async def _starts(
        self, consumer: AIOKafkaConsumer, topic_partitions: list[TopicPartition]
    ) -> dict[TopicPartition, Start]:
        """Return where each partition begins, without those whose position has to be read again.

        Raises:
            GroupMovedOnError: the group rebalances, so this assignment is over.
            OffsetsRefusedError: the coordinator refused the positions of new partitions.
        """
        if not topic_partitions:
            self._above_end = {}
            return {}
        topics = (*self._kafka.events_topic_names, self._kafka.outcomes_topic)
        identity = await identify(consumer, topics)
        if not self._begun:
            await self._begin_group(consumer, identity)
        committed = await stable_committed(consumer, topic_partitions)
        logs = await logs_of(consumer, topic_partitions)
        new = {
            topic_partition: log
            for topic_partition, log in logs.items()
            if topic_partition not in committed
        }
        starts = await self._begin_new(consumer, identity, new)
        starts |= self._resume(identity, committed, logs)
        self._begun |= starts.keys()
        return starts

    async def _begin_group(self, consumer: AIOKafkaConsumer, identity: Identity) -> None:
        """Commit a position in each partition, if the group has no position at all."""
        # The metadata of this assignment: a heartbeat may have reset the consumer's own.
        group = self._log.group
        assert group is not None, "set when the assignment began"
        begun = await begin_group(consumer, self._kafka, group, identity)
        if begun is not None:
            outcomes = await self._outcomes(consumer, identity)
            self._note_begun(_group_message(self._kafka, begun), outcomes)

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
            self._note_begun(message, await self._outcomes(consumer, identity))
        return starts

    def _note_begun(self, message: str, outcomes: int) -> None:
        """Report a beginning that this replica committed."""
        if not outcomes:
            self._note(GroupBegun(message))
            return
        message += (
            f" The outcomes topic has {outcomes} records already. If outcomes were written for "
            "these records before, the group's offsets expired (offsets.retention.minutes of the "
            "broker) or were deleted; see docs/operations.md, Positions of the consumer group."
        )
        self._note(GroupBegunAgain(message))

    async def _outcomes(self, consumer: AIOKafkaConsumer, identity: Identity) -> int:
        """Return the number of records in the outcomes topic, or 0 if the broker refuses."""
        topic_partitions = identity.partitions.get(self._kafka.outcomes_topic, ())
        with contextlib.suppress(KafkaError):
            logs = await logs_of(consumer, list(topic_partitions))
            return sum(log.last - log.first for log in logs.values())
        return 0

    def _resume(
        self,
        identity: Identity,
        committed: Mapping[TopicPartition, OffsetAndMetadata],
        logs: Mapping[TopicPartition, Log],
    ) -> dict[TopicPartition, Start]:
        """Return where partitions with a position begin, by their logs and offset maps."""
        starts: dict[TopicPartition, Start] = {}
        undecided: dict[TopicPartition, float] = {}
        now = time.monotonic()
        for topic_partition, found in committed.items():
            known, log = Committed(found.offset, found.metadata), logs[topic_partition]
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
        if undecided:
            self._read_again_in(min(undecided.values()) + REREAD_SECONDS - now)
        return starts

    def _read_again_in(self, seconds: float) -> None:
        self._cancel_reread()
        loop = asyncio.get_running_loop()
        self._reread = loop.call_later(seconds, request_rejoin, self._consumer())

    def _cancel_reread(self) -> None:
        if self._reread is not None:
            self._reread.cancel()
            self._reread = None

    def _total(self, consumer: AIOKafkaConsumer) -> int:
        """Return the number of partitions of all events topics."""
        topics = self._kafka.events_topic_names
        return sum(len(consumer.partitions_for_topic(topic) or ()) for topic in topics)


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
