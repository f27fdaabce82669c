"""A family's attributes, and values brought into the shape that they want (akeneo.md §4, §5).

Rule 1: shaping changes how a value is written, never what it says.
Rule 2: only what the documents say surely is a flaw; the rest is the PIM's to judge.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import msgspec

from service.contracts.asset_change import NAME_CHARACTERS_MAX
from service.contracts.outcome import ChangeError
from service.core.flaws import Flaws
from service.core.text import clip, finite_number
from service.core.values import Attribute, Scope, Value, ValueData, Values

OPTIONS_PER_ATTRIBUTE_MAX = 100
_USUAL_DATA: Mapping[str, type] = {
    "text": str, "single_option": str, "multiple_options": list, "boolean": bool,
    "media_link": str, "media_file": str, "date": str, "record": str,
}  # fmt: skip
"""What data of an attribute's type usually are; a number's are always looked at with care."""

_READ_AS_BOOLEAN = {"true": True, "false": False}


class Usual(NamedTuple):
    """What a value needs to be right as it is."""

    per_locale: bool
    per_channel: bool
    kind: type | None
    """Of its data; None: it is always looked at with care."""
    characters_max: int | None
    options: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Structure:
    """A family as it was read: attributes, and the options of those that have some."""

    attributes: Mapping[str, Attribute]
    options: Mapping[str, frozenset[str]]
    usual: Mapping[str, Usual] = field(init=False, repr=False, compare=False)
    """What each attribute usually is given, for a quick look."""
    folded: Mapping[str, frozenset[str]] = field(init=False, repr=False, compare=False)
    """The options without regard to case."""

    def __post_init__(self) -> None:
        """Look once at what is looked at for each value."""
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


MissingOption = tuple[str, str]
"""Attribute and option code."""


class Shaped(msgspec.Struct, frozen=True, gc=False):
    """Values as the PIM wants them, and what it would refuse of them."""

    values: Values
    flaws: Sequence[ChangeError] = ()
    """The first ones: as many as an outcome shows, and one more."""
    missing_options: Sequence[MissingOption] = ()
    """Each once, of an attribute at most one more than it may have."""
    flaws_count: int = 0
    missing_count: int = 0
    """Flaws that are no more than a missing option."""


def shape(values: Values, structure: Structure, default_locale: str | None) -> Shaped:
    """Bring the values of one change into their attributes' shapes."""
    if _fit_as_they_are(values, structure):
        return Shaped(values)
    return _shape_with_care(values, structure, default_locale)


def _shape_with_care(values: Values, structure: Structure, default_locale: str | None) -> Shaped:
    """Look at each value by itself, and tell every flaw."""
    shaped: Values = {}
    flaws = Flaws()
    missing = _MissingOptions()
    for code, given in values.items():
        attribute = structure.attributes.get(code)
        if attribute is None:
            shaped[code] = given
            for value in given:
                flaws.add(_flaw(code, value, f"The family has no attribute {_named_code(code)}."))
            continue
        scopes: dict[Scope, Value] = {}
        for value in given:
            fitted = _fit(value, attribute, default_locale)
            scope = fitted.locale, fitted.channel
            if scope in scopes:
                message = f"{code} has two values for the same locale and channel."
                flaws.add(_flaw(code, value, message))
            scopes[scope] = fitted
            flaw = _flaw_of_place(fitted, attribute) or _flaw_of_data(fitted.data, attribute)
            if flaw is not None:
                flaws.add(_flaw(code, value, flaw))
                continue
            for option in _unknown_options(fitted.data, attribute, structure):
                missing.add(code, option)
                flaws.add(_flaw(code, value, f"{code} has no option {_named_code(option)}."))
        shaped[code] = list(scopes.values())
    return Shaped(shaped, flaws.first, list(missing.found), flaws.count, missing.count)


class _MissingOptions:
    """The options that values name and the PIM lacks, each once, and how often one was named."""

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


def _fit_as_they_are(values: Values, structure: Structure) -> bool:
    """Whether all are right without a touch, which most are: a quick look."""
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
    """The same value as the attribute writes it; what does not fit stays as it is."""
    locale = value.locale
    if locale is None and attribute.per_locale:
        locale = default_locale
    return Value(_fit_data(value.data, attribute), locale, value.channel)


def _fit_data(data: ValueData, attribute: Attribute) -> ValueData:
    """The same value as the attribute's type writes it; what does not fit stays as it is."""
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


def _flaw_of_place(value: Value, attribute: Attribute) -> str | None:
    """The table of §4.1, as far as nulls decide it."""
    code, locale, channel = attribute.code, value.locale, value.channel
    if attribute.per_locale and locale is None:
        return f"{code} differs by locale: a locale is needed."
    if not attribute.per_locale and locale is not None:
        return f"{code} does not differ by locale: locale {locale} is one too many."
    if attribute.per_channel and channel is None:
        return f"{code} differs by channel: a channel is needed."
    if not attribute.per_channel and channel is not None:
        return f"{code} does not differ by channel: channel {channel} is one too many."
    return None


def _flaw_of_data(data: ValueData, attribute: Attribute) -> str | None:
    """What its type and its limits refuse; an erased value is always well."""
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
            too_long = most is not None and len(data) > most
            return f"{code} takes {most} characters, {len(data)} given." if too_long else None
        case (("multiple_options" | "boolean" | "number" | "text"), _):
            return f"{code} is of type {attribute.type}, which takes no {_named(data)}."
        case (
            ("single_option" | "media_link" | "media_file" | "date" | "record"),
            (bool() | list()),
        ):
            return f"{code} is of type {attribute.type}, which takes no {_named(data)}."
        case _:
            return None


def _flaw_of_number(text: str, attribute: Attribute) -> str | None:
    code = attribute.code
    number = finite_number(text)
    if number is None:
        return f"{code} is of type number, which takes no {text[:40]!r}."
    if attribute.takes_decimals is False and number != number.to_integral_value():
        return f"{code} takes no decimals, {text[:40]} given."
    if attribute.least is not None and _is_less(number, finite_number(attribute.least)):
        return f"{code} takes {clip(attribute.least, 40)} at least, {text[:40]} given."
    if attribute.most is not None and _is_less(finite_number(attribute.most), number):
        return f"{code} takes {clip(attribute.most, 40)} at most, {text[:40]} given."
    return None


def _is_less(one: Decimal | None, other: Decimal | None) -> bool:
    """Whether one is less than the other; a limit that is no finite number limits nothing."""
    return one is not None and other is not None and one < other


def _unknown_options(data: ValueData, attribute: Attribute, structure: Structure) -> Iterable[str]:
    known = structure.options.get(attribute.code)
    if known is None or not attribute.has_options or data is None or isinstance(data, bool):
        return ()
    codes = [data] if isinstance(data, str) else data
    if known.issuperset(codes):
        return ()
    # Whether the PIM folds the case of option codes is unknown (akeneo.md §2.5): benefit of doubt.
    folded = structure.folded[attribute.code]
    return [code for code in codes if code.casefold() not in folded]


def _named_code(code: str) -> str:
    return clip(code, NAME_CHARACTERS_MAX)


def _flaw(attribute: str, value: Value, message: str) -> ChangeError:
    return ChangeError(f"values.{attribute}", message, attribute, value.locale, value.channel)


def _named(data: ValueData) -> str:
    return {bool: "boolean", list: "list"}.get(type(data), "text")
