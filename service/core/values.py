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


Scope = tuple[str | None, str | None]
"""Locale and channel: where an attribute has one value."""


def merge(several: Iterable[Values]) -> Values:
    """Return all of them, a later value in the place of an earlier one; in linear time."""
    merged: dict[str, dict[Scope, Value]] = {}
    for values in several:
        for attribute, given in values.items():
            scopes = merged.setdefault(attribute, {})
            for value in given:
                scopes[value.locale, value.channel] = value
    return {attribute: list(scopes.values()) for attribute, scopes in merged.items()}


class Attribute(msgspec.Struct, frozen=True):
    """What an attribute takes; None where the PIM says nothing."""

    code: str
    type: str
    per_locale: bool = False
    per_channel: bool = False
    characters_max: int | None = None
    takes_decimals: bool | None = None
    least: str | None = None
    most: str | None = None

    @property
    def has_options(self) -> bool:
        """Whether its data are codes of options."""
        return self.type in {"single_option", "multiple_options"}
