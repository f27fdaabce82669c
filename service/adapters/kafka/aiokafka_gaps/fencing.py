"""Fence transactions by the group's generation (KIP-447), which aiokafka 0.14 does not do.

Stock aiokafka commits offsets in transactions without the group's generation
(TxnOffsetCommit v0) and reads committed offsets that a transaction may still change. Both lose
outcomes, or repeat them, when a paused replica wakes up (kafka.md §2). This file adds
TxnOffsetCommit v3 with generation, member and instance, OffsetFetch v7 with `require_stable`, and
Heartbeat v3 with the instance of a static member. It reports the send time of joins and heartbeats
that the coordinator acknowledged, for the lease.

The producer also tells whether a request that ends a transaction may have reached the broker, and
begins the next transaction soon after the broker has ended the one before.

Seams, each guarded by a contract test (docs/upgrading-aiokafka.md):
`Sender._do_txn_offset_commit`, `._do_txn_commit` and `._do_add_partitions_to_txn`,
`._find_coordinator`, `._coordinator_dead` and `._retry_backoff`, `AddPartitionsToTxnHandler`,
`EndTxnHandler`,
`TransactionManager._pending_txn_offsets` and `.state`,
`AIOKafkaConsumer._coordinator`, `GroupCoordinator.generation / member_id / _group_instance_id /
_send_req / _start_heartbeat_task / request_rejoin / _rejoin_needed_fut / _closing`.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code
from aiokafka.producer.sender import (
    AddPartitionsToTxnHandler,
    EndTxnHandler,
    TxnOffsetCommitHandler,
)
from aiokafka.producer.transaction_manager import TransactionState
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
)
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps import abandoning
from service.adapters.kafka.aiokafka_gaps.requests import TAGS, TEXT, by_topic, structs
from service.core.inputs import CommitRefusal

NO_ERROR = 0
REBALANCE_IN_PROGRESS = 27
FENCED_INSTANCE_ID = 82
UNSTABLE_OFFSET_COMMIT = 88
UNFINISHED_ENDS = frozenset({14, 15, 16, 51})
"""Codes of a coordinator that loads, has moved or is still ending a transaction: retried."""
REFUSED_ENDS = frozenset({47, 48, 49, 53, 90})
"""Codes of checks before a transaction is ended: epoch, state, producer id, permission, fencing."""
STABLE_BACKOFF_SECONDS = 0.1
ENDING_BACKOFF_SECONDS_MIN = 0.002
"""The first pause while the broker still writes the markers of the transaction before: a few ms."""

REFUSALS = {
    12: CommitRefusal.METADATA_TOO_LARGE,
    22: CommitRefusal.FENCED,  # ILLEGAL_GENERATION
    25: CommitRefusal.FENCED,  # UNKNOWN_MEMBER_ID
    27: CommitRefusal.REBALANCE_IN_PROGRESS,
}
"""Codes of refused offsets after which the transaction is aborted and the producer stays usable."""


class OffsetsRefusedError(Exception):
    """The coordinator refused the offsets: abort the transaction; the producer stays usable."""

    def __init__(self, refusal: CommitRefusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


class GroupMovedOnError(Exception):
    """The group rebalances, or the consumer is being closed: the assignment is over."""


class InstanceFencedError(KafkaError):  # type: ignore[misc]
    """Another process uses the same group.instance.id."""


class GroupMetadata(NamedTuple):
    """The membership of this replica in the group, during one assignment.

    It is read when partitions are assigned and then kept. A member that the group has removed
    resets itself to (-1, ""), which the broker takes for "no group" and does not fence.
    """

    group_id: str
    generation: int
    member_id: str
    instance_id: str | None


def group_metadata(consumer: AIOKafkaConsumer) -> GroupMetadata:
    """Return the current membership of the consumer."""
    group = consumer._coordinator
    return GroupMetadata(
        group.group_id, group.generation, group.member_id, group._group_instance_id
    )


def request_rejoin(consumer: AIOKafkaConsumer) -> None:
    """Make the consumer go through revocation and assignment once more."""
    consumer._coordinator.request_rejoin()


def has_moved_on(consumer: AIOKafkaConsumer) -> bool:
    """Whether the assignment is over, because the consumer has to join again or is being closed."""
    group = consumer._coordinator
    return bool(group._rejoin_needed_fut.done() or group._closing.done())


def keep_heartbeat(consumer: AIOKafkaConsumer) -> None:
    """Start heartbeats while partitions are being assigned, which aiokafka does only afterwards."""
    consumer._coordinator._start_heartbeat_task()


def watch_membership(
    consumer: AIOKafkaConsumer,
    acknowledged: Callable[[float], None],
    fenced: Callable[[InstanceFencedError], None],
    led: Callable[[int], None] = lambda _members: None,
) -> None:
    """Report acknowledgements, fencing and leadership, as the coordinator's answers show them.

    Stock heartbeats do not contain the group.instance.id. So two processes with the same id would
    replace each other for ever; heartbeats with the id make the coordinator fence one of them.

    Args:
        consumer: the consumer whose requests are watched.
        acknowledged: called with the send time (monotonic) of each join and heartbeat that was
            acknowledged. The time of the answer proves nothing, as an answer may be read late.
        fenced: called if another process has taken the group.instance.id.
        led: called with the number of members, if this member leads the group.
    """
    group = consumer._coordinator
    stock = group._send_req
    if getattr(stock, "is_watched", False):
        return

    async def send(request: Any) -> Any:
        sent_at = time.monotonic()
        is_heartbeat = isinstance(request, HeartbeatRequest)
        if is_heartbeat and group._group_instance_id is not None:
            request = _Heartbeat(group_metadata(consumer))
        response = await stock(request)
        if getattr(response, "error_code", NO_ERROR) == FENCED_INSTANCE_ID:
            error = InstanceFencedError("another process uses the same group.instance.id")
            fenced(error)
            raise error
        if is_heartbeat:
            if response.error_code in {NO_ERROR, REBALANCE_IN_PROGRESS}:
                acknowledged(sent_at)
        elif isinstance(request, JoinGroupRequest) and response.error_code == NO_ERROR:
            acknowledged(sent_at)
            if response.members:
                led(len(response.members))
        return response

    send.is_watched = True  # type: ignore[attr-defined]
    group._send_req = send


async def stable_committed(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return committed positions with metadata, once no transaction can change them any more.

    A partition without a committed position has no entry.

    Raises:
        GroupMovedOnError: the group rebalances meanwhile, so the positions would be outdated.
        KafkaError: the coordinator refuses to answer.
    """
    by_topic: dict[str, list[int]] = defaultdict(list)
    for partition in partitions:
        by_topic[partition.topic].append(partition.partition)
    while True:
        committed = _read_committed(await _fetch_positions(consumer, list(by_topic.items())))
        if committed is not None:
            return committed
        await asyncio.sleep(STABLE_BACKOFF_SECONDS)


async def has_positions(consumer: AIOKafkaConsumer) -> bool:
    """Whether the group has a committed position of any partition of any topic.

    Positions in a transaction that is still open do not count.

    Raises:
        GroupMovedOnError: the group rebalances meanwhile, so the answer would be outdated.
        KafkaError: the coordinator refuses to answer.
    """
    while True:
        response = await _fetch_positions(consumer, None, is_stable=False)
        if _is_answer(response.error_code):
            return any(
                offset >= 0
                for _, topic_partitions, _ in response.topics
                for _, offset, *_ in topic_partitions
            )
        await asyncio.sleep(STABLE_BACKOFF_SECONDS)


async def _fetch_positions(
    consumer: AIOKafkaConsumer,
    topics: list[tuple[str, list[int]]] | None,
    *,
    is_stable: bool = True,
) -> Any:
    """Return the coordinator's answer, as soon as it can be reached; None asks for all topics."""
    group = consumer._coordinator
    while True:
        if has_moved_on(consumer):
            raise GroupMovedOnError
        await group.ensure_coordinator_known()
        try:
            return await group._send_req(_OffsetFetch(group.group_id, topics, is_stable=is_stable))
        except KafkaError as error:
            if not error.retriable:
                raise
            await asyncio.sleep(STABLE_BACKOFF_SECONDS)


def _read_committed(
    response: Any,
) -> dict[TopicPartition, OffsetAndMetadata] | None:
    """Return the positions, or None if a transaction may still change one of them."""
    committed: dict[TopicPartition, OffsetAndMetadata] = {}
    codes = {response.error_code}
    for topic, topic_partitions, _ in response.topics:
        for number, offset, _epoch, metadata, code, _tags in topic_partitions:
            codes.add(code)
            if offset >= 0:
                topic_partition = TopicPartition(topic, number)
                committed[topic_partition] = OffsetAndMetadata(offset, metadata or "")
    are_answers = [_is_answer(code) for code in codes - {UNSTABLE_OFFSET_COMMIT}]
    return committed if all(are_answers) and UNSTABLE_OFFSET_COMMIT not in codes else None


def _is_answer(code: int) -> bool:
    """Whether the code is of an answer, rather than of an error that is retried.

    Raises:
        KafkaError: a retry is useless.
    """
    if code == NO_ERROR:
        return True
    error = for_code(code)()
    if not error.retriable or isinstance(error, UnknownTopicOrPartitionError):
        raise error
    return False


class FencingProducer(AIOKafkaProducer):  # type: ignore[misc]
    """A transactional producer whose offsets carry the group's generation."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._group: GroupMetadata | None = None
        sender = self._sender

        async def commit_offsets(
            offsets: Mapping[TopicPartition, OffsetAndMetadata], group_id: str
        ) -> None:
            assert self._group is not None
            node = await sender._find_coordinator(CoordinationType.GROUP, group_id)
            await _TxnOffsetCommitHandler(sender, offsets, self._group).do(node)

        sender._do_txn_offset_commit = commit_offsets
        self.unanswered_ends = 0
        """Requests to end the open transaction whose result is not known yet."""
        sender._do_txn_commit = self._end_transaction
        self.ending_backoff = ENDING_BACKOFF_SECONDS_MIN
        """The next pause before partitions are added again, in seconds."""
        sender._do_add_partitions_to_txn = self._add_partitions

    async def _add_partitions(self, partitions: Iterable[TopicPartition]) -> None:
        node = await self._sender._find_coordinator(
            CoordinationType.TRANSACTION, self._txn_manager.transactional_id
        )
        await _AddPartitionsToTxnHandler(self, partitions).do(node)

    async def _end_transaction(self, result: Any) -> None:
        """End the transaction as aiokafka does, but count the requests and their answers."""
        sender, transaction = self._sender, self._txn_manager
        await sender._message_accumulator.flush_for_commit()
        if transaction.is_empty_transaction():
            transaction.complete_transaction()
            return
        node = await sender._find_coordinator(
            CoordinationType.TRANSACTION, transaction.transactional_id
        )
        if not await self.client.ready(node, group=EndTxnHandler.group):
            # The stock handler would connect again, and then send a request that is not counted.
            sender._coordinator_dead(CoordinationType.TRANSACTION)
            await asyncio.sleep(sender._retry_backoff)
            return  # the sender calls this method again
        self.unanswered_ends += 1
        await _EndTxnHandler(self, result).do(node)

    async def begin_transaction(self) -> None:
        """Begin a transaction, and reset the count of unanswered requests and the backoff."""
        self.unanswered_ends = 0
        self.ending_backoff = ENDING_BACKOFF_SECONDS_MIN
        await super().begin_transaction()

    async def abandon(self) -> None:
        """Close without waiting for the broker."""
        await abandoning.abandon(self)

    async def send_offsets(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group: GroupMetadata
    ) -> None:
        """Add positions to the open transaction.

        Raises:
            OffsetsRefusedError: the coordinator refused them; abort the transaction.
            InstanceFencedError: another process uses the same group.instance.id; end.
        """
        self._group = group
        await self.send_offsets_to_transaction(dict(offsets), group.group_id)

    @property
    def is_usable(self) -> bool:
        """Whether aiokafka is not in an error state, after which its abort cannot be trusted.

        After an abortable error, the abort of aiokafka 0.14 sends no EndTxn. So the next commit
        publishes the records that were "aborted" (kafka.md §2).
        """
        return self._txn_manager.state not in {
            TransactionState.ABORTABLE_ERROR,
            TransactionState.FATAL_ERROR,
        }


class _AddPartitionsToTxnHandler(AddPartitionsToTxnHandler):  # type: ignore[misc]
    """Asks again soon, because the broker still ends the transaction before for a few ms.

    Stock aiokafka pauses for 20 ms, during which no outcome is written. Here the pauses double up
    to that, so that a broker that is out of order is not asked without end.
    """

    def __init__(self, producer: FencingProducer, partitions: Iterable[TopicPartition]) -> None:
        super().__init__(producer._sender, partitions)
        self._producer = producer

    def handle_response(self, response: Any) -> float | None:
        stock_backoff: float | None = super().handle_response(response)
        if stock_backoff is None:
            return None
        backoff = min(self._producer.ending_backoff, stock_backoff)
        self._producer.ending_backoff = 2 * backoff
        return backoff


class _EndTxnHandler(EndTxnHandler):  # type: ignore[misc]
    """Tells the producer that its request to end the transaction was answered.

    An answer with another code than these leaves the result unknown: the broker may have logged the
    end before it failed unexpectedly, or before an append timed out.
    """

    def __init__(self, producer: FencingProducer, result: Any) -> None:
        super().__init__(producer._sender, result)
        self._producer = producer

    def handle_response(self, response: Any) -> Any:
        if response.error_code in {NO_ERROR, *UNFINISHED_ENDS, *REFUSED_ENDS}:
            self._producer.unanswered_ends -= 1
        return super().handle_response(response)


class _TxnOffsetCommitHandler(TxnOffsetCommitHandler):  # type: ignore[misc]
    def __init__(self, sender: Any, offsets: Any, group: GroupMetadata) -> None:
        super().__init__(sender, offsets, group.group_id)
        self._group = group

    def create_request(self) -> Any:
        transaction = self._sender._txn_manager
        topics: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for topic_partition, offset in sorted(self._offsets.items()):
            topics[topic_partition.topic].append(
                (topic_partition.partition, offset.offset, -1, offset.metadata, {})
            )
        return _TxnOffsetCommit(
            transaction.transactional_id,
            self._group.group_id,
            transaction.producer_id,
            transaction.producer_epoch,
            self._group.generation,
            self._group.member_id,
            self._group.instance_id,
            [(topic, topic_partitions, {}) for topic, topic_partitions in topics.items()],
        )

    def handle_response(self, response: Any) -> Any:
        plain = [
            (topic, [(number, code) for number, code, _ in topic_partitions])
            for topic, topic_partitions, _ in response.errors
        ]
        codes = {code for _, topic_partitions in plain for _, code in topic_partitions}
        error: Exception | None = None
        if FENCED_INSTANCE_ID in codes:
            error = InstanceFencedError()
        for code, refusal in REFUSALS.items():
            if code in codes and error is None:
                error = OffsetsRefusedError(refusal)
        if error is not None:
            # error_transaction() is not called: in aiokafka 0.14 it forgets which partitions were
            # added, and abort_transaction() then sends no EndTxn.
            _, _, future = self._sender._txn_manager._pending_txn_offsets.popleft()
            if not future.done():
                future.set_exception(error)
            return None
        return super().handle_response(SimpleNamespace(errors=plain))


# --- three requests that aiokafka 0.14 lacks ---------------------------------------------------


_COMMITTED = (
    ("partition", Int32),
    ("offset", Int64),
    ("leader_epoch", Int32),
    ("metadata", TEXT),
)
"""The fields of a committed position in both protocols."""


class _TxnOffsetCommitResponse3(Response):  # type: ignore[misc]
    API_KEY = 28
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        by_topic("errors", "partition_errors", ("partition", Int32), ("error_code", Int16)),
        TAGS,
    )


class _TxnOffsetCommitRequest3(RequestStruct):  # type: ignore[misc]
    API_KEY = 28
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _TxnOffsetCommitResponse3
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("group_id", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", TEXT),
        ("group_instance_id", TEXT),
        by_topic("topics", "partitions", *_COMMITTED),
        TAGS,
    )


class _TxnOffsetCommit(Request[_TxnOffsetCommitRequest3]):  # type: ignore[misc]
    API_KEY = 28

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._fields, {})


class _OffsetFetchResponse7(Response):  # type: ignore[misc]
    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        by_topic("topics", "partitions", *_COMMITTED, ("error_code", Int16)),
        ("error_code", Int16),
        TAGS,
    )


class _OffsetFetchRequest7(RequestStruct):  # type: ignore[misc]
    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _OffsetFetchResponse7
    SCHEMA = Schema(
        ("group_id", TEXT),
        ("topics", structs(("topic", TEXT), ("partitions", CompactArray(Int32)))),
        ("require_stable", Boolean),
        TAGS,
    )


class _OffsetFetch(Request[_OffsetFetchRequest7]):  # type: ignore[misc]
    API_KEY = 9

    def __init__(
        self, group_id: str, topics: list[tuple[str, list[int]]] | None, *, is_stable: bool
    ) -> None:
        self._group_id = group_id
        self._topics = topics
        self._is_stable = is_stable

    def build(self, request_struct_class: Any) -> Any:
        topics: list[Any] | None = None
        if self._topics is not None:
            topics = [(topic, numbers, {}) for topic, numbers in self._topics]
        return request_struct_class(self._group_id, topics, self._is_stable, {})


class _HeartbeatResponse3(Response):  # type: ignore[misc]
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class _HeartbeatRequest3(RequestStruct):  # type: ignore[misc]
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponse3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _Heartbeat(Request[_HeartbeatRequest3]):  # type: ignore[misc]
    API_KEY = 12

    def __init__(self, group: GroupMetadata) -> None:
        self._group = group

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._group)
