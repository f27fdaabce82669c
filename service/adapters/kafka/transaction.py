"""`OutcomeLog` on Kafka: outcomes, dead letters, changes and positions in one transaction.

Source: architecture.md D3, D4.

Rule 1: after a refusal of the offsets (`OffsetsRefusedError`), and only then, the transaction is
aborted and the same producer is used again.
Rule 2: a transaction that fails in another way before its commit was sent cannot have been
committed. A new producer takes its transactional id, which makes the broker abort what the old
producer left open, and the transaction is retried, unless the error is final or comes back. If
Kafka can be reached but takes too long, it is refused, so that a smaller one takes its place.
Rule 3: once the commit was sent, its answer is awaited for as long as Kafka is unreachable. If no
answer tells whether it was committed, the process ends: only a restart can read the positions.
Rule 4: a transaction belongs to the assignment in which its outcomes were completed. It is not
written after that assignment has ended.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps.fencing_producer import (
    FencingProducer,
    OffsetsRefusedError,
)
from service.adapters.kafka.aiokafka_gaps.group_membership import GroupMetadata, InstanceFencedError
from service.adapters.kafka.batches import Batch, fill, partition_by_key, send
from service.adapters.kafka.errors import describe, is_final
from service.adapters.kafka.options import (
    REQUEST_TIMEOUT_MS,
    RETRY_SECONDS,
    START_SECONDS_MAX,
    TRANSACTION_TIMEOUT_MS,
    producing,
)
from service.adapters.kafka.outgoing import Outgoing, TopicRecords, outgoing
from service.adapters.kafka.reach import connection_error
from service.core.facts import DeadLettersTruncated, Fact, TransactionRetried
from service.core.inputs import ChangesRefused, CommitRefusal, Refusal
from service.core.model import Partition
from service.core.records import LogRecord, PositionCommit, Transaction
from service.core.settle import offset_map
from service.ports import FatalError
from service.settings import KafkaSettings, SettingsError

ANSWER_SECONDS_MAX = 15.0
"""How long a transaction may take until its commit is sent, and how long the commit may take."""
SECONDS_MAX = TRANSACTION_TIMEOUT_MS / 1000
"""Whatever ends a transaction after this time, its size is the reason: the broker aborts it then,
and answers whatever comes later as if another producer had fenced this one."""
ATTEMPTS_MAX = 5
"""How often a transaction is tried that Kafka answers with an error, before the process ends."""
PAUSE_SECONDS = 0.2
"""The pause before a transaction is tried again: an error may come back at once."""
BATCH_BYTES = 256 * 1024


class _TooLargeError(Exception):
    """The broker refused records as too large, alone or as a batch: those of each topic."""

    def __init__(self, refused: list[list[LogRecord]]) -> None:
        super().__init__("too large")
        self.refused = refused


class _NotCommittedError(Exception):
    """The transaction failed and nothing of it can be committed: it may be retried."""

    def __init__(self, why: str, *, is_answer: bool) -> None:
        super().__init__(why)
        self.is_answer = is_answer
        """Whether Kafka answered with an error, rather than not at all."""


class TransactionLog:
    """Writes through one transactional producer. `group` is set while partitions are assigned."""

    def __init__(
        self,
        kafka: KafkaSettings,
        note: Callable[[Fact], None] = lambda _: None,
        changes_topic: str = "",
    ) -> None:
        """Make a log that is not started yet; only a translation has a topic for changes."""
        self._kafka = kafka
        self._note = note
        self._changes_topic = changes_topic
        suffix = kafka.group_instance_id or uuid.uuid4().hex
        self._transactional_id = f"{kafka.group_id}.{suffix}"
        self._producer: FencingProducer | None = None
        self._is_spent = False
        """Whether a transaction failed or was abandoned: then the producer is not used again."""
        self._writing = asyncio.Lock()
        self.group: GroupMetadata | None = None
        self.is_commit_unresolved = False
        """Whether a commit is in progress, or ended without an answer that tells its result."""

    async def start(self) -> None:
        """Connect, and abort what a predecessor with the same transactional id left open.

        Raises:
            FatalError: the broker refuses the transactional id, or does not answer in time.
        """
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                await self._open(deadline - time.monotonic())
            except _NotCommittedError as failure:
                if time.monotonic() >= deadline:
                    raise FatalError(str(failure)) from None
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def stop(self) -> None:
        """Close; the broker aborts an open transaction at its timeout."""
        if self._producer is not None:
            await self._producer.abandon()

    async def write(self, transaction: Transaction) -> Refusal | None:
        """Write all of the transaction or nothing; wait while Kafka is unreachable.

        A batch that is refused as too large is sent again record by record, and a record that is
        refused alone is sent again without a part of it, unless it is a change.

        Raises:
            FatalError: it is unknown whether the transaction was written, or no transaction can be
                written any more.
        """
        records = outgoing(self._kafka, self._changes_topic, transaction)
        refusal = await self._write(records, transaction.positions, self.group)
        if refusal is CommitRefusal.METADATA_TOO_LARGE:
            _require_maps(transaction.positions)
        return refusal

    async def commit_positions(
        self, positions: Mapping[Partition, PositionCommit]
    ) -> CommitRefusal | None:
        """Commit the start positions of partitions, before their first record is read."""
        nothing = outgoing(self._kafka, self._changes_topic, Transaction((), (), positions))
        refusal = await self._write(nothing, positions, self.group)
        assert not isinstance(refusal, ChangesRefused), "there are no changes"
        return refusal

    async def _write(
        self,
        records: Outgoing,
        positions: Mapping[Partition, PositionCommit],
        group: GroupMetadata | None,
    ) -> Refusal | None:
        attempts = 0
        async with self._writing:
            while group is not None and group is self.group:
                if self._is_spent:
                    await self._renew_producer()
                self._is_spent = True
                began = time.monotonic()
                try:
                    refused = await self._attempt(records, positions, group)
                except _TooLargeError as too_large:
                    *_, changes = too_large.refused
                    if changes_refused := records.refused_changes(changes):
                        return changes_refused
                    shorter = records.after(too_large.refused)
                    self._note_truncations(records, shorter)
                    records = shorter
                except _NotCommittedError as failure:
                    seconds = time.monotonic() - began
                    if seconds >= SECONDS_MAX and await self._may_pass_in_parts(records, group):
                        return CommitRefusal.NOT_IN_TIME
                    attempts += failure.is_answer
                    if attempts >= ATTEMPTS_MAX:
                        raise FatalError(
                            f"Outcomes cannot be written to Kafka: {failure}"
                        ) from failure
                    self._note_retry(failure)
                    await asyncio.sleep(PAUSE_SECONDS)
                else:
                    self._is_spent = False
                    return refused
        return CommitRefusal.FENCED

    async def _attempt(
        self,
        records: Outgoing,
        positions: Mapping[Partition, PositionCommit],
        group: GroupMetadata,
    ) -> CommitRefusal | None:
        """Try to write one transaction.

        Raises:
            _TooLargeError: nothing is committed; some records are too large.
            _NotCommittedError: nothing is committed, and the producer must not be used again.
            FatalError: it is unknown whether the transaction was committed, or no transaction can
                be written any more.
        """
        producer = self._producer
        assert producer is not None, "started"
        preparing = self._prepare(producer, records, positions, group)
        try:
            refused = await asyncio.wait_for(preparing, ANSWER_SECONDS_MAX)
        except TimeoutError:
            raise _NotCommittedError(
                f"Kafka did not accept the transaction within {ANSWER_SECONDS_MAX:g} s.",
                is_answer=False,
            ) from None
        except KafkaError as error:
            raise self._failure(error) from error
        if refused is None:
            await self._commit(producer)
        return refused

    async def _may_pass_in_parts(self, records: Outgoing, group: GroupMetadata) -> bool:
        """Return whether Kafka can be reached, so that the size of a transaction may matter."""
        is_wanted = group is self.group and not records.is_empty
        return is_wanted and await connection_error(self._kafka) is None

    async def _prepare(
        self,
        producer: FencingProducer,
        records: Outgoing,
        positions: Mapping[Partition, PositionCommit],
        group: GroupMetadata,
    ) -> CommitRefusal | None:
        """Begin a transaction, and send its records and positions."""
        if producer.is_usable:
            await producer.begin_transaction()
            try:
                await self._send_all(producer, records)
                await producer.send_offsets(_offsets(positions), group)
            except OffsetsRefusedError as refused:
                await producer.abort_transaction()
                return refused.refusal
        if not producer.is_usable:
            raise _NotCommittedError("the producer is in an error state", is_answer=True)
        return None

    async def _commit(self, producer: FencingProducer) -> None:
        """Commit, and wait for the answer for as long as Kafka is unreachable.

        Raises:
            _NotCommittedError: the answer says that nothing is committed.
            FatalError: no answer tells whether the transaction is committed.
        """
        self.is_commit_unresolved = True
        committing = asyncio.create_task(producer.commit_transaction())
        try:
            await self._wait_for_answer(producer, committing)
            committing.result()
        except KafkaError as error:
            if producer.unanswered_ends:
                raise FatalError(
                    "Kafka did not answer whether a commit succeeded "
                    f"({describe(_cause(error), self._kafka)}). "
                    "After a restart, asset-sync reads whether it succeeded."
                ) from error
            self.is_commit_unresolved = False
            raise self._failure(error) from error
        finally:
            committing.cancel()
        self.is_commit_unresolved = False

    async def _wait_for_answer(
        self, producer: FencingProducer, committing: asyncio.Task[None]
    ) -> None:
        """Wait for the end of a commit.

        Raises:
            FatalError: Kafka answers other requests, but not the commit.
        """
        is_reachable = False
        while not (await asyncio.wait({committing}, timeout=ANSWER_SECONDS_MAX))[0]:
            was_reachable = is_reachable
            is_reachable = await connection_error(self._kafka) is None
            if was_reachable and is_reachable and producer.unanswered_ends:
                raise FatalError(
                    f"A commit took more than {ANSWER_SECONDS_MAX:g} s although Kafka can be "
                    "reached. After a restart, asset-sync reads whether it succeeded."
                )

    def _failure(self, error: KafkaError) -> Exception:
        """Return the exception to raise for an error before or instead of a commit."""
        cause = _cause(error)
        text = describe(cause, self._kafka)
        if isinstance(cause, InstanceFencedError):
            return FatalError(text)
        if is_final(cause):
            return FatalError(f"Outcomes cannot be written to Kafka: {text}")
        return _NotCommittedError(text, is_answer=not getattr(cause, "retriable", False))

    async def _send_all(self, producer: FencingProducer, records: Outgoing) -> None:
        """Send every record and wait for it: a commit would not notice a record that is missing."""
        by_topic = [await _batches(producer, one) for one in records.by_topic]
        batches = list(chain.from_iterable(by_topic))
        await send(producer, batches)
        refused = [_too_large(of_topic) for of_topic in by_topic]
        if any(refused):
            raise _TooLargeError(refused)
        errors = [error for batch in batches if (error := batch.sent.exception()) is not None]
        if errors:  # an error that a person can fix explains those that follow from it
            raise next((error for error in errors if is_final(error)), errors[0])

    async def _renew_producer(self) -> None:
        """Replace the producer; the successor aborts what is open and counts records from 0."""
        assert self._producer is not None
        await self._producer.abandon()
        while True:
            try:
                return await self._open(START_SECONDS_MAX)
            except _NotCommittedError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _open(self, seconds_max: float) -> None:
        """Make the producer and get its producer id.

        Raises:
            _NotCommittedError: the broker did not answer, which may change.
            FatalError: the broker refuses the transactional id.
        """
        try:
            producer = FencingProducer(
                **producing(self._kafka),
                transactional_id=self._transactional_id,
                transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                retry_backoff_ms=20,
                max_batch_size=BATCH_BYTES,
            )
        except SettingsError as error:  # a certificate that is being replaced
            raise _NotCommittedError(str(error), is_answer=False) from error
        self._producer = producer
        try:
            await asyncio.wait_for(producer.start(), max(seconds_max, RETRY_SECONDS))
        except TimeoutError:
            await producer.abandon()
            raise _NotCommittedError(
                f"The broker returned no producer id within {START_SECONDS_MAX:g} s. Check that "
                "__transaction_state exists and has enough replicas for its min.insync.replicas.",
                is_answer=False,
            ) from None
        except KafkaError as error:
            await producer.abandon()
            text = (
                f"The broker refuses the transactional id {self._transactional_id}: "
                f"{describe(error, self._kafka)}"
            )
            if is_final(error):
                raise FatalError(text) from error
            raise _NotCommittedError(text, is_answer=False) from error

    def _note_truncations(self, records: Outgoing, shorter: Outgoing) -> None:
        """Report how many dead letters the limit of their topic shortened or dropped."""
        before, after = records.dead.records, shorter.dead.records
        truncated = len(set(map(id, before)) - set(map(id, after)))
        if truncated:
            self._note(DeadLettersTruncated(truncated, len(before) - len(after)))

    def _note_retry(self, failure: _NotCommittedError) -> None:
        self._note(TransactionRetried(str(failure)))


def _require_maps(positions: Mapping[Partition, PositionCommit]) -> None:
    """Raise a FatalError unless a shorter offset map could make the metadata of positions fit.

    Raises:
        FatalError: no position has a map, so the broker would refuse every later commit too.
    """
    if all(offset_map.is_empty(commit.metadata) for commit in positions.values()):
        longest = max(len(commit.metadata) for commit in positions.values())
        raise FatalError(
            f"Kafka refuses {longest} characters of commit metadata, the least that asset-sync "
            "needs. Set offset.metadata.max.bytes of the brokers to 4096, the default of Kafka."
        )


def _cause(error: BaseException) -> BaseException:
    """Return the error behind an unspecific one that aiokafka's sender raised."""
    return error.__cause__ if type(error) is KafkaError and error.__cause__ else error


async def _batches(producer: FencingProducer, of_topic: TopicRecords) -> list[Batch]:
    """Return the records of a topic in batches of its partitions."""
    if not of_topic.records:
        return []
    return fill(
        producer,
        await partition_by_key(producer, of_topic.topic, of_topic.records),
        alone=of_topic.are_alone,
        has_foreign_headers=of_topic.has_foreign_headers,
    )


def _too_large(batches: Iterable[Batch]) -> list[LogRecord]:
    return [record for batch in batches if batch.is_too_large for record in batch.records]


def _offsets(
    positions: Mapping[Partition, PositionCommit],
) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(partition.topic, partition.number): OffsetAndMetadata(
            commit.position, commit.metadata
        )
        for partition, commit in positions.items()
    }
