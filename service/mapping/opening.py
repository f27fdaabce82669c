"""From a record's bytes to the event, its key and what `$record` shows (docs/sources.md)."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from service.mapping.compiler import Compiler
from service.mapping.endings import RecordEndedError
from service.mapping.faults import DocumentPath, FaultError
from service.mapping.file.model import Source
from service.mapping.json_values import ABSENT, decode, decode_leniently, kind_of
from service.mapping.paths import Steps, plain_steps, walk_steps
from service.mapping.results import RawRecord
from service.mapping.scope import KEY, RECORD

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STRUCTURED = "application/cloudevents"
_ATTRIBUTE = "ce_"
_MANDATORY = frozenset({"id", "source", "specversion", "type"})
"""The attributes of which binary mode has at least one; a stray `ce_` header makes no event."""

Members = dict[str, object]


class Opened(NamedTuple):
    """What the paths of a record start from. A tombstone has no event."""

    event: Members | None
    key: object
    record: object


Open = Callable[[RawRecord], Opened]
"""Raise RecordEndedError for a value that is not an event."""


def compile_opening(source: Source, at: DocumentPath, compiler: Compiler) -> Open:
    """Return the function that opens records. Call it last: it reads what the paths start from."""
    parsed = _parsed_members(source.parse, (*at, "parse"), compiler)
    unwrapped = tuple(source.unwrap)
    read = _read_cloud_event if source.value == "cloudevents" else _read_json
    uses_key = KEY in compiler.roots
    uses_record = RECORD in compiler.roots

    def open_record(record: RawRecord) -> Opened:
        event = read(record)
        if event is not None:
            event = _unwrap(event, unwrapped)
            for steps in parsed:
                _parse(event, steps)
        key = _key(record.key, unwrapped) if uses_key else ABSENT
        return Opened(event, key, _shown(record) if uses_record else ABSENT)

    return open_record


def _parsed_members(texts: Sequence[str], at: DocumentPath, compiler: Compiler) -> list[Steps]:
    found: list[Steps] = []
    for index, text in enumerate(texts):
        with compiler.noting_faults((*at, index)):
            steps = plain_steps(text)
            if steps is None or not isinstance(steps[-1], str):
                raise FaultError(f"`{text}` is not a plain path of a member, such as Message.")
            found.append(steps)
    return found


# --- the value -------------------------------------------------------------------------------


def _read_json(record: RawRecord) -> Members | None:
    return None if record.value is None else _members(decode(record.value, "The value"))


def _members(value: object) -> Members:
    if isinstance(value, dict):
        return value
    raise RecordEndedError(
        "rejected", "unmappable", f"The value is {kind_of(value)}; it must be a JSON object."
    )


def _read_cloud_event(record: RawRecord) -> Members | None:
    """Return the event's attributes and `data`, in structured or binary mode."""
    attributes = {
        _text_of_name(name.removeprefix(_ATTRIBUTE)): _text(content or b"")
        for name, content in record.headers
        if name.startswith(_ATTRIBUTE)
    }
    if not attributes.keys() & _MANDATORY or _is_structured(record):
        event = _read_json(record)
        return None if event is None else _with_decoded_data(event)
    data = None if record.value is None else decode(record.value, "The value")
    return {**attributes, "data": data}


def _is_structured(record: RawRecord) -> bool:
    content_type = dict(record.headers).get("content-type") or b""
    return content_type.decode("utf-8", "replace").strip().lower().startswith(_STRUCTURED)


def _with_decoded_data(event: Members) -> Members:
    encoded = event.get("data_base64")
    if "data" not in event and isinstance(encoded, str):
        try:
            data = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, ValueError):
            return event
        event["data"] = decode_leniently(data, "data_base64")
    return event


def _unwrap(event: Members, members: Sequence[str]) -> Members:
    for member in members:
        inner = event.get(member)
        if isinstance(inner, dict):
            event = inner
    return event


def _parse(event: Members, steps: Steps) -> None:
    """Replace a member that holds JSON as text by what it holds."""
    holder = walk_steps(event, steps[:-1])
    name = steps[-1]
    if isinstance(holder, dict) and isinstance(text := holder.get(name), str):
        holder[name] = decode_leniently(text, str(name))


# --- what stands beside the value ------------------------------------------------------------


def _key(key: bytes | None, unwrapped: Sequence[str]) -> object:
    """Return the key as JSON if it is an object, without its wrapper, and as text otherwise."""
    if key is None:
        return ABSENT
    text = _text(key)
    if text.lstrip().startswith("{"):
        found = decode_leniently(text, "The key")
        if isinstance(found, dict):
            return _unwrap(found, unwrapped)
    return text


def _shown(record: RawRecord) -> Mapping[str, object]:
    shown: Members = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "headers": {
            _text_of_name(name): None if content is None else _text(content)
            for name, content in record.headers
        },
    }
    if record.key is not None:
        shown["key"] = _text(record.key)
    if record.timestamp_ms >= 0:
        shown["time"] = _time(record.timestamp_ms)
    return shown


def _text(content: bytes) -> str:
    r"""Return a key or the content of a header as text; a byte that is not UTF-8 stands as \xNN.

    Where a zero byte shows that it is no text, every byte does that is not visible: the numbers
    that a serializer of Kafka writes as eight bytes must not become one id, trimmed or not.
    """
    if b"\0" in content:
        return "".join(chr(each) if 0x20 < each < 0x7F else f"\\x{each:02x}" for each in content)
    return content.decode("utf-8", "backslashreplace")


def _text_of_name(name: str) -> str:
    """Return the name of a header as text: bytes that are not UTF-8 stand in it as surrogates."""
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _time(timestamp_ms: int) -> str | None:
    try:
        moment = _EPOCH + timedelta(milliseconds=timestamp_ms)
    except OverflowError:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
