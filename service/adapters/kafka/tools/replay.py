"""Dead letters on Kafka: what lies there, and its way back to the events topics (contract.md §5).

Rule 1: the replayed records and the marks that call them replayed are one transaction, so a run
that is killed is gone on with by the next, without a second replay of anything.
Rule 2: the run that starts last fences the others, before it reads what is marked.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerFenced

from service.adapters.kafka.batches import PartitionedRecord, fill, send
from service.adapters.kafka.options import REQUEST_TIMEOUT_MS, producing
from service.adapters.kafka.tools.topics import Read, StoredRecord, read
from service.contracts.outcome_reader import ReadData, read_outcome
from service.core.model import Asset, Partition
from service.core.settle.dead_letters import (
    Applied,
    DeadLetter,
    Filter,
    LeftOut,
    RecordId,
    ReplayOptions,
    left_out,
    marker,
    read_dead_letter,
    read_marker,
    replayed,
)
from service.settings import KafkaSettings

TRANSACTION_RECORDS = 500
TRANSACTION_BYTES = 4 * 1024 * 1024
TRANSACTION_TIMEOUT_MS = 30_000
REQUEST_BYTES_MAX = 64 * 1024 * 1024
OUTCOMES_MARGIN_MS = 60_000
"""Outcomes are read from a little before the oldest dead letter: clocks of replicas differ."""


class ReplayError(Exception):
    """The replay cannot go on; the message says why, for a person."""


@dataclass(slots=True)
class Survey:
    """What lies on the dead-letter topic, as far as the filter takes it."""

    letters: list[DeadLetter] = field(default_factory=list)
    replayed: set[RecordId] = field(default_factory=set)


@dataclass(slots=True)
class FoundLetter:
    """One dead letter with all its bytes."""

    letter: DeadLetter
    record: StoredRecord
    is_replayed: bool = False
    others: list[RecordId] = field(default_factory=list)
    """Older dead letters of the same outcome."""


@dataclass(slots=True)
class Plan:
    """What a replay would do with each dead letter."""

    chosen: list[DeadLetter] = field(default_factory=list)
    left_out: list[tuple[DeadLetter, LeftOut]] = field(default_factory=list)


@dataclass(slots=True)
class Replayed:
    """What a replay did."""

    count: int = 0
    refused: list[tuple[DeadLetter, str]] = field(default_factory=list)
    """Those that could not be written back, and why."""


async def survey(kafka: KafkaSettings, wanted: Filter) -> Survey:
    """Read the dead-letter topic: letters that are wanted, and what is marked as replayed.

    Raises:
        KafkaError: the topic cannot be read.
    """
    found = Survey()
    part = Read(since_utc_ms=wanted.since_utc_ms)
    async for record in read(kafka, kafka.dead_letters_topic, part):
        marked = read_marker(record.headers)
        if marked is not None:
            found.replayed.add(marked)
            continue
        letter = _dead_letter(record)
        if wanted.matches(letter):
            found.letters.append(letter)
    found.letters.sort(key=lambda letter: (letter.dead_lettered_utc_ms, letter.record_id))
    return found


async def find(kafka: KafkaSettings, letter_id: RecordId | str) -> FoundLetter | None:
    """Read one dead letter, by its place or by its outcome id; the newest where there are several.

    Raises:
        KafkaError: the topic cannot be read.
    """
    found: FoundLetter | None = None
    replayed: set[RecordId] = set()
    begin = None if isinstance(letter_id, str) else dict([letter_id])
    async for record in read(kafka, kafka.dead_letters_topic, Read(begin=begin)):
        marked = read_marker(record.headers)
        if marked is not None:
            replayed.add(marked)
            continue
        letter = _dead_letter(record)
        if letter_id in {letter.record_id, letter.outcome_id}:
            older = [*found.others, found.letter.record_id] if found else []
            found = FoundLetter(letter, record, others=older)
    if found is not None:
        found.is_replayed = found.letter.record_id in replayed
    return found


async def plan(kafka: KafkaSettings, found: Survey, rules: ReplayOptions) -> Plan:
    """Decide for each dead letter; reads the outcomes, for what was applied since.

    Raises:
        KafkaError: the outcomes topic cannot be read.
    """
    applied = await _applied(kafka, found.letters)
    decided = Plan()
    for letter in found.letters:
        why = left_out(
            letter,
            rules,
            is_replayed=letter.record_id in found.replayed,
            is_overtaken=applied.overtakes(letter),
        )
        if why is None:
            decided.chosen.append(letter)
        else:
            decided.left_out.append((letter, why))
    return decided


class Replayer:
    """One transactional producer, `GROUP_ID.replay`: whoever starts it last is the only one."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect; a run that is still under way is fenced, and its transaction aborted.

        Raises:
            KafkaError: the broker refuses us, or does not answer.
        """
        self._producer = AIOKafkaProducer(
            **producing(self._kafka),
            transactional_id=f"{self._kafka.group_id}.replay",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_request_size=REQUEST_BYTES_MAX,
        )
        await self._producer.start()

    async def stop(self) -> None:
        """Close the connection."""
        if self._producer is not None:
            await self._producer.stop()

    async def replay(
        self, chosen: Sequence[DeadLetter], progress: Callable[[int], None]
    ) -> Replayed:
        """Write the letters back, in the order of the dead-letter topic's partitions.

        Args:
            chosen: what to write back.
            progress: told how many more are done.

        Raises:
            ReplayError: another run took over.
            KafkaError: the broker refuses us, or does not answer.
        """
        done = Replayed()
        async for bundle in self._bundles(chosen, done):
            try:
                await self._replay(bundle, done)
            except ProducerFenced:
                raise ReplayError("Another replay run has taken over; this one ends.") from None
            progress(len(bundle))
        return done

    async def _replay(self, bundle: list[tuple[DeadLetter, StoredRecord]], done: Replayed) -> None:
        """All of the bundle in one transaction; one by one where something is too large."""
        gone = [letter for letter, _ in bundle if not await self._has_partition(letter)]
        for letter in gone:
            done.refused.append((letter, "its original partition is no longer there"))
        bundle = [(letter, record) for letter, record in bundle if letter not in gone]
        if not bundle or await self._is_written(bundle):
            done.count += len(bundle)
        elif len(bundle) == 1:
            done.refused.append((bundle[0][0], "the events topic refuses it as too large"))
        else:
            for single in bundle:
                await self._replay([single], done)

    async def _is_written(self, bundle: list[tuple[DeadLetter, StoredRecord]]) -> bool:
        """Whether the transaction was committed; False: the broker refused a record's size."""
        producer = self._producer
        assert producer is not None, "started"
        await producer.begin_transaction()
        batches = fill(producer, _placed(self._kafka, bundle))
        await send(producer, batches)
        if any(batch.is_too_large for batch in batches):
            # The sequence has a gap now: a successor of the same id starts anew.
            await producer.stop()
            await self.start()
            return False
        for batch in batches:
            batch.sent.result()
        await producer.commit_transaction()
        return True

    async def _has_partition(self, letter: DeadLetter) -> bool:
        assert self._producer is not None
        assert letter.origin is not None, "what cannot be read was left out"
        topic, number = letter.origin.partition
        return number in await self._producer.partitions_for(topic)

    async def _bundles(
        self, chosen: Iterable[DeadLetter], done: Replayed
    ) -> AsyncIterator[list[tuple[DeadLetter, StoredRecord]]]:
        """The chosen letters with their values, as many as one transaction takes."""
        by_partition: dict[int, dict[int, DeadLetter]] = {}
        for letter in chosen:
            partition, offset = letter.record_id
            by_partition.setdefault(partition, {})[offset] = letter
        for partition, wanted in by_partition.items():
            bundle: list[tuple[DeadLetter, StoredRecord]] = []
            size = 0
            part = Read(begin={partition: min(wanted)})
            async with aclosing(read(self._kafka, self._kafka.dead_letters_topic, part)) as stream:
                async for record in stream:
                    if record.offset not in wanted:
                        continue
                    bundle.append((wanted.pop(record.offset), record))
                    size += len(record.value or b"")
                    if len(bundle) >= TRANSACTION_RECORDS or size >= TRANSACTION_BYTES:
                        yield bundle
                        bundle, size = [], 0
                    if not wanted:
                        break
            if bundle:
                yield bundle
            done.refused += [
                (letter, "the broker let it go meanwhile") for letter in wanted.values()
            ]


def _placed(
    kafka: KafkaSettings, bundle: Iterable[tuple[DeadLetter, StoredRecord]]
) -> Iterable[PartitionedRecord]:
    """Each record back on its partition, and its mark beside its dead letter."""
    for letter, record in bundle:
        assert letter.origin is not None
        topic, number = letter.origin.partition
        yield (
            TopicPartition(topic, number),
            replayed(letter, record.key, record.value, record.headers),
        )
        record_id = TopicPartition(kafka.dead_letters_topic, record.partition)
        yield record_id, marker(letter, record.key)


def _dead_letter(record: StoredRecord) -> DeadLetter:
    record_id = (record.partition, record.offset)
    return read_dead_letter(
        record_id, record.key, record.value, record.headers, record.timestamp_ms
    )


async def _applied(kafka: KafkaSettings, letters: Sequence[DeadLetter]) -> Applied:
    """What was applied since the oldest of the letters, for their assets alone."""
    applied = Applied(frozenset(letter.asset for letter in letters if letter.asset is not None))
    if not applied.assets:
        return applied
    since = min(letter.dead_lettered_utc_ms for letter in letters) - OUTCOMES_MARGIN_MS
    async for record in read(kafka, kafka.outcomes_topic, Read(since_utc_ms=max(since, 0))):
        found = read_outcome(record.value)
        if found is not None and found.data.status == "applied":
            _add(applied, found.data, record.timestamp_ms)
    return applied


def _add(applied: Applied, data: ReadData, utc_ms: int) -> None:
    origin = data.origin
    if data.asset_family is None or data.code is None or origin is None:
        return
    asset = Asset(data.asset_family, data.code)
    applied.add(asset, Partition(origin.topic, origin.partition), origin.offset, utc_ms)
