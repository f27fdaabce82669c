"""The files that the changes of an asset name, and what became of each of them.

Rule 1: a file is known by its place: the attribute decides about its limits.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from service.core.model import UpsertAsset
from service.core.values import MediaFile, Value, Values

Content = tuple[bytes, str]
"""SHA-256 of what a file holds, and the extension under which it is uploaded."""

Place = tuple[str, MediaFile]
"""The code of an attribute, and a file that is a value of it."""


class FoundFile(NamedTuple):
    """A file that the PIM has."""

    code: str
    content: Content
    size: int | None
    """Bytes; None if it was not fetched."""
    is_remembered: bool
    """Whether the code is that of an upload before."""


def places_in(values: Values) -> Iterator[Place]:
    """Yield the place of each value that is a file; a place may come twice, in two locales."""
    for attribute, given in values.items():
        for value in given:
            if isinstance(value.data, MediaFile):
                yield attribute, value.data


def with_codes(upsert: UpsertAsset, found: Mapping[Place, FoundFile]) -> UpsertAsset:
    """Return the command with the PIM's code in the place of each file."""
    if not isinstance(upsert.values, dict):
        return upsert  # values in the long form: no file is among them
    filled = {
        attribute: [_with_code(attribute, value, found) for value in given]
        for attribute, given in upsert.values.items()
    }
    return UpsertAsset(upsert.asset, filled, upsert.size)


def _with_code(attribute: str, value: Value, found: Mapping[Place, FoundFile]) -> Value:
    if not isinstance(value.data, MediaFile):
        return value
    return Value(found[attribute, value.data].code, value.locale, value.channel)
