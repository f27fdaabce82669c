"""An outcome for a topic that takes less than a whole one."""

from typing import Any

import msgspec

from service.core.effects import LogRecord

TEXT_CHARACTERS_MAX = 200
"""Characters that are kept of a text that others wrote."""


def shortened(outcome: LogRecord) -> LogRecord | None:
    """The outcome without errors and context, its texts clipped; None where it is so already."""
    event: dict[str, Any] = msgspec.json.decode(outcome.value or b"{}")
    shorter = event | {"data": _short_data(event.get("data", {}))}
    if "causationid" in event:
        shorter["causationid"] = _clipped(event["causationid"])
    value = msgspec.json.encode(shorter)
    if len(value) >= len(outcome.value or b""):
        return None
    headers = tuple((name, _clipped_bytes(content)) for name, content in outcome.headers)
    return LogRecord(outcome.key, value, headers)


def _short_data(data: dict[str, Any]) -> dict[str, Any]:
    pim, origin = data.get("pim"), data.get("origin") or {}
    return data | {
        "message": _clipped(data.get("message")),
        "errors": [],
        "event": {name: _clipped(text) for name, text in (data.get("event") or {}).items()}
        | {"context": None},
        "origin": origin | {"key": _clipped(origin.get("key"))},
        "pim": pim and pim | {"message": _clipped(pim.get("message")), "errors": []},
        "errors_truncated": True,
    }


def _clipped(text: object) -> object:
    return text[:TEXT_CHARACTERS_MAX] if isinstance(text, str) else text


def _clipped_bytes(content: bytes | None) -> bytes | None:
    """A header's text, cut where a character ends."""
    if content is None or len(content) <= 4 * TEXT_CHARACTERS_MAX:
        return content
    return content.decode("utf-8", "ignore")[:TEXT_CHARACTERS_MAX].encode()
