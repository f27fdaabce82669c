"""Write the outcomes of usual changes by a template: those of one call differ in a few places only.

Rule 1: a template is made of an outcome that `report` built, so the form of outcomes stands there
alone. tests/property/test_usual_report.py verifies that both write the same records.
"""

import re
from functools import lru_cache

import msgspec
from msgspec import UNSET, Raw

from service.contracts.outcome import (
    ATTRIBUTE_BYTES_MAX,
    OUTCOME_BYTES_MAX,
    Action,
    Outcome,
    Result,
)
from service.core.group.asset_work import Ending
from service.core.model import Change, Headers, Rejection, SourceRecord
from service.core.records import CompletedChange, LogRecord
from service.core.settle.report import (
    CONTEXT_HEADERS,
    HEADERS_BYTES,
    REPLAY_HEADER,
    TYPES,
    Reporter,
    record_time,
    shared_headers,
    timestamp,
)

_COPIED_HEADERS = CONTEXT_HEADERS | {REPLAY_HEADER}
"""Headers of a record that its outcome repeats."""
TIMES_KEPT_MAX = 1_000
"""How many times of arrival are kept as JSON."""
_MARK = "\x01"
"""It is around the name of a place to fill. No code has control characters."""
_PLACE = re.compile(rb'"\\u0001([a-z_]+)\\u0001"')
_PLACES = (
    b"id", b"code", b"event", b"partition", b"offset", b"key", b"timestamp", b"received_at",
    b"subject", b"causationid",
)  # fmt: skip
"""The places in the order in which an outcome has them; not every outcome has the last."""

_encode = msgspec.json.Encoder().encode
_replace = msgspec.structs.replace

Kind = tuple[Action, str, Result | None, int | None, int, str, bool]
"""What the outcomes of one template have in common, besides the time of their completion."""


class UsualReporter:
    """Builds the records of outcomes as `Reporter` does, and faster for usual changes."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._reporter = Reporter(source)
        self._templates: dict[Kind, OutcomeTemplate] = {}
        """Templates of outcomes that are completed at `_completed_utc_ms`."""
        self._shared_headers: Headers = ()
        self._completed_utc_ms = -1

    def of_change(self, change: Change, ending: Ending, utc_ms: int) -> CompletedChange:
        """Return the records for a change that became a command."""
        kind = _kind(change, ending)
        template = None if kind is None else self._template(kind, change, ending, utc_ms)
        outcome_id, subject = change.outcome_id, change.command.asset.path
        value = None if template is None else template.fill(change, outcome_id, subject)
        if value is None or len(value) > OUTCOME_BYTES_MAX:
            return self._reporter.of_change(change, ending, utc_ms)
        record = change.record
        headers = [("ce_id", outcome_id.encode()), ("ce_subject", key := subject.encode())]
        if change.event.id:
            headers.append(("ce_causationid", change.event.id.encode()))
        return CompletedChange(
            partition=record.origin.partition,
            offset=record.origin.offset,
            outcome=LogRecord(key, value, (*self._shared_headers, *headers)),
            dead_letter=None,
            pending_bytes=change.size,
            family=change.command.asset.family,
            record_timestamp_ms=record.timestamp_ms,
            received_utc_ms=change.received_utc_ms,
            size=len(value) + HEADERS_BYTES,
        )

    def of_rejection(
        self, record: SourceRecord, rejection: Rejection, utc_ms: int
    ) -> CompletedChange:
        """Return the records for a record that did not become a command."""
        return self._reporter.of_rejection(record, rejection, utc_ms)

    def _template(
        self, kind: Kind, change: Change, ending: Ending, utc_ms: int
    ) -> "OutcomeTemplate | None":
        if utc_ms != self._completed_utc_ms:
            self._completed_utc_ms = utc_ms
            self._templates.clear()
            time = timestamp(utc_ms)
            self._shared_headers = shared_headers(TYPES["applied"], self._source, time)
        template = self._templates.get(kind)
        if template is None:
            template = OutcomeTemplate(self._reporter.outcome_of(change, ending, utc_ms))
            self._templates[kind] = template
        return template if template.is_usable else None


class OutcomeTemplate:
    """The JSON of an outcome, with places for what differs from change to change."""

    def __init__(self, outcome: Outcome) -> None:
        text = _encode(_marked(outcome)).replace(b"%", b"%%")
        found = tuple(_PLACE.findall(text))
        self.is_usable = found in {_PLACES, _PLACES[:-1]}
        """Whether its places can be told from its text, which is foreign in part."""
        self._text = _PLACE.sub(b"%b", text)
        self._places = len(found)

    def fill(self, change: Change, outcome_id: str, subject: str) -> bytes:
        """Return the JSON of a change's outcome."""
        record, event = change.record, change.event
        origin = record.origin
        places = (
            _encode(outcome_id),
            _encode(change.command.asset.code),
            _encode(event),
            _encode(origin.partition.number),
            _encode(origin.offset),
            _encode(None if record.key is None else record.key.decode("utf-8", "replace")),
            _encode(record_time(record)),
            _received_at(change.received_utc_ms),
            _encode(subject),
            _encode(event.id),
        )
        return self._text % places[: self._places]


@lru_cache(maxsize=TIMES_KEPT_MAX)
def _received_at(utc_ms: int) -> bytes:
    """Return the JSON of a time; it is cached, as the changes of one poll share it."""
    return _encode(timestamp(utc_ms))


def _kind(change: Change, ending: Ending) -> Kind | None:
    """Return the kind of a change that was applied and has nothing unusual, else None."""
    response = ending.response
    if ending.status != "applied" or ending.by or change.extensions or not change.attempts:
        return None
    if response is None or response.message is not None or response.errors or ending.files:
        return None
    headers = change.record.headers
    if headers and not _COPIED_HEADERS.isdisjoint(dict(headers)):
        return None
    event_id = change.event.id or ""
    if len(event_id) > ATTRIBUTE_BYTES_MAX // 4:  # it may be too long for a header
        return None
    command = change.command
    of_call = (command.action, command.asset.family, ending.result, response.status)
    topic = change.record.origin.partition.topic
    return (*of_call, change.attempts, topic, bool(event_id))


def _marked(outcome: Outcome) -> Outcome:
    """Return the outcome with marks in all places."""
    origin = _replace(
        outcome.data.origin,
        partition=_mark("partition"),
        offset=_mark("offset"),
        key=_mark("key"),
        timestamp=_mark("timestamp"),
    )
    event = Raw(_encode(_mark("event")))
    received_at = _mark("received_at")
    code = _mark("code")
    data = _replace(outcome.data, code=code, event=event, origin=origin, received_at=received_at)
    causationid = outcome.causationid if outcome.causationid is UNSET else _mark("causationid")
    subject = _mark("subject")
    return _replace(outcome, id=_mark("id"), data=data, subject=subject, causationid=causationid)


def _mark(name: str) -> str:
    return f"{_MARK}{name}{_MARK}"
