"""The paths of a sample event, written as a sources file needs them."""

import json
import re
from collections.abc import Iterator

PATHS_MAX = 10_000
"""How many paths of an event are listed."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def event_paths(event: object) -> Iterator[tuple[str, object]]:
    """Yield every path of the event and its value, an empty list or object included.

    A path with quotes stands in single quotes, as YAML needs it. After `PATHS_MAX` paths it ends.
    """
    pending: list[tuple[str, object]] = [("", event)]
    count = 0
    while pending and count < PATHS_MAX:
        path, value = pending.pop()
        below = list(_below(path, value))
        if below:
            pending += reversed(below)
        else:
            count += 1
            yield _for_yaml(path or "@"), value


def _below(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, member in value.items():
            step = name if _NAME.fullmatch(name) else json.dumps(name, ensure_ascii=False)
            yield (f"{path}.{step}" if path else step), member
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield f"{path or '@'}[{index}]", element


def _for_yaml(path: str) -> str:
    """Return the path in single quotes if YAML might read it as something else."""
    return "'" + path.replace("'", "''") + "'" if set(path) & set("\"'@") else path
