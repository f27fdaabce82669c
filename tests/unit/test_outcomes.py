"""Which outcomes `asset-sync outcomes` selects."""

import json

import click
import pytest

from service.adapters.kafka.tools.time_order import StoredRecord
from service.cli.outcomes import ContextMember, Wanted


def outcome(number: int, family: str, **data: object) -> StoredRecord:
    """Return a record with an outcome that has these members in its data."""
    whole = {
        "id": f"dam/0/{number}",
        "type": "asset-sync.asset.rejected.v1",
        "data": {"status": "rejected", "asset_family": family, **data},
    }
    return StoredRecord(0, number, f"{family}/a".encode(), json.dumps(whole).encode(), (), 0)


OUTCOMES = (
    outcome(0, "packshots", reason="too_large", event=None),
    outcome(1, "videos", reason="unknown_family", event={"id": "evt-1", "context": None}),
    outcome(2, "videos", reason="too_large", event={"context": {"dam_id": "0A", "n": 7}}),
    outcome(3, "packshots", reason="too_large", event={"context": ["dam_id"]}),
    outcome(4, "packshots", reason="refused_by_pim", event={"context": {"dam_id": "\u00e9"}}),
)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(), [0, 1, 2, 3, 4]),
        (Wanted(status="applied"), []),
        (Wanted(status="rejected", reason="too_large", family="packshots"), [0, 3]),
        (Wanted(key=b"videos/a"), [1, 2]),
        (Wanted(event="evt-1"), [1]),
        (Wanted(event="dam/0/3"), [3]),
        (Wanted(event="evt"), []),
        (Wanted(context=(("dam_id", "0A"),)), [2]),
        (Wanted(context=(("dam_id", '"0A"'),)), [2]),
        (Wanted(context=(("dam_id", "0A"), ("n", "7"))), [2]),
        (Wanted(context=(("dam_id", "0A"), ("n", "8"))), []),
        (Wanted(context=(("dam_id", "\u00e9"),)), [4]),
        (Wanted(context=(("n", ""),)), []),
    ],
)
def test_outcomes_are_found_by_what_is_known_of_a_change(
    wanted: Wanted, numbers: list[int]
) -> None:
    """Every criterion that is given must hold."""
    assert [record.offset for record in OUTCOMES if wanted.take(record)] == numbers
    assert not wanted.hidden


def of_raw(number: int, **members: object) -> StoredRecord:
    """Return a record with an outcome that has these members."""
    whole = {"type": "asset-sync.asset.applied.v1", "data": {"status": "applied"}, **members}
    return StoredRecord(0, number, b"f/a", json.dumps(whole).encode(), (), 0)


CHANGE = {"id": "raw/1/7#2", "type": "asset-sync.asset.upserted.v1"}
OF_RAW = (
    of_raw(0, id="raw/1/7#0", data={"status": "skipped", "event": {"id": "evt-9"}}),
    of_raw(1, id="e/0/5", correlationid="evt-9", data={"status": "applied", "event": CHANGE}),
    of_raw(
        2, id="e/0/6", correlationid="evt-9", data={"status": "applied", "event": {"id": "x#2"}}
    ),
)


@pytest.mark.parametrize(
    ("event", "numbers"),
    [
        ("raw/1/7", [0, 1]),
        ("raw/1/7#0", [0]),
        ("raw/1/7#2", [1]),
        ("evt-9", [0, 1]),
        ("e/0/5", [1]),
        ("x", []),
        ("x#2", [2]),
    ],
)
def test_a_raw_event_leads_to_the_outcomes_of_its_changes(event: str, numbers: list[int]) -> None:
    """By its record or the id that the DAM gave it; another event's correlation is not its id."""
    assert [record.offset for record in OF_RAW if Wanted(event=event).take(record)] == numbers


@pytest.mark.parametrize(
    ("value", "hidden"),
    [
        (b"[" * 100_000, {"not JSON": 1}),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, {"not JSON": 1}),
        (b'{"id": "1", "data": {"status": "applied"}, "more": "\xff"}', {"not JSON": 1}),
        (b'{"id": "1", "data": {"status": "applied", "event": {"context": {"n": "\xff"}}}}', {}),
        (b"{}", {"not outcomes of asset-sync": 1}),
    ],
)
def test_what_another_program_writes_is_counted(value: bytes, hidden: dict[str, int]) -> None:
    """Whatever it is, the outcomes after it are printed."""
    record = StoredRecord(0, 0, b"f/a", value, (), 0)
    wanted = Wanted(context=(("n", "1"),) if b"context" in value else ())

    assert wanted.take_text(record, as_json=True) is None
    assert wanted.hidden == hidden


def test_a_context_in_the_bytes_of_the_terminal() -> None:
    """In the locale C, Python keeps what it cannot decode as surrogates."""
    assert ContextMember().convert("n\udcc3\udca9=\udcc3\udca9", None, None) == ("né", "é")
    with pytest.raises(click.UsageError, match="is not UTF-8"):
        ContextMember().convert("n=\udcff", None, None)
