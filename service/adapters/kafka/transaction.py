"""`OutcomeLog` on Kafka: outcomes, dead letters and positions in one transaction (design D3, D4).

Rule 1: abort and go on only for refusals that our own offsets layer raised.
Rule 2: anything else, and a commit that takes too long, ends the process without abort: only a
restart can read what is true.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Mapping

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.fencing import (
    FencingProducer,
    GroupMetadata,
    InstanceFencedError,
    OffsetsRefusedError,
)
from service.adapters.kafka.options import REQUEST_TIMEOUT_MS, connection
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
REQUEST_BYTES_MAX = 64 * 1024 * 1024
"""The topic's own limit decides; the client's must not be in its way."""

OMITTED = ("dlq.value.omitted", b"true")


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
            compression_type="lz4",
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
                f"The broker refuses the transactional id {self._transactional_id}: {error!r}"
            ) from error
        self._producer = producer

    async def stop(self) -> None:
        """Close; an open transaction is left to the broker's timeout."""
        if self._producer is not None:
            await asyncio.wait_for(self._producer.stop(), COMMIT_SECONDS_MAX)

    async def write(self, settlement: Settlement) -> CommitRefusal | None:
        """Write all of it or nothing; a dead letter that is refused as too large loses its value.

        Raises:
            FatalError: it is unknown whether it was written, or nothing can be any more.
        """
        async with self._writing:
            dead_letters = list(settlement.dead_letters)
            while True:
                try:
                    return await self._within_time(
                        self._write(settlement.outcomes, dead_letters, settlement.positions)
                    )
                except _TooLargeError as error:
                    await self._renew_producer()
                    dead_letters = _without_value(dead_letters, error.dead_letter)

    async def commit_positions(
        self, positions: Mapping[Partition, PositionCommit]
    ) -> CommitRefusal | None:
        """Commit where partitions begin, before their first record is taken."""
        async with self._writing:
            return await self._within_time(self._write((), [], positions))

    async def _within_time(self, writing: Awaitable[CommitRefusal | None]) -> CommitRefusal | None:
        try:
            return await asyncio.wait_for(writing, COMMIT_SECONDS_MAX)
        except TimeoutError:
            raise FatalError(
                f"A transaction took more than {COMMIT_SECONDS_MAX:g} s; "
                "only a restart can read whether it was committed."
            ) from None
        except InstanceFencedError:
            raise FatalError(
                "Another process uses our group.instance.id "
                f"{self._kafka.group_instance_id!r}; it must be unique per replica."
            ) from None
        except KafkaError as error:
            raise FatalError(f"The outcome log failed: {error!r}") from error

    async def _write(
        self,
        outcomes: tuple[LogRecord, ...],
        dead_letters: list[LogRecord],
        positions: Mapping[Partition, PositionCommit],
    ) -> CommitRefusal | None:
        producer, group = self._producer, self.group
        assert producer is not None, "started"
        if group is None:
            return CommitRefusal.FENCED
        await producer.begin_transaction()
        try:
            await self._send_all(producer, outcomes, dead_letters)
            await producer.send_offsets(_offsets(positions), group)
        except OffsetsRefusedError as refused:
            await producer.abort_transaction()
            return refused.refusal
        if not producer.is_usable:
            raise FatalError("The transactional producer is in an error state.")
        await producer.commit_transaction()
        return None

    async def _send_all(
        self,
        producer: FencingProducer,
        outcomes: tuple[LogRecord, ...],
        dead_letters: list[LogRecord],
    ) -> None:
        """Send and wait for every record: a commit would not notice one that is missing."""
        dead: list[tuple[LogRecord, asyncio.Future[object]]] = []
        sent = [
            await self._send(producer, self._kafka.outcomes_topic, record) for record in outcomes
        ]
        for record in dead_letters:
            future = await self._send(producer, self._kafka.dead_letters_topic, record)
            dead.append((record, future))
        await asyncio.gather(*sent, *(future for _, future in dead), return_exceptions=True)
        too_large = [
            record
            for record, future in dead
            if isinstance(future.exception(), MessageSizeTooLargeError)
        ]
        if too_large:
            raise _TooLargeError(max(too_large, key=lambda record: record.size))
        for future in sent + [future for _, future in dead]:
            future.result()

    async def _send(
        self, producer: FencingProducer, topic: str, record: LogRecord
    ) -> asyncio.Future[object]:
        headers = [(name, content) for name, content in record.headers]
        future: asyncio.Future[object] = await producer.send(
            topic, record.value, key=record.key, headers=headers
        )
        return future

    async def _renew_producer(self) -> None:
        """After a refused batch the sequence has a gap: a successor of the same id starts anew."""
        assert self._producer is not None
        await self._producer.stop()
        await self.start()


class _TooLargeError(Exception):
    """The broker refused a dead letter as too large."""

    def __init__(self, dead_letter: LogRecord) -> None:
        super().__init__("too large")
        self.dead_letter = dead_letter


def _without_value(dead_letters: list[LogRecord], refused: LogRecord) -> list[LogRecord]:
    if refused.value is None:
        raise FatalError("The dead-letter topic refuses a dead letter even without its value.")
    bare = LogRecord(refused.key, None, (*refused.headers, OMITTED))
    return [bare if record is refused else record for record in dead_letters]


def _offsets(
    positions: Mapping[Partition, PositionCommit],
) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(partition.topic, partition.number): OffsetAndMetadata(
            commit.position, commit.metadata
        )
        for partition, commit in positions.items()
    }
