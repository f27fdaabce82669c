"""Which items of a dead raw record a replay treats (contract.md §7)."""

import pytest

from service.core.model import Asset, Headers, Origin, Partition, SourceRecord
from service.core.records import LogRecord
from service.core.settle.dead_letters import (
    DeadLetter,
    LeftOut,
    ReplayOptions,
    read_dead_letter,
    replayed,
)
from service.core.settle.raw_letters import RawItems
from service.mapping.results import Ended
from service.translation.replay import Replay, replay_of
from service.translation.report import SourceReporter
from tests.support.translation import NAMES

RAW = frozenset({"s3.raw"})
RULES = ReplayOptions(RAW, raw_topics=RAW)
BOOT, SHOE = Asset("packshots", "boot"), Asset("packshots", "shoe")


def buried(*parts: int, headers: Headers = ()) -> LogRecord:
    """The dead letter of the raw record s3.raw/3/12, of which these items died; none: the whole."""
    record = SourceRecord(Origin(Partition("s3.raw", 3), 12, 1), b"k", b"{}", headers, 1000)
    ends = [Ended(part, "rejected", "unmappable", "Why.") for part in parts or (None,)]
    return SourceReporter(NAMES).dead_letter(record, ends, Replay(), 0)


def letter(*parts: int) -> DeadLetter:
    """The same, as it is read from its topic."""
    dead = buried(*parts)
    return read_dead_letter((0, 7), dead.key, dead.value, dead.headers, 2000)


def items(*letters: DeadLetter, **later: str) -> RawItems:
    """What outcomes say: item 0 is the boot, item 2 the shoe; later changes by their causes."""
    found = RawItems.of(letters)
    found.add_end("s3.raw/3/12#0", BOOT)
    found.add_end("s3.raw/3/12#2", SHOE)
    found.add_end("s3.raw/3/99#0", Asset("packshots", "another"))
    for code, cause in later.items():
        found.add_applied(Asset("packshots", code), cause)
    return found


def remaining(dead: DeadLetter, found: RawItems, rules: ReplayOptions = RULES) -> object:
    """The items that are replayed, or why there is none."""
    left = found.remaining(dead, rules)
    return left.parts if isinstance(left, DeadLetter) else left


def test_a_dead_letter_names_the_outcome_of_each_item() -> None:
    """It is found by any of them, and shown by the first."""
    dead = letter(2, 17)

    assert dead.outcome_ids == ("s3.raw/3/12#2", "s3.raw/3/12#17")
    assert dead.outcome_id == "s3.raw/3/12#2"
    assert letter().outcome_ids == ("s3.raw/3/12",)


def test_only_the_assets_of_its_items_are_remembered() -> None:
    """The outcomes topic may have millions of others."""
    assert items(letter(0, 2)).assets() == {BOOT, SHOE}


@pytest.mark.parametrize(
    ("later", "left"),
    [
        ({}, (0, 2)),
        ({"boot": "s3.raw/3/13#0"}, (2,)),
        ({"BOOT": "s3.raw/3/13#0"}, (2,)),
        ({"boot": "s3.raw/3/13#5.1", "shoe": "s3.raw/3/14#0"}, "overtaken"),
        ({"boot": "s3.raw/3/11#0"}, (0, 2)),
        ({"boot": "s3.raw/4/13#0"}, (0, 2)),
        ({"boot": "other.raw/3/13#0"}, (0, 2)),
        ({"boot": "evt-9b15"}, (0, 2)),
        ({"boot": "s3.raw/3/13"}, (0, 2)),
    ],
    ids=[
        "nothing later",
        "one of them",
        "one of them, spelled differently",
        "all of them",
        "an earlier record",
        "another partition",
        "another topic",
        "an event of a DAM that sends changes",
        "a record of another kind",
    ],
)
def test_an_item_is_overtaken_by_a_later_record_of_its_partition(
    later: dict[str, str], left: object
) -> None:
    """Only the others are replayed."""
    dead = letter(0, 2)

    assert remaining(dead, items(dead, **later)) == left


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (RULES, "of an unknown asset"),
        (ReplayOptions(RAW, include_overtaken=True, raw_topics=RAW), (7,)),
        (ReplayOptions(RAW, raw_topics=RAW, read_back_topics=RAW), (7,)),
    ],
    ids=["as it is", "asked for", "read back"],
)
def test_an_item_without_a_known_asset(rules: ReplayOptions, left: LeftOut | tuple[int]) -> None:
    """It may undo something later, unless its source reads the asset's present state."""
    dead = letter(7)

    assert remaining(dead, items(dead), rules) == left


def test_a_record_that_died_as_a_whole_is_replayed_as_a_whole() -> None:
    """Nobody knows its assets, so it has to be asked for."""
    dead = letter()
    asked = ReplayOptions(RAW, include_overtaken=True, raw_topics=RAW)

    assert remaining(dead, items(dead)) == "of an unknown asset"
    assert remaining(dead, items(dead), asked) == ()


def test_the_replayed_record_asks_for_its_items_alone() -> None:
    """And replaces what an earlier replay asked for."""
    earlier = (("replay.parts", b"0,2,17"), ("replay.of", b"s3.raw/3/5#0"), ("a", b"1"))
    dead = buried(2, 17, headers=earlier)
    found = read_dead_letter((0, 7), dead.key, dead.value, dead.headers, 2000)

    again = replayed(found, dead.key, dead.value, dead.headers)

    assert again.headers == (
        ("a", b"1"),
        ("replay.of", b"s3.raw/3/12#2"),
        ("replay.count", b"1"),
        ("replay.parts", b"2,17"),
    )
    assert replay_of(again.headers) == Replay("s3.raw/3/12#2", "1", frozenset({2, 17}))
