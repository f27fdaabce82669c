"""`OutcomeLog` on Kafka: outcomes, dead letters and positions in one transaction.

Source: architecture.md D3, D4.

Rule 1: abort and go on with the same producer only for refusals that our own offsets layer raised.
Rule 2: whatever else fails before the commit is sent cannot have been committed: the producer gets
a new id, by which the broker aborts what the old one left open, and the transaction is done again.
Rule 3: once the commit was sent, its answer is waited for as long as Kafka is away. Where no answer
tells what became of it, the process ends: only a restart can read the committed positions.
Rule 4: a transaction belongs to the assignment that settled it, however late it is done.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps.fencing import (
    FencingProducer,
    GroupMetadata,
    InstanceFencedError,
    OffsetsRefusedError,
)
from service.adapters.kafka.batches import Batch, by_key, fill, send
from service.adapters.kafka.errors import describe, is_final
from service.adapters.kafka.options import REQUEST_TIMEOUT_MS, producing
from service.adapters.kafka.reach import refusal
from service.contracts.outcome import OUTCOME_BYTES_MAX
from service.core.facts import DeadLettersTruncated, Fact, TransactionRetried
from service.core.inputs import CommitRefusal
from service.core.model import Partition
from service.core.records import LogRecord, PositionCommit, Transaction
from service.core.settle.dead_letters import truncate_further
from service.core.settle.shorten import shortened
from service.ports import FatalError
from service.settings import KafkaSettings, SettingsError

ANSWER_SECONDS_MAX = 15.0
"""How long the records and positions of a transaction, and then its commit, may take."""
START_SECONDS_MAX = 60.0
RETRY_SECONDS = 1.0
ATTEMPTS_MAX = 5
"""How often a transaction is done that Kafka answers with an error; a restart might help then."""
TRANSACTION_TIMEOUT_MS = 10_000
"""How long a dead replica's open transaction blocks its successor and committed readers."""
BATCH_BYTES = 256 * 1024
OUTCOME_TOPIC_BYTES_MIN = OUTCOME_BYTES_MAX + 16 * 1024
"""What the outcomes topic has to take: an outcome with its key, its headers and its batch."""
REQUEST_BYTES_MAX = 64 * 1024 * 1024
"""The topic's own limit decides; the client's must not be in its way."""


class _TooLargeError(Exception):
    """The broker refused these records as too large, each or as a batch."""

    def __init__(self, outcomes: list[LogRecord], dead: list[LogRecord]) -> None:
        super().__init__("too large")
        self.outcomes = outcomes
        self.dead = dead


class _NotCommittedError(Exception):
    """The transaction failed and nothing of it can be committed: it may be done again."""

    def __init__(self, why: str, *, is_answer: bool) -> None:
        super().__init__(why)
        self.is_answer = is_answer
        """Whether Kafka said so, or nothing was heard of it."""


@dataclass(frozen=True)
class _Outgoing:
    """What is to be written, and whether each record goes in a batch of its own."""

    outcomes: tuple[LogRecord, ...]
    dead: tuple[LogRecord, ...]
    outcomes_alone: bool = False
    dead_alone: bool = False

    def after(self, refusal: _TooLargeError) -> "_Outgoing":
        """What to try next: each record alone, then the refused ones with one part left out.

        Raises:
            FatalError: the outcomes topic takes no outcome at all.
        """
        outcomes, dead = self.outcomes, self.dead
        if self.outcomes_alone and refusal.outcomes:
            gone = set(map(id, refusal.outcomes))
            outcomes = tuple(_shorter(one) if id(one) in gone else one for one in outcomes)
        if self.dead_alone and refusal.dead:
            gone = set(map(id, refusal.dead))
            tried = [truncate_further(one) if id(one) in gone else one for one in dead]
            dead = tuple(one for one in tried if one is not None)
        return _Outgoing(
            outcomes,
            dead,
            outcomes_alone=self.outcomes_alone or bool(refusal.outcomes),
            dead_alone=self.dead_alone or bool(refusal.dead),
        )


def _shorter(outcome: LogRecord) -> LogRecord:
    shorter = shortened(outcome)
    if shorter is None:
        raise FatalError(
            f"The outcomes topic refuses an outcome of {outcome.size} bytes: set its "
            f"max.message.bytes to {OUTCOME_TOPIC_BYTES_MIN} or more."
        )
    return shorter


class TransactionLog:
    """One transactional producer. `group` is set while partitions are assigned."""

    def __init__(self, kafka: KafkaSettings, note: Callable[[Fact], None] = lambda _: None) -> None:
        self._kafka = kafka
        self._note = note
        suffix = kafka.group_instance_id or uuid.uuid4().hex
        self._transactional_id = f"{kafka.group_id}.{suffix}"
        self._producer: FencingProducer | None = None
        self._is_spent = False
        """Whether a transaction failed or was given up: the producer is not used again."""
        self._writing = asyncio.Lock()
        self.group: GroupMetadata | None = None
        self.is_commit_in_doubt = False
        """Whether a commit is under way, or no answer told what became of it."""

    async def start(self) -> None:
        """Connect, and abort what a predecessor of the same id left open.

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
        """Close; an open transaction is left to the broker's timeout."""
        if self._producer is not None:
            await self._producer.abandon()

    async def write(self, transaction: Transaction) -> CommitRefusal | None:
        """Write all of it or nothing; waits while Kafka is away.

        A batch that is refused as too large goes again record by record, and a record that is
        refused alone goes again without a part of it.

        Raises:
            FatalError: it is unknown whether it was written, or nothing can be any more.
        """
        outgoing = _Outgoing(transaction.outcomes, transaction.dead_letters)
        return await self._write(outgoing, transaction.positions, self.group)

    async def commit_positions(
        self, positions: Mapping[Partition, PositionCommit]
    ) -> CommitRefusal | None:
        """Commit where partitions begin, before their first record is taken."""
        return await self._write(_Outgoing((), ()), positions, self.group)

    async def _write(
        self,
        outgoing: _Outgoing,
        positions: Mapping[Partition, PositionCommit],
        group: GroupMetadata | None,
    ) -> CommitRefusal | None:
        attempts = 0
        async with self._writing:
            while group is not None and group is self.group:
                if self._is_spent:
                    await self._renew_producer()
                self._is_spent = True
                try:
                    refused = await self._attempt(outgoing, positions, group)
                except _TooLargeError as too_large:
                    shorter = outgoing.after(too_large)
                    self._note_truncations(outgoing, shorter)
                    outgoing = shorter
                except _NotCommittedError as failure:
                    attempts += failure.is_answer
                    if attempts >= ATTEMPTS_MAX:
                        raise FatalError(f"The outcome log failed: {failure}") from failure
                    self._note_retry(failure)
                else:
                    self._is_spent = False
                    return refused
        return CommitRefusal.FENCED

    async def _attempt(
        self,
        outgoing: _Outgoing,
        positions: Mapping[Partition, PositionCommit],
        group: GroupMetadata,
    ) -> CommitRefusal | None:
        """One transaction.

        Raises:
            _TooLargeError: nothing of it is committed; some records are too large.
            _NotCommittedError: nothing of it is committed, and the producer is of no more use.
            FatalError: it is unknown whether it was committed, or nothing can be any more.
        """
        producer = self._producer
        assert producer is not None, "started"
        preparing = self._prepare(producer, outgoing, positions, group)
        try:
            refused = await asyncio.wait_for(preparing, ANSWER_SECONDS_MAX)
        except TimeoutError:
            raise _NotCommittedError(
                f"Kafka did not take it within {ANSWER_SECONDS_MAX:g} s.", is_answer=False
            ) from None
        except KafkaError as error:
            raise self._failure(error) from error
        if refused is None:
            await self._commit(producer)
        return refused

    async def _prepare(
        self,
        producer: FencingProducer,
        outgoing: _Outgoing,
        positions: Mapping[Partition, PositionCommit],
        group: GroupMetadata,
    ) -> CommitRefusal | None:
        """Everything of a transaction but its commit."""
        if producer.is_usable:
            await producer.begin_transaction()
            try:
                await self._send_all(producer, outgoing)
                await producer.send_offsets(_offsets(positions), group)
            except OffsetsRefusedError as refused:
                await producer.abort_transaction()
                return refused.refusal
        if not producer.is_usable:
            raise _NotCommittedError("the producer is in an error state", is_answer=True)
        return None

    async def _commit(self, producer: FencingProducer) -> None:
        """Commit, and wait for the answer as long as Kafka is away.

        Raises:
            _NotCommittedError: the answer says that it is not committed.
            FatalError: no answer tells whether it is.
        """
        self.is_commit_in_doubt = True
        committing = asyncio.create_task(producer.commit_transaction())
        try:
            await self._wait_for_answer(producer, committing)
            committing.result()
        except KafkaError as error:
            if producer.unanswered_ends:
                raise FatalError(
                    "Kafka did not tell whether it carried out a commit "
                    f"({describe(_cause(error), self._kafka)}). "
                    "Only a restart can read whether it was committed."
                ) from error
            self.is_commit_in_doubt = False
            raise self._failure(error) from error
        finally:
            committing.cancel()
        self.is_commit_in_doubt = False

    async def _wait_for_answer(
        self, producer: FencingProducer, committing: asyncio.Task[None]
    ) -> None:
        """Wait for the end of a commit; give up where Kafka is there and does not answer it."""
        is_there = False
        while not (await asyncio.wait({committing}, timeout=ANSWER_SECONDS_MAX))[0]:
            was_there, is_there = is_there, await refusal(self._kafka) is None
            if was_there and is_there and producer.unanswered_ends:
                raise FatalError(
                    f"A commit took more than {ANSWER_SECONDS_MAX:g} s although Kafka answers; "
                    "only a restart can read whether it was committed."
                )

    def _failure(self, error: KafkaError) -> Exception:
        """What to make of an error before or instead of a commit."""
        cause = _cause(error)
        words = describe(cause, self._kafka)
        if isinstance(cause, InstanceFencedError):
            return FatalError(words)
        if is_final(cause):
            return FatalError(f"The outcome log failed: {words}")
        return _NotCommittedError(words, is_answer=not getattr(cause, "retriable", False))

    async def _send_all(self, producer: FencingProducer, outgoing: _Outgoing) -> None:
        """Send and wait for every record: a commit would not notice one that is missing."""
        outcomes_topic, dead_topic = self._kafka.outcomes_topic, self._kafka.dead_letters_topic
        outcomes = fill(
            producer,
            await by_key(producer, outcomes_topic, outgoing.outcomes),
            alone=outgoing.outcomes_alone,
            has_foreign_headers=False,
        )
        dead_placed = await by_key(producer, dead_topic, outgoing.dead)
        dead = fill(producer, dead_placed, alone=outgoing.dead_alone)
        batches = (*outcomes, *dead)
        await send(producer, batches)
        refused = _TooLargeError(_too_large(outcomes), _too_large(dead))
        if refused.outcomes or refused.dead:
            raise refused
        errors = [error for batch in batches if (error := batch.sent.exception()) is not None]
        if errors:  # one that names what a person can mend tells more than what follows from it
            raise next((error for error in errors if is_final(error)), errors[0])

    async def _renew_producer(self) -> None:
        """A successor of the same id aborts what is open, and numbers its records from 0 again."""
        assert self._producer is not None
        await self._producer.abandon()
        while True:
            try:
                return await self._open(START_SECONDS_MAX)
            except _NotCommittedError:
                await asyncio.sleep(RETRY_SECONDS)

    async def _open(self, seconds_max: float) -> None:
        """Make the producer and get its id.

        Raises:
            _NotCommittedError: there is no answer; later there may be one.
            FatalError: the broker refuses.
        """
        try:
            producer = FencingProducer(
                **producing(self._kafka),
                transactional_id=self._transactional_id,
                transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                retry_backoff_ms=20,
                max_batch_size=BATCH_BYTES,
                max_request_size=REQUEST_BYTES_MAX,
            )
        except SettingsError as error:  # a certificate that is being replaced
            raise _NotCommittedError(str(error), is_answer=False) from error
        self._producer = producer
        try:
            await asyncio.wait_for(producer.start(), max(seconds_max, RETRY_SECONDS))
        except TimeoutError:
            await producer.abandon()
            raise _NotCommittedError(
                f"The broker gives no producer id within {START_SECONDS_MAX:g} s. Is "
                "__transaction_state there, with enough replicas for its min.insync.replicas?",
                is_answer=False,
            ) from None
        except KafkaError as error:
            await producer.abandon()
            words = (
                f"The broker refuses the transactional id {self._transactional_id}: "
                f"{describe(error, self._kafka)}"
            )
            if is_final(error):
                raise FatalError(words) from error
            raise _NotCommittedError(words, is_answer=False) from error

    def _note_truncations(self, outgoing: _Outgoing, shorter: _Outgoing) -> None:
        """Say what the topics' limits cost."""
        cut = len(set(map(id, outgoing.dead)) - set(map(id, shorter.dead)))
        if cut:
            dropped = len(outgoing.dead) - len(shorter.dead)
            self._note(DeadLettersTruncated(cut, dropped))

    def _note_retry(self, failure: _NotCommittedError) -> None:
        self._note(TransactionRetried(str(failure)))


def _cause(error: BaseException) -> BaseException:
    """What aiokafka's sender met, where it only says that it met something."""
    return error.__cause__ if type(error) is KafkaError and error.__cause__ else error


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
