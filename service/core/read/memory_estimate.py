"""Estimate the memory of an admitted change: a few bytes of JSON can become hundreds in objects.

Rule 1: values stay JSON until they are sent, unless they may grow much when they are taken apart.
Rule 2: the commas in the JSON give an upper estimate within about a microsecond. Only values whose
estimate is large are taken apart at once, and measured.
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
"""Above this estimate values are measured. 10,000 changes of this size do not pause intake."""
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


def occupied(record: SourceRecord, command: Command | None) -> int:
    """Return the bytes that a record and its command occupy; 0 if at most `USUAL_BYTES`."""
    size = record.size + HEADER_BYTES * len(record.headers)
    if isinstance(command, UpsertAsset):
        held = command.values  # JSON: the record may have it as base64, or in its own long form
        size += len(held) if isinstance(held, Raw) else _measured(held)
    return size if size > USUAL_BYTES else 0


def may_grow(values: Raw) -> bool:
    """Return whether these values may take more than `ESTIMATED_BYTES_MAX` when taken apart."""
    text = bytes(values)
    # Searching for the one byte first is ten times faster.
    is_narrow = text.isascii() and (b"\\" not in text or b"\\u" not in text)
    size = (COPIES if is_narrow else WIDE_COPIES) * len(text)
    return size + COMMA_BYTES * (text.count(b",") + 1) > ESTIMATED_BYTES_MAX


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
