"""Shorten an outcome for a topic whose limit is below the size of the whole outcome."""

import msgspec
from msgspec import Raw

from service.core.records import LogRecord

TEXT_CHARACTERS_MAX = 200
"""Most characters that are kept of a foreign text."""

_members = msgspec.json.Decoder(dict[str, Raw])
"""Values stay raw: a foreign number may not fit into a type used here."""


def shortened(outcome: LogRecord) -> LogRecord | None:
    """Return the outcome without errors and context and with short texts; None if not shorter."""
    event = _members.decode(outcome.value or b"{}")
    shorter: dict[str, object] = event | {"data": _short_data(_object(event.get("data")))}
    if "causationid" in event:
        shorter["causationid"] = _clipped(event["causationid"])
    value = msgspec.json.encode(shorter)
    if len(value) >= len(outcome.value or b""):
        return None
    headers = tuple((name, _clipped_bytes(content)) for name, content in outcome.headers)
    return LogRecord(outcome.key, value, headers)


def _short_data(data: dict[str, Raw]) -> dict[str, object]:
    event, origin, pim = (_object(data.get(name)) for name in ("event", "origin", "pim"))
    short_pim = pim | {"message": _clipped(pim.get("message")), "errors": []} if pim else None
    without_files = {"media": None} if "media" in data else {}
    return (
        data
        | without_files
        | {
            "message": _clipped(data.get("message")),
            "errors": [],
            "event": {name: _clipped(raw) for name, raw in event.items()} | {"context": None},
            "origin": origin | {"key": _clipped(origin.get("key"))},
            "pim": short_pim,
            "errors_truncated": True,
        }
    )


def _object(raw: Raw | None) -> dict[str, Raw]:
    return _members.decode(raw) if raw is not None and bytes(raw).startswith(b"{") else {}


def _clipped(raw: Raw | None) -> object:
    if raw is None or not bytes(raw).startswith(b'"'):
        return raw
    return msgspec.json.decode(raw, type=str)[:TEXT_CHARACTERS_MAX]


def _clipped_bytes(content: bytes | None) -> bytes | None:
    """Return a header's text, truncated at the end of a character."""
    if content is None or len(content) <= 4 * TEXT_CHARACTERS_MAX:
        return content
    return content.decode("utf-8", "ignore")[:TEXT_CHARACTERS_MAX].encode()
