"""What an admitted change occupies in memory: JSON of a few bytes can become objects of hundreds.

Rule 1: ordinary changes are estimated by their commas, and rather too large: that takes about a
microsecond. Only others are measured.
"""

from collections.abc import Iterable
from sys import getsizeof

from service.core.model import Command, SourceRecord, UpsertAsset
from service.core.values import Value

USUAL_BYTES = 4096
"""What a change may occupy beside the change itself without being counted."""
ESTIMATED_BYTES_MAX = 16 * 1024
"""Above this estimate a change is measured. 10,000 changes of this size pause no intake by it."""
COMMA_BYTES = 240
"""At most: a name, a value, its list, and their place in a dictionary."""
COPIES = 2
"""The record, and its texts."""
WIDE_COPIES = 5
"""One character above U+FFFF makes each character of its text take four bytes."""
HEADER_BYTES = 100
"""A header's tuple, and its two texts without their content."""
ATTRIBUTE_BYTES = 130
"""The place of an attribute in a dictionary, and its list."""
VALUE_BYTES = 40


def occupied(record: SourceRecord, command: Command | None, values: bytes | None) -> int:
    """Bytes that the record and its command occupy; 0 where that is not more than usual.

    `values` is the JSON of the command's values: in the record it may be packed as base64.
    """
    size = record.size + HEADER_BYTES * len(record.headers)
    if values is not None and isinstance(command, UpsertAsset):
        estimate = _estimate(size, values)
        size = estimate if estimate <= ESTIMATED_BYTES_MAX else size + _of_upsert(command)
    return size if size > USUAL_BYTES else 0


def _estimate(size: int, values: bytes) -> int:
    # Looking for one byte first takes a tenth of the time.
    is_narrow = values.isascii() and (b"\\" not in values or b"\\u" not in values)
    return (COPIES if is_narrow else WIDE_COPIES) * size + COMMA_BYTES * (values.count(b",") + 1)


def _of_upsert(command: UpsertAsset) -> int:
    size = 0
    for attribute, values in command.values.items():
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
        elif value.data:
            size += getsizeof(value.data)
    return size
