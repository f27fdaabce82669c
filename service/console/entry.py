"""What the index keeps of an outcome, and the words by which the outcome is found."""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import msgspec

from service.contracts.json_flaw import UNREADABLE
from service.contracts.outcome_reader import ReadData, read_outcome
from service.contracts.text import clip

OUR_TYPES = "asset-sync."
"""The beginning of the types of our outcomes; other records of the topic are not indexed."""
MESSAGE_CHARACTERS_MAX = 1000
ERRORS_MAX = 10
"""Most errors of an outcome that are kept; people repair one after another anyway."""
ERROR_CHARACTERS_MAX = 300
CONTEXT_VALUES_MAX = 20
CONTEXT_DEPTH_MAX = 3
"""Most levels of objects and lists in a context whose values can be searched for."""
IDENTIFIER_CHARACTERS_MAX = 255
"""A longer value of a context is not kept: nobody types it."""
HASH_BYTES = 8


class StoredOutcome(NamedTuple):
    """A record of the outcomes topic; `at_ms` is its timestamp (UTC, in milliseconds)."""

    partition: int
    offset: int
    at_ms: int
    value: bytes | None


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is shown of an outcome. Texts of unbounded length are truncated.

    Attributes:
        id: The outcome's id, TOPIC/PARTITION/OFFSET of the event.
        at_ms: When the outcome was written (UTC, in milliseconds).
        context: The scalar values of the event's context, each with its path, such as `a.b`.
        dam_event_id: The DAM's own id of the raw event that translate made the event of.
        errors: The first errors, each with the attribute that it is about, if it names one.
    """

    id: str
    at_ms: int
    status: str
    result: str | None = None
    reason: str | None = None
    message: str | None = None
    action: str | None = None
    family: str | None = None
    code: str | None = None
    event_id: str | None = None
    context: tuple[tuple[str, str], ...] = ()
    errors: tuple[tuple[str, str], ...] = ()
    merged_into: str | None = None
    superseded_by: str | None = None
    dam_event_id: str | None = None

    @property
    def ending(self) -> "Ending":
        return Ending(self.status, self.reason or self.result or "")

    @property
    def values(self) -> Mapping[str, str]:
        """The values of the context by their paths."""
        return dict(self.context)

    @property
    def identifiers(self) -> frozenset[str]:
        """The folded texts by which this outcome is found exactly."""
        ids = (self.id, self.event_id, self.dam_event_id)
        texts = (*ids, *(text for _, text in self.context))
        return frozenset(fold(text) for text in texts if text)


class Ending(NamedTuple):
    """How a change ended: its status with the reason, or else the result."""

    status: str
    detail: str


def entry_of(record: StoredOutcome) -> Entry | None:
    """Return what to keep of a record, or None if it is not an outcome of asset-sync."""
    found = read_outcome(record.value)
    if found is None or not (found.type or OUR_TYPES).startswith(OUR_TYPES):
        return None
    data = found.data
    return Entry(
        id=found.id,
        at_ms=max(0, record.at_ms),
        status=data.status,
        result=data.result,
        reason=data.reason,
        message=_shortened(data.message, MESSAGE_CHARACTERS_MAX),
        action=data.action,
        family=data.asset_family,
        code=data.code,
        event_id=_id(data.event.id) if data.event is not None else None,
        context=_context(data),
        errors=tuple(islice(_errors(data.errors), ERRORS_MAX)),
        merged_into=data.merged_into,
        superseded_by=data.superseded_by,
        dam_event_id=_id(found.correlationid) if found.is_of_raw_event else None,
    )


def fold(text: str) -> str:
    """Return the text as it is compared in a search, which ignores upper and lower case."""
    return text.casefold()


def hash_of(identifier: str) -> int:
    """Return 64 bits that stand for a folded identifier in the index, as a signed number."""
    raw = identifier.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(raw, digest_size=HASH_BYTES).digest()
    return int.from_bytes(digest, "big", signed=True)


def _id(text: str | None) -> str | None:
    return _shortened(text, IDENTIFIER_CHARACTERS_MAX)


def _shortened(text: str | None, characters_max: int) -> str | None:
    return None if text is None else clip(text, characters_max)


class _ReadError(msgspec.Struct, frozen=True, gc=False):
    """What is read of an error."""

    path: str | None = None
    message: str | None = None
    attribute: str | None = None
    locale: str | None = None
    channel: str | None = None


def _errors(raw: msgspec.Raw) -> Iterator[tuple[str, str]]:
    """Yield where each error is, in words, and its message; leave out what has another form."""
    try:
        errors = msgspec.json.decode(raw, type=list[msgspec.Raw] | None)
    except UNREADABLE:
        return
    for error in errors or ():
        try:
            yield _error(msgspec.json.decode(error, type=_ReadError))
        except UNREADABLE:
            continue


def _error(error: _ReadError) -> tuple[str, str]:
    """Return where an error is, in words, and its message."""
    scope = ", ".join(filter(None, (error.locale, error.channel)))
    place = error.attribute or error.path or ""
    where = f"{place} ({scope})" if place and scope else place
    return (
        clip(where, ERROR_CHARACTERS_MAX),
        clip(error.message or "", ERROR_CHARACTERS_MAX),
    )


def _context(data: ReadData) -> tuple[tuple[str, str], ...]:
    if data.event is None:
        return ()
    kept: list[tuple[str, str]] = []
    for path, text in _scalars("", data.event.context, CONTEXT_DEPTH_MAX):
        if len(text) <= IDENTIFIER_CHARACTERS_MAX and len(path) <= IDENTIFIER_CHARACTERS_MAX:
            kept.append((path, text))
        if len(kept) == CONTEXT_VALUES_MAX:
            break
    return tuple(kept)


def _scalars(path: str, raw: msgspec.Raw, depth: int) -> Iterator[tuple[str, str]]:
    """Yield texts and numbers with their paths; numbers are as they are written in the JSON."""
    first = bytes(raw)[:1]
    try:
        if first == b"{" and depth:
            members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
            for name, member in members.items():
                yield from _scalars(f"{path}.{name}" if path else name, member, depth - 1)
        elif first == b"[" and depth:
            for member in msgspec.json.decode(raw, type=list[msgspec.Raw]):
                yield from _scalars(path, member, depth - 1)
        elif first == b'"' and path:
            yield path, msgspec.json.decode(raw, type=str)
        elif first not in b"{[tfn" and path:
            yield path, bytes(raw).decode("ascii")
    except UNREADABLE:
        return
