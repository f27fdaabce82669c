"""An asset's values in the form that the PIM uses (akeneo.md §4.1).

Rule 1: an attribute has one value for each locale and channel; a later value replaces an earlier.
Rule 2: commands share their values, so merging creates new ones and never modifies them.
"""

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Protocol, TypeVar

import msgspec


class MediaFile(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A file that is downloaded, and uploaded to the PIM, whose code then stands in its place."""

    url: str
    name: str | None = None
    """The name under which it is uploaded; None means the last part of the URL's path."""
    sha256: str | None = None
    """Its digest in 64 lower-case hex digits, where the sender knows it."""


ValueData = str | bool | list[str] | MediaFile | None
"""None erases the value (akeneo.md §4.3)."""


class Value(msgspec.Struct, frozen=True, gc=False):
    """One value of an attribute, in one locale and channel (None: in all of them)."""

    data: ValueData
    locale: str | None = None
    channel: str | None = None


Values = dict[str, list[Value]]
"""The values of an asset by attribute code."""


Scope = tuple[str | None, str | None]
"""Locale and channel; within one scope an attribute has one value."""
scope_of = attrgetter("locale", "channel")


class Scoped(Protocol):
    """A value with its scope; its data may be of any form."""

    @property
    def locale(self) -> str | None: ...
    @property
    def channel(self) -> str | None: ...


AnyValue = TypeVar("AnyValue", bound=Scoped)


def merge(all_values: Iterable[Mapping[str, list[AnyValue]]]) -> dict[str, list[AnyValue]]:
    """Merge in linear time; a later value replaces an earlier one of the same scope."""
    merged: dict[str, dict[Scope, AnyValue]] = {}
    for values in all_values:
        for attribute, given in values.items():
            scopes = merged.setdefault(attribute, {})
            for value in given:
                scopes[value.locale, value.channel] = value
    return {attribute: list(scopes.values()) for attribute, scopes in merged.items()}


class Attribute(msgspec.Struct, frozen=True):
    """An attribute's type and limits; None means that the PIM sets no limit."""

    code: str
    type: str
    per_locale: bool = False
    per_channel: bool = False
    characters_max: int | None = None
    takes_decimals: bool | None = None
    least: str | None = None
    most: str | None = None
    extensions: frozenset[str] | None = None
    """The extensions of the files that it takes, in lower case and without a dot."""
    bytes_max: int | None = None
    """The largest file that it takes."""

    @property
    def has_options(self) -> bool:
        """Whether its data consists of option codes."""
        return self.type in {"single_option", "multiple_options"}
