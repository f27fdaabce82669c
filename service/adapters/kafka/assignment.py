"""Where an assignment begins, and how it ends (architecture.md D3, D8).

Rule 1: positions are read only when no transaction can change them any more.
Rule 2: no position is lost silently: what the broker no longer has is said.
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

SECOND_LOOK_SECONDS = 10.0
RETRY_SECONDS = 1.0
"""After a broker that did not answer, before the group is joined anew."""
LEASE_MARGIN_SECONDS = 1.0


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Follows the group: revocation drains, assignment reads where to begin."""

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
        """Returns the consumer whose group is followed; it exists before its first join."""
        self._replicas_max = settings.pim.max_concurrency
        """More replicas exceed the limit of concurrent calls: each makes at least one."""
        self._epoch = 0
        self._above_end: dict[TopicPartition, float] = {}
        """Since when a position, or its map, is seen above the end of its partition."""
        self._begun: set[TopicPartition] = set()
        """Every partition that this process had a position of."""
        self._is_leaving = False
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
            self._cancel_second_look()
            if self.epoch is not None:
                await self._inbox.drain(DrainKind.REVOCATION, self._drain_seconds)
                self._end()
        except Exception as error:  # noqa: BLE001 - aiokafka would only log it
            self._fail(error)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Read where each partition begins, and hand the assignment over."""
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
        """The process ends: nothing that is assigned from now on is begun."""
        self._is_leaving = True
        self._cancel_second_look()

    def owns(self, topic_partition: TopicPartition) -> bool:
        """Whether the partition was handed over; before, its beginning is still looked for."""
        return Partition(topic_partition.topic, topic_partition.partition) in self.partitions

    def rejoin(self) -> None:
        """The group fenced us: go through revocation and assignment once more."""
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
        """Only the leader of a group learns how many members it has."""
        working = min(members, self._total(self._consumer()))
        if working > self._replicas_max:
            message = (
                f"{working} replicas own partitions, and each makes at least one call at once: "
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
        self._cancel_second_look()
        starts = await self._starts(consumer, topic_partitions)
        if in_doubt := set(topic_partitions) - starts.keys():
            consumer.pause(*in_doubt)
        for topic_partition, start in starts.items():
            consumer.seek(topic_partition, start.position)
        self._epoch += 1
        partitions = {Partition(p.topic, p.partition): start for p, start in starts.items()}
        self.epoch = self._epoch
        self.partitions = frozenset(partitions)
        total = max(self._total(consumer), len(partitions), 1)
        self._inbox.submit(Assigned(self._epoch, partitions, total))
        # What was fetched for the last assignment stands in cycles of aiokafka's, by the megabyte.
        gc.collect()

    def _begin_refused(self, refusal: CommitRefusal) -> None:
        """Join anew where the group moved on; a broker that takes no offset map ends us."""
        if refusal is not CommitRefusal.METADATA_TOO_LARGE:
            request_rejoin(self._consumer())
            return
        words = describe(OffsetMetadataTooLargeError(), self._kafka)
        self._fail(FatalError(f"The positions of the group cannot be written: {words}"))

    async def _begin_later(self, error: KafkaError | TimeoutError) -> None:
        """A broker that does not answer is waited for; what only a person can mend ends us."""
        can_wait = isinstance(error, TimeoutError | KafkaTimeoutError) or error.retriable
        if not can_wait:
            words = describe(error, self._kafka)
            self._fail(FatalError(f"The positions of the group cannot be read: {words}"))
            return
        await asyncio.sleep(RETRY_SECONDS)
        request_rejoin(self._consumer())

    async def _starts(
        self, consumer: AIOKafkaConsumer, topic_partitions: list[TopicPartition]
    ) -> dict[TopicPartition, Start]:
        """Where each partition begins; those that are in doubt are left out.

        Raises:
            GroupMovedOnError: the assignment is void.
            OffsetsRefusedError: likewise.
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
        starts |= self._go_on(identity, committed, logs)
        self._begun |= starts.keys()
        return starts

    async def _begin_group(self, consumer: AIOKafkaConsumer, identity: Identity) -> None:
        """Where the group has no position at all: give it one in each partition."""
        group = self._log.group  # of the assignment: a heartbeat may have reset the consumer's
        assert group is not None, "set when the assignment began"
        begun = await begin_group(consumer, self._kafka, group, identity)
        if begun is not None:
            outcomes = await self._outcomes(consumer, identity)
            self._say_begun(_of_group(self._kafka, begun), outcomes)

    async def _begin_new(
        self, consumer: AIOKafkaConsumer, identity: Identity, logs: Mapping[TopicPartition, Log]
    ) -> dict[TopicPartition, Start]:
        """Partitions without a position, in a group that has some: at their earliest record."""
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
        message = _of_partitions(self._kafka, logs)
        if self._begun & logs.keys():
            self._note(PositionLost(message))
        else:
            self._say_begun(message, await self._outcomes(consumer, identity))
        return starts

    def _say_begun(self, message: str, outcomes: int) -> None:
        """Once, by whoever committed it."""
        if not outcomes:
            self._note(GroupBegun(message))
            return
        message += (
            f" The outcomes topic holds {outcomes} records already. If these records were "
            "completed before, their positions expired (offsets.retention.minutes of the broker) "
            "or were deleted; see docs/operations.md, Positions of the consumer group."
        )
        self._note(GroupBegunAgain(message))

    async def _outcomes(self, consumer: AIOKafkaConsumer, identity: Identity) -> int:
        """How many records the outcomes topic holds; 0 where the broker does not tell."""
        topic_partitions = identity.partitions.get(self._kafka.outcomes_topic, ())
        with contextlib.suppress(KafkaError):
            logs = await logs_of(consumer, list(topic_partitions))
            return sum(log.last - log.first for log in logs.values())
        return 0

    def _go_on(
        self,
        identity: Identity,
        committed: Mapping[TopicPartition, OffsetAndMetadata],
        logs: Mapping[TopicPartition, Log],
    ) -> dict[TopicPartition, Start]:
        """Partitions with a position: what the broker and the offset map say of it."""
        starts: dict[TopicPartition, Start] = {}
        in_doubt: dict[TopicPartition, float] = {}
        now = time.monotonic()
        for topic_partition, found in committed.items():
            known, log = Committed(found.offset, found.metadata), logs[topic_partition]
            binding = identity.binding(self._kafka.group_id, topic_partition)
            if is_above_end(known, log, binding):
                seen_at = self._above_end.get(topic_partition, now)
                if now - seen_at < SECOND_LOOK_SECONDS:
                    in_doubt[topic_partition] = seen_at
                    continue
            decision = decide_start(topic_partition, known, log, binding)
            if decision.fact is not None:
                self._note(decision.fact)
            starts[topic_partition] = decision.start
        self._above_end = in_doubt
        if in_doubt:
            self._look_again(min(in_doubt.values()) + SECOND_LOOK_SECONDS - now)
        return starts

    def _look_again(self, seconds: float) -> None:
        self._cancel_second_look()
        loop = asyncio.get_running_loop()
        self._second_look = loop.call_later(seconds, request_rejoin, self._consumer())

    def _cancel_second_look(self) -> None:
        if self._second_look is not None:
            self._second_look.cancel()
            self._second_look = None

    def _total(self, consumer: AIOKafkaConsumer) -> int:
        """Partitions of all events topics: what shares are counted by."""
        topics = self._kafka.events_topic_names
        return sum(len(consumer.partitions_for_topic(topic) or ()) for topic in topics)


def _of_group(kafka: KafkaSettings, begun: Beginning) -> str:
    """Where a group without a position begins."""
    where = (
        f"The group {kafka.group_id} has no position: the {begun.partitions} partitions of "
        f"{', '.join(kafka.events_topic_names)} begin at their"
    )
    if kafka.start_from == "earliest":
        what = f"earliest record, and {begun.records} records are read"
    else:
        what = f"end, and the {begun.records} records before it are not read"
    return f"{where} {what} (ASSET_SYNC_KAFKA__START_FROM={kafka.start_from})."


def _of_partitions(kafka: KafkaSettings, logs: Mapping[TopicPartition, Log]) -> str:
    """Where partitions begin that have no position, in a group that has some."""
    listed = ", ".join(
        f"{topic_partition.topic}/{topic_partition.partition} at {log.first} "
        f"({log.last - log.first} records)"
        for topic_partition, log in sorted(logs.items())
    )
    return (
        f"The group {kafka.group_id} has positions, but none of these partitions (added, created "
        f"again, or expired); they begin at their earliest record: {listed}."
    )
