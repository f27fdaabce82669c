"""Begin and end assignments of partitions, and report the lease (architecture.md D8)."""

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Iterable

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, OffsetMetadataTooLargeError

from service.adapters.kafka.aiokafka_gaps.fencing_producer import OffsetsRefusedError
from service.adapters.kafka.aiokafka_gaps.group_membership import (
    GroupMovedOnError,
    InstanceFencedError,
    group_metadata,
    keep_heartbeat,
    request_rejoin,
    watch_membership,
)
from service.adapters.kafka.errors import can_wait, describe
from service.adapters.kafka.options import RETRY_SECONDS
from service.adapters.kafka.start_positions import StartPositions, Starts, until_readable
from service.adapters.kafka.subscription import Subscription
from service.adapters.kafka.transaction import TransactionLog
from service.core.facts import Fact, GroupTooLarge
from service.core.inputs import (
    Assigned,
    CommitRefusal,
    DrainKind,
    Forgotten,
    LeaseRenewed,
)
from service.core.model import Partition
from service.ports import FatalError, Inbox, clock_seconds

LEASE_MARGIN_SECONDS = 1.0
"""The lease ends this long before the session, so that no call outlives the assignment."""


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """The group's listener: drains on revocation, reads start positions on assignment."""

    def __init__(
        self,
        subscription: Subscription,
        log: TransactionLog,
        inbox: Inbox,
        note: Callable[[Fact], None],
        fail: Callable[[BaseException], None],
        consumer: Callable[[], AIOKafkaConsumer],
    ) -> None:
        self._kafka = subscription.kafka
        self._drain_seconds = subscription.drain_seconds
        self._log = log
        self._inbox = inbox
        self._note = note
        self._fail = fail
        self._consumer = consumer
        """Returns the consumer of the group, which exists before it first joins."""
        self._replicas_max = subscription.replicas_max
        self._start_positions = StartPositions(subscription.kafka, log, note)
        self._epoch = 0
        self._is_leaving = False
        self.epoch: int | None = None
        """The epoch of the current assignment; None between two assignments."""
        self.polls_since: float | None = None
        """Since when the consumer should poll (monotonic); None while it cannot.

        aiokafka holds a poll back from before the drain of a revocation until the group has given
        out partitions again, for as long as that takes.
        """
        self.partitions: frozenset[Partition] = frozenset()
        self.lease_renewed_at = clock_seconds()
        self.unreadable: frozenset[TopicPartition] = frozenset()
        """Assigned partitions that are not read, because their leaders do not answer."""
        self._reread: asyncio.Task[None] | None = None

    async def on_partitions_revoked(
        self,
        revoked: Iterable[TopicPartition],  # noqa: ARG002 - an eager rebalance revokes all
    ) -> None:
        """Finish the calls in flight, write the last transaction, and end the assignment."""
        self.polls_since = None
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
        self.epoch = self.polls_since = None
        self.partitions, self.unreadable = frozenset(), frozenset()
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
        if self._replicas_max is not None and working > self._replicas_max:
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
        group = self._log.group = group_metadata(consumer)
        self._cancel_reread()
        read = await self._start_positions.read(consumer, group, topic_partitions)
        starts = read.starts
        # A partition without a start position is not fetched until its position is read again.
        if undecided := set(topic_partitions) - starts.keys():
            consumer.pause(*undecided)
            for topic_partition in read.unreadable:
                consumer.seek(topic_partition, 0)  # aiokafka would look for a position in a loop
            self._reread = asyncio.create_task(self._read_again(read))
        for topic_partition, start in starts.items():
            consumer.seek(topic_partition, start.position)
        self._epoch += 1
        partitions = {Partition(p.topic, p.partition): start for p, start in starts.items()}
        self.epoch = self._epoch
        self.polls_since = time.monotonic()
        self.partitions, self.unreadable = frozenset(partitions), read.unreadable
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
        if not can_wait(error):
            text = describe(error, self._kafka)
            self._fail(FatalError(f"The committed offsets of the group cannot be read: {text}"))
            return
        await asyncio.sleep(RETRY_SECONDS)
        request_rejoin(self._consumer())

    async def _read_again(self, read: Starts) -> None:
        """Join again when the other positions are due, or when a leader answers that did not."""
        consumer = self._consumer()
        try:
            with contextlib.suppress(TimeoutError, KafkaError):  # which the next reading reports
                async with asyncio.timeout(read.reread_seconds):
                    await until_readable(consumer, read.unreadable)
            request_rejoin(consumer)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task
            self._fail(error)

    def _cancel_reread(self) -> None:
        if self._reread is not None:
            self._reread.cancel()
            self._reread = None

    def _total(self, consumer: AIOKafkaConsumer) -> int:
        """Return the number of partitions of all topics of the group."""
        topics = self._kafka.events_topic_names
        return sum(len(consumer.partitions_for_topic(topic) or ()) for topic in topics)
