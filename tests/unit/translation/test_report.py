"""The records that a source writes: change events, outcomes and dead letters (contract.md §7)."""

import json

import pytest

from service.contracts.documents import page
from service.contracts.outcome import OUTCOME_BYTES_MAX
from service.core.limits import DecodeLimits
from service.core.model import Asset, AssetChange, Headers, Origin, Partition, SourceRecord
from service.core.read.decode import decode
from service.core.records import LogRecord
from service.mapping.results import Change, Ended, EventFacts
from service.translation.replay import Replay, replay_of
from service.translation.report import SourceReporter
from tests.support.translation import NAMES, decoded

REPORTER = SourceReporter(NAMES)
EVENT = EventFacts("0A3C", "ObjectCreated:Put", "aws:s3", "b/a.jpg", "2026-11-23T10:14:59Z")
LIMITS = DecodeLimits(1024 * 1024)
TRACE: Headers = (("traceparent", b"00-0af7-b7ad-01"), ("tracestate", b"a=b"))


def record(headers: Headers = (), value: bytes = b"{}") -> SourceRecord:
    """A raw record at offset 12."""
    return SourceRecord(Origin(Partition("s3.raw", 3), 12, 1), b"key", value, headers, 1000)


def upsert(values: dict[str, object] | None = None, part: int = 2) -> Change:
    """An upsert of one item."""
    return Change(part, 0, "upsert", "packshots", "a1", values or {}, None, "created", EVENT)


def as_read_by_run(change: LogRecord) -> AssetChange:
    """Decode a change as `run` does."""
    origin = Origin(Partition("dam.asset-changes", 0), 0, 1)
    found = decode(SourceRecord(origin, change.key, change.value, change.headers), LIMITS)
    assert isinstance(found, AssetChange)
    return found


def test_a_change_is_an_event_of_the_contract() -> None:
    """`run` reads it as the asset, the values and the event that the mapping gave."""
    values = {"label": [{"locale": "en_US", "channel": None, "data": "Boot"}], "tags": ["a", "b"]}
    change = REPORTER.change(record(), upsert(values), Replay())

    found = as_read_by_run(change)
    assert change.key == b"packshots/a1"
    assert (found.action, found.asset) == ("upsert", Asset("packshots", "a1"))
    assert json.loads(bytes(found.values or b"")) == values
    assert found.event.id == "s3.raw/3/12#2"
    assert found.event.source == "/asset-sync/asset-sync/s3"
    assert found.event.type == "asset-sync.asset.upserted.v1"
    assert found.event.time == "2026-11-23T10:14:59Z"
    assert found.extensions == (("correlationid", "0A3C"),)
    assert (change.partition, change.offset) == (Partition("s3.raw", 3), 12)


def test_a_delete_has_no_values() -> None:
    """And it may be one of several of the same item."""
    gone = Change(0, 1, "delete", "manuals", "a1", None, None, None, EventFacts())
    change = REPORTER.change(record(), gone, Replay())

    assert decoded(change) == {
        "specversion": "1.0",
        "id": "s3.raw/3/12#0.1",
        "source": "/asset-sync/asset-sync/s3",
        "type": "asset-sync.asset.deleted.v1",
        "datacontenttype": "application/json",
        "subject": "manuals/a1",
        "data": {"asset_family": "manuals", "code": "a1"},
    }
    assert as_read_by_run(change).action == "delete"


def test_the_trace_context_is_passed_on() -> None:
    """So a trace begins at the DAM and ends at the PIM."""
    change = REPORTER.change(record(TRACE), upsert(), Replay())
    outcome = REPORTER.outcome(record(TRACE), ended(), Replay(), 0, 0)

    assert set(TRACE) < set(change.headers)
    assert set(TRACE) < set(outcome.headers)


def test_a_foreign_event_id_that_is_too_long_is_left_out() -> None:
    """A part of an id is another id."""
    event = EventFacts("x" * 2000)
    long = Change(0, 0, "upsert", "packshots", "a1", {}, None, None, event)

    assert "correlationid" not in decoded(REPORTER.change(record(), long, Replay()))


def ended(part: int | None = 2, message: str = "'Teal' is unknown.", **more: str | None) -> Ended:
    """An item that was rejected."""
    return Ended(part, "rejected", "unmappable", message, event=EVENT, **more)


def test_an_outcome_names_item_rule_and_file() -> None:
    """Its other members are those of any outcome."""
    rejected = ended(family="packshots", code="a1", rule="created")
    outcome = REPORTER.outcome(record(), rejected, Replay(), 1000, 2000)

    found = decoded(outcome)
    data = found.pop("data")
    assert outcome.key == b"packshots/a1"
    assert found == {
        "specversion": "1.0",
        "type": "asset-sync.asset.rejected.v1",
        "source": "/outcomes/s3",
        "id": "s3.raw/3/12#2",
        "subject": "packshots/a1",
        "time": "1970-01-01T00:00:02.000Z",
        "datacontenttype": "application/json",
        "causationid": "0A3C",
    }
    assert data["origin"] == {
        "topic": "s3.raw",
        "partition": 3,
        "offset": 12,
        "key": "key",
        "timestamp": "1970-01-01T00:00:01.000Z",
        "part": 2,
    }
    assert data["mapping"] == {"source": "s3", "rule": "created", "file": "0123456789ab"}
    assert data["message"] == f"'Teal' is unknown. ({page('reasons.md', 'unmappable')})"
    assert data["event"]["subject"] == "b/a.jpg"
    assert (data["action"], data["attempts"], data["pim"]) == (None, 0, None)
    assert dict(outcome.headers)["ce_id"] == b"s3.raw/3/12#2"


@pytest.mark.parametrize(
    ("family", "code", "key"),
    [
        ("packshots", "a1", b"packshots/a1"),
        ("packshots", None, b"key"),
        ("packshots", "a/1", b"key"),
        ("packshots", "x" * 256, b"key"),
        (None, "a1", b"key"),
    ],
)
def test_the_key_of_an_outcome(family: str | None, code: str | None, key: bytes) -> None:
    """It is the asset only where the item names a whole one."""
    outcome = REPORTER.outcome(record(), ended(family=family, code=code), Replay(), 0, 0)

    assert outcome.key == key


def test_a_record_without_a_key_is_keyed_by_the_outcome() -> None:
    """The number of the item belongs to the id."""
    keyless = SourceRecord(Origin(Partition("s3.raw", 3), 12, 1), None, b"{}", (), 1000)

    assert REPORTER.outcome(keyless, ended(), Replay(), 0, 0).key == b"s3.raw/3/12#2"


def test_an_outcome_is_bounded_whatever_the_event_says() -> None:
    """Messages and ids are foreign text."""
    event = EventFacts(*["\x01" * 50_000] * 5)
    long = Ended(0, "rejected", "unmappable", "\x01" * 50_000, None, None, "r" * 50_000, event)

    outcome = REPORTER.outcome(record(), long, Replay(), 0, 0)

    assert len(outcome.value or b"") <= OUTCOME_BYTES_MAX


def test_a_dead_letter_is_the_raw_record_with_the_items_that_died() -> None:
    """It exists once, with the reason of the first of them."""
    raw = record((("a", b"1"),), b"\x00raw")
    letter = REPORTER.dead_letter(raw, [ended(2), ended(17, "Other.")], Replay(), 0)

    added = dict(letter.headers)
    assert (letter.key, letter.value, letter.headers[0]) == (b"key", b"\x00raw", ("a", b"1"))
    assert added["dlq.parts"] == b"2,17"
    assert added["dlq.outcome.id"] == b"s3.raw/3/12#2"
    assert added["dlq.reason"] == b"unmappable"
    assert (added["dlq.message"] or b"").startswith(b"'Teal' is unknown.")


# --- replay ----------------------------------------------------------------------------------

REPLAYED: Headers = (
    ("replay.of", b"s3.raw/3/5#2"),
    ("replay.count", b"2"),
    ("replay.parts", b"2, 17"),
)


def test_a_replay_treats_the_items_that_died() -> None:
    """Each is the replay of its own outcome, and `run` is told so."""
    replay = replay_of(REPLAYED)
    change = REPORTER.change(record(REPLAYED), upsert(part=17), replay)

    assert replay.parts == frozenset({2, 17})
    assert dict(change.headers)["replay.of"] == b"s3.raw/3/5#17"
    assert dict(change.headers)["replay.count"] == b"2"
    assert "replay.parts" not in dict(change.headers)
    outcome = decoded(REPORTER.outcome(record(REPLAYED), ended(), replay, 0, 0))
    assert outcome["data"]["replay_of"] == "s3.raw/3/5#2"


def test_a_replay_of_a_whole_record_treats_all_of_it() -> None:
    """What died had no number, so all items are the replay of that outcome."""
    replay = replay_of((("replay.of", b"s3.raw/3/5"), ("replay.count", b"1")))
    change = REPORTER.change(record(), upsert(), replay)

    assert replay.parts is None
    assert dict(change.headers)["replay.of"] == b"s3.raw/3/5"


@pytest.mark.parametrize("parts", [b"", b"x", b"1,", b"-1", b"\xff", b"1,2,x"])
def test_parts_that_are_no_list_are_no_restriction(parts: bytes) -> None:
    """Whoever wrote them meant a replay, and nothing may be lost."""
    assert replay_of((("replay.of", b"a/0/1#0"), ("replay.parts", parts))).parts is None


def test_a_record_that_is_no_replay_says_nothing() -> None:
    """Neither does its change."""
    assert replay_of((("replay.off", b"x"),)) == Replay()
    assert [name for name, _ in REPORTER.change(record(), upsert(), Replay()).headers] == [
        "content-type"
    ]
