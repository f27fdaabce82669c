"""Contract tests of `OutcomeLog`, on the log in memory and on the log on Kafka."""

import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import msgspec
import pytest
from msgspec.structs import replace

from service.adapters.kafka.aiokafka_gaps.committed_positions import stable_committed
from service.adapters.kafka.transaction import TransactionLog
from service.core.facts import DeadLettersTruncated, Fact
from service.core.inputs import ChangesRefused, CommitRefusal
from service.core.model import Headers, Partition
from service.core.records import ChangeRecord, LogRecord, PositionCommit, Transaction
from service.ports import FatalError, OutcomeLog
from service.settings import KafkaSettings
from tests.support.group import group_of_one
from tests.support.memory import MemoryLog

RECORD_BYTES_MAX = 20_000

Stored = tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


@dataclass
class LogUnderTest:
    """A log, and what a reader of its topics finds."""

    log: OutcomeLog
    partition: Partition
    outcomes: Callable[[], Awaitable[list[Stored]]]
    dead_letters: Callable[[], Awaitable[list[Stored]]]
    changes: Callable[[], Awaitable[list[Stored]]]
    position: Callable[[], Awaitable[PositionCommit | None]]
    fence: Callable[[], None]
    """Make the owner of the log a member of an old generation."""
    unfence: Callable[[], None]


@contextlib.asynccontextmanager
async def in_memory() -> AsyncIterator[LogUnderTest]:
    """The log in memory."""
    log = MemoryLog(record_bytes_max=RECORD_BYTES_MAX)
    partition = Partition("events", 0)

    def stored(records: list[LogRecord]) -> Callable[[], Awaitable[list[Stored]]]:
        async def read() -> list[Stored]:
            return [(record.key, record.value, record.headers) for record in records]

        return read

    async def position() -> PositionCommit | None:
        return log.positions.get(partition)

    yield LogUnderTest(
        log,
        partition,
        stored(log.outcomes),
        stored(log.dead_letters),
        stored(log.changes),
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
) -> AsyncIterator[LogUnderTest]:
    """The log on Kafka."""
    limit = {"max.message.bytes": str(record_bytes_max)}
    of_dead = {"max.message.bytes": str(dead_bytes_max or record_bytes_max)}
    async with group_of_one(bootstrap, dead_configs=of_dead, **limit) as group:
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
            group.changes,
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

        yield LogUnderTest(
            log,
            Partition(group.events, 0),
            stored(group.outcomes),
            stored(group.dead),
            stored(group.changes),
            position,
            fence=lambda: setattr(log, "group", member._replace(generation=0)),
            unfence=lambda: setattr(log, "group", member),
        )
        await log.stop()


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[LogUnderTest]:
    """Run each test on both logs."""
    if request.param == "memory":
        async with in_memory() as made:
            yield made
    else:
        async with on_kafka(request.getfixturevalue("bootstrap")) as made:
            yield made


def transaction(
    case: LogUnderTest,
    *values: bytes,
    position: int = 1,
    metadata: str = "",
    dead: bytes = b"\x00raw",
) -> Transaction:
    """A transaction with outcomes of these values, one dead letter and one position."""
    outcomes = tuple(
        LogRecord(b"packshots/a", value, (("ce_id", b"x"), ("empty", None))) for value in values
    )
    dead_letter = LogRecord(None, dead, (("theirs", b"\xff"), ("dlq.reason", b"undecodable")))
    positions = {case.partition: PositionCommit(position, metadata)}
    return Transaction(outcomes, (dead_letter,), positions)


async def test_a_transaction_is_written_whole(case: LogUnderTest) -> None:
    """It has outcomes in order, dead letters byte for byte, and the position with its map."""
    written = transaction(case, b"1", b"2", b"3", position=7, metadata="as1:AA==")

    assert await case.log.write(written) is None

    headers = (("ce_id", b"x"), ("empty", None))
    assert await case.outcomes() == [
        (b"packshots/a", value, headers) for value in (b"1", b"2", b"3")
    ]
    dead_letter = (None, b"\x00raw", (("theirs", b"\xff"), ("dlq.reason", b"undecodable")))
    assert await case.dead_letters() == [dead_letter]
    assert await case.position() == PositionCommit(7, "as1:AA==")


def change(case: LogUnderTest, value: bytes) -> ChangeRecord:
    """A change event with this value."""
    return ChangeRecord(b"packshots/a", value, (("content-type", b"x"),), case.partition, 0)


async def test_changes_are_written_with_all_the_rest(case: LogUnderTest) -> None:
    """They go to a topic of their own, in order."""
    written = replace(transaction(case, b"1"), changes=(change(case, b"a"), change(case, b"b")))

    assert await case.log.write(written) is None

    assert [(key, value) for key, value, _ in await case.changes()] == [
        (b"packshots/a", b"a"),
        (b"packshots/a", b"b"),
    ]
    assert [value for _, value, _ in await case.outcomes()] == [b"1"]
    assert await case.position() == PositionCommit(1, "")


async def test_changes_that_are_too_large_are_refused_by_their_number(case: LogUnderTest) -> None:
    """Nothing of the transaction is written; the rest can be written without them."""
    large = random.Random(6).randbytes(3 * RECORD_BYTES_MAX)
    changes = tuple(change(case, value) for value in (b"a", large, b"b", large))
    written = replace(transaction(case, b"1"), changes=changes)

    assert await case.log.write(written) == ChangesRefused(frozenset({1, 3}))
    assert (await case.outcomes(), await case.changes()) == ([], [])
    assert await case.position() is None

    rest = replace(written, changes=(changes[0], changes[2]))
    assert await case.log.write(rest) is None
    assert [value for _, value, _ in await case.changes()] == [b"a", b"b"]


async def test_a_fenced_owner_writes_nothing(case: LogUnderTest) -> None:
    """It writes no outcome, dead letter or position until it is a member again."""
    case.fence()
    assert await case.log.write(transaction(case, b"zombie")) is CommitRefusal.FENCED
    assert (await case.outcomes(), await case.dead_letters()) == ([], [])
    assert await case.position() is None

    case.unfence()
    assert await case.log.write(transaction(case, b"member")) is None
    assert [value for _, value, _ in await case.outcomes()] == [b"member"]


async def test_too_large_a_map_is_refused_whole(case: LogUnderTest) -> None:
    """The same outcomes can be written with a shorter map."""
    refusal = await case.log.write(transaction(case, b"1", metadata="x" * 4097))
    again = await case.log.write(transaction(case, b"1", metadata="x" * 4096))

    assert (refusal, again) == (CommitRefusal.METADATA_TOO_LARGE, None)
    assert len(await case.outcomes()) == 1
    assert await case.position() == PositionCommit(1, "x" * 4096)


async def test_too_large_a_dead_letter_loses_its_value(case: LogUnderTest) -> None:
    """Its headers say so, and everything else in the transaction is written once."""
    large = random.Random(1).randbytes(3 * RECORD_BYTES_MAX)  # so that it cannot be compressed

    assert await case.log.write(transaction(case, b"1", dead=large)) is None
    assert await case.log.write(transaction(case, b"2", position=2)) is None

    first, second = await case.dead_letters()
    assert (first[1], second[1]) == (None, b"\x00raw")
    assert first[2][-1] == ("dlq.value.omitted", b"true")
    assert [value for _, value, _ in await case.outcomes()] == [b"1", b"2"]
    assert await case.position() == PositionCommit(2, "")


@pytest.mark.kafka
async def test_outcomes_that_are_too_large_together(bootstrap: str) -> None:
    """If the limit of the topic is below a batch, they are written one by one, in order."""
    async with on_kafka(bootstrap) as case:
        chance = random.Random(3)
        values = [chance.randbytes(9_000) for _ in range(8)]

        assert await case.log.write(transaction(case, *values)) is None

        assert [value for _, value, _ in await case.outcomes()] == values
        assert len(await case.dead_letters()) == 1


@pytest.mark.kafka
async def test_an_outcome_that_is_too_large_is_shortened(bootstrap: str) -> None:
    """It is written without the long parts that come from the event or the PIM."""
    async with on_kafka(bootstrap) as case:
        large = random.Random(4).randbytes(RECORD_BYTES_MAX).hex()
        data = {"status": "failed", "errors": [{"message": large}], "event": {"context": {"a": 1}}}
        value = msgspec.json.encode({"id": "events/0/1", "causationid": "e", "data": data})

        assert await case.log.write(transaction(case, b"{}", value)) is None

        (_, first, _), (_, second, headers) = await case.outcomes()
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
async def test_a_topic_that_is_too_small_for_any_outcome(bootstrap: str) -> None:
    """The service ends, and the error says what to set."""
    async with on_kafka(bootstrap, record_bytes_max=100) as case:
        with pytest.raises(FatalError, match=r"outcomes topic.* max\.message\.bytes to 81920"):
            await case.log.write(transaction(case, b'{"id": "events/0/1"}'))

        assert await case.outcomes() == []
        assert await case.dead_letters() == []


DLQ_HEADERS = (
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
ORIGINAL_HEADERS = (("a", b"1"), ("dlq.original.topic", b"of an earlier death"))


@pytest.mark.parametrize(
    ("dead", "key", "headers"),
    [
        (
            LogRecord(b"k", LARGE, (*ORIGINAL_HEADERS, *DLQ_HEADERS)),
            b"k",
            (*ORIGINAL_HEADERS, *DLQ_HEADERS, OMITTED["value"]),
        ),
        (
            LogRecord(b"k", b"v", (("a", LARGE), ("b", None), *DLQ_HEADERS)),
            b"k",
            (*DLQ_HEADERS, OMITTED["value"], OMITTED["headers"]),
        ),
        (
            LogRecord(None, None, (("a", LARGE), ("b", None), *DLQ_HEADERS)),
            None,
            (*DLQ_HEADERS, OMITTED["headers"]),
        ),
        (LogRecord(LARGE, None, DLQ_HEADERS), b"events/0/1", (*DLQ_HEADERS, OMITTED["key"])),
        (
            LogRecord(LARGE, LARGE, (("a", LARGE), ("b", LARGE), *DLQ_HEADERS)),
            b"events/0/1",
            (*DLQ_HEADERS, *OMITTED.values()),
        ),
    ],
    ids=["value", "headers", "headers of a tombstone", "key", "everything"],
)
async def test_a_dead_letter_is_truncated_until_it_fits(
    case: LogUnderTest, dead: LogRecord, key: bytes | None, headers: Headers
) -> None:
    """It loses only what it has to, and its headers say what is missing."""
    positions = {case.partition: PositionCommit(1, "")}

    assert await case.log.write(Transaction((), (dead,), positions)) is None

    assert await case.dead_letters() == [(key, None, headers)]


async def test_many_small_headers_are_left_out(case: LogUnderTest) -> None:
    """Their total size is too large."""
    original = tuple((f"header-{number}", b"x") for number in range(RECORD_BYTES_MAX // 8))
    dead = LogRecord(b"k", b"v", (*original, *DLQ_HEADERS))
    positions = {case.partition: PositionCommit(1, "")}

    assert await case.log.write(Transaction((), (dead,), positions)) is None

    (stored,) = await case.dead_letters()
    assert stored[2][-1] == ("dlq.headers.omitted", b"%d" % len(original))


@pytest.mark.kafka
@pytest.mark.parametrize("limit", [1000, 100])
async def test_a_tiny_dead_letter_topic_stops_nothing(bootstrap: str, limit: int) -> None:
    """The message is left out too; if that is not enough, only the outcome is written."""
    notes: list[Fact] = []
    async with on_kafka(bootstrap, dead_bytes_max=limit, note=notes.append) as case:
        dead = LogRecord(b"k", b"v", (("a", b"1"), *DLQ_HEADERS))
        positions = {case.partition: PositionCommit(1, "")}
        outcome = LogRecord(b"k", b"{}", ())

        assert await case.log.write(Transaction((outcome,), (dead,), positions)) is None

        stored = await case.dead_letters()
        assert len(await case.outcomes()) == 1
        assert await case.position() == PositionCommit(1, "")
    if limit == 100:
        assert stored == []
        assert notes[-1] == DeadLettersTruncated(1, 1)
    else:
        assert [(key, value, headers[-1]) for key, value, headers in stored] == [
            (b"events/0/1", None, ("dlq.message.omitted", b"true"))
        ]
        assert {note.name for note in notes} == {"dead_letters.truncated"}


async def test_a_record_without_key_and_value_is_dead_lettered(case: LogUnderTest) -> None:
    """A tombstone without a key does not name an asset; it becomes a dead letter like others."""
    nothing = LogRecord(None, None, (("dlq.reason", b"invalid_event"),))
    positions = {case.partition: PositionCommit(1, "")}

    assert await case.log.write(Transaction((), (nothing,), positions)) is None

    assert await case.dead_letters() == [(None, None, nothing.headers)]


async def test_small_dead_letters_survive_a_large_neighbour(case: LogUnderTest) -> None:
    """Only a record that is too large alone loses its value."""
    chance = random.Random(2)
    sizes = (9_000, 9_000, 3 * RECORD_BYTES_MAX, 9_000)
    dead = tuple(LogRecord(b"k", chance.randbytes(size), ()) for size in sizes)
    positions = {case.partition: PositionCommit(1, "")}

    assert await case.log.write(Transaction((), dead, positions)) is None

    stored = await case.dead_letters()
    assert [value is None for _, value, _ in stored] == [False, False, True, False]


@pytest.mark.kafka
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_every_compression_works_as_installed(bootstrap: str, codec: str) -> None:
    """The records are read as they were written."""
    async with on_kafka(bootstrap, compression=codec) as case:
        written = transaction(case, *[b"outcome" * 500] * 4)

        assert await case.log.write(written) is None

        assert [value for _, value, _ in await case.outcomes()] == [b"outcome" * 500] * 4
        assert len(await case.dead_letters()) == 1
