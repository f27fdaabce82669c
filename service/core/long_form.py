"""Judge usual values by a family's attributes, without taking them apart (akeneo.md §4, §5).

Rule 1: a decoder that msgspec compiles for the family judges attribute, locale, channel, type and
option of all values at once. Values in the PIM's long form are then sent as the bytes they came as.
Rule 2: what the decoder does not take is left to the careful way (`convert`, `shape`), which gives
the same result for all that it does take; tests/property/test_long_form.py verifies that.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from service.contracts.json_flaw import UNREADABLE
from service.contracts.text import finite_number
from service.core.values import Attribute, merge, scope_of

LONG_FORM_BYTES_MAX = 16 * 1024
"""Larger values are read the careful way, which measures the memory that they occupy."""
COMPILED_AFTER_EVENTS = 20
"""How many events of a family come before its decoder is compiled, which takes milliseconds."""
ATTRIBUTES_MAX = 100
OPTIONS_MAX = 1_000
"""Larger structures are not compiled. The PIM allows 100 attributes, and 100 options of each."""
CHARACTERS_MAX = 2**31 - 1
"""A higher limit on characters is no limit: no record is as long."""
ENTRIES_KEPT_MAX = 1_000
"""Most types of entries that are kept to be shared by families."""

_USUAL_CODE = re.compile(r"[A-Za-z0-9_.-]+")
_INTEGER = "[0-9]{1,18}"
_DECIMAL = rf"{_INTEGER}(\.[0-9]{{1,18}})?"
_NUMBER_ENTRY = b'[{"locale":null,"channel":null,"data":"%b"}]'

_encode = msgspec.json.Encoder().encode


class _RawValue(msgspec.Struct, frozen=True, gc=False):
    """One value in the long form, whose data stays as it was written."""

    locale: str | None
    channel: str | None
    data: Raw


_raw_values = msgspec.json.Decoder(dict[str, list[_RawValue]])


class LongForm:
    """The decoder of one family's values, which is compiled when the family has many events."""

    def __init__(
        self, attributes: Mapping[str, Attribute], options: Mapping[str, frozenset[str]]
    ) -> None:
        self._attributes = attributes
        self._options = options
        self._events = 0
        self._fields: tuple[_Field, ...] = ()
        self._decoder: msgspec.json.Decoder[Any] | None = None

    def of(self, values: Raw) -> Raw | None:
        """Return the values in the PIM's long form, or None if only the careful way can judge them.

        Values that are in the long form already are returned as they are.
        """
        if self._decoder is None:
            self._decoder = self._compiled()
        if self._decoder is None or len(values) > LONG_FORM_BYTES_MAX:
            return None
        try:
            found = self._decoder.decode(values)
        except UNREADABLE:
            return None
        is_changed = False
        for field, given in zip(self._fields, msgspec.structs.astuple(found), strict=True):
            if given is UNSET:
                continue
            if type(given) is list and len(given) == 1 and type(given[0]) is field.entry:
                continue
            entries = field.entries(given)
            if entries is None:
                return None
            if entries is not given:
                is_changed = True
                setattr(found, field.name, entries)
        return Raw(_encode(found)) if is_changed else values

    def _compiled(self) -> msgspec.json.Decoder[Any] | None:
        self._events += 1
        if self._events <= COMPILED_AFTER_EVENTS or len(self._attributes) > ATTRIBUTES_MAX:
            return None
        self._fields = tuple(_fields(self._attributes, self._options))
        made = msgspec.defstruct(
            "FamilyValues",
            [field.definition for field in self._fields],
            forbid_unknown_fields=True,
            omit_defaults=True,
            gc=False,
        )
        return msgspec.json.Decoder(made)


def merge_long_forms(all_values: Iterable[Raw]) -> Raw:
    """Merge values in the long form as `values.merge` does; what was judged needs no more care."""
    return Raw(_encode(merge(map(_raw_values.decode, all_values))))


class _Field:
    """An attribute without locale and channel, whose short form is a text or a boolean."""

    def __init__(self, name: str, code: str, entry: type[Any], data: Any) -> None:  # noqa: ANN401 - a type
        self.name = name
        """Its name in Python, as the attribute's code may be any text."""
        self.code = code
        self.entry = entry
        """The type of one value with its locale and channel."""
        self.data = data
        """The type of its data."""

    @property
    def type(self) -> Any:  # noqa: ANN401 - a type
        """What the decoder takes, in the long form or the short one."""
        return Annotated[list[self.entry], Meta(max_length=1)] | self.data | None  # type: ignore[name-defined]

    @property
    def definition(self) -> tuple[str, Any, Any]:
        """The field as `msgspec.defstruct` takes it."""
        return self.name, self.type | UnsetType, msgspec.field(default=UNSET, name=self.code)

    def entries(self, given: Any) -> Any:  # noqa: ANN401 - of the field's type
        """Return a value in the long form; None if only the careful way can judge it.

        The same object is returned if it is in the long form already.
        """
        return [self.entry(None, None, None if given == [] else given)]


class _OptionsField(_Field):
    """An attribute without locale and channel, whose data are several options."""

    @property
    def type(self) -> Any:  # noqa: ANN401 - a type
        return list[self.entry | self.data] | None  # type: ignore[name-defined]

    def entries(self, given: Any) -> Any:  # noqa: ANN401 - of the field's type
        if given and self.entry in map(type, given):
            return None
        return [self.entry(None, None, given or None)]


class _ScopedField(_Field):
    """An attribute with a locale or a channel, which has no short form."""

    @property
    def type(self) -> Any:  # noqa: ANN401 - a type
        return Annotated[list[self.entry], Meta(min_length=1)]  # type: ignore[name-defined]

    def entries(self, given: Any) -> Any:  # noqa: ANN401 - of the field's type
        return given if len(set(map(scope_of, given))) == len(given) else None


class _NumberField(_Field):
    """A number without locale and channel; it is sent as text exactly as it is written."""

    def __init__(self, name: str, code: str, entry: type[Any], pattern: str) -> None:
        super().__init__(name, code, entry, str)
        self._bare = re.compile(b'"?(%b)"?' % pattern.encode())
        only = Annotated[list[entry], Meta(min_length=1, max_length=1)]  # type: ignore[valid-type]
        self._long: msgspec.json.Decoder[Any] = msgspec.json.Decoder(only)

    @property
    def definition(self) -> tuple[str, Any, Any]:
        return self.name, Raw | UnsetType, msgspec.field(default=UNSET, name=self.code)

    def entries(self, given: Raw) -> Raw | None:
        if (bare := self._bare.fullmatch(given)) is not None:
            return Raw(_NUMBER_ENTRY % bare[1])
        try:
            self._long.decode(given)
        except UNREADABLE:
            return None
        return given


def _fields(
    attributes: Mapping[str, Attribute], options: Mapping[str, frozenset[str]]
) -> Iterator[_Field]:
    """Yield the attributes that can be judged at once; values of others go the careful way."""
    for number, attribute in enumerate(attributes.values()):
        name = f"attribute_{number}"
        per_locale, per_channel = attribute.per_locale, attribute.per_channel
        data = _data(attribute, options.get(attribute.code))
        if data is None or _USUAL_CODE.fullmatch(attribute.code) is None:
            continue
        several = attribute.type == "multiple_options"
        of_entry = Annotated[list[data], Meta(min_length=1)] if several else data  # type: ignore[valid-type]
        entry = _entry(of_entry, per_locale=per_locale, per_channel=per_channel)
        if per_locale or per_channel:
            yield _ScopedField(name, attribute.code, entry, data)
        elif attribute.type == "number":
            yield _NumberField(name, attribute.code, entry, _number(attribute) or "")
        elif several:
            yield _OptionsField(name, attribute.code, entry, data)
        else:
            yield _Field(name, attribute.code, entry, data)


def _data(attribute: Attribute, options: frozenset[str] | None) -> Any:  # noqa: ANN401 - a type
    """Return the type of an attribute's data, or of one of several; None if there is none."""
    match attribute.type:
        case "single_option" | "multiple_options":
            if options is None:
                return str
            return Literal[tuple(sorted(options))] if 0 < len(options) <= OPTIONS_MAX else None
        case "text" if attribute.characters_max is not None:
            return Annotated[str, Meta(max_length=min(attribute.characters_max, CHARACTERS_MAX))]
        case "text" | "media_link" | "media_file" | "date" | "record":
            return str
        case "boolean":
            return bool
        case "number":
            number = _number(attribute)
            return number and Annotated[str, Meta(pattern=rf"\A{number}\Z")]
        case _:
            return None


def _number(attribute: Attribute) -> str | None:
    """Return a pattern of usual numbers that the attribute takes; None if its limits need care."""
    number = _INTEGER if attribute.takes_decimals is False else _DECIMAL
    if attribute.most is not None:
        return None
    if attribute.least is None:
        return f"-?{number}"
    least = finite_number(attribute.least)
    return number if least is not None and least <= 0 else None


@lru_cache(maxsize=ENTRIES_KEPT_MAX)
def _entry(data: Any, *, per_locale: bool, per_channel: bool) -> type[Any]:  # noqa: ANN401 - a type
    """Return the type of one value with its locale and channel; families share it."""
    return msgspec.defstruct(
        "Entry",
        [
            ("locale", str if per_locale else None),
            ("channel", str if per_channel else None),
            ("data", data | None),
        ],
        forbid_unknown_fields=True,
        gc=False,
    )
