"""The paths of a sample event, written as a sources file needs them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from service.mapping.endings import RecordEndedError
from service.mapping.json_values import decode_leniently

PATHS_MAX = 10_000
"""How many paths of an event are listed."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTTED_NAMES = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_WORDS_OF_YAML = frozenset({"null", "true", "false"})
"""Names that YAML reads as something else than a text."""


@dataclass(frozen=True, slots=True)
class EventPath:
    """A path of an event, its value, and the text with JSON that has to be parsed for it."""

    path: str
    value: object
    parsed: str | None = None


def event_paths(event: object) -> Iterator[EventPath]:
    """Yield every path of the event that leads to a value, an empty list or object included.

    Where YAML needs it, in a map or list on one line too, a path stands in single quotes. What a
    text with JSON holds comes after the text itself. After `PATHS_MAX` paths it ends.
    """
    pending = [EventPath("", event)]
    count = 0
    while pending and count < PATHS_MAX:
        found = pending.pop()
        below = list(_below(found))
        if not below or isinstance(found.value, str):
            count += 1
            parsed = None if found.parsed is None else _for_yaml(found.parsed)
            yield EventPath(_for_yaml(found.path or "@"), found.value, parsed)
        pending += reversed(below)


def _below(found: EventPath) -> Iterator[EventPath]:
    path, value, parsed = found.path, found.value, found.parsed
    if isinstance(value, str) and value[:1] in "{[" and path and parsed is None:
        try:
            value = decode_leniently(value, "The text")
        except RecordEndedError:
            return  # no mapping could parse it either
        parsed = path
    if isinstance(value, dict):
        for name, member in value.items():
            yield EventPath(f"{path}.{_step(name)}" if path else _step(name), member, parsed)
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield EventPath(f"{path or '@'}[{index}]", element, parsed)


def _step(name: str) -> str:
    """Return a name, in quotes if it needs them; what a terminal might obey is escaped."""
    if _NAME.fullmatch(name):
        return name
    return json.dumps(name, ensure_ascii=not name.isprintable())


def _for_yaml(path: str) -> str:
    """Return the path in single quotes if YAML might read it as something else."""
    if _DOTTED_NAMES.fullmatch(path) and path.lower() not in _WORDS_OF_YAML:
        return path
    return "'" + path.replace("'", "''") + "'"
