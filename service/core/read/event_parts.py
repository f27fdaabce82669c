"""What both ways of decoding an event have in common: its mode, its type's action, its extensions.

Source: contract.md §4 and the CloudEvents specification 1.0.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from service.contracts.outcome import DELETE, UPSERT, Action
from service.core.model import Extensions

EXTENSIONS = ("correlationid", "traceparent", "tracestate")
JSON = "application/json"
"""The usual media type of the data of an event."""
STRUCTURED_JSON = re.compile(rb"application/cloudevents\+json\s*(;|$)", re.IGNORECASE)
OWN_ECHO = "com.akeneo."
TYPES_KEPT_MAX = 100
"""How many types are remembered with their action: a DAM has few, which come again and again."""
TYPE_CHARACTERS_KEPT_MAX = 255
"""The longest type that is remembered."""

Mode = Literal["structured", "binary", "plain"]

_STRUCTURED = b"application/cloudevents"
"""How the media type of an event in structured mode begins."""
_EXTENSIONS = frozenset(EXTENSIONS)
_TYPE = re.compile(r"(?:.*\.)?asset\.(created|updated|upserted|deleted)(?:\.v[0-9]+)?", re.DOTALL)


def mode_of(value: bytes | None, headers: Mapping[str, bytes | None]) -> Mode:
    """Return the mode of a CloudEvent, or `plain` for what is none."""
    content_type = headers.get("content-type") or b""
    if value is not None and content_type.lower().startswith(_STRUCTURED):
        return "structured"
    is_binary = any([name.startswith("ce_") for name in headers])  # noqa: C419 - faster for few
    return "binary" if is_binary else "plain"


def action_of(event_type: str, type_prefix: str) -> Action | None:
    """Return the action that a type names at its end; None if events of the type are skipped."""
    is_short = len(event_type) <= TYPE_CHARACTERS_KEPT_MAX
    return (_kept_action if is_short else _action_of)(event_type, type_prefix)


def _action_of(event_type: str, type_prefix: str) -> Action | None:
    found = _TYPE.fullmatch(event_type)
    is_accepted = event_type.startswith(type_prefix) and not event_type.startswith(OWN_ECHO)
    if found is None or not is_accepted:
        return None
    return DELETE if found[1] == "deleted" else UPSERT


_kept_action = lru_cache(maxsize=TYPES_KEPT_MAX)(_action_of)


def plain_extensions(headers: Mapping[str, bytes | None]) -> Extensions:
    """Return the extensions among the plain headers of a record."""
    if _EXTENSIONS.isdisjoint(headers):
        return ()
    found: list[tuple[str, str]] = []
    for name in EXTENSIONS:
        content = headers.get(name)
        if content:
            found.append((name, content.decode("utf-8", "replace")))
    return tuple(found)


def merged_extensions(attributes: Mapping[str, str | None], outer: Extensions) -> Extensions:
    """Return the extensions; the event's own replace the plain headers of the record (`outer`)."""
    if not outer and not any(map(attributes.get, EXTENSIONS)):
        return ()
    merged = dict(outer)
    merged.update({name: text for name in EXTENSIONS if (text := attributes.get(name))})
    return tuple(merged.items())
