"""Adapt values to the attributes of their family, and find those that the PIM would refuse.

Source: akeneo.md §4, §5.

Rule 1: shaping changes the form of a value, never its meaning.
Rule 2: only what Akeneo's documentation clearly forbids is a flaw; the PIM judges the rest.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import msgspec

from service.contracts.asset_change import NAME_CHARACTERS_MAX
from service.contracts.outcome import ChangeError, ErrorCode
from service.contracts.text import clip, finite_number
from service.core.flaws import Flaws
from service.core.long_form import LongForm
from service.core.values import Attribute, MediaFile, Scope, Value, ValueData, Values

OPTIONS_PER_ATTRIBUTE_MAX = 100
_USUAL_DATA: Mapping[str, type] = {
    "text": str, "single_option": str, "multiple_options": list, "boolean": bool,
    "media_link": str, "media_file": str, "date": str, "record": str,
}  # fmt: skip
"""The usual type of data by attribute type; numbers are left out, to be checked in detail."""

_READ_AS_BOOLEAN = {"true": True, "false": False}


class Usual(NamedTuple):
    """The conditions under which a value is sent unchanged."""

    per_locale: bool
    per_channel: bool
    kind: type | None
    """Type of its data; None means that the value is always checked in detail."""
    characters_max: int | None
    options: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Structure:
    """The structure of a family: its attributes, and the options of those that have options."""

    attributes: Mapping[str, Attribute]
    options: Mapping[str, frozenset[str]]
    usual: Mapping[str, Usual] = field(init=False, repr=False, compare=False)
    """The conditions under which the values of each attribute are sent unchanged."""
    folded: Mapping[str, frozenset[str]] = field(init=False, repr=False, compare=False)
    """The options of each attribute with their case folded."""
    long_form: LongForm = field(init=False, repr=False, compare=False)
    """Judges usual values as JSON, when they arrive."""

    def __post_init__(self) -> None:
        """Precompute the conditions, which every value is checked against."""
        usual = {
            code: Usual(
                found.per_locale,
                found.per_channel,
                _USUAL_DATA.get(found.type),
                found.characters_max,
                self.options.get(code),
            )
            for code, found in self.attributes.items()
        }
        object.__setattr__(self, "usual", usual)
        folded = {
            code: frozenset(option.casefold() for option in found)
            for code, found in self.options.items()
        }
        object.__setattr__(self, "folded", folded)
        object.__setattr__(self, "long_form", LongForm(self.attributes, self.options))


class _Flaw(NamedTuple):
    """What is wrong with one value, for programs and for people."""

    code: ErrorCode
    message: str


MissingOption = tuple[str, str]
"""Attribute code and option code."""


class Shaped(msgspec.Struct, frozen=True, gc=False):
    """Values in the form that the PIM expects, and their flaws."""

    values: Values
    flaws: Sequence[ChangeError] = ()
    """The first flaws: one more than an outcome shows."""
    missing_options: Sequence[MissingOption] = ()
    """Each option once, and for each attribute at most one more than it may have."""
    flaws_count: int = 0
    missing_count: int = 0
    """How many of the flaws are missing options."""


def shape(values: Values, structure: Structure, default_locale: str | None) -> Shaped:
    """Adapt the values of one change to the attributes of the family."""
    if _fit_unchanged(values, structure):
        return Shaped(values)
    return _shape_in_detail(values, structure, default_locale)


def _shape_in_detail(values: Values, structure: Structure, default_locale: str | None) -> Shaped:
    """Check each value by itself, and report every flaw."""
    shaped: Values = {}
    flaws = Flaws()
    missing = _MissingOptions()
    for code, given in values.items():
        attribute = structure.attributes.get(code)
        if attribute is None:
            shaped[code] = given
            message = f"The family has no attribute {_named_code(code)}."
            for value in given:
                flaws.add(_change_error(code, value, _Flaw("unknown_attribute", message)))
            continue
        scopes: dict[Scope, Value] = {}
        for value in given:
            fitted = _fit(value, attribute, default_locale)
            scope = fitted.locale, fitted.channel
            if scope in scopes:
                message = f"{code} has two values for the same locale and channel."
                flaws.add(_change_error(code, value, _Flaw("duplicate_value", message)))
            scopes[scope] = fitted
            flaw = _flaw_of_scope(fitted, attribute) or _flaw_of_data(fitted.data, attribute)
            if flaw is not None:
                flaws.add(_change_error(code, value, flaw))
                continue
            for option in _unknown_options(fitted.data, attribute, structure):
                missing.add(code, option)
                message = f"{code} has no option {_named_code(option)}."
                flaws.add(_change_error(code, value, _Flaw("unknown_option", message)))
        shaped[code] = list(scopes.values())
    return Shaped(shaped, flaws.first, list(missing.found), flaws.count, missing.count)


class _MissingOptions:
    """Collects the missing options, each once, and counts how often any was named."""

    __slots__ = ("_of_attribute", "count", "found")

    def __init__(self) -> None:
        self.found: dict[MissingOption, None] = {}
        self.count = 0
        self._of_attribute: Counter[str] = Counter()

    def add(self, attribute: str, option: str) -> None:
        self.count += 1
        if (attribute, option) in self.found:
            return
        self._of_attribute[attribute] += 1
        if self._of_attribute[attribute] <= OPTIONS_PER_ATTRIBUTE_MAX + 1:
            self.found[attribute, option] = None


def _fit_unchanged(values: Values, structure: Structure) -> bool:
    """Return whether all values can be sent unchanged, which is usual, by a quick check."""
    for code, given in values.items():
        usual = structure.usual.get(code)
        if usual is None:
            return False
        per_locale, per_channel, kind, most, known = usual
        for value in given:
            data = value.data
            if (value.locale is None) is per_locale or (value.channel is None) is per_channel:
                return False
            if type(data) is not kind:
                return False
            if most is not None and not (isinstance(data, str) and len(data) <= most):
                return False
            if known is not None and not known.issuperset(data if kind is list else [data]):  # type: ignore[arg-type]
                return False
    return True


def _fit(value: Value, attribute: Attribute, default_locale: str | None) -> Value:
    """Return the value in the attribute's form; what does not fit stays as it is."""
    locale = value.locale
    if locale is None and attribute.per_locale:
        locale = default_locale
    return Value(_fit_data(value.data, attribute), locale, value.channel)


def _fit_data(data: ValueData, attribute: Attribute) -> ValueData:
    """Return the data in the form of the attribute's type; what does not fit stays as it is."""
    match attribute.type, data:
        case "multiple_options", str():
            return [data]
        case (("single_option" | "text" | "media_link" | "media_file" | "record"), [str() as only]):
            return only
        case "boolean", str():
            return _READ_AS_BOOLEAN.get(data.lower(), data)
        case (("text" | "single_option"), bool()):
            return "true" if data else "false"
        case _:
            return data


def _flaw_of_scope(value: Value, attribute: Attribute) -> _Flaw | None:
    """Return what is wrong with the locale or channel: missing, or not wanted (akeneo.md §4.1)."""
    code, locale, channel = attribute.code, value.locale, value.channel
    if attribute.per_locale and locale is None:
        return _Flaw("missing_locale", f"{code} has a value per locale: give a locale.")
    if not attribute.per_locale and locale is not None:
        message = f"{code} has no value per locale: remove locale {locale}."
        return _Flaw("unexpected_locale", message)
    if attribute.per_channel and channel is None:
        return _Flaw("missing_channel", f"{code} has a value per channel: give a channel.")
    if not attribute.per_channel and channel is not None:
        message = f"{code} has no value per channel: remove channel {channel}."
        return _Flaw("unexpected_channel", message)
    return None


def _flaw_of_data(data: ValueData, attribute: Attribute) -> _Flaw | None:
    """Return what the attribute's type or limits refuse; erasing a value is always allowed."""
    code = attribute.code
    match attribute.type, data:
        case _, None | []:
            return None
        case "multiple_options", list():
            return None
        case "boolean", bool():
            return None
        case "number", str():
            return _flaw_of_number(data, attribute)
        case "text", str():
            most = attribute.characters_max
            if most is None or len(data) <= most:
                return None
            message = f"{code} accepts at most {most} characters; {len(data)} given."
            return _Flaw("too_long", message)
        case (("multiple_options" | "boolean" | "number" | "text"), _):
            return _wrong_type(data, attribute)
        case "media_file", MediaFile():
            return None
        case (
            ("single_option" | "media_link" | "media_file" | "date" | "record"),
            (bool() | list() | MediaFile()),
        ):
            return _wrong_type(data, attribute)
        case _:
            return None


def _wrong_type(data: ValueData, attribute: Attribute) -> _Flaw:
    kind = {bool: "a boolean", list: "a list", MediaFile: "a file"}.get(type(data), "text")
    message = f"{attribute.code} is of type {attribute.type}, which does not accept {kind}."
    return _Flaw("wrong_type", message)


def _flaw_of_number(text: str, attribute: Attribute) -> _Flaw | None:
    code, given = attribute.code, text[:40]
    number = finite_number(text)
    if number is None:
        message = f"{code} is of type number, which does not accept {given!r}."
        return _Flaw("not_a_number", message)
    if attribute.takes_decimals is False and number != number.to_integral_value():
        return _Flaw("no_decimals", f"{code} accepts no decimals; {given} given.")
    if attribute.least is not None and _is_less(number, finite_number(attribute.least)):
        message = f"{code} accepts at least {clip(attribute.least, 40)}; {given} given."
        return _Flaw("out_of_range", message)
    if attribute.most is not None and _is_less(finite_number(attribute.most), number):
        message = f"{code} accepts at most {clip(attribute.most, 40)}; {given} given."
        return _Flaw("out_of_range", message)
    return None


def _is_less(one: Decimal | None, other: Decimal | None) -> bool:
    """Return whether `one` is less than `other`; None, for a limit that is not finite, never is."""
    return one is not None and other is not None and one < other


def _unknown_options(data: ValueData, attribute: Attribute, structure: Structure) -> Iterable[str]:
    known = structure.options.get(attribute.code)
    if known is None or not attribute.has_options or not isinstance(data, str | list):
        return ()
    codes = [data] if isinstance(data, str) else data
    if known.issuperset(codes):
        return ()
    # It is unknown whether the PIM ignores the case of option codes (akeneo.md §2.5), so a code
    # that differs only in case is not a flaw.
    folded = structure.folded[attribute.code]
    return [code for code in codes if code.casefold() not in folded]


def _named_code(code: str) -> str:
    return clip(code, NAME_CHARACTERS_MAX)


def _change_error(attribute: str, value: Value, flaw: _Flaw) -> ChangeError:
    return ChangeError(
        path=f"values.{attribute}",
        message=flaw.message,
        attribute=attribute,
        locale=value.locale,
        channel=value.channel,
        code=flaw.code,
    )
