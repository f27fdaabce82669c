"""Reading what was fetched in bounded steps. aiokafka unpacks a whole batch, whatever it holds.

Private parts of aiokafka 0.14 that this file touches (docs/upgrading-aiokafka.md lists them too):
`fetcher.MemoryRecords` and `fetcher.FetchResult` by name, `FetchResult._partition_records`,
`FetchResult._update_position`, `PartitionRecords._records`, `PartitionRecords._records_iterator`,
`Fetcher._records`, `Fetcher._get_actions_per_node`, `_MemoryRecordsPy._next_slice`.

Rule 1: a batch is read in portions. Each is a small batch without compression, which the library's
own reader reads. An ordinary batch is one portion: nothing is done for each of its records but to
look at its offset and at the number of its headers.
Rule 2: a record that is too large to hold comes without its value. A batch that cannot be unpacked
yields a record without content for each of its offsets. Nothing is lost and nothing blocks.
Rule 3: at most one batch of the process is unpacked at a time. A batch that was begun earlier is
unpacked from its start again when its turn comes.
"""

from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from service.adapters.kafka.aiokafka_gaps.header_names import read_carefully
from service.adapters.kafka.aiokafka_gaps.unpacking import UnpackError, unpacked
from service.core.model import Omission

POLL_BYTES_MAX = 512 * 1024
"""Key, value and headers of the records of one poll; the last record may exceed it."""
FETCH_BYTES_MAX = 256 * 1024
"""Fetched and held of each partition, packed. A batch that is larger comes alone."""
RESPONSE_BYTES_MAX = 4 * 1024 * 1024
"""Of one fetch response, over all partitions; a first batch that is larger comes alone."""
LARGE_BATCHES_BYTES_MAX = 4 * 1024 * 1024
"""Held beyond each partition's `FETCH_BYTES_MAX`; above this nothing more is fetched."""
FETCH_LIMITS: dict[str, Any] = {
    "max_partition_fetch_bytes": FETCH_BYTES_MAX,
    "fetch_max_bytes": RESPONSE_BYTES_MAX,
}
"""How a consumer is told the first two."""
PORTION_BYTES = 1024 * 1024
"""What a batch is unpacked to before its records are read."""
LARGE_RECORD_BYTES = 64 * 1024
"""A record above this size is read alone, and its headers are counted before."""
RECORD_KEPT_BYTES_MIN = 8 * 1024 * 1024
"""A record of up to this size, or `MAX_RECORD_BYTES`, becomes a dead letter with its value."""
HEADERS_MAX = 10_000
"""Headers of a record. One without content takes 2 bytes of it, and 100 in memory.

The headers of a record in an ordinary portion are counted once they are read: they take 50 MB for a
moment, which is less than what memory.py counts for the JSON of one poll.
"""
HEADER_BYTES = 100
"""What a header costs beside its name and content."""

_HEADER = _DefaultRecordBatchPy.HEADER_STRUCT
_ATTRIBUTES_AT, _COUNT_AT = 21, 57
_CODEC_MASK = 0x07
_VARINT_BYTES_MAX = 10
_NULL = b"\x01"
"""The length -1, as a varint."""

Batch = bytes | memoryview
"""The bytes of one, with its header."""


class OmittedValue(bytes):
    """Stands for a value that was too large to hold, or could not be read."""

    omission: Omission


@dataclass
class Budget:
    """What the polls of one consumer may still take, in bytes."""

    left: int = POLL_BYTES_MAX


budget: ContextVar[Budget | None] = ContextVar("budget", default=None)
"""Of the poll that runs now, over all partitions; without one, each partition has its own."""


class _Limits:
    """Of this process."""

    record_kept_bytes = RECORD_KEPT_BYTES_MIN


def read_in_steps(record_bytes_max: int = RECORD_KEPT_BYTES_MIN) -> None:
    """From now on every consumer of this process reads in bounded steps."""
    _Limits.record_kept_bytes = max(record_bytes_max, RECORD_KEPT_BYTES_MIN)
    fetcher.MemoryRecords = _Records
    fetcher.FetchResult = _FetchResult


def pending_bytes(result: object) -> int:
    """The packed bytes that a partition's fetched records occupy."""
    records = getattr(result, "_partition_records", None)
    return 0 if records is None else int(records._records.size_in_bytes())  # noqa: SLF001


def bound_fetches(consumer: AIOKafkaConsumer) -> None:
    """Fetch nothing more while large batches are held: each may be as large as its topic allows.

    What was fetched of a paused partition is given up, or it would stand in the way of others.
    """
    inner = consumer._fetcher  # noqa: SLF001
    stock = inner._get_actions_per_node  # noqa: SLF001

    def actions(assignment: Any) -> tuple[Any, ...]:  # noqa: ANN401 - the library's
        held = inner._records  # noqa: SLF001
        for topic_partition in [
            topic_partition for topic_partition in held if _is_paused(assignment, topic_partition)
        ]:
            _give_up(held.pop(topic_partition))
        requests, *others = stock(assignment)
        large = sum(max(0, pending_bytes(result) - FETCH_BYTES_MAX) for result in held.values())
        return ([] if large >= LARGE_BATCHES_BYTES_MAX else requests, *others)

    inner._get_actions_per_node = actions  # noqa: SLF001


def _is_paused(assignment: Any, topic_partition: TopicPartition) -> bool:  # noqa: ANN401 - the library's
    state = assignment.state_value(topic_partition)
    return state is not None and bool(state.paused)


def _give_up(result: Any) -> None:  # noqa: ANN401 - the library's
    """The iterator and its owner refer to one another: they would wait for the collector."""
    records = getattr(result, "_partition_records", None)
    if records is not None:
        records._records_iterator = None  # noqa: SLF001


class _FetchResult(fetcher.FetchResult):  # type: ignore[misc]
    """The fetched records of a partition; a poll takes a bounded number of bytes of them."""

    _partition_records: Any
    """None once they are read to their end."""

    def getall(self, max_records: int | None = None) -> list[ConsumerRecord]:
        """The next records. Those that do not fit into the poll stay here."""
        now = budget.get() or Budget()
        if now.left <= 0 or not self.has_more():
            return []
        if not self.check_assignment(self._topic_partition):
            return []
        taken: list[ConsumerRecord] = []
        for record in islice(self._partition_records, max_records):
            taken.append(record)
            now.left -= record.serialized_key_size + record.serialized_value_size
            for name, text in record.headers:
                now.left -= HEADER_BYTES + len(name) + len(text or b"")
            if now.left <= 0:
                break
        else:
            if max_records is None or len(taken) < max_records:
                self._update_position()
                self._partition_records = None
                return taken
        self._update_position()
        return taken


class _Records:
    """Stands in for the library's `MemoryRecords`: one partition's part of a fetch response."""

    def __init__(self, data: bytes) -> None:
        self._slices = _MemoryRecordsPy(data)

    def size_in_bytes(self) -> int:
        return self._slices.size_in_bytes()  # type: ignore[no-any-return]

    def has_next(self) -> bool:
        return self._slices.has_next()  # type: ignore[no-any-return]

    def next_batch(self) -> Any:  # noqa: ANN401 - the library's
        packed = self._slices._next_slice  # noqa: SLF001
        batch = self._slices.next_batch()
        if batch is None or not isinstance(batch, DefaultRecordBatch):
            return batch
        return _Batch(batch, packed)


class _Batch:
    """A batch as the library knows it, whose records are read portion by portion."""

    _unpacking: "_Batch | None" = None
    """The one batch of the process that is being unpacked (rule 3)."""

    def __init__(self, stock: Any, packed: memoryview) -> None:  # noqa: ANN401 - the library's
        self._stock = stock
        self._packed = packed
        self._stream: _Stream | None = None
        self._read = 0
        """How many of its records were read into portions."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the library's
        return getattr(self._stock, name)

    def __next__(self) -> Any:  # noqa: ANN401 - how a control batch's one record is looked at
        return next(self._stock)

    def __iter__(self) -> Iterator[Any]:
        last = self.base_offset - 1
        try:
            for portion in self._portions():
                try:
                    for record in portion.records():
                        last = record.offset
                        yield record if len(record.headers) <= HEADERS_MAX else _bare(record)
                except (UnicodeDecodeError, CorruptRecordException):
                    for record in portion.records_after(last):
                        last = record.offset
                        yield record if len(record.headers) <= HEADERS_MAX else _bare(record)
        except (UnpackError, CorruptRecordException) as error:
            yield from self._without_content(last, error)
        finally:
            self._pause()

    def _portions(self) -> "Iterator[_Portion]":
        count = int.from_bytes(self._packed[_COUNT_AT : _HEADER.size], "big", signed=True)
        if self._stock.compression_type == 0 and len(self._packed) <= PORTION_BYTES:
            yield _Portion(self._packed, count, None)
            return
        while self._read < count:
            stream = self._open()
            portion = self._next_portion(stream, count - self._read)
            self._read += portion.count
            if self._read == count:
                self._pause()
            yield portion

    def _open(self) -> "_Stream":
        """What is left to unpack; from the start again where another batch came in between."""
        if self._stream is None:
            if _Batch._unpacking is not None:
                _Batch._unpacking._pause()  # noqa: SLF001 - its own class
            _Batch._unpacking = self
            codec = self._stock.compression_type
            self._stream = _Stream(unpacked(codec, self._packed[_HEADER.size :]))
            for _ in range(self._read):
                self._stream.skip(self._stream.take_number())
        return self._stream

    def _pause(self) -> None:
        """Give up what is unpacked, not what was fetched."""
        self._stream = None
        if _Batch._unpacking is self:
            _Batch._unpacking = None

    def _next_portion(self, stream: "_Stream", count_max: int) -> "_Portion":
        held = stream.fill(PORTION_BYTES)
        if held < PORTION_BYTES:
            return self._portion(count_max, stream.take(held))
        count, size = stream.whole_records(count_max)
        if count:
            return self._portion(count, stream.take(size))
        length = stream.take_number()
        if length < 0:
            raise UnpackError("A record in it has a negative length.")
        is_held = length <= _Limits.record_kept_bytes and stream.fill(length) >= length
        if is_held and stream.header_count() <= HEADERS_MAX:
            return self._portion(1, _varint(length) + stream.take(length))
        return self._too_large(length, stream)

    def _portion(self, count: int, records: bytes, omission: Omission | None = None) -> "_Portion":
        header = bytearray(self._packed[: _HEADER.size])
        header[_ATTRIBUTES_AT + 1] &= ~_CODEC_MASK
        header[_COUNT_AT:] = count.to_bytes(4, "big")
        return _Portion(b"".join((header, records)), count, omission)

    def _too_large(self, length: int, stream: "_Stream") -> "_Portion":
        """The record without its value; without key or headers too, where those are large."""
        end = stream.position + length
        stamps = stream.take_stamps()
        key = stream.take_field(LARGE_RECORD_BYTES)
        value_bytes = stream.skip_field()
        left = end - stream.position
        headers = stream.take(left) if left <= LARGE_RECORD_BYTES else None
        if headers is None:
            stream.skip(left)
        elif _number(headers, 0)[0] > HEADERS_MAX:
            headers = None
        omitted = {"value": value_bytes >= 0, "key": key is None, "headers": headers is None}
        content = b"".join((stamps, key or _NULL, _NULL, headers or b"\x00"))
        omission = Omission(
            "too_large",
            f"The record has {length} bytes, {max(0, value_bytes)} of them its value. The service "
            f"holds at most {_Limits.record_kept_bytes} bytes and {HEADERS_MAX} headers of one.",
            tuple(part for part, is_omitted in omitted.items() if is_omitted),
        )
        return self._portion(1, _varint(len(content)) + content, omission)

    def _without_content(self, last: int, error: Exception) -> "Iterator[_Record]":
        omission = Omission(
            "too_large" if getattr(error, "is_too_large", False) else "invalid_event",
            f"The batch of the record cannot be read. {error}",
            ("value", "key", "headers"),
        )
        for offset in range(last + 1, self.next_offset):
            yield _Record(offset, self.max_timestamp, 0, None, omission, [])


class _Record:
    """A record without its value, with the attributes that the library asks for."""

    __slots__ = ("checksum", "headers", "key", "offset", "timestamp", "timestamp_type", "value")

    def __init__(
        self,
        offset: int,
        timestamp: int,
        timestamp_type: int,
        key: bytes | None,
        omission: Omission,
        headers: list[tuple[str, bytes | None]],
    ) -> None:
        self.offset = offset
        self.timestamp = timestamp
        self.timestamp_type = timestamp_type
        self.key = key
        self.value = OmittedValue()
        self.value.omission = omission
        self.headers = headers
        self.checksum = None


def _bare(record: Any) -> _Record:  # noqa: ANN401 - the library's
    """The record without its value and its headers, of which there are too many."""
    omission = Omission(
        "too_large",
        f"The record has {len(record.headers)} headers. The service holds at most {HEADERS_MAX} "
        "headers of one.",
        ("headers",) if record.value is None else ("value", "headers"),
    )
    return _Record(record.offset, record.timestamp, record.timestamp_type, record.key, omission, [])


class _Portion:
    """Some whole records of a batch, as a batch that is not compressed."""

    def __init__(self, batch: Batch, count: int, omission: Omission | None) -> None:
        self._batch = batch
        self.count = count
        self._omission = omission

    def records(self) -> Iterable[Any]:
        """Its records, by the library's quick reader."""
        if self._omission is None:
            return DefaultRecordBatch(self._batch)  # type: ignore[no-any-return]
        return [
            _Record(
                one.offset, one.timestamp, one.timestamp_type, one.key, self._omission, one.headers
            )
            for one in read_carefully(self._batch)
        ]  # fmt: skip

    def records_after(self, last: int) -> Iterator[Any]:
        """Those above an offset, where the quick reader failed: once more, with care."""
        return (one for one in read_carefully(self._batch) if one.offset > last)


class _Stream:
    """Unpacked bytes, read in order; only some pieces of them are held."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""
        self._at = 0
        self._behind = 0
        """Bytes that were read and are held no more."""

    @property
    def position(self) -> int:
        """How many bytes were read."""
        return self._behind + self._at

    def fill(self, count: int) -> int:
        """Hold the next bytes, so many or more, or what is left; how many they are."""
        have = len(self._held) - self._at
        if have < count:
            parts = [self._held[self._at :]] if have else []
            for piece in self._pieces:
                parts.append(piece)
                have += len(piece)
                if have >= count:
                    break
            self._behind += self._at
            self._held, self._at = b"".join(parts), 0
        return have

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            UnpackError: there are not so many.
        """
        if count < 0 or self.fill(count) < count:
            raise UnpackError("A record in it ends too early.")
        begin = self._at
        self._at += count
        return self._held[begin : self._at]

    def skip(self, count: int) -> None:
        """Pass over the next bytes, without holding them.

        Raises:
            UnpackError: there are not so many.
        """
        left = count - self.fill(1)
        while left > 0:
            self._behind += len(self._held)
            self._held, self._at = b"", 0
            left -= (more := self.fill(1))
            if not more:
                raise UnpackError("A record in it ends too early.")
        self._at = len(self._held) + min(left, 0)

    def take_number(self) -> int:
        """The next varint."""
        self.fill(_VARINT_BYTES_MAX)
        number, self._at = _number(self._held, self._at)
        return number

    def whole_records(self, count_max: int) -> tuple[int, int]:
        """How many of the next records are held whole, and their bytes; up to a large one."""
        held, end = self._held, len(self._held)
        at = self._at
        count = 0
        while count < count_max and at < end:
            byte = held[at]
            if byte < 0x80:
                length, content = byte >> 1, at + 1
            elif at + 1 < end and held[at + 1] < 0x80:
                length, content = (byte & 0x7F | held[at + 1] << 7) >> 1, at + 2
            elif end - at < _VARINT_BYTES_MAX:
                break
            else:
                length, content = _number(held, at)
            if not 0 <= length <= LARGE_RECORD_BYTES or content + length > end:
                break
            at = content + length
            count += 1
        return count, at - self._at

    def take_stamps(self) -> bytes:
        """The bytes of a record before its key: attributes, time and offset."""
        self.fill(3 * _VARINT_BYTES_MAX)
        end = self._at + 1
        for _ in range(2):
            _, end = _number(self._held, end)
        return self.take(end - self._at)

    def header_count(self) -> int:
        """How many headers the next record has, which is held whole."""
        at = self._at + 1
        for _ in range(2):
            _, at = _number(self._held, at)
        for _ in range(2):
            length, at = _number(self._held, at)
            at += max(0, length)
        return _number(self._held, at)[0]

    def take_field(self, bytes_max: int) -> bytes | None:
        """A key with its length before it; None for a larger one, which is passed over."""
        length = self.take_number()
        if length > bytes_max:
            self.skip(length)
            return None
        return _varint(length) + self.take(max(0, length))

    def skip_field(self) -> int:
        """Pass over a value; its length, -1 for none."""
        length = self.take_number()
        self.skip(max(0, length))
        return length


def _number(held: bytes, at: int) -> tuple[int, int]:
    """The varint at a place, and where it ends."""
    try:
        byte = held[at]
        at += 1
        value = byte & 0x7F
        shift = 7
        while byte & 0x80:
            byte = held[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
    except IndexError:
        raise UnpackError("A record in it ends too early.") from None
    return (value >> 1) ^ -(value & 1), at


def _varint(number: int) -> bytes:
    zigzag = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while zigzag > 0x7F:
        encoded.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes((*encoded, zigzag))
