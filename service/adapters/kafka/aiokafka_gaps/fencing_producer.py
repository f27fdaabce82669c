"""A transactional producer whose transactions the group's generation fences (KIP-447).

Stock aiokafka commits offsets in transactions without the group's generation (TxnOffsetCommit v0).
So a paused replica that wakes up could commit over its successor, and outcomes would be lost or
repeated (kafka.md §2). This file adds TxnOffsetCommit v3 with generation, member and instance.

The producer also tells whether a request that ends a transaction may have reached the broker, and
begins the next transaction soon after the broker has ended the one before.

Seams, each guarded by a contract test (docs/upgrading-aiokafka.md):
`Sender._do_txn_offset_commit`, `._do_txn_commit` and `._do_add_partitions_to_txn`,
`._find_coordinator`, `._coordinator_dead` and `._retry_backoff`, `AddPartitionsToTxnHandler`,
`EndTxnHandler`, `TransactionManager._pending_txn_offsets` and `.state`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.producer.sender import (
    AddPartitionsToTxnHandler,
    EndTxnHandler,
    TxnOffsetCommitHandler,
)
from aiokafka.producer.transaction_manager import TransactionState
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Int16, Int32, Int64, Schema
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps import abandoning
from service.adapters.kafka.aiokafka_gaps.group_membership import (
    FENCED_INSTANCE_ID,
    GroupMetadata,
    InstanceFencedError,
)
from service.adapters.kafka.aiokafka_gaps.requests import COMMITTED, NO_ERROR, TAGS, TEXT, by_topic
from service.core.inputs import CommitRefusal

UNFINISHED_ENDS = frozenset({14, 15, 16, 51})
"""Codes of a coordinator that loads, has moved or is still ending a transaction: retried."""
REFUSED_ENDS = frozenset({47, 48, 49, 53, 90})
"""Codes of checks before a transaction is ended: epoch, state, producer id, permission, fencing."""
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
        by_topic("topics", "partitions", *COMMITTED),
        TAGS,
    )


class _TxnOffsetCommit(Request[_TxnOffsetCommitRequest3]):  # type: ignore[misc]
    API_KEY = 28

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._fields, {})
