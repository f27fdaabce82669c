"""`OutcomeLog`: the same suite on the one in memory and the one on Kafka."""

import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import msgspec
import pytest

from service.adapters.kafka.aiokafka_gaps.fencing import stable_committed
from service.adapters.kafka.transaction import TransactionLog
from service.core.facts import DeadLettersTruncated, Fact
from service.core.inputs import CommitRefusal
from service.core.model import Headers, Partition
from service.core.records import LogRecord, PositionCommit, Transaction
from service.ports import FatalError, OutcomeLog
from service.settings import KafkaSettings
from tests.support.group import group_of_one
from tests.support.memory import MemoryLog

RECORD_BYTES_MAX = 20_000

Stored = tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


@dataclass
class Bench:
    """A log and what a reader finds."""

    log: OutcomeLog
    partition: Partition
    outcomes: Callable[[], Awaitable[list[Stored]]]
    dead_letters: Callable[[], Awaitable[list[Stored]]]
    position: Callable[[], Awaitable[PositionCommit | None]]
    fence: Callable[[], None]
    """From now on the log's owner is no member of the present generation."""
    unfence: Callable[[], None]


@contextlib.asynccontextmanager
async def in_memory() -> AsyncIterator[Bench]:
    """The fake."""
    log = MemoryLog(record_bytes_max=RECORD_BYTES_MAX)
    partition = Partition("events", 0)

    def stored(records: list[LogRecord]) -> Callable[[], Awaitable[list[Stored]]]:
        async def read() -> list[Stored]:
            return [(record.key, record.value, record.headers) for record in records]

        return read

    async def position() -> PositionCommit | None:
        return log.positions.get(partition)

    yield Bench(
        log,
        partition,
        stored(log.outcomes),
        stored(log.dead_letters),
        position,
        fence=lambda: setattr(log, "ours", 0),
        unfence=lambda: setattr(log, "ours", 1),
    )


@contextlib.asynccontextmanager
async def on_kafka(
    bootstrap: str,
    *,
    record_bytes_max: int = RECORD_BYTES_MAX,
    dead_bytes_max: int | None = None,
    note: Callable[[Fact], None] = lambda _: None,
    **settings: str,
) -> AsyncIterator[Bench]:
    """The real one."""
    limit = {"max.message.bytes": str(record_bytes_max)}
    async with group_of_one(bootstrap, **limit) as group:
        if dead_bytes_max is not None:
            await group.set_config(group.dead, "max.message.bytes", str(dead_bytes_max))
        log = TransactionLog(
            KafkaSettings.model_validate(
                {
                    "bootstrap_servers": bootstrap,
                    "group_id": group.name,
                    "events_topics": group.events,
                    "outcomes_topic": group.outcomes,
                    "dead_letters_topic": group.dead,
                    **settings,
                }
            ),
            note,
        )
        await log.start()
        member = log.group = group.member

        def stored(topic: str) -> Callable[[], Awaitable[list[Stored]]]:
            async def read() -> list[Stored]:
                found = await group.visible(topic)
                return [(record.key, record.value, tuple(record.headers)) for record in found]

            return read

        async def position() -> PositionCommit | None:
            found = (await stable_committed(group.consumer, [group.topic_partition])).get(
                group.topic_partition
            )
            return None if found is None else PositionCommit(found.offset, found.metadata)

        yield Bench(
            log,
            Partition(group.events, 0),
            stored(group.outcomes),
            stored(group.dead),
            position,
            fence=lambda: setattr(log, "group", member._replace(generation=0)),
            unfence=lambda: setattr(log, "group", member),
        )
        await log.stop()


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Each test twice."""
    if request.param == "memory":
        async with in_memory() as made:
            yield made
    else:
        async with on_kafka(request.getfixturevalue("bootstrap")) as made:
            yield made


def transaction(
    bench: Bench, *values: bytes, position: int = 1, metadata: str = "", dead: bytes = b"\x00raw"
) -> Transaction:
    """Outcomes of these values, one dead letter, one position."""
    outcomes = tuple(
        LogRecord(b"packshots/a", value, (("ce_id", b"x"), ("empty", None))) for value in values
    )
    dead_letter = LogRecord(None, dead, (("theirs", b"\xff"), ("dlq.reason", b"undecodable")))
    positions = {bench.partition: PositionCommit(position, metadata)}
    return Transaction(outcomes, (dead_letter,), positions)


async def test_a_settlement_is_written_whole(bench: Bench) -> None:
    """Outcomes in order, dead letters byte for byte, the position with its map."""
    written = transaction(bench, b"1", b"2", b"3", position=7, metadata="as1:AA==")

    assert await bench.log.write(written) is None

    headers = (("ce_id", b"x"), ("empty", None))
    assert await bench.outcomes() == [
        (b"packshots/a", value, headers) for value in (b"1", b"2", b"3")
    ]
    dead_letter = (None, b"\x00raw", (("theirs", b"\xff"), ("dlq.reason", b"undecodable")))
    assert await bench.dead_letters() == [dead_letter]
    assert await bench.position() == PositionCommit(7, "as1:AA==")


async def test_a_fenced_owner_writes_nothing(bench: Bench) -> None:
    """Neither outcome nor dead letter nor position; and it goes on once it is back."""
    bench.fence()
    assert await bench.log.write(transaction(bench, b"zombie")) is CommitRefusal.FENCED
    assert (await bench.outcomes(), await bench.dead_letters()) == ([], [])
    assert await bench.position() is None

    bench.unfence()
    assert await bench.log.write(transaction(bench, b"member")) is None
    assert [value for _, value, _ in await bench.outcomes()] == [b"member"]


async def test_too_large_a_map_is_refused_whole(bench: Bench) -> None:
    """The same outcomes go again with a shorter one."""
    refusal = await bench.log.write(transaction(bench, b"1", metadata="x" * 4097))
    again = await bench.log.write(transaction(bench, b"1", metadata="x" * 4096))

    assert (refusal, again) == (CommitRefusal.METADATA_TOO_LARGE, None)
    assert len(await bench.outcomes()) == 1
    assert await bench.position() == PositionCommit(1, "x" * 4096)


async def test_too_large_a_dead_letter_loses_its_value(bench: Bench) -> None:
    """Its headers say so; everything else of the settlement is as ever, once."""
    large = random.Random(1).randbytes(3 * RECORD_BYTES_MAX)  # so that it cannot be compressed

    assert await bench.log.write(transaction(bench, b"1", dead=large)) is None
    assert await bench.log.write(transaction(bench, b"2", position=2)) is None

    first, second = await bench.dead_letters()
    assert (first[1], second[1]) == (None, b"\x00raw")
    assert first[2][-1] == ("dlq.value.omitted", b"true")
    assert [value for _, value, _ in await bench.outcomes()] == [b"1", b"2"]
    assert await bench.position() == PositionCommit(2, "")


@pytest.mark.kafka
async def test_outcomes_that_are_too_large_together(bootstrap: str) -> None:
    """A topic whose limit is below a batch takes them one by one, in order."""
    async with on_kafka(bootstrap) as bench:
        chance = random.Random(3)
        values = [chance.randbytes(9_000) for _ in range(8)]

        assert await bench.log.write(transaction(bench, *values)) is None

        assert [value for _, value, _ in await bench.outcomes()] == values
        assert len(await bench.dead_letters()) == 1


@pytest.mark.kafka
async def test_an_outcome_that_is_too_large_is_shortened(bootstrap: str) -> None:
    """A topic that takes less than a whole outcome gets it without what others wrote at length."""
    async with on_kafka(bootstrap) as bench:
        large = random.Random(4).randbytes(RECORD_BYTES_MAX).hex()
        data = {"status": "failed", "errors": [{"message": large}], "event": {"context": {"a": 1}}}
        value = msgspec.json.encode({"id": "events/0/1", "causationid": "e", "data": data})

        assert await bench.log.write(transaction(bench, b"{}", value)) is None

        (_, first, _), (_, second, headers) = await bench.outcomes()
        assert first == b"{}"
        assert msgspec.json.decode(second or b"")["data"] == {
            "status": "failed",
            "errors": [],
            "event": {"context": None},
            "message": None,
            "origin": {"key": None},
            "pim": None,
            "errors_truncated": True,
        }
        assert headers == (("ce_id", b"x"), ("empty", None))


@pytest.mark.kafka
async def test_a_topic_that_takes_no_outcome_at_all(bootstrap: str) -> None:
    """Nothing can be promised: it ends, and says what to set."""
    async with on_kafka(bootstrap, record_bytes_max=100) as bench:
        with pytest.raises(FatalError, match=r"outcomes topic.* max\.message\.bytes to 81920"):
            await bench.log.write(transaction(bench, b'{"id": "events/0/1"}'))

        assert await bench.outcomes() == []
        assert await bench.dead_letters() == []


OURS = (
    ("dlq.original.topic", b"events"),
    ("dlq.original.partition", b"0"),
    ("dlq.original.offset", b"1"),
    ("dlq.message", b"m" * 1024),
    ("dlq.outcome.id", b"events/0/1"),
)
OMITTED = {
    "value": ("dlq.value.omitted", b"true"),
    "headers": ("dlq.headers.omitted", b"2"),
    "key": ("dlq.key.omitted", b"true"),
}
LARGE = random.Random(5).randbytes(3 * RECORD_BYTES_MAX)
THEIRS = (("a", b"1"), ("dlq.original.topic", b"of an earlier death"))


@pytest.mark.parametrize(
    ("dead", "key", "headers"),
    [
        (LogRecord(b"k", LARGE, (*THEIRS, *OURS)), b"k", (*THEIRS, *OURS, OMITTED["value"])),
        (
            LogRecord(b"k", b"v", (("a", LARGE), ("b", None), *OURS)),
            b"k",
            (*OURS, OMITTED["value"], OMITTED["headers"]),
        ),
        (
            LogRecord(None, None, (("a", LARGE), ("b", None), *OURS)),
            None,
            (*OURS, OMITTED["headers"]),
        ),
        (LogRecord(LARGE, None, OURS), b"events/0/1", (*OURS, OMITTED["key"])),
        (
            LogRecord(LARGE, LARGE, (("a", LARGE), ("b", LARGE), *OURS)),
            b"events/0/1",
            (*OURS, *OMITTED.values()),
        ),
    ],
    ids=["value", "headers", "headers of a tombstone", "key", "everything"],
)
async def test_a_dead_letter_is_cut_until_it_fits(
    bench: Bench, dead: LogRecord, key: bytes | None, headers: Headers
) -> None:
    """Only as far as needed, and its headers say what is missing."""
    positions = {bench.partition: PositionCommit(1, "")}

    assert await bench.log.write(Transaction((), (dead,), positions)) is None

    assert await bench.dead_letters() == [(key, None, headers)]


async def test_many_small_headers_are_left_out(bench: Bench) -> None:
    """It is their sum that counts."""
    theirs = tuple((f"header-{number}", b"x") for number in range(RECORD_BYTES_MAX // 8))
    dead = LogRecord(b"k", b"v", (*theirs, *OURS))
    positions = {bench.partition: PositionCommit(1, "")}

    assert await bench.log.write(Transaction((), (dead,), positions)) is None

    (stored,) = await bench.dead_letters()
    assert stored[2][-1] == ("dlq.headers.omitted", b"%d" % len(theirs))


@pytest.mark.kafka
@pytest.mark.parametrize("limit", [1000, 100])
async def test_a_tiny_dead_letter_topic_stops_nothing(bootstrap: str, limit: int) -> None:
    """The message goes too; where not even that is enough, the outcome says what there is."""
    notes: list[Fact] = []
    async with on_kafka(bootstrap, dead_bytes_max=limit, note=notes.append) as bench:
        dead = LogRecord(b"k", b"v", (("a", b"1"), *OURS))
        positions = {bench.partition: PositionCommit(1, "")}
        outcome = LogRecord(b"k", b"{}", ())

        assert await bench.log.write(Transaction((outcome,), (dead,), positions)) is None

        stored = await bench.dead_letters()
        assert len(await bench.outcomes()) == 1
        assert await bench.position() == PositionCommit(1, "")
    if limit == 100:
        assert stored == []
        assert notes[-1] == DeadLettersTruncated(1, 1)
    else:
        assert [(key, value, headers[-1]) for key, value, headers in stored] == [
            (b"events/0/1", None, ("dlq.message.omitted", b"true"))
        ]
        assert {note.name for note in notes} == {"dead_letters.truncated"}


async def test_a_record_without_key_and_value_is_buried(bench: Bench) -> None:
    """A tombstone without a key names no asset; it is a dead letter like any other."""
    nothing = LogRecord(None, None, (("dlq.reason", b"invalid_event"),))
    positions = {bench.partition: PositionCommit(1, "")}

    assert await bench.log.write(Transaction((), (nothing,), positions)) is None

    assert await bench.dead_letters() == [(None, None, nothing.headers)]


async def test_small_dead_letters_survive_a_large_neighbour(bench: Bench) -> None:
    """Only what is too large by itself loses its value."""
    chance = random.Random(2)
    sizes = (9_000, 9_000, 3 * RECORD_BYTES_MAX, 9_000)
    dead = tuple(LogRecord(b"k", chance.randbytes(size), ()) for size in sizes)
    positions = {bench.partition: PositionCommit(1, "")}

    assert await bench.log.write(Transaction((), dead, positions)) is None

    stored = await bench.dead_letters()
    assert [value is None for _, value, _ in stored] == [False, False, True, False]


@pytest.mark.kafka
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_every_compression_works_as_installed(bootstrap: str, codec: str) -> None:
    """What is written is read again, whole."""
    async with on_kafka(bootstrap, compression=codec) as bench:
        written = transaction(bench, *[b"outcome" * 500] * 4)

        assert await bench.log.write(written) is None

        assert [value for _, value, _ in await bench.outcomes()] == [b"outcome" * 500] * 4
        assert len(await bench.dead_letters()) == 1
