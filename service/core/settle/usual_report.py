"""Write the outcomes of usual changes by a template: those of one call differ in a few places only.

Rule 1: a template is made of an outcome that `report` built, so the form of outcomes stands there
alone. tests/property/test_usual_report.py verifies that both write the same records.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any

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
_EVENT_ID_CHARACTERS_MAX = ATTRIBUTE_BYTES_MAX // 4
"""A longer id of an event may be too long for a header."""
TIMES_KEPT_MAX = 1_000
"""How many times are kept as JSON."""
TEMPLATES_KEPT_MAX = 1_000
_MARK = "\x01"
"""It is around the name of a place to fill. No code has control characters."""
_PLACE = re.compile(rb'"\\u0001([a-z_]+)\\u0001"')
_PLACES = (
    b"id", b"time", b"code", b"event", b"partition", b"offset", b"key", b"timestamp",
    b"merged_into", b"received_at", b"completed_at", b"subject", b"causationid",
)  # fmt: skip
"""The places in the order in which an outcome has them; not every outcome has the last."""

_encode = msgspec.json.Encoder().encode
_name = itemgetter(0)
_replace = msgspec.structs.replace

Kind = tuple[Action, str, Result | None, int | None, int, str, bool]
"""What the outcomes of one template have in common."""


class UsualReporter:
    """Builds the records of outcomes as `Reporter` does, and faster for usual changes."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._reporter = Reporter(source)
        self._templates: dict[Kind, OutcomeTemplate] = {}
        self._completed_utc_ms = -1
        self._completed_at = b""
        """`_completed_utc_ms` as JSON."""
        self._shared_headers: Headers = ()
        """What the headers of all outcomes completed at this time have in common."""

    def of_change(self, change: Change, ending: Ending, utc_ms: int) -> CompletedChange:
        """Return the records for a change that became a command."""
        (completed,) = self.of_changes((change,), ending, utc_ms)
        return completed

    def of_changes(
        self, changes: Iterable[Change], ending: Ending, utc_ms: int
    ) -> list[CompletedChange]:
        """Return the records for changes that ended alike."""
        if not _is_usual(ending):
            return [self._reporter.of_change(change, ending, utc_ms) for change in changes]
        self._set_time(utc_ms)
        by = _encode(ending.by)
        return [
            self._of_usual(change, ending, by) or self._reporter.of_change(change, ending, utc_ms)
            for change in changes
        ]

    def of_rejection(
        self, record: SourceRecord, rejection: Rejection, utc_ms: int
    ) -> CompletedChange:
        """Return the records for a record that did not become a command."""
        return self._reporter.of_rejection(record, rejection, utc_ms)

    def _set_time(self, utc_ms: int) -> None:
        if utc_ms != self._completed_utc_ms:
            time = timestamp(utc_ms)
            self._completed_utc_ms, self._completed_at = utc_ms, _encode(time)
            self._shared_headers = shared_headers(TYPES["applied"], self._source, time)

    def _of_usual(self, change: Change, ending: Ending, by: bytes) -> CompletedChange | None:
        """Return the records for a change with a usual ending; None if it is not usual itself.

        `by` is that of the ending, as JSON.
        """
        record, event, asset = change.record, change.event, change.command.asset
        origin = record.origin
        partition, offset = origin.partition, origin.offset
        template = self._template(change, ending, partition.topic)
        if template is None:
            return None
        outcome_id, subject = origin.outcome_id, asset.path
        value = template.fill(
            (
                _encode(outcome_id),
                self._completed_at,
                _encode(asset.code),
                _encode(event),
                partition.number,
                offset,
                _encode(None if record.key is None else record.key.decode("utf-8", "replace")),
                _encode(record_time(record)),
                by,
                _time(change.received_utc_ms),
                self._completed_at,
                _encode(subject),
                _encode(event.id),
            )
        )
        if len(value) > OUTCOME_BYTES_MAX:
            return None
        key = subject.encode()
        own = ("ce_id", outcome_id.encode()), ("ce_subject", key)
        cause = (("ce_causationid", event.id.encode()),) if event.id else ()
        return CompletedChange(
            partition=partition,
            offset=offset,
            outcome=LogRecord(key, value, (*self._shared_headers, *own, *cause)),
            dead_letter=None,
            pending_bytes=change.size,
            family=asset.family,
            record_timestamp_ms=record.timestamp_ms,
            received_utc_ms=change.received_utc_ms,
            size=len(value) + HEADERS_BYTES,
        )

    def _template(self, change: Change, ending: Ending, topic: str) -> "OutcomeTemplate | None":
        """Return the template for a change with a usual ending; None if it is not usual itself."""
        if change.extensions or not change.attempts:
            return None
        headers = change.record.headers
        if headers and not _COPIED_HEADERS.isdisjoint(map(_name, headers)):
            return None
        event_id = change.event.id or ""
        if len(event_id) > _EVENT_ID_CHARACTERS_MAX:
            return None
        command, response = change.command, ending.response
        assert response is not None
        of_call = (command.action, command.asset.family, ending.result, response.status)
        kind = (*of_call, change.attempts, topic, bool(event_id))
        template = self._templates.get(kind) or self._new_template(kind, change, ending)
        return template if template.is_usable else None

    def _new_template(self, kind: Kind, change: Change, ending: Ending) -> "OutcomeTemplate":
        if len(self._templates) >= TEMPLATES_KEPT_MAX:
            self._templates.clear()
        outcome = self._reporter.outcome_of(change, ending, self._completed_utc_ms)
        template = self._templates[kind] = OutcomeTemplate(outcome)
        return template


class OutcomeTemplate:
    """The JSON of an outcome, with places for what differs from change to change."""

    def __init__(self, outcome: Outcome) -> None:
        text = _encode(_marked(outcome)).replace(b"%", b"%%")
        found = tuple(_PLACE.findall(text))
        self.is_usable = found in {_PLACES, _PLACES[:-1]}
        """Whether its places can be told from its text, which is foreign in part."""
        self._text = _PLACE.sub(_form, text)
        self._places = len(found)

    def fill(self, places: tuple[bytes | int, ...]) -> bytes:
        """Return the JSON of an outcome with these places, in the order of `_PLACES`."""
        return self._text % places[: self._places]


def _form(place: re.Match[bytes]) -> bytes:
    return b"%d" if place[1] in {b"partition", b"offset"} else b"%b"


@lru_cache(maxsize=TIMES_KEPT_MAX)
def _time(utc_ms: int) -> bytes:
    """Return the JSON of a time; the changes of one poll share that of their arrival."""
    return _encode(timestamp(utc_ms))


def _is_usual(ending: Ending) -> bool:
    """Return whether changes were applied, and nothing about it is unusual."""
    response = ending.response
    if ending.status != "applied" or ending.files or response is None:
        return False
    return response.message is None and not response.errors


def _marked(outcome: Outcome) -> Outcome:
    """Return the outcome with marks in all places."""
    data = outcome.data
    of_origin = ("partition", "offset", "key", "timestamp")
    data = _replace(
        data,
        event=Raw(_encode(_mark("event"))),
        origin=_replace(data.origin, **_marks(of_origin)),
        **_marks(("code", "merged_into", "received_at", "completed_at")),
    )
    optional = () if outcome.causationid is UNSET else ("causationid",)
    return _replace(outcome, data=data, **_marks(("id", "time", "subject", *optional)))


def _marks(names: Iterable[str]) -> dict[str, Any]:
    return {name: _mark(name) for name in names}


def _mark(name: str) -> str:
    return f"{_MARK}{name}{_MARK}"
