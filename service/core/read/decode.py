"""Decode bytes and headers into an `AssetChange` or a `Rejection` with its reason (contract.md §4).

Rule 1: `decode` is total: whatever the bytes are, it returns a value and never raises.
Rule 2: family and code are used exactly as given, never trimmed or folded.
Rule 3: usual events are decoded at once (`usual_event.py`), all others member by member. Both ways
give the same result, which tests/property/test_decode.py verifies.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import NoReturn

import msgspec
from msgspec import Raw

from service.contracts.asset_change import CONTEXT_BYTES_MAX
from service.contracts.json_flaw import TOO_DEEP, UNREADABLE, flaw_of_bytes, flaw_of_json
from service.contracts.outcome import (
    Action,
    ChangeError,
    ErrorCode,
    Reason,
    SourceEvent,
    Status,
)
from service.contracts.text import DEPTH_MAX, flaw_of_name, is_too_deep, shown
from service.core.limits import DecodeLimits
from service.core.model import Asset, AssetChange, Extensions, Rejection, SourceRecord
from service.core.read.event_parts import (
    EXTENSIONS,
    JSON,
    STRUCTURED_JSON,
    action_of,
    merged_extensions,
    mode_of,
    plain_extensions,
)
from service.core.read.usual_event import usual_change

MANDATORY_ATTRIBUTES = ("id", "source", "specversion", "type")
INFORMATIONAL = ("subject", "time")
"""Optional attributes of a CloudEvent that an outcome repeats."""
_BINARY_ATTRIBUTES = tuple(
    (f"ce_{name}", name, name in MANDATORY_ATTRIBUTES or name == "subject")
    for name in (*MANDATORY_ATTRIBUTES, *INFORMATIONAL, *EXTENSIONS)
)
"""The headers of a CloudEvent in binary mode, and whether each must be valid UTF-8."""
NO_VALUES = "An upsert needs `values`, an object; it may be {}."
DATA = "`data`"

_members = msgspec.json.Decoder(dict[str, Raw])
_text = msgspec.json.Decoder(str)
_NULL = b"null"
_NO_EVENT = SourceEvent()


class _Known(msgspec.Struct, gc=False):
    """The parts decoded so far; they go into the outcome even if the record is rejected."""

    event: SourceEvent = _NO_EVENT
    action: Action | None = None
    asset: Asset | None = None
    extensions: Extensions = ()


class _RejectedError(Exception):
    """Ends the decoding of a record; `decode` turns it into a `Rejection`."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        status: Status = "rejected",
        error: ChangeError | None = None,
    ) -> None:
        self.reason = reason
        self.message = message
        self.status = status
        self.errors = () if error is None else (error,)


def decode(record: SourceRecord, limits: DecodeLimits) -> AssetChange | Rejection:
    """Decode one record into the change of one asset.

    The record is a CloudEvent (structured or binary), a tombstone, or plain JSON with an `action`.
    """
    if (usual := usual_change(record, limits)) is not None:
        return usual
    known = _Known()
    try:
        values = _read(record, limits, known)
    except _RejectedError as rejected:
        return Rejection(
            status=rejected.status,
            reason=rejected.reason,
            message=rejected.message,
            errors=rejected.errors,
            action=known.action,
            asset=known.asset,
            event=known.event,
            extensions=known.extensions,
        )
    assert known.action is not None
    assert known.asset is not None
    return AssetChange(known.action, known.asset, known.event, values, known.extensions)


def _read(record: SourceRecord, limits: DecodeLimits, known: _Known) -> Raw | None:
    """Fill `known`; return the JSON text of `values`, None for a delete."""
    headers = dict(record.headers)
    known.extensions = plain_extensions(headers)
    if record.omission is not None:
        _reject(record.omission.reason, record.omission.message)
    size = record.size
    if size > limits.record_bytes_max:
        _reject(
            "too_large",
            f"The record has {size} bytes of key, value and headers; "
            f"the limit is {limits.record_bytes_max}.",
        )
    mode = mode_of(record.value, headers)
    if mode == "structured":
        return _read_structured(record, headers["content-type"] or b"", limits, known)
    if mode == "binary":
        return _read_binary(record, headers, limits, known)
    if record.value is None:
        _read_tombstone(record, known)
        return None
    return _read_plain(record, known)


# --- the three forms -------------------------------------------------------------------------


def _read_tombstone(record: SourceRecord, known: _Known) -> None:
    known.action = "delete"
    asset = _asset_of_path(_key_text(record))
    if asset is None:
        found = f"it is {shown(record.key)}" if record.key else "this record has none"
        message = f"A tombstone names its asset by its key, which must be FAMILY/CODE; {found}."
        _invalid("missing_asset", "key", message)
    known.asset = asset


def _read_structured(
    record: SourceRecord, content_type: bytes, limits: DecodeLimits, known: _Known
) -> Raw | None:
    if STRUCTURED_JSON.match(content_type) is None:
        _reject(
            "undecodable",
            f"The content type {shown(content_type)} is not supported; structured "
            "CloudEvents must be application/cloudevents+json, one event per record.",
        )
    envelope = _object(_json_value(record), "The event")
    attributes = {name: _attribute(envelope, name) for name in MANDATORY_ATTRIBUTES}
    _note_event(known, attributes, envelope)
    _require_version(attributes["specversion"])
    known.action = _action_of(attributes["type"], limits)
    if _given(envelope, "datacontenttype"):
        _require_json(_string(envelope, "datacontenttype"))
    data = _data_of(envelope)
    if data is None:
        if known.action == "upsert":
            _invalid("missing_member", "data", "An upsert needs `data` with its `values`.")
        known.asset = _asset_beside_data(record, known)
        return None
    return _read_data(_object(data, DATA), record, known)


def _data_of(envelope: Mapping[str, Raw]) -> bytes | Raw | None:
    """Return `data`, or the decoded `data_base64`, which some SDKs use for JSON."""
    if not _given(envelope, "data_base64"):
        return envelope["data"] if _given(envelope, "data") else None
    if _given(envelope, "data"):
        message = "The event has both `data` and `data_base64`: give only one."
        _invalid("contradiction", "data_base64", message)
    try:
        decoded = base64.b64decode(_string(envelope, "data_base64"), validate=True)
    except (binascii.Error, ValueError):
        _invalid("invalid_base64", "data_base64", "`data_base64` is not valid Base64.")
    return _json_text(decoded, "The content of `data_base64`")


def _read_binary(
    record: SourceRecord,
    headers: Mapping[str, bytes | None],
    limits: DecodeLimits,
    known: _Known,
) -> Raw | None:
    attributes = _attributes_in(headers)
    missing = [f"ce_{name}" for name in MANDATORY_ATTRIBUTES if not attributes.get(name)]
    if missing:
        message = f"The CloudEvents headers are incomplete: {', '.join(missing)}."
        _invalid("missing_member", missing[0], message)
    known.event = SourceEvent(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject"),
        time=attributes.get("time"),
    )
    known.extensions = merged_extensions(attributes, known.extensions)
    _refuse_quotes(attributes)
    _require_version(attributes["specversion"])
    known.action = _action_of(attributes["type"], limits)
    if record.value is None:
        if known.action == "upsert":
            message = "An upsert needs a value; the value of this record is null."
            _invalid("missing_member", "value", message)
        known.asset = _asset_beside_data(record, known)
        return None
    content_type = headers.get("content-type")
    if content_type:
        _require_json(_header_text("content-type", content_type))
    return _read_data(_object(_json_value(record), "The value"), record, known)


def _attributes_in(headers: Mapping[str, bytes | None]) -> dict[str, str]:
    """Return the attributes of a CloudEvent in binary mode.

    The mandatory ones and the subject must be valid UTF-8; nothing depends on the others.
    """
    attributes: dict[str, str] = {}
    for header, name, is_strict in _BINARY_ATTRIBUTES:
        content = headers.get(header)
        if content is None:
            continue
        if is_strict:
            attributes[name] = _header_text(header, content)
        else:
            attributes[name] = content.decode("utf-8", "replace")
    return attributes


def _refuse_quotes(attributes: Mapping[str, str]) -> None:
    """Reject headers in JSON quotes, which some libraries write.

    A type in quotes would otherwise be skipped silently as an unknown type.
    """
    for name, text in attributes.items():
        if text[:1] == '"' and len(text) > 1 and text[-1] == '"' and name not in EXTENSIONS:
            _invalid(
                "quoted_header",
                f"ce_{name}",
                f"The header ce_{name} is in JSON quotes ({shown(text)}): "
                "the producer must write the ce_* headers as plain text.",
            )


def _read_plain(record: SourceRecord, known: _Known) -> Raw | None:
    members = _object(_json_value(record), "The value")
    if "action" not in members and "specversion" in members:
        given = dict(record.headers).get("content-type")
        found = f"; it has {shown(given)}" if given else ""
        _invalid(
            "wrong_content_type",
            "content-type",
            "The value looks like a structured CloudEvent; "
            f"its record needs the header content-type: application/cloudevents+json{found}.",
        )
    known.event = SourceEvent(
        id=_lenient_text(members.get("id")),
        source=_lenient_text(members.get("source")),
        time=_lenient_text(members.get("time")),
    )
    action = _optional_string(members, "action")
    if action not in ("upsert", "delete"):
        message = 'Plain JSON needs "action": "upsert" or "action": "delete".'
        _invalid("missing_member", "action", message)
    known.action = "upsert" if action == "upsert" else "delete"
    return _read_data(members, record, known)


def _read_data(data: Mapping[str, Raw], record: SourceRecord, known: _Known) -> Raw | None:
    """Decode `data`, or the members of plain JSON, which have the same form."""
    known.asset = _asset_in_data(data) or _asset_beside_data(record, known)
    if _given(data, "context"):
        known.event = msgspec.structs.replace(known.event, context=_context(data["context"]))
    if known.action == "delete":
        return None
    if not _given(data, "values"):
        _invalid("missing_member", "values", NO_VALUES)
    return data["values"]


# --- parts -----------------------------------------------------------------------------------


def _action_of(event_type: str, limits: DecodeLimits) -> Action:
    action = action_of(event_type, limits.type_prefix)
    if action is None:
        raise _RejectedError(
            "unknown_type", f"Events of type {shown(event_type)} are not synchronised.", "skipped"
        )
    return action


def _asset_in_data(data: Mapping[str, Raw]) -> Asset | None:
    """Return family and code from `data`, which must give both or neither."""
    if "asset_family" not in data and "code" not in data:
        return None
    for name in ("asset_family", "code"):
        if name not in data:
            other = "code" if name == "asset_family" else "asset_family"
            message = f"`{other}` is given without `{name}`: give both, or neither."
            _invalid("missing_member", name, message)
    return Asset(_name(data, "asset_family"), _name(data, "code"))


def _asset_beside_data(record: SourceRecord, known: _Known) -> Asset:
    """Return family and code from the subject, else from the key."""
    asset = _asset_of_path(known.event.subject) or _asset_of_path(_key_text(record))
    if asset is None:
        _invalid(
            "missing_asset",
            "asset_family",
            "The event names no asset: neither `data` (asset_family and code), "
            "nor the subject, nor the key (FAMILY/CODE).",
        )
    return asset


def _asset_of_path(path: str | None) -> Asset | None:
    family, slash, code = (path or "").partition("/")
    if not slash or flaw_of_name(family) or flaw_of_name(code):
        return None
    return Asset(family, code)


def _name(data: Mapping[str, Raw], member: str) -> str:
    name = _string(data, member)
    flaw = flaw_of_name(name)
    if flaw:
        _invalid("invalid_name", member, f"`{member}` {flaw}.")
    return name


def _context(raw: Raw) -> Raw:
    text = bytes(raw)
    if not text.startswith(b"{"):
        _invalid("wrong_type", "context", "`context` must be an object.")
    if len(text) > CONTEXT_BYTES_MAX:
        _reject("too_large", f"`context` has {len(text)} bytes; the limit is {CONTEXT_BYTES_MAX}.")
    if is_too_deep(text):
        _reject("too_large", f"`context` nests too deeply; the limit is {DEPTH_MAX} levels.")
    return Raw(text)


def _note_event(known: _Known, attributes: Mapping[str, str], envelope: Mapping[str, Raw]) -> None:
    known.event = SourceEvent(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=_optional_string(envelope, "subject"),
        time=_lenient_text(envelope.get("time")),
    )
    texts = {name: _lenient_text(envelope.get(name)) for name in EXTENSIONS}
    known.extensions = merged_extensions(texts, known.extensions)


def _require_version(specversion: str) -> None:
    if specversion != "1.0":
        message = f"CloudEvents version {shown(specversion)} is not supported, only 1.0."
        _invalid("unsupported_version", "specversion", message)


def _require_json(media_type: str) -> None:
    if media_type == JSON:
        return
    essence = media_type.partition(";")[0].strip().lower()
    kind, _, name = essence.partition("/")
    is_json = kind and (name == "json" or name.endswith("+json"))
    if not is_json or len(essence.split()) > 1:
        message = f"The data is {shown(media_type)}; only JSON is supported."
        _invalid("wrong_content_type", "datacontenttype", message)


# --- JSON and text ---------------------------------------------------------------------------


def _json_value(record: SourceRecord) -> bytes:
    assert record.value is not None
    return _json_text(record.value, "The value")


def _json_text(text: bytes, what: str) -> bytes:
    """Return the same bytes if they are JSON; `what` names them in the rejection."""
    flaw = flaw_of_bytes(text)
    if flaw is None:
        try:
            msgspec.json.decode(text, type=Raw)
        except RecursionError:
            flaw = TOO_DEEP
        except msgspec.DecodeError:
            flaw = flaw_of_json(text)
    if flaw is not None:
        _reject("undecodable", f"{what} {flaw}.")
    return text


def _object(text: bytes | Raw, what: str) -> dict[str, Raw]:
    try:
        return _members.decode(text)
    except msgspec.ValidationError:
        path = "data" if what == DATA else "value"
        _invalid("wrong_type", path, f"{what} is {_kind_of(text)}; it must be a JSON object.")
    except UNREADABLE:
        _reject("undecodable", f"{what} {TOO_DEEP}.")


def _kind_of(text: bytes | Raw) -> str:
    first = bytes(text).lstrip()[:1]
    kinds = {b"[": "a list", b'"': "a text", b"n": "null", b"t": "true", b"f": "false"}
    return kinds.get(first, "a number")


def _given(members: Mapping[str, Raw], name: str) -> bool:
    """Return whether the member is present and not null."""
    return name in members and bytes(members[name]) != _NULL


def _attribute(envelope: Mapping[str, Raw], name: str) -> str:
    if not _given(envelope, name):
        _invalid("missing_member", name, f"The CloudEvent has no `{name}`.")
    text = _string(envelope, name)
    if not text:
        _invalid("missing_member", name, f"The CloudEvent's `{name}` is empty.")
    return text


def _string(members: Mapping[str, Raw], name: str) -> str:
    try:
        return _text.decode(members[name])
    except msgspec.ValidationError:
        _invalid("wrong_type", name, f"`{name}` must be a string.")
    except UNREADABLE as error:
        _reject("undecodable", f"`{name}` cannot be read: {error}.")


def _optional_string(members: Mapping[str, Raw], name: str) -> str | None:
    return _string(members, name) if _given(members, name) else None


def _lenient_text(raw: Raw | None) -> str | None:
    """Return the text of an informational member, or None if it is not a string."""
    try:
        return _text.decode(raw) if raw is not None else None
    except UNREADABLE:
        return None


def _header_text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        _invalid("not_utf8", name, f"The header {name} is not UTF-8.")


def _key_text(record: SourceRecord) -> str | None:
    try:
        return record.key.decode() if record.key else None
    except UnicodeDecodeError:
        return None


def _invalid(code: ErrorCode, path: str, message: str) -> NoReturn:
    """Reject the record as `invalid_event`; `path` is the member or header that is wrong."""
    raise _RejectedError("invalid_event", message, error=ChangeError(path, message, code=code))


def _reject(reason: Reason, message: str) -> NoReturn:
    raise _RejectedError(reason, message)
