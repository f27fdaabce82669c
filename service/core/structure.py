"""A family's attributes, and values brought into the shape that they want (akeneo.md §4, §5).

Rule 1: shaping changes how a value is written, never what it says.
Rule 2: only what the documents say surely is a flaw; the rest is the PIM's to judge.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from service.contracts.outcome import ChangeError
from service.core.model import ValueData, ValueKey

OPTIONS_PER_ATTRIBUTE_MAX = 100
_READ_AS_BOOLEAN = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Attribute:
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


@dataclass(frozen=True, slots=True)
class Structure:
    """A family as it was read: attributes, and the options of those that have some."""

    attributes: Mapping[str, Attribute]
    options: Mapping[str, frozenset[str]]


MissingOption = tuple[str, str]
"""Attribute and option code."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """Values as the PIM wants them, and what it would refuse of them."""

    values: dict[ValueKey, ValueData]
    flaws: Sequence[ChangeError]
    missing_options: Sequence[MissingOption]
    """Also named by `flaws`, one each."""


def shape(
    values: Mapping[ValueKey, ValueData], structure: Structure, default_locale: str | None
) -> Shaped:
    """Bring the values of one change into their attributes' shapes."""
    shaped: dict[ValueKey, ValueData] = {}
    flaws: list[ChangeError] = []
    missing: list[MissingOption] = []
    for key, data in values.items():
        attribute = structure.attributes.get(key[0])
        if attribute is None:
            shaped[key] = data
            flaws.append(_flaw(key, f"The family has no attribute {key[0]}."))
            continue
        place = _place(key, attribute, default_locale)
        if place in shaped:
            flaws.append(_flaw(key, f"{key[0]} has two values for the same locale and channel."))
        shaped[place] = fitted = _fit(data, attribute)
        flaw = _flaw_of_place(place, attribute) or _flaw_of_data(fitted, attribute)
        if flaw is not None:
            flaws.append(_flaw(key, flaw))
            continue
        for code in _unknown_options(fitted, attribute, structure):
            missing.append((attribute.code, code))
            flaws.append(_flaw(key, f"{attribute.code} has no option {code}."))
    return Shaped(shaped, flaws, missing)


def _place(key: ValueKey, attribute: Attribute, default_locale: str | None) -> ValueKey:
    code, locale, channel = key
    if locale is None and attribute.per_locale:
        return code, default_locale, channel
    return key


def _fit(data: ValueData, attribute: Attribute) -> ValueData:
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


def _flaw_of_place(place: ValueKey, attribute: Attribute) -> str | None:
    """The table of §4.1, as far as nulls decide it."""
    code, locale, channel = place
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
    try:
        number = Decimal(text)
    except InvalidOperation:
        return f"{code} is of type number, which takes no {text[:40]!r}."
    if not number.is_finite():
        return f"{code} is of type number, which takes no {text[:40]!r}."
    if attribute.takes_decimals is False and number != number.to_integral_value():
        return f"{code} takes no decimals, {text[:40]} given."
    if attribute.least is not None and number < Decimal(attribute.least):
        return f"{code} takes {attribute.least} at least, {text[:40]} given."
    if attribute.most is not None and number > Decimal(attribute.most):
        return f"{code} takes {attribute.most} at most, {text[:40]} given."
    return None


def _unknown_options(data: ValueData, attribute: Attribute, structure: Structure) -> Iterable[str]:
    known = structure.options.get(attribute.code)
    if known is None or not attribute.has_options or data is None or isinstance(data, bool):
        return ()
    codes = [data] if isinstance(data, str) else data
    if known.issuperset(codes):
        return ()
    # Whether the PIM folds the case of option codes is unknown (akeneo.md §2.5): benefit of doubt.
    folded = {code.casefold() for code in known}
    return [code for code in codes if code.casefold() not in folded]


def _flaw(key: ValueKey, message: str) -> ChangeError:
    attribute, locale, channel = key
    return ChangeError(f"values.{attribute}", message, attribute, locale, channel)


def _named(data: ValueData) -> str:
    return {bool: "boolean", list: "list"}.get(type(data), "text")
