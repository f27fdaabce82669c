"""`OutcomeLog` on Kafka: outcomes, dead letters and positions in one transaction (design D3, D4).

Rule 1: abort and go on only for refusals that our own offsets layer raised.
Rule 2: anything else, and a commit that takes too long, ends the process without abort: only a
restart can read what is true.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.batches import Batch, by_key, fill, send
from service.adapters.kafka.fencing import (
    FencingProducer,
    GroupMetadata,
    InstanceFencedError,
    OffsetsRefusedError,
)
from service.adapters.kafka.options import REQUEST_TIMEOUT_MS, connection
from service.adapters.kafka.rights import in_words, is_final
from service.contracts.outcome import OUTCOME_BYTES_MAX
from service.core.dead_letters import OMITTED_HEADER
from service.core.effects import LogRecord, PositionCommit, Settlement
from service.core.inputs import CommitRefusal
from service.core.model import Partition
from service.ports import FatalError
from service.settings import KafkaSettings

COMMIT_SECONDS_MAX = 15.0
START_SECONDS_MAX = 60.0
TRANSACTION_TIMEOUT_MS = 10_000
"""How long a dead replica's open transaction blocks its successor and committed readers."""
BATCH_BYTES = 256 * 1024
COMPRESSION = "zstd"
"""The library packs lz4 at its highest level: eight times the CPU, and twice the bytes."""
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


@dataclass(frozen=True)
class _Outgoing:
    """What is to be written, and whether each record goes in a batch of its own."""

    outcomes: tuple[LogRecord, ...]
    dead: tuple[LogRecord, ...]
    outcomes_alone: bool = False
    dead_alone: bool = False

    def after(self, refusal: _TooLargeError) -> "_Outgoing":
        """What to try next: each alone; then dead letters refused even so without value.

        Raises:
            FatalError: there is nothing left to leave out.
        """
        dead = self.dead
        if refusal.outcomes and self.outcomes_alone:
            raise FatalError(
                "The outcomes topic refuses an outcome by itself: set its max.message.bytes to "
                f"{OUTCOME_TOPIC_BYTES_MIN} or more."
            )
        if self.dead_alone:
            if any(record.value is None for record in refusal.dead):
                raise FatalError(
                    "The dead-letter topic refuses a dead letter even without its value."
                )
            gone = set(map(id, refusal.dead))
            dead = tuple(_bare(record) if id(record) in gone else record for record in dead)
        return _Outgoing(
            self.outcomes,
            dead,
            outcomes_alone=self.outcomes_alone or bool(refusal.outcomes),
            dead_alone=self.dead_alone or bool(refusal.dead),
        )


def _bare(record: LogRecord) -> LogRecord:
    return LogRecord(record.key, None, (*record.headers, (OMITTED_HEADER, b"true")))


class TransactionLog:
    """One transactional producer. `group` is set while partitions are assigned."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        suffix = kafka.group_instance_id or uuid.uuid4().hex
        self._transactional_id = f"{kafka.group_id}.{suffix}"
        self._producer: FencingProducer | None = None
        self._writing = asyncio.Lock()
        self.group: GroupMetadata | None = None

    async def start(self) -> None:
        """Connect, and abort what a predecessor of the same id left open.

        Raises:
            FatalError: the broker refuses the transactional id, or does not answer in time.
        """
        producer = FencingProducer(
            **connection(self._kafka),
            transactional_id=self._transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            retry_backoff_ms=20,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES_MAX,
            compression_type=COMPRESSION,
        )
        try:
            await asyncio.wait_for(producer.start(), START_SECONDS_MAX)
        except TimeoutError:
            await producer.stop()
            raise FatalError(
                f"The broker gives no producer id within {START_SECONDS_MAX:g} s. Is "
                "__transaction_state there, with enough replicas for its min.insync.replicas?"
            ) from None
        except KafkaError as error:
            await producer.stop()
            raise FatalError(
                f"The broker refuses the transactional id {self._transactional_id}: "
                f"{in_words(error, self._kafka)}"
            ) from error
        self._producer = producer

    async def stop(self) -> None:
        """Close; an open transaction is left to the broker's timeout."""
        if self._producer is not None:
            await asyncio.wait_for(self._producer.stop(), COMMIT_SECONDS_MAX)

    async def write(self, settlement: Settlement) -> CommitRefusal | None:
        """Write all of it or nothing; a dead letter that is refused as too large loses its value.

        A batch that is refused goes again record by record.

        Raises:
            FatalError: it is unknown whether it was written, or nothing can be any more.
        """
        async with self._writing:
            outgoing = _Outgoing(settlement.outcomes, settlement.dead_letters)
            while True:
                try:
                    return await self._within_time(self._write(outgoing, settlement.positions))
                except _TooLargeError as refusal:
                    await self._renew_producer()
                    outgoing = outgoing.after(refusal)

    async def commit_positions(
        self, positions: Mapping[Partition, PositionCommit]
    ) -> CommitRefusal | None:
        """Commit where partitions begin, before their first record is taken."""
        async with self._writing:
            return await self._within_time(self._write(_Outgoing((), ()), positions))

    async def _within_time(self, writing: Awaitable[CommitRefusal | None]) -> CommitRefusal | None:
        try:
            return await asyncio.wait_for(writing, COMMIT_SECONDS_MAX)
        except TimeoutError:
            raise FatalError(
                f"A transaction took more than {COMMIT_SECONDS_MAX:g} s; "
                "only a restart can read whether it was committed."
            ) from None
        except InstanceFencedError as error:
            raise FatalError(in_words(error, self._kafka)) from None
        except KafkaError as error:
            raise FatalError(f"The outcome log failed: {in_words(error, self._kafka)}") from error

    async def _write(
        self, outgoing: _Outgoing, positions: Mapping[Partition, PositionCommit]
    ) -> CommitRefusal | None:
        producer, group = self._producer, self.group
        assert producer is not None, "started"
        if group is None:
            return CommitRefusal.FENCED
        await producer.begin_transaction()
        try:
            await self._send_all(producer, outgoing)
            await producer.send_offsets(_offsets(positions), group)
        except OffsetsRefusedError as refused:
            await producer.abort_transaction()
            return refused.refusal
        if not producer.is_usable:
            raise FatalError("The transactional producer is in an error state.")
        await producer.commit_transaction()
        return None

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
        refusal = _TooLargeError(_too_large(outcomes), _too_large(dead))
        if refusal.outcomes or refusal.dead:
            raise refusal
        errors = [error for batch in batches if (error := batch.sent.exception()) is not None]
        if errors:  # one that names what a person can mend tells more than what follows from it
            raise next((error for error in errors if is_final(error)), errors[0])

    async def _renew_producer(self) -> None:
        """After a refused batch the sequence has a gap: a successor of the same id starts anew."""
        assert self._producer is not None
        await self._producer.stop()
        await self.start()


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
