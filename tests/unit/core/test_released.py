"""What a release covers, and when it is forgotten (released.py)."""

import pytest

from service.core.inputs import Start
from service.core.limits import DecodeLimits, Limits
from service.core.model import Binding, Partition
from service.core.settle.ledger import Ledger
from service.core.settle.released import ReleasedRecords
from service.translation.backlog import Backlog

EVENTS, OTHER = Partition("events", 0), Partition("events", 1)
TOPIC, CREATED_AGAIN = Binding("group", "topic-id"), Binding("group", "another-id")
LIMITS = Limits(DecodeLimits(1_000))


def ledger(start: int, binding: Binding = TOPIC, partition: Partition = EVENTS) -> Ledger:
    """The ledger of an assignment of one partition that begins at this offset."""
    return Ledger({partition: Start(start, binding=binding)}, LIMITS)


def released(start: int = 100, end: int = 200) -> ReleasedRecords:
    """A release of the records below `end`, by a replica that had read none yet."""
    made = ReleasedRecords()
    made.cover(ledger(start), {EVENTS: end})
    return made


def test_it_covers_what_was_read_and_what_the_partition_has() -> None:
    """The ends may be those of a moment before the last records were read."""
    book = ledger(100)
    for offset in range(100, 150):
        book.admit(EVENTS, offset, 10)
    made = ReleasedRecords()
    made.cover(book, {EVENTS: 120})
    assert [made.has(EVENTS, offset) for offset in (149, 150)] == [True, False]
    made.cover(book, {EVENTS: 160})
    assert [made.has(EVENTS, offset) for offset in (159, 160)] == [True, False]
    assert not made.has(OTHER, 0)


@pytest.mark.parametrize("start", [100, 199])
def test_the_next_assignment_knows_of_it(start: int) -> None:
    """Whoever committed meanwhile; between two assignments nothing is known."""
    made = released()
    made.follow(Ledger({}, LIMITS))
    made.follow(ledger(start))

    assert made.has(EVENTS, 199)


@pytest.mark.parametrize(
    "book",
    [
        pytest.param(ledger(200), id="all is committed"),
        pytest.param(ledger(0), id="records were lost"),
        pytest.param(ledger(100, CREATED_AGAIN), id="the topic was created again"),
        pytest.param(ledger(0, partition=OTHER), id="another replica has the partition"),
        pytest.param(Backlog({EVENTS: Start(0, binding=TOPIC)}), id="records of translate"),
    ],
)
def test_it_is_forgotten_where_its_offsets_are_those_of_others(book: Ledger | Backlog) -> None:
    made = released()
    made.follow(book)

    assert not made
    assert not made.has(EVENTS, 150)


def test_records_may_be_lost_after_some_were_committed() -> None:
    """The watermark of the release is not the last one."""
    made = released()
    made.follow(ledger(150))
    made.follow(ledger(120))

    assert not made
