"""An outcome is at most 64 KiB, whatever others wrote into the event and the PIM's answer (§5)."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from service.contracts.asset_change import CONTEXT_BYTES_MAX
from service.contracts.outcome import (
    ERRORS_BYTES_MAX,
    ERRORS_MAX,
    MESSAGE_CHARACTERS_MAX,
    OUTCOME_BYTES_MAX,
    OUTCOME_KEY_BYTES_MAX,
    ChangeError,
    SourceEvent,
)
from service.contracts.outcome_reader import read_outcome
from service.core.group.asset_work import Ending
from service.core.model import (
    Asset,
    Change,
    Extensions,
    Headers,
    Origin,
    Partition,
    Rejection,
    SourceRecord,
    UpsertAsset,
)
from service.core.read.convert import convert
from service.core.read.decode import decode
from service.core.read.event_parts import EXTENSIONS
from service.core.records import CompletedChange
from service.core.settle.report import Reporter
from service.core.verdict_types import PimResponse
from tests.support.builders import LIMITS, record

REPORTER = Reporter("/asset-sync/" + "g" * 200)
NOW = 1_795_000_000_123
ROOM_BESIDE_VALUE_BYTES = 16 * 1024 - 512
"""The outcomes topic takes 16 KiB more than a value; a batch of one record needs some itself."""

FULL_CONTEXT = Raw(b'{"x":"%s"}' % (b"y" * (CONTEXT_BYTES_MAX - 8)))

LONG_ID = "\x00" * 1024
LONG_EVENT = SourceEvent(LONG_ID, LONG_ID, LONG_ID, LONG_ID, LONG_ID, FULL_CONTEXT)

hostile = st.builds(
    lambda character, times: character * times,
    st.sampled_from(["\x00", "\x1f", "\x7f", '"', "\\", "x", "é", "\u2028", "\U0001f4f7", "ab c"]),
    st.sampled_from([0, 1, 255, 1_000, 2_100, 11_000, 30_000]),
)
maybe = st.none() | hostile
names = st.builds(
    lambda character, times: character * times,
    st.sampled_from(['"', "\\", "é", "\U0001f4f7", "x"]),
    st.sampled_from([1, 255]),
)
events = st.builds(
    SourceEvent,
    id=maybe,
    source=maybe,
    type=maybe,
    subject=maybe,
    time=maybe,
    context=st.sampled_from([None, FULL_CONTEXT]),
)
extensions = st.fixed_dictionaries({}, optional=dict.fromkeys(EXTENSIONS, hostile)).map(
    lambda found: tuple(found.items())
)
trace_headers = st.lists(
    st.tuples(
        st.sampled_from(["traceparent", "tracestate", "replay.of", "x"]),
        st.none() | hostile.map(str.encode),
    ),
    max_size=5,
).map(tuple)
keys = st.none() | hostile.map(str.encode) | st.binary(max_size=9000)
change_errors = st.lists(
    st.builds(ChangeError, path=maybe, message=maybe, attribute=maybe, locale=maybe, channel=maybe),
    max_size=4,
)
pim_errors = st.lists(
    st.fixed_dictionaries({}, optional={"property": hostile, "message": hostile, "locale": hostile})
    | hostile
    | st.integers()
    | st.just(json.loads("[" * 900 + "]" * 900)),
    max_size=4,
).map(lambda found: tuple(Raw(json.dumps(one).encode()) for one in found))


def source_of(key: bytes | None, headers: Headers) -> SourceRecord:
    """A record of a topic with the longest name."""
    return SourceRecord(Origin(Partition("t" * 249, 10**6), 10**17, 0), key, b"{}", headers, -1)


def check(completed: CompletedChange) -> dict[str, Any]:
    """Hold an outcome to every limit; return its data."""
    outcome = completed.outcome
    assert outcome.value is not None
    assert outcome.key is not None
    assert len(outcome.value) <= OUTCOME_BYTES_MAX
    assert len(outcome.key) <= OUTCOME_KEY_BYTES_MAX
    assert outcome.size - len(outcome.value) <= ROOM_BESIDE_VALUE_BYTES
    found = read_outcome(outcome.value)
    assert found is not None
    assert found.id == f"{'t' * 249}/1000000/{10**17}"
    data: dict[str, Any] = json.loads(outcome.value)["data"]
    shown = (data["pim"] or {}).get("errors", [])
    assert len(data["errors"]) <= ERRORS_MAX
    assert len(shown) <= ERRORS_MAX
    text = json.dumps([data["errors"], shown], ensure_ascii=False, separators=(",", ":"))
    assert len(text.encode()) <= ERRORS_BYTES_MAX + 100
    for one in (data, data["pim"] or {}, *data["errors"]):
        assert len(one.get("message") or "") <= MESSAGE_CHARACTERS_MAX
    return data


@pytest.mark.slow
@settings(max_examples=200)
@given(hostile, events, change_errors, extensions, names, keys, trace_headers)
@example("\x00" * 30_000, SourceEvent("\x00" * 30_000), [], (), "x", b"\x00" * 8192, ())
def test_the_outcome_of_a_rejected_record_is_bounded(
    message: str,
    event: SourceEvent,
    errors: list[ChangeError],
    carried: Extensions,
    name: str,
    key: bytes | None,
    headers: Headers,
) -> None:
    """With and without a known asset."""
    for asset in (None, Asset(name, name)):
        rejection = Rejection(
            "rejected", "invalid_event", message, tuple(errors), "upsert", asset, event, carried
        )
        data = check(REPORTER.of_rejection(source_of(key, headers), rejection, NOW))
        assert data["message"]


@pytest.mark.slow
@settings(max_examples=200)
@given(maybe, pim_errors, events, change_errors, extensions, names, trace_headers)
@example(  # everything that is foreign at once: each step of shortening is needed
    "\x00" * 2000,
    (Raw(b'{"message":"%s"}' % (b"\\u0000" * 1300)),) * 2,
    LONG_EVENT,
    [],
    tuple((name, "\x00" * 1024) for name in EXTENSIONS),
    "\U0001f4f7" * 255,
    (("replay.of", b"\x00" * 1024),),
)
def test_the_outcome_of_what_the_pim_judged_is_bounded(
    message: str | None,
    errors: tuple[Raw, ...],
    event: SourceEvent,
    ours: list[ChangeError],
    carried: Extensions,
    name: str,
    headers: Headers,
) -> None:
    """Refused, failed or applied."""
    command = UpsertAsset(Asset(name, name), {}, 2)
    change = Change(
        source_of(b"\x00" * 1024, headers), 2, command, event, carried, 0.0, NOW, attempts=1
    )
    response = PimResponse(422, message, errors)
    for ending in (
        Ending("rejected", reason="refused_by_pim", response=response),
        Ending("rejected", reason="invalid_values", message=message, errors=tuple(ours)),
        Ending("failed", reason="pim_error", response=response, message=message),
        Ending("applied", "created", response=response),
        Ending("superseded", by="x" * 300),
    ):
        data = check(REPORTER.of_change(change, ending, NOW))
        assert data["event"]["context"] is None or data["event"]["context"]["x"]


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(
    ["id", "source", "type", "subject", "time", "correlationid", "traceparent", "tracestate"]
), hostile), keys, st.booleans())  # fmt: skip
def test_any_event_with_hostile_attributes_has_a_bounded_outcome(
    attributes: dict[str, str],
    key: bytes | None,
    binary: bool,  # noqa: FBT001 - either
) -> None:
    """As it arrives, structured or binary."""
    attributes = {"specversion": "1.0", "id": "e", "source": "s", "type": "asset.updated"} | (
        attributes
    )
    data = {"asset_family": "f", "code": "c", "values": {}}
    if binary:
        headers = tuple((f"ce_{name}", text.encode()) for name, text in attributes.items())
        made = record(data, key, headers)
    else:
        made = record({**attributes, "data": data}, key, (("content-type",
                      b"application/cloudevents+json"),))  # fmt: skip
    source = SourceRecord(source_of(None, ()).origin, made.key, made.value, made.headers)
    understood = decode(source, LIMITS)
    command = understood if isinstance(understood, Rejection) else convert(understood)
    if isinstance(command, Rejection):
        check(REPORTER.of_rejection(source, command, NOW))
        return
    assert not isinstance(understood, Rejection)
    change = Change(
        source, source.size, command, understood.event, understood.extensions, 0.0, NOW, attempts=1
    )
    check(REPORTER.of_change(change, Ending("applied", "created", response=PimResponse(201)), NOW))


def test_an_id_that_is_too_long_for_a_header_is_left_out_of_it() -> None:
    """Half of an id is another id; `event.id` has it still."""
    rejection = Rejection("rejected", "invalid_event", "m", event=SourceEvent(id="i" * 1025))
    completed = REPORTER.of_rejection(source_of(b"k", ()), rejection, NOW)
    assert "ce_causationid" not in dict(completed.outcome.headers)
    assert check(completed)["event"]["id"] == "i" * 1025


def test_a_message_that_utf8_cannot_write_is_written() -> None:
    """A system's own error text may hold half of a surrogate pair."""
    command = UpsertAsset(Asset("f", "c"), {}, 2)
    change = Change(source_of(None, ()), 2, command, SourceEvent(), (), 0.0, NOW, attempts=1)
    ending = Ending("failed", reason="pim_error", response=PimResponse(None, "\ud800 of a proxy"))
    assert check(REPORTER.of_change(change, ending, NOW))["pim"]["message"] == "? of a proxy"
