"""How a change ended → its outcome and dead letter, as records to write (contract §5)."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import get_args

import msgspec
from msgspec import UNSET, Raw

from service.contracts.outcome import (
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
    SourceEvent,
    Status,
)
from service.core.effects import LogRecord, Settled
from service.core.job import Ending
from service.core.model import Change, Extensions, Headers, Rejection, SourceRecord

CONTEXT_BYTES_MAX = 512
"""Of a `tracestate`, as W3C has it; a longer one is not carried."""
HEADERS_BYTES = 512
"""Of an outcome's key and headers, about: they repeat what the value says."""
CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"
REPLAY_HEADER = "replay.of"
REPLAY_COUNT_HEADER = "replay.count"
DEAD_LETTER_PREFIX = "dlq."
CONTEXT_HEADERS = frozenset({"traceparent", "tracestate"})
"""W3C trace context: an outcome carries its record's on."""

_encode = msgspec.json.Encoder().encode
replace = msgspec.structs.replace

_TYPES: dict[Status, str] = {status: f"asset-sync.asset.{status}.v1" for status in get_args(Status)}
_SENTENCES: dict[Reason, str] = {
    "unknown_family": "The PIM has no such asset family, or hides it from us.",
    "refused_by_pim": "The PIM refused the change.",
    "invalid_values": "The family's attributes do not take these values.",
    "too_large": "The PIM refused the change as too large.",
    "pim_error": "The PIM failed on this change again and again.",
    "timeout": "The PIM did not answer in time, again and again.",
    "forbidden": "The PIM forbids this change to our connection.",
}


class Reporter:
    """Makes the records of an outcome. `source` is the CloudEvents source of this deployment."""

    def __init__(self, source: str) -> None:
        self._source = source

    def of_change(self, change: Change, ending: Ending, utc_ms: int) -> Settled:
        """The records of a change that became a command."""
        asset = change.command.asset
        said = ending.said if change.attempts else None
        pim_errors, cut = _fitting(said.errors) if said and said.errors else ([], False)
        pim = None
        if said is not None and said.message is None and not pim_errors:
            pim = _pim_answer(said.status)
        elif said is not None:
            pim = PimAnswer(said.status, _short(said.message), pim_errors)
        is_applied = ending.status == "applied"
        data = OutcomeData(
            status=ending.status,
            result=ending.result,
            reason=ending.reason,
            message=None if is_applied else _sentence(ending),
            errors=[] if is_applied else _errors(ending, pim_errors),
            action="delete" if change.command.is_delete else "upsert",
            asset_family=asset.family,
            code=asset.code,
            event=change.event,
            origin=_origin(change.record),
            pim=pim,
            merged_into=ending.by if is_applied else None,
            superseded_by=ending.by if ending.status == "superseded" else None,
            replay_of=_replay_of(change.record) if change.record.headers else None,
            attempts=change.attempts,
            received_at=timestamp(change.received_utc_ms),
            completed_at=timestamp(utc_ms),
            errors_truncated=cut or len(ending.errors) > ERRORS_MAX or UNSET,
        )
        return self._settled(
            change.record, data, change.extensions, asset.path, change.size, utc_ms
        )

    def of_rejection(self, record: SourceRecord, rejection: Rejection, utc_ms: int) -> Settled:
        """The records of a record that became no command."""
        errors = list(rejection.errors[:ERRORS_MAX])
        while errors and len(_encode(errors)) > ERRORS_BYTES_MAX:
            errors = errors[: len(errors) // 2]
        asset = rejection.asset
        data = OutcomeData(
            status=rejection.status,
            result=None,
            reason=rejection.reason,
            message=_with_link(rejection.message, rejection.reason),
            errors=errors,
            action=rejection.action,
            asset_family=asset.family if asset else None,
            code=asset.code if asset else None,
            event=rejection.event,
            origin=_origin(record),
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
        return self._settled(record, data, rejection.extensions, subject, record.size, utc_ms)

    def _settled(
        self,
        record: SourceRecord,
        data: OutcomeData,
        extensions: Extensions,
        subject: str | None,
        held_bytes: int,
        utc_ms: int,
    ) -> Settled:
        outcome = Outcome(
            specversion="1.0",
            type=_TYPES[data.status],
            source=self._source,
            id=record.origin.outcome_id,
            time=timestamp(utc_ms),
            datacontenttype="application/json",
            data=data,
            subject=subject or UNSET,
            causationid=data.event.id or UNSET,
        )
        if extensions:
            outcome = replace(outcome, **dict(extensions))
        outcome, value = _bounded(outcome)
        headers = _ce_headers(outcome)
        if record.headers:
            headers += _context(record.headers)
        outcome_record = LogRecord(_key(record, subject), value, headers)
        dead = data.status in DEAD_STATUSES
        dead_letter = _dead_letter(record, data) if dead else None
        return Settled(
            partition=record.origin.partition,
            offset=record.origin.offset,
            outcome=outcome_record,
            dead_letter=dead_letter,
            held_bytes=held_bytes,
            status=data.status,
            reason=data.reason,
            family=data.asset_family,
            born_utc_ms=record.timestamp_ms,
            size=len(value) + HEADERS_BYTES + (dead_letter.size if dead_letter else 0),
        )


@lru_cache(maxsize=10_000)
def timestamp(utc_ms: int) -> str:
    """Milliseconds since 1970 as RFC 3339 in UTC. What arrived or ended together shares it."""
    second = datetime.fromtimestamp(utc_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{second}.{utc_ms % 1000:03d}Z"


@lru_cache(maxsize=1_000)
def _pim_answer(status: int | None) -> PimAnswer:
    """What the PIM says of most assets: a status and nothing more."""
    return PimAnswer(status, None, [])


def _sentence(ending: Ending) -> str:
    """What a person reads first."""
    if ending.status == "superseded":
        return "A later delete of the same asset was applied."
    assert ending.reason is not None
    parts = [ending.message or _SENTENCES[ending.reason]]
    if ending.said is not None and ending.said.message:
        parts.append(f"It said: {ending.said.message}")
    return _with_link(" ".join(parts), ending.reason)


def _with_link(message: str, reason: Reason) -> str:
    """The sentence, and where this project's own page says who acts and how."""
    link = f" (docs/reasons.md#{reason})"
    return (_short(message, MESSAGE_CHARACTERS_MAX - len(link)) or "") + link


def _short(message: str | None, characters_max: int = MESSAGE_CHARACTERS_MAX) -> str | None:
    if message is None or len(message) <= characters_max:
        return message
    return message[: characters_max - 1] + "…"


def _origin(record: SourceRecord) -> RecordOrigin:
    origin = record.origin
    known = 0 <= record.timestamp_ms < 253_402_300_800_000  # the year 10000
    return RecordOrigin(
        topic=origin.partition.topic,
        partition=origin.partition.number,
        offset=origin.offset,
        key=record.key.decode("utf-8", "replace") if record.key is not None else None,
        timestamp=timestamp(record.timestamp_ms) if known else None,
    )


def _replay_of(record: SourceRecord) -> str | None:
    for name, content in record.headers:
        if name == REPLAY_HEADER and content:
            return content.decode("utf-8", "replace")
    return None


def _fitting(errors: Sequence[Raw]) -> tuple[list[Raw], bool]:
    """As many of the PIM's errors as an outcome holds, and whether any was left out."""
    kept: list[Raw] = []
    size = 0
    for raw in errors:
        size += len(bytes(raw))
        # `errors` and `pim.errors` both repeat them: half of the room for each
        if len(kept) == ERRORS_MAX or size > ERRORS_BYTES_MAX // 2:
            return kept, True
        kept.append(raw)
    return kept, False


def _errors(ending: Ending, pim_errors: Sequence[Raw]) -> list[ChangeError]:
    """Ours, or the PIM's in our shape."""
    if ending.errors:
        return [replace(e, message=_short(e.message)) for e in ending.errors[:ERRORS_MAX]]
    return [_change_error(raw) for raw in pim_errors]


def _change_error(raw: Raw) -> ChangeError:
    """The PIM's error in our shape (akeneo.md §8); what it lacks is null."""
    try:
        members = msgspec.json.decode(raw, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ChangeError(message=_short(bytes(raw).decode("utf-8", "replace")))
    path = _text(members.get("property"))
    return ChangeError(
        path=path,
        message=_short(_text(members.get("message"))),
        attribute=_text(members.get("attribute")) or _attribute_of(path),
        locale=_text(members.get("locale")),
        channel=_text(members.get("channel") or members.get("scope")),
    )


def _attribute_of(path: str | None) -> str | None:
    """`values.main_colors[0].data` → `main_colors`."""
    if path is None or not path.startswith("values."):
        return None
    return path.removeprefix("values.").split(".")[0].split("[")[0] or None


def _text(found: object) -> str | None:
    return found if isinstance(found, str) else None


def _key(record: SourceRecord, subject: str | None) -> bytes:
    """`FAMILY/CODE`; else the input's key, where that is no document of its own; else the id."""
    if subject:
        return subject.encode()
    if record.key and len(record.key) <= OUTCOME_KEY_BYTES_MAX:
        return record.key
    return record.origin.outcome_id.encode()


def _bounded(outcome: Outcome) -> tuple[Outcome, bytes]:
    """The outcome and its JSON; what is foreign and long is left out until it fits."""
    value = _encode(outcome)
    if len(value) <= OUTCOME_BYTES_MAX:
        return outcome, value
    data = outcome.data
    pim = replace(data.pim, errors=[]) if data.pim else None
    data = replace(data, errors=[], pim=pim, errors_truncated=True)
    shorter = replace(outcome, data=data)
    value = _encode(shorter)
    if len(value) <= OUTCOME_BYTES_MAX:
        return shorter, value
    # Only foreign text of the event, its key or its extensions can still be that long.
    event = SourceEvent(id=_clipped(data.event.id), type=_clipped(data.event.type))
    origin = replace(data.origin, key=_clipped(data.origin.key))
    data = replace(data, event=event, origin=origin, message=_clipped(data.message))
    data = replace(data, replay_of=_clipped(data.replay_of))
    bare = replace(outcome, data=data, causationid=event.id or UNSET)
    bare = replace(bare, correlationid=UNSET, traceparent=UNSET, tracestate=UNSET)
    value = _encode(bare)
    assert len(value) <= OUTCOME_BYTES_MAX
    return bare, value


def _clipped(text: str | None) -> str | None:
    return text if text is None else text[:MESSAGE_CHARACTERS_MAX]


def _ce_headers(outcome: Outcome) -> Headers:
    """The attributes once more: a reader filters by them without parsing."""
    shared = _shared_headers(outcome.type, outcome.source, outcome.time)
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
def _shared_headers(event_type: str, source: str, time: str) -> Headers:
    """What is the same in every outcome of a call."""
    return (
        ("content-type", CONTENT_TYPE),
        ("ce_specversion", b"1.0"),
        ("ce_type", event_type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", time.encode()),
    )


def _context(headers: Headers) -> Headers:
    """The trace context; an outcome's headers are bounded, whatever an input brings."""
    return tuple(
        header
        for header in headers
        if header[0] in CONTEXT_HEADERS and len(header[1] or b"") <= CONTEXT_BYTES_MAX
    )[: len(CONTEXT_HEADERS)]


def _dead_letter(record: SourceRecord, data: OutcomeData) -> LogRecord:
    """The record untouched, plus why; headers of an earlier death stand before ours."""
    origin = record.origin
    message = (data.message or "").encode()[:DEAD_LETTER_MESSAGE_BYTES_MAX]
    ours: Iterable[tuple[str, bytes]] = (
        ("dlq.original.topic", origin.partition.topic.encode()),
        ("dlq.original.partition", b"%d" % origin.partition.number),
        ("dlq.original.offset", b"%d" % origin.offset),
        ("dlq.original.timestamp", b"%d" % record.timestamp_ms),
        ("dlq.reason", (data.reason or "").encode()),
        ("dlq.message", message.decode("utf-8", "ignore").encode()),
        ("dlq.attempts", b"%d" % data.attempts),
        ("dlq.outcome.id", origin.outcome_id.encode()),
    )
    return LogRecord(record.key, record.value, (*record.headers, *ours))
