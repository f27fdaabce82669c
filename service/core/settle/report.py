"""Turn the end of a change into the records of its outcome and dead letter (contract.md §5)."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import get_args

import msgspec
from msgspec import UNSET, Raw, UnsetType

from service.contracts.documents import page
from service.contracts.json_flaw import UNREADABLE
from service.contracts.outcome import (
    ATTRIBUTE_BYTES_MAX,
    DEAD_LETTER_MESSAGE_BYTES_MAX,
    DEAD_STATUSES,
    ERRORS_BYTES_MAX,
    ERRORS_MAX,
    MESSAGE_CHARACTERS_MAX,
    OUTCOME_BYTES_MAX,
    OUTCOME_KEY_BYTES_MAX,
    ChangeError,
    Outcome,
    OutcomeData,
    PimAnswer,
    Reason,
    RecordOrigin,
    Status,
)
from service.contracts.text import clip, is_too_deep, natural_number
from service.core.flaws import and_more
from service.core.group.asset_work import Ending
from service.core.model import Change, Extensions, Headers, Origin, Rejection, SourceRecord
from service.core.records import CompletedChange, LogRecord
from service.core.verdict_types import PimResponse

CONTEXT_BYTES_MAX = 512
"""Longest trace header that is copied; W3C Trace Context asks for at least 512 characters."""
HEADERS_BYTES = 512
"""Approximate size of an outcome's key and headers."""
TEXT_BYTES_MAX = 2 * 1024
"""Most bytes of JSON for one foreign text, in an outcome that would be too large otherwise."""
PATH_CHARACTERS_MAX = 512
"""Most characters of an error's path, attribute, locale and channel, which are foreign text."""
LATEST_UTC_MS = 253_402_300_799_999
"""The end of the year 9999, the last one that RFC 3339 can express."""
_MILLISECONDS = tuple([f".{number:03d}Z" for number in range(1000)])
"""The ends of all times; every outcome has several."""
CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"
REPLAY_HEADER = "replay.of"
REPLAY_COUNT_HEADER = "replay.count"
REPLAY_PARTS_HEADER = "replay.parts"
"""The items of a raw record that a replay is for; a translation treats only these."""
PARTS_HEADER = "dlq.parts"
"""The items of a raw record that died, such as `2,17`; absent where the record died as a whole."""
PART_SIGN = "#"
"""Stands before the number of an item in the ids of a raw record's items."""
DEAD_LETTER_PREFIX = "dlq."
CONTEXT_HEADERS = frozenset({"traceparent", "tracestate"})
"""Headers of the W3C trace context, which an outcome copies from its record."""

_encode = msgspec.json.Encoder().encode
replace = msgspec.structs.replace

TYPES: dict[Status, str] = {status: f"asset-sync.asset.{status}.v1" for status in get_args(Status)}
_SENTENCES: dict[Reason, str] = {
    "unknown_family": "The PIM has no such asset family, or hides it from this connection.",
    "refused_by_pim": "The PIM refused the change.",
    "invalid_values": "The values do not fit the attributes of the family.",
    "too_large": "The PIM refused the change as too large.",
    "pim_error": "The PIM failed on this change repeatedly.",
    "timeout": "The PIM repeatedly did not answer in time.",
    "forbidden": "The PIM does not allow this connection to make the change.",
}


class Reporter:
    """Builds the records of outcomes. `source` is the CloudEvents source of this deployment."""

    def __init__(self, source: str) -> None:
        self._source = source

    def of_change(self, change: Change, ending: Ending, utc_ms: int) -> CompletedChange:
        """Return the records for a change that became a command."""
        outcome = self.outcome_of(change, ending, utc_ms)
        completed = self._complete(change.record, outcome, change.size, utc_ms)
        return replace(completed, received_utc_ms=change.received_utc_ms)

    def outcome_of(self, change: Change, ending: Ending, utc_ms: int) -> Outcome:
        """Return the outcome of a change that became a command, of any length."""
        asset = change.command.asset
        response = ending.response if change.attempts else None
        pim = _answer(response) if response is not None else None
        is_applied = ending.status == "applied"
        errors, is_truncated = ([], False) if is_applied else _errors(ending, response)
        if response is not None and pim is not None and len(pim.errors) < len(response.errors):
            is_truncated = True
        data = OutcomeData(
            status=ending.status,
            result=ending.result,
            reason=ending.reason,
            message=None if is_applied else _sentence(ending),
            errors=errors,
            action=change.command.action,
            asset_family=asset.family,
            code=asset.code,
            event=change.event,
            origin=origin_of(change.record),
            pim=pim,
            merged_into=ending.by if is_applied else None,
            superseded_by=ending.by if ending.status == "superseded" else None,
            replay_of=_replay_of(change.record) if change.record.headers else None,
            attempts=change.attempts,
            received_at=timestamp(change.received_utc_ms),
            completed_at=timestamp(utc_ms),
            errors_truncated=is_truncated or UNSET,
            media=list(ending.files) or None,
        )
        return self._outcome(change.record, data, change.extensions, asset.path, utc_ms)

    def of_rejection(
        self, record: SourceRecord, rejection: Rejection, utc_ms: int
    ) -> CompletedChange:
        """Return the records for a record that did not become a command."""
        errors = _fitting(rejection.errors, ERRORS_BYTES_MAX)
        asset = rejection.asset
        data = OutcomeData(
            status=rejection.status,
            result=None,
            reason=rejection.reason,
            message=with_link(rejection.message, rejection.reason),
            errors=errors,
            action=rejection.action,
            asset_family=asset.family if asset else None,
            code=asset.code if asset else None,
            event=rejection.event,
            origin=origin_of(record),
            pim=None,
            merged_into=None,
            superseded_by=None,
            replay_of=_replay_of(record),
            attempts=0,
            received_at=timestamp(utc_ms),
            completed_at=timestamp(utc_ms),
            errors_truncated=len(errors) < len(rejection.errors) or UNSET,
        )
        subject = asset.path if asset else None
        outcome = self._outcome(record, data, rejection.extensions, subject, utc_ms)
        return self._complete(record, outcome, record.size, utc_ms)

    def _outcome(
        self,
        record: SourceRecord,
        data: OutcomeData,
        extensions: Extensions,
        subject: str | None,
        utc_ms: int,
    ) -> Outcome:
        outcome = Outcome(
            specversion="1.0",
            type=TYPES[data.status],
            source=self._source,
            id=record.origin.outcome_id,
            time=timestamp(utc_ms),
            datacontenttype="application/json",
            data=data,
            subject=subject or UNSET,
            causationid=header_attribute(data.event.id),
        )
        if extensions:
            carried = {name: header_attribute(text) for name, text in extensions}
            outcome = replace(outcome, **carried)
        return outcome

    @staticmethod
    def _complete(
        record: SourceRecord, outcome: Outcome, pending_bytes: int, utc_ms: int
    ) -> CompletedChange:
        data = outcome.data
        outcome_record = record_of(outcome, record)
        is_dead = data.status in DEAD_STATUSES
        dead = dead_letter(record, data, outcome.id) if is_dead else None
        size = len(outcome_record.value or b"") + HEADERS_BYTES + (dead.size if dead else 0)
        return CompletedChange(
            partition=record.origin.partition,
            offset=record.origin.offset,
            outcome=outcome_record,
            dead_letter=dead,
            pending_bytes=pending_bytes,
            status=data.status,
            reason=data.reason,
            family=data.asset_family,
            record_timestamp_ms=record.timestamp_ms,
            received_utc_ms=utc_ms,
            size=size,
        )


def part_id(origin: Origin, part: int | None, further: int = 0) -> str:
    """Return `TOPIC/PARTITION/OFFSET#N`, with `.M` for a further delete of the same item.

    A raw record that ended as a whole has no number.
    """
    if part is None:
        return origin.outcome_id
    number = f"{part}.{further}" if further else str(part)
    return f"{origin.outcome_id}{PART_SIGN}{number}"


def read_parts(text: str | None) -> frozenset[int] | None:
    """Return the numbers of a list such as `2,17`, or None if the text is not one."""
    if text is None:
        return None
    numbers = [natural_number(number.strip()) for number in text.split(",")]
    known = [number for number in numbers if number is not None]
    return frozenset(known) if len(known) == len(numbers) else None


def record_of(outcome: Outcome, record: SourceRecord) -> LogRecord:
    """Return the record of an outcome, bounded, with the trace context of the event's record."""
    outcome, value = _bounded(outcome)
    headers = _ce_headers(outcome)
    if record.headers:
        headers += trace_context(record.headers)
    return LogRecord(_key(record, outcome), value, headers)


def timestamp(utc_ms: int) -> str:
    """Return milliseconds since 1970 in RFC 3339."""
    if not 0 <= utc_ms <= LATEST_UTC_MS:
        utc_ms = min(max(utc_ms, 0), LATEST_UTC_MS)
    return _second(utc_ms // 1000) + _MILLISECONDS[utc_ms % 1000]


@lru_cache(maxsize=1_000)
def _second(utc_seconds: int) -> str:
    """Return a time without milliseconds and zone; many changes share it, so it is cached."""
    return datetime.fromtimestamp(utc_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def record_time(record: SourceRecord) -> str | None:
    """Return when a record was written; None if that is unknown or in no calendar."""
    is_known = 0 <= record.timestamp_ms <= LATEST_UTC_MS
    return timestamp(record.timestamp_ms) if is_known else None


@lru_cache(maxsize=1_000)
def _pim_answer(status: int | None) -> PimAnswer:
    """Return a shared answer for the usual case: a status and nothing more."""
    return PimAnswer(status, None, [])


def _answer(response: PimResponse) -> PimAnswer:
    """Return the PIM's answer as the outcome shows it, with as many unchanged errors as fit."""
    if response.message is None and not response.errors:
        return _pim_answer(response.status)
    kept: list[Raw] = []
    size = 0
    for raw in islice(response.errors, ERRORS_MAX):
        text = bytes(raw)
        size += len(text) + 1
        # `errors` repeats them in another form, so each gets half of the room.
        if size > ERRORS_BYTES_MAX // 2:
            break
        if not is_too_deep(text):
            kept.append(raw)
    return PimAnswer(response.status, short(response.message), kept)


def _sentence(ending: Ending) -> str:
    """Return the `message` of an outcome that is not `applied`."""
    if ending.reason is None:
        return "A later delete of the same asset was applied."
    return with_link(why(ending), ending.reason)


def why(ending: Ending) -> str:
    """Return why a change was not applied, with the first error and the message of the PIM."""
    assert ending.reason is not None
    parts = [ending.message or _SENTENCES[ending.reason]]
    response = ending.response
    if response is not None and response.errors:
        parts.append(_first_error(response.errors))
    if response is not None and response.message:
        parts.append(
            response.message if response.status is None else f"The PIM answered: {response.message}"
        )
    return " ".join(parts)


def _first_error(errors: Sequence[Raw]) -> str:
    """Return the path and message of the first error, and how many more there are."""
    first = _clip_error(_change_error(errors[0]))
    named = ": ".join(text for text in (first.path or first.attribute, first.message) if text)
    named = named or clip(bytes(errors[0]).decode("utf-8", "replace"), PATH_CHARACTERS_MAX)
    return and_more(named, len(errors) - 1)


def with_link(message: str, reason: Reason) -> str:
    """Append the link to the page that says who must act on this reason, and how."""
    link = f" ({page('reasons.md', reason)})"
    return (short(message, MESSAGE_CHARACTERS_MAX - len(link)) or "") + link


def short(message: str | None, characters_max: int = MESSAGE_CHARACTERS_MAX) -> str | None:
    """Return a text, truncated if it is too long, that every encoder takes."""
    if message is None:
        return None
    if not message.isascii():  # a message of the operating system may hold surrogates
        message = message.encode("utf-8", "replace").decode()
    return clip(message, characters_max)


def origin_of(record: SourceRecord, part: int | None = None) -> RecordOrigin:
    """Return where a change came from, as its outcome shows it."""
    origin = record.origin
    return RecordOrigin(
        topic=origin.partition.topic,
        partition=origin.partition.number,
        offset=origin.offset,
        key=record.key.decode("utf-8", "replace") if record.key is not None else None,
        timestamp=record_time(record),
        part=part,
    )


def _replay_of(record: SourceRecord) -> str | None:
    for name, content in record.headers:
        if name == REPLAY_HEADER and content:
            return content.decode("utf-8", "replace")
    return None


def _errors(ending: Ending, response: PimResponse | None) -> tuple[list[ChangeError], bool]:
    """Return the errors of asset-sync, or else of the PIM, and whether any was left out."""
    if ending.errors:
        own = _fitting(ending.errors, ERRORS_BYTES_MAX // 2)
        return own, len(own) < len(ending.errors)
    if response is None or not response.errors:
        return [], False
    translated = _fitting(map(_change_error, response.errors), ERRORS_BYTES_MAX // 2)
    return translated, len(translated) < len(response.errors)


def _fitting(errors: Iterable[ChangeError], bytes_max: int) -> list[ChangeError]:
    """Return as many of the first errors as fit, each with its texts clipped."""
    kept: list[ChangeError] = []
    size = 0
    for error in map(_clip_error, islice(errors, ERRORS_MAX)):
        size += len(_encode(error)) + 1
        if size > bytes_max:
            break
        kept.append(error)
    return kept


def _clip_error(error: ChangeError) -> ChangeError:
    return ChangeError(
        path=short(error.path, PATH_CHARACTERS_MAX),
        message=short(error.message),
        attribute=short(error.attribute, PATH_CHARACTERS_MAX),
        locale=short(error.locale, PATH_CHARACTERS_MAX),
        channel=short(error.channel, PATH_CHARACTERS_MAX),
        code=error.code,
    )


def _change_error(raw: Raw) -> ChangeError:
    """Convert an error of the PIM (akeneo.md §8); members that it does not have are null."""
    try:
        members = msgspec.json.decode(raw, type=dict[str, object])
    except UNREADABLE:
        return ChangeError(message=bytes(raw).decode("utf-8", "replace"))
    path = _text(members.get("property"))
    return ChangeError(
        path=path,
        message=_text(members.get("message")),
        attribute=_text(members.get("attribute")) or _attribute_of(path),
        locale=_text(members.get("locale")),
        channel=_text(members.get("channel") or members.get("scope")),
    )


def _attribute_of(path: str | None) -> str | None:
    """Return the attribute of a path such as `values.main_colors[0].data`, or None."""
    if path is None or not path.startswith("values."):
        return None
    return path.removeprefix("values.").split(".")[0].split("[")[0] or None


def _text(found: object) -> str | None:
    return found if isinstance(found, str) else None


def _key(record: SourceRecord, outcome: Outcome) -> bytes:
    """Return the outcome's key: `FAMILY/CODE`, else the key of the record if short, else the id."""
    if outcome.subject is not UNSET:
        return outcome.subject.encode()
    if record.key and len(record.key) <= OUTCOME_KEY_BYTES_MAX:
        return record.key
    return outcome.id.encode()


def header_attribute(text: str | None) -> str | UnsetType:
    """Return a foreign attribute, or UNSET if it is too long for the header that repeats it.

    It is not truncated, because part of an id is a different id.
    """
    if not text or (
        len(text) > ATTRIBUTE_BYTES_MAX // 4 and len(text.encode()) > ATTRIBUTE_BYTES_MAX
    ):
        return UNSET
    return text


def _bounded(outcome: Outcome) -> tuple[Outcome, bytes]:
    """Return the outcome and its JSON, with foreign text truncated or left out until it fits.

    After the last step it always fits, because every remaining text is bounded as JSON.
    """
    value = _encode(outcome)
    for shorten in _SHORTER:
        if len(value) <= OUTCOME_BYTES_MAX:
            break
        data = shorten(outcome.data)
        outcome = replace(outcome, data=data)
        value = _encode(outcome)
    return outcome, value


def _truncate_origins(data: OutcomeData) -> OutcomeData:
    """Truncate the texts by which the event and its record identify themselves."""
    event = replace(
        data.event,
        id=_truncate(data.event.id),
        source=_truncate(data.event.source),
        type=_truncate(data.event.type),
        subject=_truncate(data.event.subject),
        time=_truncate(data.event.time),
    )
    origin = replace(data.origin, key=_truncate(data.origin.key))
    return replace(data, event=event, origin=origin, replay_of=_truncate(data.replay_of))


def _leave_out_pim_errors(data: OutcomeData) -> OutcomeData:
    """Leave out the PIM's own errors, which `errors` repeats in the form of asset-sync."""
    if data.pim is None or not data.pim.errors:
        return data
    return replace(data, pim=replace(data.pim, errors=[]), errors_truncated=True)


def _truncate_messages(data: OutcomeData) -> OutcomeData:
    pim = replace(data.pim, message=_truncate(data.pim.message)) if data.pim else None
    return replace(data, pim=pim, message=_truncate(data.message))


def _leave_out_errors(data: OutcomeData) -> OutcomeData:
    return replace(data, errors=[], errors_truncated=True) if data.errors else data


def _leave_out_files(data: OutcomeData) -> OutcomeData:
    return replace(data, media=None)


_SHORTER: Sequence[Callable[[OutcomeData], OutcomeData]] = (
    _truncate_origins,
    _leave_out_pim_errors,
    _truncate_messages,
    _leave_out_errors,
    _leave_out_files,
)


def _truncate(text: str | None) -> str | None:
    """Truncate the text if it is too long; a character takes at most six bytes of JSON."""
    if text is None or len(_encode(text)) <= TEXT_BYTES_MAX:
        return text
    return clip(text, TEXT_BYTES_MAX // 6)


def _ce_headers(outcome: Outcome) -> Headers:
    """Return the attributes as headers, so that a reader can filter without parsing the value."""
    shared = shared_headers(outcome.type, outcome.source, outcome.time)
    own = [
        (name, content.encode())
        for name, content in (
            ("ce_id", outcome.id),
            ("ce_subject", outcome.subject),
            ("ce_causationid", outcome.causationid),
            ("ce_correlationid", outcome.correlationid),
            ("ce_traceparent", outcome.traceparent),
            ("ce_tracestate", outcome.tracestate),
        )
        if content is not UNSET
    ]
    return (*shared, *own)


@lru_cache(maxsize=1_000)
def shared_headers(event_type: str, source: str, time: str) -> Headers:
    """Return the headers that all outcomes of a call share."""
    return (
        ("content-type", CONTENT_TYPE),
        ("ce_specversion", b"1.0"),
        ("ce_type", event_type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", time.encode()),
    )


def trace_context(headers: Headers) -> Headers:
    """Return the headers of the trace context, bounded in number and size."""
    return tuple(
        header
        for header in headers
        if header[0] in CONTEXT_HEADERS and len(header[1] or b"") <= CONTEXT_BYTES_MAX
    )[: len(CONTEXT_HEADERS)]


def dead_letter(
    record: SourceRecord, data: OutcomeData, outcome_id: str, added: Headers = ()
) -> LogRecord:
    """Return the original record with the headers that give the reason, and those `added`.

    They follow the original headers, which may include those of an earlier dead letter.
    """
    origin = record.origin
    message = (data.message or "").encode()[:DEAD_LETTER_MESSAGE_BYTES_MAX]
    reasons: Headers = (
        ("dlq.original.topic", origin.partition.topic.encode()),
        ("dlq.original.partition", b"%d" % origin.partition.number),
        ("dlq.original.offset", b"%d" % origin.offset),
        ("dlq.original.timestamp", b"%d" % record.timestamp_ms),
        ("dlq.reason", (data.reason or "").encode()),
        ("dlq.message", message.decode("utf-8", "ignore").encode()),
        ("dlq.attempts", b"%d" % data.attempts),
        ("dlq.outcome.id", outcome_id.encode()),
    )
    omitted: Headers = ()
    if record.omission is not None:
        omitted = tuple((f"dlq.{part}.omitted", b"true") for part in record.omission.parts)
    return LogRecord(record.key, record.value, (*record.headers, *reasons, *added, *omitted))
