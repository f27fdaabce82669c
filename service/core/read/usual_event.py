"""Decode usual events at once, as a DAM sends them by the thousand (contract.md §4).

Rule 1: an event that is not usual, or has a flaw, is left to `decode`, which reads it member by
member. Both ways give the same change, which tests/property/test_decode.py verifies.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from service.contracts.asset_change import CONTEXT_BYTES_MAX, NAME_CHARACTERS_MAX
from service.contracts.json_flaw import UNREADABLE
from service.contracts.outcome import DELETE, Action, SourceEvent
from service.contracts.text import is_too_deep
from service.core.limits import DecodeLimits
from service.core.model import Asset, AssetChange, Extensions, SourceRecord
from service.core.read.event_parts import (
    EXTENSIONS,
    JSON,
    STRUCTURED_JSON,
    action_of,
    merged_extensions,
    mode_of,
    plain_extensions,
)

_ABSENT = Raw(b"")
"""Stands for the JSON of a member that an event does not have."""
_NOTHING = (_ABSENT, Raw(b"null"))
_MEDIA_TYPES = (None, b"", JSON.encode())
"""The usual media types of the data of an event in binary mode."""
_EXTENSION_HEADERS = {f"ce_{name}": name for name in EXTENSIONS}

_Text = Annotated[str, Meta(min_length=1)]
_Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]


class _UnusualError(Exception):
    """The event is not usual; `usual_change` catches it."""


_UNUSUAL = (_UnusualError, *UNREADABLE)


class _Data(msgspec.Struct, gc=False):
    asset_family: _Name
    code: _Name
    values: Raw = _ABSENT
    context: Raw = _ABSENT


class _Plain(_Data, gc=False, kw_only=True):
    action: Action
    id: str | None = None
    source: str | None = None
    time: str | None = None


class _Cloud(msgspec.Struct, gc=False):
    specversion: Literal["1.0"]
    id: _Text
    source: _Text
    type: str
    data: _Data
    subject: str | None = None
    time: str | None = None
    datacontenttype: Literal["application/json"] | None = None
    data_base64: None = None
    correlationid: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None


_data = msgspec.json.Decoder(_Data)
_plain = msgspec.json.Decoder(_Plain)
_cloud = msgspec.json.Decoder(_Cloud)


def usual_change(record: SourceRecord, limits: DecodeLimits) -> AssetChange | None:
    """Return the change of a usual event; None if it must be decoded member by member."""
    value = record.value
    if value is None or record.omission is not None or record.size > limits.record_bytes_max:
        return None
    try:
        if not value.isascii():
            value.decode()
        return _read(value, dict(record.headers), limits)
    except _UNUSUAL:
        return None


def _read(value: bytes, headers: Mapping[str, bytes | None], limits: DecodeLimits) -> AssetChange:
    extensions = plain_extensions(headers)
    match mode_of(value, headers):
        case "structured":
            if STRUCTURED_JSON.match(headers["content-type"] or b"") is None:
                raise _UnusualError
            return _of_structured(value, extensions, limits)
        case "binary":
            return _of_binary(value, headers, extensions, limits)
        case "plain":
            return _of_plain(value, extensions)


def _of_structured(value: bytes, extensions: Extensions, limits: DecodeLimits) -> AssetChange:
    cloud = _cloud.decode(value)
    if cloud.correlationid or cloud.traceparent or cloud.tracestate:
        texts = {name: getattr(cloud, name) for name in EXTENSIONS}
        extensions = merged_extensions(texts, extensions)
    data = cloud.data
    event = SourceEvent(
        cloud.id, cloud.source, cloud.type, cloud.subject, cloud.time, _context(data.context)
    )
    return _change(data, action_of(cloud.type, limits.type_prefix), event, extensions)


def _of_binary(
    value: bytes,
    headers: Mapping[str, bytes | None],
    extensions: Extensions,
    limits: DecodeLimits,
) -> AssetChange:
    event_id, source, event_type, subject, time = map(
        _text, map(headers.get, ("ce_id", "ce_source", "ce_type", "ce_subject", "ce_time"))
    )
    is_json = headers.get("content-type") in _MEDIA_TYPES
    if not (is_json and event_id and source and event_type):
        raise _UnusualError
    if headers.get("ce_specversion") != b"1.0":
        raise _UnusualError
    if not headers.keys().isdisjoint(_EXTENSION_HEADERS):
        own = {name: _text(headers.get(header)) for header, name in _EXTENSION_HEADERS.items()}
        extensions = merged_extensions(own, extensions)
    data = _data.decode(value)
    event = SourceEvent(event_id, source, event_type, subject, time, _context(data.context))
    return _change(data, action_of(event_type, limits.type_prefix), event, extensions)


def _of_plain(value: bytes, extensions: Extensions) -> AssetChange:
    data = _plain.decode(value)
    context = _context(data.context)
    event = SourceEvent(data.id, data.source, time=data.time, context=context)
    return _change(data, data.action, event, extensions)


def _change(
    data: _Data, action: Action | None, event: SourceEvent, extensions: Extensions
) -> AssetChange:
    """Return the change, if the names consist of ASCII letters, digits and underscores."""
    names = f"_{data.asset_family}{data.code}"  # an identifier does not begin with a digit
    if action is None or not (names.isascii() and names.isidentifier()):
        raise _UnusualError
    asset = Asset(data.asset_family, data.code)
    if action == DELETE:
        return AssetChange(action, asset, event, None, extensions)
    if data.values in _NOTHING:
        raise _UnusualError
    return AssetChange(action, asset, event, data.values, extensions)


def _text(content: bytes | None) -> str | None:
    """Return the text of a header, unless it may be in quotes, which are refused."""
    if content is None:
        return None
    text = content.decode()
    if text[:1] == '"':
        raise _UnusualError
    return text


def _context(given: Raw) -> Raw | None:
    if given in _NOTHING:
        return None
    text = bytes(given)
    if text[:1] != b"{" or len(text) > CONTEXT_BYTES_MAX or is_too_deep(text):
        raise _UnusualError
    return Raw(text)
