"""Estimate the memory of an admitted change: a few bytes of JSON can become hundreds in objects.

Rule 1: the commas in the JSON give an upper estimate within about a microsecond. Only a change
whose estimate is large is measured.
"""

from collections.abc import Iterable
from sys import getsizeof

import msgspec
from msgspec import Raw

from service.core.model import Command, SourceRecord, UpsertAsset
from service.core.values import MediaFile, Value, Values

USUAL_BYTES = 4096
"""A change that occupies at most this much counts as 0."""
ESTIMATED_BYTES_MAX = 16 * 1024
"""Above this estimate a change is measured. 10,000 changes of this size do not pause intake."""
COMMA_BYTES = 240
"""Most bytes per comma: a name, a value, its list, and their entry in a dictionary."""
COPIES = 2
"""The data is in memory twice: in the record, and in decoded strings."""
WIDE_COPIES = 5
"""`COPIES` for wide strings: one character above U+FFFF makes each of a string take four bytes."""
HEADER_BYTES = 100
"""A header's tuple, and its two objects without their content."""
ATTRIBUTE_BYTES = 130
"""An attribute's entry in a dictionary, and its list."""
VALUE_BYTES = 40
FILE_BYTES = 40


def occupied(record: SourceRecord, command: Command | None, values: Raw | None) -> int:
    """Return the bytes that the record and its command occupy; 0 if that is at most `USUAL_BYTES`.

    `values` is the JSON of the command's values, which the record may contain as base64.
    """
    size = record.size + HEADER_BYTES * len(record.headers)
    if values is not None and isinstance(command, UpsertAsset):
        held = command.values
        if isinstance(held, Raw):  # values that are still JSON have at most one more copy
            size += len(held)
        else:
            estimate = _estimate(size, bytes(values))
            size = estimate if estimate <= ESTIMATED_BYTES_MAX else size + _measured(held)
    return size if size > USUAL_BYTES else 0


def _estimate(size: int, values: bytes) -> int:
    # Searching for the one byte first is ten times faster.
    is_narrow = values.isascii() and (b"\\" not in values or b"\\u" not in values)
    return (COPIES if is_narrow else WIDE_COPIES) * size + COMMA_BYTES * (values.count(b",") + 1)


def _measured(all_values: Values) -> int:
    size = 0
    for attribute, values in all_values.items():
        size += ATTRIBUTE_BYTES + getsizeof(attribute) + _of_values(values)
    return size


def _of_values(values: Iterable[Value]) -> int:
    size = 0
    for value in values:
        size += VALUE_BYTES + 8
        if value.locale is not None:
            size += getsizeof(value.locale)
        if value.channel is not None:
            size += getsizeof(value.channel)
        if isinstance(value.data, list):
            size += getsizeof(value.data) + sum(map(getsizeof, value.data))
        elif isinstance(value.data, MediaFile):
            size += FILE_BYTES + sum(map(getsizeof, msgspec.structs.astuple(value.data)))
        elif value.data:
            size += getsizeof(value.data)
    return size
