"""An asset's values as the PIM writes them (akeneo.md §4.1).

Rule 1: an attribute has one value for each locale and channel; what is put later replaces it.
Rule 2: commands share their values; whoever merges makes new ones.
"""

from collections.abc import Iterable

import msgspec

ValueData = str | bool | list[str] | None
"""None erases (akeneo.md §4.3)."""


class Value(msgspec.Struct, frozen=True, gc=False):
    """One value of an attribute, in one locale and channel (None: in all of them)."""

    data: ValueData
    locale: str | None = None
    channel: str | None = None


Values = dict[str, list[Value]]
"""By attribute."""


def merge(several: Iterable[Values]) -> Values:
    """All of them, a later value in the place of an earlier one."""
    merged: Values = {}
    for values in several:
        for attribute, given in values.items():
            for value in given:
                put(merged, attribute, value)
    return merged


def put(values: Values, attribute: str, value: Value) -> bool:
    """Set a value; True where it replaced another."""
    entries = values.setdefault(attribute, [])
    for index, other in enumerate(entries):
        if (other.locale, other.channel) == (value.locale, value.channel):
            entries[index] = value
            return True
    entries.append(value)
    return False
