"""A template writes what `report` writes, byte for byte (usual_report.py, rule 1)."""

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from msgspec import Raw

from service.contracts.outcome import ATTRIBUTE_BYTES_MAX, SourceEvent
from service.core.group.asset_work import Ending
from service.core.model import (
    Asset,
    Change,
    DeleteAsset,
    Headers,
    Origin,
    Partition,
    SourceRecord,
    UpsertAsset,
)
from service.core.settle.report import Reporter
from service.core.settle.usual_report import OutcomeTemplate, UsualReporter
from service.core.verdict_types import PimResponse

SOURCE = "/asset-sync/%b%d \x01id\x01"
CAREFUL = Reporter(SOURCE)
NOW = 1_795_000_000_123

texts = st.sampled_from(["", "e1", "%b%d%%", 'a"b\\', "é📷", "\\u0001code\\u0001", "x" * 300])
names = st.sampled_from(["a", "%s%", 'a"b\\', "é📷", '"\\u0001code\\u0001"', "x" * 255])
maybe = st.none() | texts | st.text(max_size=9)
events = st.builds(
    SourceEvent, maybe, maybe, maybe, maybe, maybe, st.none() | st.just(Raw(b'{ "a":1}'))
)
headers: st.SearchStrategy[Headers] = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "traceparent", "replay.of", "replay.count", "ce_id"]),
        st.none() | st.binary(max_size=5),
    ),
    max_size=3,
).map(tuple)
records = st.builds(
    SourceRecord,
    st.builds(
        Origin,
        st.builds(Partition, st.sampled_from(["dam.a", "b%d"]), st.integers(0, 9)),
        st.integers(0, 2**63),
        st.just(0),
    ),
    st.none() | st.just(b"a/a") | st.binary(max_size=9),
    st.just(b"{}"),
    headers,
    st.sampled_from([-1, 0, NOW, 2**63 - 1]),
)
assets = st.builds(Asset, names, names)
changes = st.builds(
    Change,
    record=records,
    size=st.just(10),
    command=st.builds(UpsertAsset, assets, st.just({}), st.just(2))
    | st.builds(DeleteAsset, assets),
    event=events,
    extensions=st.sampled_from([(), (), (), (("correlationid", "c"),)]),
    admitted_at=st.just(0.0),
    received_utc_ms=st.sampled_from([NOW - 1, NOW]),
    attempts=st.integers(0, 2),
)
responses = st.builds(
    PimResponse,
    st.sampled_from([200, 201, 204, None]),
    st.sampled_from([None, None, None, "words"]),
    st.sampled_from([(), (), (), (Raw(b"{}"),)]),
)
endings = st.builds(
    Ending,
    st.just("applied"),
    st.sampled_from(["created", "updated", "deleted", "absent"]),
    response=st.none() | responses,
    by=st.sampled_from([None, None, "dam.a/0/9"]),
) | st.builds(Ending, st.just("rejected"), reason=st.just("refused_by_pim"), response=responses)


@pytest.mark.slow
@given(st.lists(st.tuples(changes, endings, st.sampled_from([NOW, NOW + 1])), max_size=8))
def test_both_ways_agree(ended: list[tuple[Change, Ending, int]]) -> None:
    """Whatever changes follow each other, of one call or of several."""
    reporter = UsualReporter(SOURCE)
    for change, ending, utc_ms in ended:
        found = reporter.of_change(change, ending, utc_ms)
        assert found == CAREFUL.of_change(change, ending, utc_ms)
        event(f"templates: {len(reporter._templates)}")


def usual(code: str, event_: SourceEvent) -> tuple[Change, Ending]:
    record = SourceRecord(Origin(Partition("dam.a", 1), 7, 0), b"f/a", b"{}")
    command = UpsertAsset(Asset("f", code), {}, 2)
    change = Change(record, 10, command, event_, (), 0.0, NOW, attempts=1)
    return change, Ending("applied", "updated", response=PimResponse(204))


@pytest.mark.parametrize("event_id", ["e1", None, "x" * (ATTRIBUTE_BYTES_MAX // 4)])
def test_the_changes_of_a_call_share_a_template(
    monkeypatch: pytest.MonkeyPatch, event_id: str | None
) -> None:
    """`report` is asked once, also where events have no id, or a long one that fits a header."""
    reporter = UsualReporter("/asset-sync/test")
    for number in range(100):
        change, ending = usual(f"a{number}", SourceEvent(event_id))
        reporter.of_change(change, ending, NOW)
        monkeypatch.setattr(reporter, "_reporter", None)
    assert len(reporter._templates) == 1


def test_an_outcome_that_is_too_long_is_shortened_as_ever() -> None:
    """The template has no part in that."""
    change, ending = usual("a", SourceEvent("e1", source="x" * 70_000))
    reporter = UsualReporter(SOURCE)
    found = reporter.of_change(change, ending, NOW)
    assert found == CAREFUL.of_change(change, ending, NOW)
    assert len(found.outcome.value or b"") < 64 * 1024


def test_text_that_looks_like_a_mark_makes_a_template_unusable() -> None:
    """A topic cannot have such a name; if one had, `report` would write its outcomes."""
    change, ending = usual("a", SourceEvent("e1"))
    outcome = Reporter("\x01id\x01").outcome_of(change, ending, NOW)
    assert not OutcomeTemplate(outcome).is_usable
