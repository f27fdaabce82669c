"""Reading what was fetched in bounded steps: the seams of aiokafka that `fetching` relies on.

The batches are built and read by the library itself; only bombs are built by hand.
"""

import contextlib
import gzip
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from types import SimpleNamespace
from typing import Any

import cramjam
import lz4.frame
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.kafka.aiokafka_gaps import fetching
from service.adapters.kafka.aiokafka_gaps.fetching import (
    Budget,
    OmittedValue,
    budget,
    read_in_steps,
)
from service.adapters.kafka.aiokafka_gaps.unpacking import PIECE_BYTES, UnpackError, unpacked

KIB, MIB = 1024, 1024 * 1024
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = (NONE, GZIP, SNAPPY, LZ4, ZSTD)
PLACE = TopicPartition("events", 0)

Headers = list[tuple[str, bytes | None]]
Content = tuple[bytes | None, bytes | None, Headers]


@pytest.fixture(autouse=True)
def in_steps() -> Iterator[None]:
    """Install the service's reader, and restore aiokafka's afterwards."""
    stock = fetcher.MemoryRecords, fetcher.FetchResult, fetcher.ConsumerRecord
    read_in_steps()
    yield
    fetcher.MemoryRecords, fetcher.FetchResult, fetcher.ConsumerRecord = stock


def batch(records: Sequence[Content], codec: int, base_offset: int = 100) -> bytes:
    """A batch, built by the library's producer."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=0, producer_id=-1, producer_epoch=-1,
        base_sequence=0, batch_size=1 << 30,
    )  # fmt: skip
    for offset, (key, value, headers) in enumerate(records):
        builder.append(offset=offset, timestamp=1000, key=key, value=value, headers=headers)
    built = bytearray(builder.build())
    built[:8] = base_offset.to_bytes(8, "big")
    return bytes(built)


def repacked(plain: bytes, codec: int, packed: bytes) -> bytes:
    """A batch with other compressed content, and its checksum."""
    header = _DefaultRecordBatchPy.HEADER_STRUCT
    built = bytearray(plain[: header.size] + packed)
    built[8:12] = (len(built) - 12).to_bytes(4, "big")
    built[21:23] = codec.to_bytes(2, "big")
    built[17:21] = calc_crc32c(bytes(built[21:])).to_bytes(4, "big")
    return bytes(built)


def read(records: Any, data: bytes) -> list[Any]:  # noqa: ANN401 - the library's and ours
    """Every record of a part of a fetch response."""
    found = records(data)
    read: list[Any] = []
    while found.has_next():
        one = found.next_batch()
        assert one.validate_crc()
        read += one
    return read


def plain(records: Sequence[Any]) -> list[tuple[object, ...]]:
    """The parts of records that tests compare."""
    return [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records]


CONTENTS: dict[str, list[Content]] = {
    "usual": [(b"k%d" % n, b"v" * n, [("h", b"x"), ("n", None)]) for n in range(300)],
    "empty": [(None, None, []), (b"", b"", []), (b"a", None, [("", None)])],
    "large": [
        (b"k", bytes([97 + n]) * size, []) for n, size in enumerate((9, 70_000, MIB, 3, MIB))
    ],
    "many": [(None, b"x", [])] * 60_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", CONTENTS)
def test_the_reader_agrees_with_the_library(name: str, codec: int) -> None:
    """Two batches are read alike with every codec."""
    data = batch(CONTENTS[name], codec) + batch(CONTENTS[name], codec, 10**6)
    assert plain(read(fetcher.MemoryRecords, data)) == plain(read(MemoryRecords, data))


BOMB: list[Content] = [(b"packshots/a", b"x" * MIB, [("h", b"y")])] * 60
"""60 MB that are compressed to nearly nothing."""


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_a_decompression_bomb_is_never_in_memory_whole(codec: int) -> None:
    """60 MB are read with a few MB in memory at a time."""
    data = batch(BOMB, codec)
    tracemalloc.start()
    try:
        found = fetcher.MemoryRecords(data)
        offsets = [record.offset for record in found.next_batch()]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert offsets == list(range(100, 160))
    assert peak < 8 * MIB


def raw(records: Sequence[Content]) -> bytes:
    """The records of a batch, without its header."""
    return batch(records, NONE)[_DefaultRecordBatchPy.HEADER_STRUCT.size :]


FRAMES: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip in two members": (
        GZIP,
        lambda data: gzip.compress(data[:999]) + gzip.compress(data[999:]),
    ),
    "raw snappy": (SNAPPY, lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "lz4 with linked blocks": (LZ4, lambda data: lz4.frame.compress(data, block_linked=True)),
    "lz4 in two frames": (
        LZ4,
        lambda data: lz4.frame.compress(data[:999]) + lz4.frame.compress(data[999:]),
    ),
    "zstd at its highest level": (ZSTD, lambda data: bytes(cramjam.zstd.compress(data, level=22))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAMES)
def test_other_frames_of_the_codecs(name: str) -> None:
    """24 MB are read as other producers write them."""
    codec, pack = FRAMES[name]
    records: list[Content] = [*BOMB[:23], (None, bytes(range(256)) * 4 * KIB, [])]
    data = repacked(batch(records, NONE), codec, pack(raw(records)))
    assert [record.value for record in read(fetcher.MemoryRecords, data)] == [r[1] for r in records]


@pytest.mark.slow
def test_a_window_that_is_too_large() -> None:
    """Every record is delivered: whole if it fits, otherwise without content."""
    data = repacked(batch(BOMB, NONE), ZSTD, bytes(cramjam.zstd.compress(raw(BOMB), level=22)))
    records = read(fetcher.MemoryRecords, data)
    assert [record.offset for record in records] == list(range(100, 160))
    whole = [record for record in records if record.value == BOMB[0][1]]
    bare = [record for record in records if type(record.value) is OmittedValue]
    assert 25 <= len(whole) < 32
    assert len(whole) + len(bare) == 60
    assert {record.value.omission.reason for record in bare} == {"too_large"}


@pytest.mark.parametrize("codec", CODECS)
def test_records_that_are_too_large_to_keep(codec: int) -> None:
    """They are delivered without value; key and headers are kept if they are not large."""
    many: Headers = [("", None)] * 50_000
    records: list[Content] = [
        (b"before", b"x", []),
        (b"value", b"x" * 20 * MIB, [("h", b"y")]),
        (b"k" * MIB, b"x" * 20 * MIB, []),
        (b"headers", b"x", many),
        (b"empty", b"", many),
        (b"none", None, many),
        (b"both", b"x" * 20 * MIB, many),
        (b"after", b"x", []),
    ]
    found = read(fetcher.MemoryRecords, batch(records, codec))
    assert [record.offset for record in found] == list(range(100, 108))
    assert [record.key for record in found] == [
        b"before", b"value", None, b"headers", b"empty", b"none", b"both", b"after"
    ]  # fmt: skip
    omitted = [getattr(record.value, "omission", None) for record in found]
    assert [one and one.parts for one in omitted] == [
        None,
        ("value",),
        ("value", "key"),
        ("value", "headers"),
        ("value", "headers"),
        ("headers",),
        ("value", "headers"),
        None,
    ]
    assert found[1].headers == [("h", b"y")]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("count", [20_000, 400_000])
def test_too_many_headers_in_an_ordinary_batch(count: int, codec: int) -> None:
    """The record is delivered without value and headers; its neighbours are whole."""
    many: Headers = [("", None)] * count
    records: list[Content] = [(b"a", b"x", []), (b"k", b"x", many), (b"t", None, many)]
    found = read(fetcher.MemoryRecords, batch([*records, (b"z", b"y", [])], codec))
    assert [(one.offset, one.key) for one in found] == [
        (100, b"a"), (101, b"k"), (102, b"t"), (103, b"z")
    ]  # fmt: skip
    assert [getattr(one.value, "omission", None) is None for one in found] == [
        True, False, False, True
    ]  # fmt: skip
    assert found[1].value.omission.parts == ("value", "headers")
    assert found[2].value.omission.parts == ("headers",)
    assert not found[1].headers


@given(st.sampled_from([NONE, ZSTD]), st.sampled_from([b"h", b"\xff"]), st.integers(0, 900))
def test_a_record_that_ends_too_early_is_not_read_as_whole(
    codec: int, name: bytes, size: int
) -> None:
    """Wherever a batch ends, each offset is delivered once, whole or without content."""
    records: list[Content] = [(b"k%d" % n, b"v" * n, [("h", b"y" * 9)]) for n in range(20)]
    cut = raw(records).replace(b"h", name)[:size]
    packed = cut if codec == NONE else bytes(cramjam.zstd.compress(cut))
    found = read(fetcher.MemoryRecords, repacked(batch(records, NONE), codec, packed))
    assert [one.offset for one in found] == list(range(100, 120))
    whole = [one for one in found if type(one.value) is not OmittedValue]
    assert found[: len(whole)] == whole
    assert [(one.key, one.value) for one in whole] == [r[:2] for r in records[: len(whole)]]
    assert {content for one in whole for _, content in one.headers} <= {b"y" * 9}


def test_a_damaged_batch_yields_each_offset() -> None:
    """The broker accepts it as its checksum is right; its offsets are not lost."""
    for codec in CODECS:
        good = batch(CONTENTS["usual"], codec)
        size = _DefaultRecordBatchPy.HEADER_STRUCT.size
        damaged = repacked(good, codec, good[size : size + (len(good) - size) // 2] + b"\xff" * 9)
        records = read(fetcher.MemoryRecords, damaged)
        assert [record.offset for record in records] == list(range(100, 400))
        assert records[-1].value.omission.reason == "invalid_event"
        assert records[-1].value.omission.parts == ("value", "key", "headers")


@pytest.mark.slow
def test_one_batch_at_a_time() -> None:
    """A second batch makes the first drop its decompressed bytes; neither loses a record."""
    first, second = (fetcher.MemoryRecords(batch(BOMB, ZSTD, base)) for base in (0, 100))
    one, other = first.next_batch(), second.next_batch()
    these, those = iter(one), iter(other)
    offsets: list[int] = []
    for turn in range(60):
        offsets += [next(these).offset, next(those).offset]
        assert (one._stream is None) or (other._stream is None), turn
    assert sorted(offsets) == [*range(60), *range(100, 160)]


def test_a_literal_of_any_length_is_unpacked() -> None:
    """Snappy's format allows one literal for a whole block, which its own encoders never write."""
    content = bytes(range(256)) * 4 * KIB
    length = b"\x80\x80\x40"
    literal = b"\xf8" + (len(content) - 1).to_bytes(3, "little") + content
    assert b"".join(unpacked(SNAPPY, memoryview(length + literal))) == content
    with pytest.raises(UnpackError, match="ends too early"):
        list(unpacked(SNAPPY, memoryview(length + literal[:-1])))


@pytest.mark.parametrize(("count_max", "counted"), [(2, 2), (3, 3), (4, 3)])
def test_records_that_fill_the_buffer_are_counted(count_max: int, counted: int) -> None:
    """Neither more than are asked for, nor beyond the last byte."""
    record = fetching._varint(5) + b"12345"
    stream = fetching._Stream(iter([record * 3]))
    stream.fill(1)
    assert stream.whole_records(count_max) == (counted, counted * len(record))


def test_no_more_is_unpacked_than_is_read() -> None:
    """A record that is buffered whole needs no further piece, which memory would have to hold."""
    pieces = iter([b"ab", b"cd"])
    stream = fetching._Stream(pieces)
    assert [stream.fill(2), stream.fill(2)] == [2, 2]
    assert next(pieces) == b"cd"


@given(st.integers(1, 4), st.binary(max_size=400))
def test_unpacking_is_total(codec: int, packed: bytes) -> None:
    """Any bytes yield pieces or raise `UnpackError`."""
    with contextlib.suppress(UnpackError):
        assert all(len(piece) <= PIECE_BYTES for piece in unpacked(codec, memoryview(packed)))


class Assignment:
    """The parts of aiokafka's assignment that a fetch result uses, for one partition."""

    active = True
    paused = False
    position = 100

    def state_value(self, _topic_partition: TopicPartition) -> "Assignment":
        """The state of the partition."""
        return self

    def consumed_to(self, position: int) -> None:
        """Move the position."""
        self.position = position


def fetched(data: bytes) -> Any:  # noqa: ANN401 - the library's
    """A fetch result, as the library's fetcher keeps it."""
    records = fetcher.PartitionRecords(
        PLACE,
        fetcher.MemoryRecords(data),
        [],
        100,
        None,
        None,
        check_crcs=True,
        isolation_level=fetcher.READ_COMMITTED,
    )
    return fetcher.FetchResult(PLACE, assignment=Assignment(), partition_records=records, backoff=0)


def test_a_poll_is_bounded_in_bytes() -> None:
    """The bound is for all partitions together; the next poll returns the rest."""
    results = [fetched(batch([(b"k", b"x" * 200 * KIB, [])] * 10, ZSTD)) for _ in range(3)]
    polls: list[list[int]] = []
    while any(result.has_more() for result in results):
        budget.set(Budget())
        polls.append([record.offset for one in results for record in one.getall(200)])
    assert max(map(len, polls)) == 3
    assert sorted(chain.from_iterable(polls)) == sorted([*range(100, 110)] * 3)


def test_headers_count_in_a_poll() -> None:
    """A header without name and content counts as 100 bytes, though the record has 2 for it."""
    budget.set(Budget())
    result = fetched(batch([(None, b"", [("", None)] * 5_000)] * 10, NONE))
    assert len(result.getall(200)) == 2


def test_polls_by_records() -> None:
    """The number of records is still bounded, and the last poll ends the fetch result."""
    budget.set(Budget())
    result = fetched(batch([(None, b"x", [])] * 5, NONE))
    assert [len(result.getall(2)) for _ in range(2)] == [2, 2]
    assert result.has_more()
    assert len(result.getall(2)) == 1
    assert not result.has_more()


class Pauses:
    """An assignment that knows which partitions are paused."""

    def __init__(self) -> None:
        self.paused: set[TopicPartition] = set()

    def state_value(self, topic_partition: TopicPartition) -> SimpleNamespace:
        """The state of a partition."""
        return SimpleNamespace(paused=topic_partition in self.paused)


class Fetcher:
    """The two parts of aiokafka's fetcher that `bound_fetches` uses."""

    def __init__(self) -> None:
        self._records: dict[TopicPartition, Any] = {}

    def _get_actions_per_node(self, _assignment: object) -> tuple[Any, ...]:
        return (["request"], {}, 0.2, False, [])


def test_nothing_is_fetched_while_large_batches_are_kept() -> None:
    """One batch of 5 MiB is enough, unless its partition is paused; a usual one does not count."""
    assignment = Pauses()
    consumer: Any = type("Consumer", (), {})()
    consumer._fetcher = Fetcher()
    fetching.bound_fetches(consumer)
    records = consumer._fetcher._records
    for number in range(100):
        records[TopicPartition("events", number)] = fetched(b"\0" * fetching.FETCH_BYTES_MAX)
    assert consumer._fetcher._get_actions_per_node(assignment)[0] == ["request"]
    records[PLACE] = fetched(b"\0" * 5 * MIB)
    assert consumer._fetcher._get_actions_per_node(assignment)[0] == []
    assignment.paused.add(PLACE)
    assert consumer._fetcher._get_actions_per_node(assignment)[0] == ["request"]
    assert PLACE not in records


async def test_the_fetcher_has_the_names_that_are_replaced() -> None:
    """A new version of the library may rename them."""
    consumer = AIOKafkaConsumer()
    assert fetcher.MemoryRecords is fetching._Records
    assert issubclass(fetcher.FetchResult, fetching._FetchResult)
    assert issubclass(fetcher.PartitionRecords, fetching._PartitionRecords)
    assert "_consumer_record" in vars(fetching._PartitionRecords.__base__)
    assert hasattr(fetcher.Fetcher, "_get_actions_per_node")
    assert consumer._fetcher is None
    await consumer.stop()
