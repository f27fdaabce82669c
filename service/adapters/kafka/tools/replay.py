"""List dead letters on Kafka, and replay them to the events topics (contract.md §5).

Rule 1: the replayed records and the markers of their dead letters are written in one transaction.
So the next run continues a run that was killed, and nothing is replayed twice.
Rule 2: the run that starts last fences the others, before it reads the markers.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced, UnknownTopicOrPartitionError

from service.adapters.kafka.batches import PartitionedRecord, fill, send
from service.adapters.kafka.options import REQUEST_TIMEOUT_MS, producing
from service.adapters.kafka.tools.silence import close, unless_silent
from service.adapters.kafka.tools.time_order import StoredRecord
from service.adapters.kafka.tools.topics import (
    Read,
    partition_numbers,
    read,
    read_by_time,
)
from service.contracts.outcome_reader import ReadData, ReadOutcome, read_outcome
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
from service.core.settle.raw_letters import RawItems
from service.settings import KafkaSettings

TRANSACTION_RECORDS = 500
TRANSACTION_BYTES = 4 * 1024 * 1024
TRANSACTION_TIMEOUT_MS = 30_000
OUTCOMES_MARGIN_MS = 60_000
"""Outcomes are read from a minute before the oldest dead letter, as clocks of replicas differ."""


class ReplayError(Exception):
    """The replay cannot continue; the message or `__cause__`, Kafka's error, says why."""

    def __init__(self, message: str = "", count: int = 0) -> None:
        super().__init__(message)
        self.count = count
        """How many dead letters were replayed before."""


@dataclass(slots=True)
class Survey:
    """The dead letters that the filter accepts, and all markers of replayed dead letters."""

    letters: list[DeadLetter] = field(default_factory=list)
    replayed: set[RecordId] = field(default_factory=set)


@dataclass(slots=True)
class FoundLetter:
    """One dead letter with its record."""

    letter: DeadLetter
    record: StoredRecord
    is_replayed: bool = False
    others: list[RecordId] = field(default_factory=list)
    """Older dead letters of the same outcome."""


@dataclass(slots=True)
class Plan:
    """Which dead letters a replay would write back, and why it would leave the others out."""

    chosen: list[DeadLetter] = field(default_factory=list)
    left_out: list[tuple[DeadLetter, LeftOut]] = field(default_factory=list)


@dataclass(slots=True)
class Replayed:
    """The result of a replay."""

    count: int = 0
    refused: list[tuple[DeadLetter, str]] = field(default_factory=list)
    """The dead letters that could not be written back, with the reasons."""


async def survey(kafka: KafkaSettings, wanted: Filter) -> Survey:
    """Read the wanted dead letters, and the markers of replayed ones.

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


async def replayed_ids(kafka: KafkaSettings, wanted: Filter) -> set[RecordId]:
    """Return which of the wanted dead letters, and perhaps of others, were replayed.

    Raises:
        KafkaError: the topic cannot be read.
    """
    part = Read(since_utc_ms=wanted.since_utc_ms)
    stream = read(kafka, kafka.dead_letters_topic, part)
    return {marked async for record in stream if (marked := read_marker(record.headers))}


async def letters_by_time(kafka: KafkaSettings, wanted: Filter) -> AsyncGenerator[DeadLetter]:
    """Yield the wanted dead letters in the order of time, without keeping all of them in memory.

    Raises:
        KafkaError: the topic cannot be read.
    """
    part = Read(since_utc_ms=wanted.since_utc_ms)
    async with aclosing(read_by_time(kafka, kafka.dead_letters_topic, part)) as stream:
        async for record in stream:
            if record is None or read_marker(record.headers) is not None:
                continue
            letter = _dead_letter(record)
            if wanted.matches(letter):
                yield letter


async def find(kafka: KafkaSettings, letter_id: RecordId | str) -> FoundLetter | None:
    """Read one dead letter, by its record id or by its outcome id; the newest if there are several.

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
        if letter_id in {letter.record_id, *letter.outcome_ids}:
            older = [*found.others, found.letter.record_id] if found else []
            found = FoundLetter(letter, record, others=older)
    if found is not None:
        found.is_replayed = found.letter.record_id in replayed
    return found


async def plan(kafka: KafkaSettings, found: Survey, rules: ReplayOptions) -> Plan:
    """Decide for each dead letter whether to replay it.

    The outcomes topic is read for changes of the same assets that were applied since.

    Raises:
        KafkaError: the outcomes topic cannot be read.
    """
    raw = [letter for letter in found.letters if _topic(letter) in rules.raw_topics]
    items = await _raw_items(kafka, raw)
    others = [letter for letter in found.letters if _topic(letter) not in rules.raw_topics]
    applied = await _applied(kafka, others)
    decided = Plan()
    for letter in found.letters:
        is_raw = _topic(letter) in rules.raw_topics
        why = left_out(
            letter,
            rules,
            is_replayed=letter.record_id in found.replayed,
            is_overtaken=not is_raw and applied.overtakes(letter),
        )
        remaining = why or (items.remaining(letter, rules) if is_raw else letter)
        if isinstance(remaining, DeadLetter):
            decided.chosen.append(remaining)
        else:
            decided.left_out.append((letter, remaining))
    return decided


class Replayer:
    """Replays with the transactional id `GROUP_ID.replay`, so that only the last run continues."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._partitions: dict[str, list[int]] = {}
        """The partitions of the topics that dead letters came from; none if there is no topic."""

    async def start(self) -> None:
        """Connect; a run that is still in progress is fenced, and its transaction is aborted.

        Raises:
            KafkaError: the broker refuses the connection, or does not answer.
        """
        self._producer = AIOKafkaProducer(
            **producing(self._kafka),
            transactional_id=f"{self._kafka.group_id}.replay",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        await unless_silent(self._producer.start(), self._ask)

    async def stop(self) -> None:
        if self._producer is not None:
            await close(self._producer)

    async def replay(
        self, chosen: Sequence[DeadLetter], progress: Callable[[int], None]
    ) -> Replayed:
        """Write dead letters back, in the order of the dead-letter topic's partitions.

        Args:
            chosen: the dead letters to write back.
            progress: called after each transaction with the number of its dead letters.

        Raises:
            ReplayError: another run took over, or the broker refuses a request or does not answer.
        """
        done = Replayed()
        try:
            async for bundle in self._bundles(chosen, done):
                await self._replay(bundle, done)
                progress(len(bundle))
        except ProducerFenced:
            raise ReplayError("Another replay run has taken over; this run ends.") from None
        except (KafkaError, OSError) as error:
            raise ReplayError(count=done.count) from error
        return done

    async def _replay(self, bundle: list[tuple[DeadLetter, StoredRecord]], done: Replayed) -> None:
        """Replay a bundle in one transaction, or one by one if a record is too large."""
        homeless = [letter for letter, _ in bundle if not await self._has_partition(letter)]
        for letter in homeless:
            done.refused.append((letter, "its original topic or partition no longer exists"))
        bundle = [(letter, record) for letter, record in bundle if letter not in homeless]
        if not bundle or await unless_silent(self._is_written(bundle), self._ask):
            done.count += len(bundle)
        elif len(bundle) == 1:
            done.refused.append((bundle[0][0], "the events topic refuses it as too large"))
        else:
            for single in bundle:
                await self._replay([single], done)

    async def _is_written(self, bundle: list[tuple[DeadLetter, StoredRecord]]) -> bool:
        """Write a bundle in one transaction; return False if the broker refused a record's size."""
        producer = self._producer
        assert producer is not None, "started"
        await producer.begin_transaction()
        batches = fill(producer, _records(self._kafka, bundle))
        await send(producer, batches)
        if any(batch.is_too_large for batch in batches):
            # The sequence numbers have a gap now, so a new producer has to take over.
            await close(producer)
            await self.start()
            return False
        for batch in batches:
            batch.sent.result()
        await producer.commit_transaction()
        return True

    async def _has_partition(self, letter: DeadLetter) -> bool:
        assert letter.origin is not None, "a dead letter without origin is left out"
        topic, number = letter.origin.partition
        if topic not in self._partitions:
            try:
                self._partitions[topic] = await partition_numbers(self._kafka, topic)
            except UnknownTopicOrPartitionError:
                self._partitions[topic] = []
        return number in self._partitions[topic]

    async def _ask(self) -> None:
        """Ask whether the topics that are written to still exist."""
        written = [topic for topic, numbers in self._partitions.items() if numbers]
        for topic in (self._kafka.dead_letters_topic, *written):
            await partition_numbers(self._kafka, topic)

    async def _bundles(
        self, chosen: Iterable[DeadLetter], done: Replayed
    ) -> AsyncIterator[list[tuple[DeadLetter, StoredRecord]]]:
        """Yield the chosen dead letters with their records, in bundles of one transaction each."""
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
                (letter, "the broker deleted it meanwhile") for letter in wanted.values()
            ]


def _records(
    kafka: KafkaSettings, bundle: Iterable[tuple[DeadLetter, StoredRecord]]
) -> Iterable[PartitionedRecord]:
    """Yield each record for its original partition, and the marker for its dead letter."""
    for letter, record in bundle:
        assert letter.origin is not None
        topic, number = letter.origin.partition
        yield (
            TopicPartition(topic, number),
            replayed(letter, record.key, record.value, record.headers),
        )
        dead_letters = TopicPartition(kafka.dead_letters_topic, record.partition)
        yield dead_letters, marker(letter, record.key)


def _dead_letter(record: StoredRecord) -> DeadLetter:
    record_id = (record.partition, record.offset)
    return read_dead_letter(
        record_id, record.key, record.value, record.headers, record.timestamp_ms
    )


async def _applied(kafka: KafkaSettings, letters: Sequence[DeadLetter]) -> Applied:
    """Return what was applied to the assets of the dead letters since the oldest of them."""
    applied = Applied.of(letters)
    if not applied.assets:
        return applied
    async for found, utc_ms in _outcomes_since(kafka, letters):
        if found.data.status == "applied":
            _add(applied, found.data, utc_ms)
    return applied


async def _raw_items(kafka: KafkaSettings, letters: Sequence[DeadLetter]) -> RawItems:
    """Return what the outcomes say of the items of dead raw records.

    They are read twice: the assets are known only when all partitions have been read.
    """
    items = RawItems.of(letters)
    if not letters:
        return items
    async for found, _ in _outcomes_since(kafka, letters):
        asset = _asset(found.data)
        if asset is not None:
            items.add_end(found.id, asset)
    assets = items.assets()
    async for found, _ in _outcomes_since(kafka, letters):
        asset = _asset(found.data)
        if found.data.status == "applied" and asset is not None and asset.folded in assets:
            items.add_applied(asset, found.causationid)
    return items


async def _outcomes_since(
    kafka: KafkaSettings, letters: Sequence[DeadLetter]
) -> AsyncIterator[tuple[ReadOutcome, int]]:
    """Yield each outcome since the oldest of these dead letters, with its record's time."""
    since = min(letter.dead_lettered_utc_ms for letter in letters) - OUTCOMES_MARGIN_MS
    async for record in read(kafka, kafka.outcomes_topic, Read(since_utc_ms=max(since, 0))):
        found = read_outcome(record.value)
        if found is not None:
            yield found, record.timestamp_ms


def _asset(data: ReadData) -> Asset | None:
    if data.asset_family is None or data.code is None:
        return None
    return Asset(data.asset_family, data.code)


def _topic(letter: DeadLetter) -> str | None:
    return None if letter.origin is None else letter.origin.partition.topic


def _add(applied: Applied, data: ReadData, utc_ms: int) -> None:
    origin, asset = data.origin, _asset(data)
    if asset is None or origin is None:
        return
    applied.add(asset, Partition(origin.topic, origin.partition), origin.offset, utc_ms)
