"""Read fetched batches in bounded steps; aiokafka decompresses a whole batch of any size at once.

Private parts of aiokafka 0.14 that this file touches (docs/upgrading-aiokafka.md lists them too):
`fetcher.MemoryRecords`, `fetcher.FetchResult` and `fetcher.PartitionRecords` by name,
`FetchResult._partition_records`, `FetchResult._update_position`, `PartitionRecords._records`,
`PartitionRecords._records_iterator`, `PartitionRecords._consumer_record`, `Fetcher._records`,
`Fetcher._get_actions_per_node`, `_MemoryRecordsPy._next_slice`.

Rule 1: a batch is read in portions. Each portion is a small batch without compression, which the
library's own reader reads. An ordinary batch is one portion; then only the offset and the number of
headers of each record are checked here.
Rule 2: a record that is too large to keep in memory is delivered without its value. A batch that
cannot be decompressed delivers a record without content for each of its offsets. So no offset is
lost, and no partition is blocked.
Rule 3: the process decompresses at most one batch at a time. A batch that was interrupted is
decompressed from its start again when it is read on.
"""

from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from service.adapters.kafka.aiokafka_gaps.header_names import read_carefully
from service.adapters.kafka.aiokafka_gaps.unpacking import UnpackError, unpacked
from service.core.model import Omission, bytes_of

POLL_BYTES_MAX = 512 * 1024
"""Bytes of keys, values and headers of one poll; its last record may exceed the limit."""
FETCH_BYTES_MAX = 256 * 1024
"""Compressed bytes that are fetched and kept of each partition. A larger batch comes alone."""
RESPONSE_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of one fetch response, over all partitions; a larger first batch comes alone."""
LARGE_BATCHES_BYTES_MAX = 4 * 1024 * 1024
"""Bytes kept beyond each partition's `FETCH_BYTES_MAX`; above this limit nothing is fetched."""
FETCH_LIMITS: dict[str, Any] = {
    "max_partition_fetch_bytes": FETCH_BYTES_MAX,
    "fetch_max_bytes": RESPONSE_BYTES_MAX,
}
"""The options of a consumer for the limits on fetched bytes and on bytes of one response."""
PORTION_BYTES = 1024 * 1024
"""How many bytes of a batch are decompressed before their records are read."""
LARGE_RECORD_BYTES = 64 * 1024
"""A larger record is read alone, after its headers were counted.

That does not apply to a small batch, or to the end of a larger one, which is read as one portion.
A key or headers larger than this are left out of a record that is too large to keep.
"""
RECORD_KEPT_BYTES_MIN = 8 * 1024 * 1024
"""A record of up to this size, or `MAX_RECORD_BYTES`, becomes a dead letter with its value."""
HEADERS_MAX = 10_000
"""Headers of a record. A header without content takes 2 bytes in the record and 100 in memory.

The headers of a record in an ordinary portion are counted after they are read. They take at most
50 MB for a moment, which is less than docs/operations.md (Memory) counts for the JSON of one poll.
"""
HEADER_BYTES = 100
"""Memory that a header takes besides its name and content."""

_HEADER = _DefaultRecordBatchPy.HEADER_STRUCT
_ATTRIBUTES_AT, _COUNT_AT = 21, 57
_CODEC_MASK = 0x07
_VARINT_BYTES_MAX = 10
_NULL = b"\x01"
"""The length -1, as a varint."""

Batch = bytes | memoryview
"""The bytes of a batch, with its header."""


class OmittedValue(bytes):
    """Replaces a value that was too large to keep, or could not be read."""

    omission: Omission


@dataclass
class Budget:
    """The bytes that the current poll may still return, over all partitions."""

    left: int = POLL_BYTES_MAX


budget: ContextVar[Budget | None] = ContextVar("budget", default=None)
"""The budget of the current poll. Without one, each partition gets a budget of its own."""


class _Limits:
    """Limits that the settings of this process have set."""

    record_kept_bytes = RECORD_KEPT_BYTES_MIN


class FetchedRecord(msgspec.Struct, gc=False):
    """Replaces the library's `ConsumerRecord`, a frozen dataclass that takes 2 µs to create."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    size: int
    """Bytes of key, value and headers."""


def read_in_steps(record_bytes_max: int = RECORD_KEPT_BYTES_MIN) -> None:
    """Make every consumer of this process read in bounded steps."""
    _Limits.record_kept_bytes = max(record_bytes_max, RECORD_KEPT_BYTES_MIN)
    fetcher.MemoryRecords = _Records
    fetcher.FetchResult = _FetchResult
    fetcher.PartitionRecords = _PartitionRecords


def pending_bytes(result: object) -> int:
    """Return the compressed size of the fetched records of a partition, in bytes."""
    records = getattr(result, "_partition_records", None)
    return 0 if records is None else int(records._records.size_in_bytes())  # noqa: SLF001


def bound_fetches(consumer: AIOKafkaConsumer) -> None:
    """Make the consumer fetch nothing while it keeps large batches, and drop paused records.

    Each batch may be as large as its topic allows. Fetched records of a paused partition would
    delay the fetches of other partitions.
    """
    inner = consumer._fetcher  # noqa: SLF001
    stock = inner._get_actions_per_node  # noqa: SLF001

    def actions(assignment: Any) -> tuple[Any, ...]:  # noqa: ANN401 - the library's
        kept = inner._records  # noqa: SLF001
        for topic_partition in [
            topic_partition for topic_partition in kept if _is_paused(assignment, topic_partition)
        ]:
            _drop(kept.pop(topic_partition))
        requests, *others = stock(assignment)
        large = sum(max(0, pending_bytes(result) - FETCH_BYTES_MAX) for result in kept.values())
        return ([] if large >= LARGE_BATCHES_BYTES_MAX else requests, *others)

    inner._get_actions_per_node = actions  # noqa: SLF001


def _is_paused(assignment: Any, topic_partition: TopicPartition) -> bool:  # noqa: ANN401 - the library's
    state = assignment.state_value(topic_partition)
    return state is not None and bool(state.paused)


def _drop(result: Any) -> None:  # noqa: ANN401 - the library's
    """Break the reference cycle of the records and their iterator, to free their memory at once."""
    records = getattr(result, "_partition_records", None)
    if records is not None:
        records._records_iterator = None  # noqa: SLF001


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """The fetched records of a partition, in order."""

    def __iter__(self) -> Iterator[FetchedRecord]:
        return self._records_iterator  # type: ignore[no-any-return]  # without a step for each

    def _consumer_record(self, at: TopicPartition, record: Any) -> FetchedRecord:  # noqa: ANN401 - the library's
        headers = tuple(record.headers)
        key, value = record.key, record.value
        size = bytes_of(key, value, headers)
        timestamp = record.timestamp
        return FetchedRecord(
            at.topic, at.partition, record.offset, timestamp, key, value, headers, size
        )


class _FetchResult(fetcher.FetchResult):  # type: ignore[misc]
    """The fetched records of a partition, of which a poll takes a bounded number of bytes."""

    _partition_records: Any
    """None after all of them were read."""

    def getall(self, max_records: int | None = None) -> list[FetchedRecord]:
        """Return the next records that fit into the poll, and keep the others."""
        poll = budget.get() or Budget()
        if poll.left <= 0 or not self.has_more():
            return []
        if not self.check_assignment(self._topic_partition):
            return []
        taken: list[FetchedRecord] = []
        for record in islice(self._partition_records, max_records):
            taken.append(record)
            poll.left -= record.size + HEADER_BYTES * len(record.headers)
            if poll.left <= 0:
                break
        else:
            if max_records is None or len(taken) < max_records:
                self._update_position()
                self._partition_records = None
                return taken
        self._update_position()
        return taken


class _Records:
    """Replaces the library's `MemoryRecords`, a partition's part of a fetch response."""

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
    """A batch with the library's interface, whose records are read portion by portion."""

    _unpacking: "_Batch | None" = None
    """The one batch of the process that is being decompressed (rule 3)."""

    def __init__(self, stock: Any, packed: memoryview) -> None:  # noqa: ANN401 - the library's
        self._stock = stock
        self._packed = packed
        self._stream: _Stream | None = None
        self._read = 0
        """How many records of the batch were read into portions."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the library's
        return getattr(self._stock, name)

    def __next__(self) -> Any:  # noqa: ANN401 - the library reads control batches by it
        return next(self._stock)

    def __iter__(self) -> Iterator[Any]:
        last = self.base_offset - 1
        try:
            for portion in self._portions():
                try:
                    for record in portion.records():
                        last = record.offset
                        yield record if len(record.headers) <= HEADERS_MAX else _stripped(record)
                except (UnicodeDecodeError, CorruptRecordException):
                    for record in portion.records_after(last):
                        last = record.offset
                        yield record if len(record.headers) <= HEADERS_MAX else _stripped(record)
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
        """Return the stream at the next record; restart it if another batch was read in between."""
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
        """Drop the decompressed bytes, but keep the fetched ones."""
        self._stream = None
        if _Batch._unpacking is self:
            _Batch._unpacking = None

    def _next_portion(self, stream: "_Stream", count_max: int) -> "_Portion":
        buffered = stream.fill(PORTION_BYTES)
        if buffered < PORTION_BYTES:
            return self._portion(count_max, stream.take(buffered))
        count, size = stream.whole_records(count_max)
        if count:
            return self._portion(count, stream.take(size))
        length = stream.take_number()
        if length < 0:
            raise UnpackError("A record in it has a negative length.")
        is_kept = length <= _Limits.record_kept_bytes and stream.fill(length) >= length
        if is_kept and stream.header_count() <= HEADERS_MAX:
            return self._portion(1, _varint(length) + stream.take(length))
        return self._too_large(length, stream)

    def _portion(self, count: int, records: bytes, omission: Omission | None = None) -> "_Portion":
        header = bytearray(self._packed[: _HEADER.size])
        header[_ATTRIBUTES_AT + 1] &= ~_CODEC_MASK
        header[_COUNT_AT:] = count.to_bytes(4, "big")
        return _Portion(b"".join((header, records)), count, omission)

    def _too_large(self, length: int, stream: "_Stream") -> "_Portion":
        """Return the record without its value, and without key and headers if those are large."""
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
            f"The record has {length} bytes, {max(0, value_bytes)} of them in its value. The "
            f"service keeps at most {_Limits.record_kept_bytes} bytes and {HEADERS_MAX} headers.",
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
            yield _Record(offset, self.max_timestamp, None, omission, [])


class _Record:
    """A record without its value, with the attributes that are read of the library's records."""

    __slots__ = ("headers", "key", "offset", "timestamp", "value")

    def __init__(
        self,
        offset: int,
        timestamp: int,
        key: bytes | None,
        omission: Omission,
        headers: list[tuple[str, bytes | None]],
    ) -> None:
        self.offset = offset
        self.timestamp = timestamp
        self.key = key
        self.value = OmittedValue()
        self.value.omission = omission
        self.headers = headers


def _stripped(record: Any) -> _Record:  # noqa: ANN401 - the library's
    """Return the record without its value and without its headers, which are too many."""
    omission = Omission(
        "too_large",
        f"The record has {len(record.headers)} headers. The service keeps at most {HEADERS_MAX}.",
        ("headers",) if record.value is None else ("value", "headers"),
    )
    return _Record(record.offset, record.timestamp, record.key, omission, [])


class _Portion:
    """Some records of a batch, as an uncompressed batch."""

    def __init__(self, batch: Batch, count: int, omission: Omission | None) -> None:
        self._batch = batch
        self.count = count
        self._omission = omission

    def records(self) -> Iterable[Any]:
        """Return the records of the portion, by the library's reader in C."""
        if self._omission is None:
            return DefaultRecordBatch(self._batch)  # type: ignore[no-any-return]
        return [
            _Record(one.offset, one.timestamp, one.key, self._omission, one.headers)
            for one in read_carefully(self._batch)
        ]

    def records_after(self, last: int) -> Iterator[Any]:
        """Return the records above an offset by the reader in Python, if the one in C failed."""
        return (one for one in read_carefully(self._batch) if one.offset > last)


class _Stream:
    """Decompressed bytes, read in order, of which only some pieces are in memory."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = b""
        self._at = 0
        self._behind = 0
        """Bytes that were read and are no longer in memory."""

    @property
    def position(self) -> int:
        """The number of bytes that were read."""
        return self._behind + self._at

    def fill(self, count: int) -> int:
        """Buffer `count` bytes or more, or the rest; return how many bytes are buffered."""
        have = len(self._buffer) - self._at
        if have < count:
            parts = [self._buffer[self._at :]] if have else []
            for piece in self._pieces:
                parts.append(piece)
                have += len(piece)
                if have >= count:
                    break
            self._behind += self._at
            self._buffer, self._at = b"".join(parts), 0
        return have

    def take(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            UnpackError: fewer bytes are left.
        """
        if count < 0 or self.fill(count) < count:
            raise UnpackError("A record in it ends too early.")
        begin = self._at
        self._at += count
        return self._buffer[begin : self._at]

    def skip(self, count: int) -> None:
        """Skip the next bytes without buffering them.

        Raises:
            UnpackError: fewer bytes are left.
        """
        left = count - self.fill(1)
        while left > 0:
            self._behind += len(self._buffer)
            self._buffer, self._at = b"", 0
            left -= (more := self.fill(1))
            if not more:
                raise UnpackError("A record in it ends too early.")
        self._at = len(self._buffer) + min(left, 0)

    def take_number(self) -> int:
        """Read the next varint."""
        self.fill(_VARINT_BYTES_MAX)
        number, self._at = _number(self._buffer, self._at)
        return number

    def whole_records(self, count_max: int) -> tuple[int, int]:
        """Return number and size of the next records that are buffered, up to a large one."""
        buffer, end = self._buffer, len(self._buffer)
        at = self._at
        count = 0
        while count < count_max and at < end:
            byte = buffer[at]
            if byte < 0x80:
                length, content = byte >> 1, at + 1
            elif at + 1 < end and buffer[at + 1] < 0x80:
                length, content = (byte & 0x7F | buffer[at + 1] << 7) >> 1, at + 2
            elif end - at < _VARINT_BYTES_MAX:
                break
            else:
                length, content = _number(buffer, at)
            if not 0 <= length <= LARGE_RECORD_BYTES or content + length > end:
                break
            at = content + length
            count += 1
        return count, at - self._at

    def take_stamps(self) -> bytes:
        """Return the bytes of a record before its key: attributes, timestamp and offset."""
        self.fill(3 * _VARINT_BYTES_MAX)
        end = self._at + 1
        for _ in range(2):
            _, end = _number(self._buffer, end)
        return self.take(end - self._at)

    def header_count(self) -> int:
        """Return how many headers the next record has; it has to be buffered."""
        at = self._at + 1
        for _ in range(2):
            _, at = _number(self._buffer, at)
        for _ in range(2):
            length, at = _number(self._buffer, at)
            at += max(0, length)
        return _number(self._buffer, at)[0]

    def take_field(self, bytes_max: int) -> bytes | None:
        """Return a key with its length before it, or skip a larger key and return None."""
        length = self.take_number()
        if length > bytes_max:
            self.skip(length)
            return None
        return _varint(length) + self.take(max(0, length))

    def skip_field(self) -> int:
        """Skip a value, and return its length, or -1 for no value."""
        length = self.take_number()
        self.skip(max(0, length))
        return length


def _number(buffer: bytes, at: int) -> tuple[int, int]:
    """Return the varint at an index, and the index behind it."""
    try:
        byte = buffer[at]
        at += 1
        value = byte & 0x7F
        shift = 7
        while byte & 0x80:
            byte = buffer[at]
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
