"""Dead letters, from their burial to the record that a replay writes (contract.md §5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.model import Asset, Headers, Origin, Partition, Rejection, SourceRecord
from service.core.read.convert import convert
from service.core.read.decode import decode
from service.core.records import LogRecord
from service.core.settle.dead_letters import (
    Applied,
    DeadLetter,
    Filter,
    ReplayOptions,
    left_out,
    marker,
    read_dead_letter,
    read_marker,
    replayed,
    truncate_further,
)
from service.core.settle.report import Reporter
from tests.support.builders import LIMITS, plain

RULES = ReplayOptions(frozenset({"events"}))
NAMES = st.sampled_from(
    [
        "traceparent", "replay.of", "replay.count", "dlq.replayed", "dlq.value.omitted",
        "dlq.reason", "dlq.original.topic", "ce_type",
    ]
)  # fmt: skip
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=8))).map(tuple)


def bury(record: SourceRecord) -> LogRecord:
    """The dead letter that the service writes for a record that it rejects."""
    understood = decode(record, LIMITS)
    rejection = understood if isinstance(understood, Rejection) else convert(understood)
    assert isinstance(rejection, Rejection)
    dead = Reporter("/asset-sync/test").of_rejection(record, rejection, 1).dead_letter
    assert dead is not None
    return dead


def letter(dead: LogRecord, *, dead_lettered_utc_ms: int = 1000) -> DeadLetter:
    """The dead letter, read from the topic."""
    return read_dead_letter((2, 7), dead.key, dead.value, dead.headers, dead_lettered_utc_ms)


def bad(headers: Headers = (), offset: int = 41) -> SourceRecord:
    """A record of packshots/a whose values have a wrong shape."""
    value = plain(values={"n": {}}).value
    return SourceRecord(Origin(Partition("events", 3), offset, 0), b"k", value, headers, 5)


def test_it_tells_whose_it_is_and_why() -> None:
    """From its headers, and from the record itself."""
    found = letter(bury(bad()))
    assert found.outcome_id == "events/3/41"
    assert found.asset == Asset("packshots", "a")
    assert found.reason == "invalid_event"
    assert "has an object as its value" in found.message
    assert found.replay_count == 0
    assert found.lacks is None


DIGITS = ["9" * 5000, "9" * 19, "-1", "٣", "1e3", "", "0x1", " 1", "1_0"]


@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.parametrize(
    "name",
    ["replay.count", "dlq.attempts", "dlq.original.partition", "dlq.original.offset"],
)
def test_numbers_that_are_none_are_read(name: str, digits: str) -> None:
    """Anybody writes headers; thousands of digits ended in a traceback."""
    dead = bury(bad())
    headers = tuple(header for header in dead.headers if header[0] != name)
    found = read_dead_letter((2, 7), None, b"{}", (*headers, (name, digits.encode())), 0)
    assert (found.replay_count, found.attempts) == (0, 0)
    assert (found.origin is None) == name.startswith("dlq.original")
    assert dict(replayed(found, None, None, ()).headers)["replay.count"] == b"1"


@pytest.mark.parametrize("digits", DIGITS)
def test_marks_with_numbers_that_are_none_mark_nothing(digits: str) -> None:
    """Likewise."""
    assert read_marker((("dlq.replayed", f"{digits}/7".encode()),)) is None
    assert read_marker((("dlq.replayed", f"2/{digits}".encode()),)) is None


@given(headers=HEADERS, key=st.none() | st.binary(max_size=5))
def test_a_replay_is_what_came_whatever_headers_it_brought(
    headers: Headers, key: bytes | None
) -> None:
    """Key, value and headers; but for `dlq.*` and `replay.*`, which are ours to write."""
    source = SourceRecord(Origin(Partition("events", 3), 41, 0), key, b"{", headers, 5)
    dead = bury(source)
    found = letter(dead)
    again = replayed(found, dead.key, dead.value, dead.headers)

    assert found.outcome_id == "events/3/41"
    assert (again.key, again.value) == (key, b"{")
    foreign = [h for h in headers if not h[0].startswith(("dlq.", "replay."))]
    assert list(again.headers[:-2]) == foreign
    assert again.headers[-2] == ("replay.of", b"events/3/41")
    assert again.headers[-1] == ("replay.count", b"%d" % (found.replay_count + 1))
    assert read_marker(dead.headers) is None, "a dead letter is no mark, whatever it brought"
    assert found.lacks is None


def test_each_death_counts_one_replay_more() -> None:
    """A record that dies again says so; at three it wants to be forced."""
    source = bad()
    for count in range(1, 4):
        dead = bury(source)
        again = replayed(letter(dead), dead.key, dead.value, dead.headers)
        assert dict(again.headers)["replay.count"] == b"%d" % count
        source = bad(again.headers)
    last = letter(bury(source))
    assert left_out(last, RULES, is_replayed=False, is_overtaken=False) == "replayed 3 times"
    forced = ReplayOptions(frozenset({"events"}), force=True)
    assert left_out(last, forced, is_replayed=False, is_overtaken=False) is None


def test_a_mark_names_its_dead_letter() -> None:
    """And is read back; on the same key."""
    found = letter(bury(bad()))
    marked = marker(found, b"k")
    assert (marked.key, marked.value) == (b"k", None)
    assert read_marker(marked.headers) == (2, 7)


@pytest.mark.parametrize("text", [b"", b"2", b"a/b", b"-1/2", b"1/2/3", b"\xff", None])
def test_a_mark_that_cannot_be_read_is_none(text: bytes | None) -> None:
    """Somebody else's record."""
    assert read_marker((("dlq.replayed", text),)) is None


@given(key=st.none() | st.binary(), value=st.none() | st.binary(), headers=HEADERS)
def test_any_record_of_the_topic_can_be_listed(
    key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    """Total: what is not ours is never replayed."""
    found = read_dead_letter((0, 0), key, value, headers, 0)
    if found.origin is None:
        assert left_out(found, RULES, is_replayed=False, is_overtaken=False) == "unreadable"


def test_what_a_replay_leaves_out() -> None:
    """The first reason that holds."""
    found = letter(bury(bad()))
    assert left_out(found, RULES, is_replayed=False, is_overtaken=False) is None
    assert left_out(found, RULES, is_replayed=True, is_overtaken=True) == "replayed"
    assert left_out(found, RULES, is_replayed=False, is_overtaken=True) == "overtaken"
    willing = ReplayOptions(frozenset({"events"}), include_overtaken=True)
    assert left_out(found, willing, is_replayed=False, is_overtaken=True) is None
    elsewhere = ReplayOptions(frozenset({"others"}))
    assert left_out(found, elsewhere, is_replayed=False, is_overtaken=False) == "foreign topic"
    dead = bury(bad())
    bare = LogRecord(dead.key, None, (*dead.headers, ("dlq.value.omitted", b"true")))
    assert left_out(letter(bare), RULES, is_replayed=False, is_overtaken=False) == "without value"


def test_what_lacks_a_part_is_listed_and_never_replayed() -> None:
    """Whichever part; the outcome's id, by which it is keyed then, names no asset."""
    dead = bury(bad((("a", b"1"), ("dlq.original.topic", b"theirs"), ("dlq.key.omitted", b"x"))))
    found = [letter(dead)]
    keys = [dead.key]
    while (cut := truncate_further(dead)) is not None:
        dead = cut
        found.append(letter(dead))
        keys.append(dead.key)

    lacks = [None, "without value", "without value", "without value", "without value"]
    assert [one.lacks for one in found] == lacks
    assert keys == [b"k", b"k", b"k", b"events/3/41", b"events/3/41"]
    assert {one.outcome_id for one in found} == {"events/3/41"}
    willing = ReplayOptions(frozenset({"events"}), include_overtaken=True, force=True)
    for one in found[1:]:
        assert left_out(one, willing, is_replayed=False, is_overtaken=False) == one.lacks
    assert dict(dead.headers)["dlq.headers.omitted"] == b"3"


@pytest.mark.parametrize(
    ("header", "lacks"),
    [
        ("dlq.value.omitted", "without value"),
        ("dlq.headers.omitted", "without headers"),
        ("dlq.key.omitted", "without key"),
        ("dlq.message.omitted", None),
    ],
)
def test_each_part_that_is_left_out_is_named(header: str, lacks: str | None) -> None:
    """Only ours counts, not what the record brought."""
    dead = bury(bad(((header, b"1"),)))
    assert letter(dead).lacks is None
    cut = LogRecord(dead.key, dead.value, (*dead.headers, (header, b"1")))
    assert letter(cut).lacks == lacks


def test_what_overtakes() -> None:
    """A higher offset in its partition; in another partition only what ended later."""
    found = letter(bury(bad()), dead_lettered_utc_ms=1000)
    asset, here, there = Asset("packshots", "a"), Partition("events", 3), Partition("events", 4)
    cases = {
        (here, 42, 900): True,
        (here, 40, 2000): False,
        (there, 1, 1001): True,
        (there, 99, 999): False,
    }
    for (partition, offset, utc_ms), expected in cases.items():
        applied = Applied.of([found])
        applied.add(asset, partition, offset, utc_ms)
        applied.add(Asset("packshots", "b"), here, 99, 9999)
        assert applied.overtakes(found) is expected, (partition, offset, utc_ms)


@pytest.mark.parametrize("code", ["A", "a"])
def test_another_spelling_of_the_code_overtakes(code: str) -> None:
    """A PIM may take both for one asset: a replay would undo what is newer there."""
    found = letter(bury(bad()))
    applied = Applied.of([found])
    applied.add(Asset("packshots", code), Partition("events", 3), 42, 900)

    assert found.asset == Asset("packshots", "a")
    assert applied.overtakes(found)


def test_filters() -> None:
    """Each narrows; an asset that is unknown is nobody's."""
    found = letter(bury(bad()), dead_lettered_utc_ms=1000)
    assert Filter().matches(found)
    assert Filter("invalid_event", "packshots", "packshots/a", 1000).matches(found)
    for narrow in (
        Filter(reason="too_large"),
        Filter(family="manuals"),
        Filter(asset="packshots/b"),
        Filter(since_utc_ms=1001),
    ):
        assert not narrow.matches(found)
