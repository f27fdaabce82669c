"""`OutcomeLog`: the same suite on the one in memory and the one on Kafka."""

import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from service.adapters.kafka.fencing import stable_committed
from service.adapters.kafka.transaction import TransactionLog
from service.core.effects import LogRecord, PositionCommit, Settlement
from service.core.inputs import CommitRefusal
from service.core.model import Partition
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
async def on_kafka(bootstrap: str) -> AsyncIterator[Bench]:
    """The real one."""
    limit = {"max.message.bytes": str(RECORD_BYTES_MAX)}
    async with group_of_one(bootstrap, **limit) as group:
        log = TransactionLog(
            KafkaSettings.model_validate(
                {
                    "bootstrap_servers": bootstrap,
                    "group_id": group.name,
                    "events_topics": group.events,
                    "outcomes_topic": group.outcomes,
                    "dead_letters_topic": group.dead,
                }
            )
        )
        await log.start()
        member = log.group = group.member

        def stored(topic: str) -> Callable[[], Awaitable[list[Stored]]]:
            async def read() -> list[Stored]:
                found = await group.visible(topic)
                return [(record.key, record.value, tuple(record.headers)) for record in found]

            return read

        async def position() -> PositionCommit | None:
            found = (await stable_committed(group.consumer, [group.place])).get(group.place)
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


def settlement(
    bench: Bench, *values: bytes, position: int = 1, metadata: str = "", dead: bytes = b"\x00raw"
) -> Settlement:
    """Outcomes of these values, one dead letter, one position."""
    outcomes = tuple(
        LogRecord(b"packshots/a", value, (("ce_id", b"x"), ("empty", None))) for value in values
    )
    dead_letter = LogRecord(None, dead, (("theirs", b"\xff"), ("dlq.reason", b"undecodable")))
    positions = {bench.partition: PositionCommit(position, metadata)}
    return Settlement(outcomes, (dead_letter,), positions)


async def test_a_settlement_is_written_whole(bench: Bench) -> None:
    """Outcomes in order, dead letters byte for byte, the position with its map."""
    written = settlement(bench, b"1", b"2", b"3", position=7, metadata="as1:AA==")

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
    assert await bench.log.write(settlement(bench, b"zombie")) is CommitRefusal.FENCED
    assert (await bench.outcomes(), await bench.dead_letters()) == ([], [])
    assert await bench.position() is None

    bench.unfence()
    assert await bench.log.write(settlement(bench, b"member")) is None
    assert [value for _, value, _ in await bench.outcomes()] == [b"member"]


async def test_too_large_a_map_is_refused_whole(bench: Bench) -> None:
    """The same outcomes go again with a shorter one."""
    refusal = await bench.log.write(settlement(bench, b"1", metadata="x" * 4097))
    again = await bench.log.write(settlement(bench, b"1", metadata="x" * 4096))

    assert (refusal, again) == (CommitRefusal.METADATA_TOO_LARGE, None)
    assert len(await bench.outcomes()) == 1
    assert await bench.position() == PositionCommit(1, "x" * 4096)


async def test_too_large_a_dead_letter_loses_its_value(bench: Bench) -> None:
    """Its headers say so; everything else of the settlement is as ever, once."""
    large = random.Random(1).randbytes(3 * RECORD_BYTES_MAX)  # so that it cannot be compressed

    assert await bench.log.write(settlement(bench, b"1", dead=large)) is None
    assert await bench.log.write(settlement(bench, b"2", position=2)) is None

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

        assert await bench.log.write(settlement(bench, *values)) is None

        assert [value for _, value, _ in await bench.outcomes()] == values
        assert len(await bench.dead_letters()) == 1


@pytest.mark.kafka
async def test_an_outcome_that_is_too_large_by_itself(bootstrap: str) -> None:
    """Nothing can be promised: it ends, and says what to set."""
    async with on_kafka(bootstrap) as bench:
        large = random.Random(4).randbytes(3 * RECORD_BYTES_MAX)

        with pytest.raises(FatalError, match=r"outcomes topic.* max\.message\.bytes to 81920"):
            await bench.log.write(settlement(bench, large))

        assert await bench.outcomes() == []
        assert await bench.dead_letters() == []


async def test_a_record_without_key_and_value_is_buried(bench: Bench) -> None:
    """A tombstone without a key names no asset; it is a dead letter like any other."""
    nothing = LogRecord(None, None, (("dlq.reason", b"invalid_event"),))
    positions = {bench.partition: PositionCommit(1, "")}

    assert await bench.log.write(Settlement((), (nothing,), positions)) is None

    assert await bench.dead_letters() == [(None, None, nothing.headers)]


async def test_small_dead_letters_survive_a_large_neighbour(bench: Bench) -> None:
    """Only what is too large by itself loses its value."""
    chance = random.Random(2)
    sizes = (9_000, 9_000, 3 * RECORD_BYTES_MAX, 9_000)
    dead = tuple(LogRecord(b"k", chance.randbytes(size), ()) for size in sizes)
    positions = {bench.partition: PositionCommit(1, "")}

    assert await bench.log.write(Settlement((), dead, positions)) is None

    stored = await bench.dead_letters()
    assert [value is None for _, value, _ in stored] == [False, False, True, False]
