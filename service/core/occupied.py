"""What an admitted change occupies in memory: JSON of a few bytes can become objects of hundreds.

Rule 1: ordinary changes are told by a count of commas, in a microsecond. Only others are measured.
"""

from collections.abc import Iterable
from sys import getsizeof

from service.core.model import Command, DeleteAsset, SourceRecord
from service.core.values import Value

USUAL_BYTES = 4096
"""What a change may occupy beside the change itself without being counted."""
COMMA_BYTES = 240
"""At most: a name, a value, its list, and their place in a dictionary."""
HEADER_BYTES = 100
"""A header's tuple, and its two texts without their content."""
ATTRIBUTE_BYTES = 130
"""The place of an attribute in a dictionary, and its list."""
VALUE_BYTES = 40


def occupied(record: SourceRecord, command: Command | None) -> int:
    """Bytes that the record and its command occupy; 0 where that is not more than usual."""
    size = record.size + HEADER_BYTES * len(record.headers)
    value = record.value
    if command is None or isinstance(command, DeleteAsset) or value is None:
        return size if size > USUAL_BYTES else 0
    if 2 * size + COMMA_BYTES * value.count(b",") <= USUAL_BYTES:
        return 0
    for attribute, values in command.values.items():
        size += ATTRIBUTE_BYTES + getsizeof(attribute) + _of_values(values)
    return size if size > USUAL_BYTES else 0


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
