"""What an outcome says, and how it stays within its limits (contract.md §5)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from service.contracts.documents import page
from service.contracts.outcome import OUTCOME_BYTES_MAX
from service.core.group.asset_work import Ending
from service.core.model import Change, Rejection, SourceRecord
from service.core.read.convert import convert
from service.core.read.decode import decode
from service.core.records import CompletedChange, LogRecord
from service.core.settle.report import Reporter, timestamp
from service.core.verdict_types import PimResponse
from tests.support.builders import LIMITS, change, cloud, plain, record

REPORTER = Reporter("/asset-sync/test")
NOW = 1_795_000_000_123


def data_of(completed: CompletedChange) -> dict[str, Any]:
    """The outcome's data, as a reader sees them."""
    assert completed.outcome.value is not None
    found: dict[str, Any] = json.loads(completed.outcome.value)["data"]
    return found


def reported(source: SourceRecord) -> CompletedChange:
    """The outcome of a record that was rejected, or applied."""
    understood = decode(source, LIMITS)
    command = understood if isinstance(understood, Rejection) else convert(understood)
    if isinstance(command, Rejection):
        return REPORTER.of_rejection(source, command, NOW)
    assert not isinstance(understood, Rejection)
    admitted = Change(
        source, source.size, command, understood.event, understood.extensions, 0.0, NOW, attempts=1
    )
    return REPORTER.of_change(
        admitted, Ending("applied", "created", response=PimResponse(201)), NOW
    )


def ended(ending: Ending, attempts: int = 1) -> dict[str, Any]:
    """The data of a change that ended so."""
    made = change({"a": "1"})
    made.attempts = attempts
    return data_of(REPORTER.of_change(made, ending, NOW))


def header(dead: LogRecord | None, name: str) -> str:
    """One header of a dead letter."""
    assert dead is not None
    return (dict(dead.headers)[name] or b"").decode()


def test_times_are_utc_with_milliseconds() -> None:
    """RFC 3339."""
    assert timestamp(NOW) == "2026-11-18T11:06:40.123Z"


@pytest.mark.parametrize("utc_ms", [-1, -(2**63), 2**63 - 1, 253_402_300_800_000])
def test_a_time_that_no_calendar_has_is_written_as_the_nearest(utc_ms: int) -> None:
    """A producer stamps its records as it likes; an origin's timestamp is null then."""
    assert timestamp(utc_ms) in {"1970-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"}
    source = SourceRecord(plain().origin, None, b"{", (), utc_ms)
    assert data_of(reported(source))["origin"]["timestamp"] is None


def test_what_the_pim_said_of_a_refusal_is_passed_on_and_translated() -> None:
    """Verbatim under `pim`, in our shape under `errors`."""
    error = b'{"property":"values.main_colors[0].data","message":"No option teal","extra":{"x":1}}'
    response = PimResponse(422, "Rules.", (Raw(error),))
    found = ended(Ending("rejected", reason="refused_by_pim", response=response))

    assert found["pim"]["errors"] == [json.loads(error)]
    assert found["errors"] == [
        {
            "path": "values.main_colors[0].data",
            "message": "No option teal",
            "attribute": "main_colors",
            "locale": None,
            "channel": None,
            "code": None,
        }
    ]
    link = f"({page('reasons.md', 'refused_by_pim')})"
    assert found["message"] == (
        "The PIM refused the change. values.main_colors[0].data: No option teal. "
        f"The PIM answered: Rules. {link}"
    )


def test_of_several_errors_the_first_is_told() -> None:
    """In the message, the log and `dlq.message`, which holds 1 KiB: so it comes first."""
    errors = tuple(Raw(b'{"property":"values.n%d","message":"Too small."}' % n) for n in range(3))
    made = change({"a": "1"})
    made.attempts = 1
    response = PimResponse(422, "m" * 2000, errors)
    completed = REPORTER.of_change(
        made, Ending("rejected", reason="refused_by_pim", response=response), NOW
    )

    told = "The PIM refused the change. values.n0: Too small, and 2 more. The PIM answered: mm"
    assert data_of(completed)["message"].startswith(told)
    assert header(completed.dead_letter, "dlq.message").startswith(told)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (b'{"attribute":"n","message":"Wrong"}', "n: Wrong."),
        (b'{"message":"Wrong"}', "Wrong."),
        (b'{"property":"values.n"}', "values.n."),
        (b'"Wrong"', '"Wrong".'),
        (b"{}", "{}."),
        (b"[" * 3000 + b"]" * 3000, "[["),
    ],
)
def test_an_error_of_any_shape_is_told(error: bytes, told: str) -> None:
    """With what it has."""
    response = PimResponse(422, None, (Raw(error),))
    found = ended(Ending("rejected", reason="refused_by_pim", response=response))
    assert found["message"].startswith(f"The PIM refused the change. {told}")


def test_a_call_without_an_answer_says_so_itself() -> None:
    """No PIM said that."""
    response = PimResponse(None, "No answer within 60 s.")
    assert (
        f"in time. No answer within 60 s. ({page('reasons.md', 'timeout')}"
        in ended(Ending("failed", reason="timeout", response=response))["message"]
    )


@pytest.mark.parametrize("raw", [b"7", b'"text"', b"[]", b'{"property":3}', b"null"])
def test_errors_of_any_shape_are_shown(raw: bytes) -> None:
    """Akeneo's own shapes vary."""
    response = PimResponse(422, None, (Raw(raw),))
    found = ended(Ending("rejected", reason="refused_by_pim", response=response))
    assert found["pim"]["errors"] == [json.loads(raw)]
    assert len(found["errors"]) == 1


def test_too_many_errors_are_cut_and_said() -> None:
    """At most 50, and `errors_truncated`."""
    response = PimResponse(422, "m" * 5000, tuple(Raw(b'{"message":"%d"}' % n) for n in range(80)))
    found = ended(Ending("rejected", reason="refused_by_pim", response=response))
    assert len(found["errors"]) == len(found["pim"]["errors"]) == 50
    assert found["errors_truncated"]
    assert len(found["message"]) <= 2000


def test_a_change_without_a_call_has_no_pim() -> None:
    """`attempts` 0, `pim` null; with a call that nobody answered, the fault."""
    assert (
        ended(Ending("failed", reason="timeout", response=PimResponse(None, "x")), attempts=0)[
            "pim"
        ]
        is None
    )
    found = ended(
        Ending("failed", reason="timeout", response=PimResponse(None, "No answer within 60 s."))
    )
    assert found["pim"] == {"status_code": None, "message": "No answer within 60 s.", "errors": []}


def test_merged_and_superseded_name_the_other() -> None:
    """By its outcome id."""
    merged = ended(Ending("applied", "merged", response=PimResponse(204), by="events/0/9"))
    superseded = ended(Ending("superseded", by="events/0/9"), attempts=0)
    assert (merged["merged_into"], merged["superseded_by"]) == ("events/0/9", None)
    assert (superseded["merged_into"], superseded["superseded_by"]) == (None, "events/0/9")
    assert superseded["message"]


def test_a_dead_letter_is_the_record_and_why() -> None:
    """Key, value and headers untouched; ours beside them."""
    source = record(b"\xff", b"\xfe", (("a", b"\x00"), ("a", None), ("dlq.reason", b"old")))
    completed = reported(source)
    dead = completed.dead_letter

    assert dead is not None
    assert (dead.key, dead.value) == (source.key, source.value)
    assert dead.headers[:3] == source.headers
    assert header(dead, "dlq.reason") == "undecodable"
    assert header(dead, "dlq.outcome.id") == "events/0/0"
    assert len(header(dead, "dlq.message")) > 10


@pytest.mark.parametrize(
    ("source", "key"),
    [
        (plain(), b"packshots/a"),
        (record(b"{broken", b"some-key"), b"some-key"),
        (record(b"{broken"), b"events/0/0"),
    ],
)
def test_the_key_of_an_outcome(source: SourceRecord, key: bytes) -> None:
    """FAMILY/CODE; else the input's key; else the outcome's id."""
    assert reported(source).outcome.key == key


def test_extensions_are_carried_on() -> None:
    """Tracing goes through us."""
    completed = reported(cloud(traceparent="00-ab-cd-01", correlationid="c1"))
    headers = dict(completed.outcome.headers)
    assert headers["ce_traceparent"] == b"00-ab-cd-01"
    assert headers["ce_correlationid"] == b"c1"


def test_foreign_text_cannot_make_an_outcome_too_large() -> None:
    """An event's own id, type, subject and context may be long."""
    long = "x" * 100_000
    completed = reported(cloud(id=long, type=f"{long}.asset.updated", source=long))
    assert len(completed.outcome.value or b"") <= OUTCOME_BYTES_MAX
    assert data_of(completed)["status"] == "applied"


@pytest.mark.parametrize("member", ["id", "type", "traceparent", "subject"])
def test_headers_are_bounded_too(member: str) -> None:
    """Else the broker refuses the outcome, and the same record ends the service for ever."""
    outcome = reported(cloud(**{member: "x" * 900_000})).outcome
    assert outcome.size <= 2 * OUTCOME_BYTES_MAX


def test_a_key_that_is_a_document_is_no_key() -> None:
    """Likewise."""
    assert reported(record(b"{broken", b"k" * 900_000)).outcome.key == b"events/0/0"


texts = st.text(max_size=20) | st.just("\ud800") | st.text(min_size=500, max_size=600)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "id": texts,
            "type": texts | st.just("asset.updated"),
            "subject": texts,
            "time": texts,
            "traceparent": texts,
            "correlationid": texts,
            "source": texts,
            "data": st.none() | texts | st.dictionaries(texts, texts, max_size=3),
        },
    ),
    st.none() | st.binary(max_size=10),
)
def test_any_event_has_an_outcome(members: dict[str, object], key: bytes | None) -> None:
    """Whatever was in it can be written."""
    event = cloud(**members)
    source = SourceRecord(event.origin, key, event.value, event.headers)
    completed = reported(source)
    assert json.loads(completed.outcome.value or b"")["id"] == "events/0/0"
    assert all(isinstance(content, bytes) for _, content in completed.outcome.headers)
