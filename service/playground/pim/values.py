"""Check an asset's values: first their shape, then the business rules (akeneo.md §2.2, §4)."""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from service.playground.pim.structure import Attribute, Structure
from service.playground.pim.switches import Switches

Flaw = tuple[str, str]
"""The property and what is wrong with it."""

ValueKey = tuple[str | None, str | None]
"""(locale, channel)."""

MEGABYTE = 1024 * 1024

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")
_SHORT_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_TYPES = {str: "String", bool: "Boolean", int: "Integer", float: "Double", list: "Array"}


def flaws_of_shape(values: object, attributes: Mapping[str, Attribute] | None) -> Iterator[Flaw]:
    """Yield what the JSON schema of the PIM refuses in these values."""
    if not isinstance(values, dict):
        yield "values", f"{_named(values)} value found, but an object is required"
        return
    for code, entries in values.items():
        if not isinstance(entries, list):
            yield f"values.{code}", f"{_named(entries)} value found, but an array is required"
            continue
        attribute = attributes.get(code) if attributes is not None else None
        for index, entry in enumerate(entries):
            yield from _flaws_of_entry(f"values.{code}[{index}]", entry, attribute)


def _flaws_of_entry(path: str, entry: object, attribute: Attribute | None) -> Iterator[Flaw]:
    if not isinstance(entry, dict):
        yield path, f"{_named(entry)} value found, but an object is required"
        return
    for name in ("locale", "channel"):
        if not isinstance(entry.get(name), str | None):
            yield f"{path}.{name}", "a string or a null is required"
    if "data" not in entry:
        yield f"{path}.data", "The property data is required"
    elif attribute is not None and not _has_type(entry["data"], attribute):
        wanted = _WANTED.get(attribute.type, "a string")
        found = _named(entry["data"])
        yield f"{path}.data", f"{found} value found, but {wanted} or a null is required"


_WANTED = {"multiple_options": "an array", "boolean": "a boolean"}


def _has_type(data: object, attribute: Attribute) -> bool:
    if data is None:
        return True
    if attribute.type == "boolean":
        return isinstance(data, bool)
    if attribute.type == "multiple_options":
        return isinstance(data, list) and all(isinstance(code, str) for code in data)
    if attribute.type == "number":
        return isinstance(data, str | int | float) and not isinstance(data, bool)
    return isinstance(data, str)


class BusinessRules:
    """The rules for values whose shape is right; `media` has the files that were uploaded."""

    def __init__(
        self, structure: Structure, switches: Switches, media: Mapping[str, bytes]
    ) -> None:
        self._structure = structure
        self._switches = switches
        self._media = media

    def flaws(
        self, values: Mapping[str, list[dict[str, Any]]], attributes: Mapping[str, Attribute]
    ) -> Iterator[Flaw]:
        """Yield each property that breaks a rule, with the rule's message."""
        for code, entries in values.items():
            attribute = attributes.get(code)
            if attribute is None:
                yield f"values.{code}", f'Attribute "{code}" does not exist.'
                continue
            for entry in entries:
                flaw = self._scope(attribute, entry) or self._data(attribute, entry["data"])
                if flaw is not None:
                    yield f"values.{code}", flaw

    def _scope(self, attribute: Attribute, entry: Mapping[str, Any]) -> str | None:
        """Check locale and channel of an entry by the table of akeneo.md §4.1."""
        locale, channel = entry.get("locale"), entry.get("channel")
        if attribute.value_per_channel and channel not in self._structure.channels:
            return f'A channel is expected for "{attribute.code}", "{channel}" given.'
        if not attribute.value_per_channel and channel is not None:
            return f'No channel is expected for "{attribute.code}", "{channel}" given.'
        if not attribute.value_per_locale:
            given = f'No locale is expected for "{attribute.code}", "{locale}" given.'
            return given if locale is not None else None
        active = self._structure.channels.get(channel or "", self._structure.locales)
        if locale not in active:
            return f'An activated locale is expected for "{attribute.code}", "{locale}" given.'
        return None

    def _data(self, attribute: Attribute, data: Any) -> str | None:  # noqa: ANN401 - JSON
        if data is None or data == []:
            return None
        rules: dict[str, Callable[[Attribute, Any], str | None]] = {
            "text": self._text,
            "number": self._number,
            "single_option": self._option,
            "multiple_options": self._options,
            "media_file": self._media_file,
            "date": self._date,
        }
        rule = rules.get(attribute.type)
        return rule(attribute, data) if rule is not None else None

    def _text(self, attribute: Attribute, data: str) -> str | None:
        most = attribute.max_characters
        if most is not None and len(data) > most:
            return f"This value is too long. It should have {most} characters or less."
        rule = attribute.validation_rule
        if rule == "email" and not _EMAIL.fullmatch(data):
            return "This value is not a valid email address."
        if rule == "url" and not urlsplit(data).netloc:
            return "This value is not a valid URL."
        if rule == "regexp" and not _matches(attribute.validation_regexp or "//", data):
            return "This value is not valid."
        return None

    def _number(self, attribute: Attribute, data: str | float) -> str | None:
        if not isinstance(data, str) and self._switches.json_number == "refuse":
            return "This value should be a string that holds a number."
        try:
            number = Decimal(str(data))
        except InvalidOperation:
            return "This value should be a number."
        if not attribute.decimals_allowed and number != number.to_integral_value():
            return "This value should not be a decimal number."
        if attribute.min_value is not None and number < Decimal(attribute.min_value):
            return f"This value should be {attribute.min_value} or more."
        if attribute.max_value is not None and number > Decimal(attribute.max_value):
            return f"This value should be {attribute.max_value} or less."
        return None

    def _option(self, attribute: Attribute, data: str) -> str | None:
        if data not in attribute.options:
            return f'The option "{data}" does not exist.'
        return None

    def _options(self, attribute: Attribute, data: list[str]) -> str | None:
        return next(filter(None, (self._option(attribute, code) for code in data)), None)

    def _media_file(self, attribute: Attribute, data: str) -> str | None:
        content = self._media.get(data)
        if content is None and self._switches.missing_media_file == "refuse":
            return f'The media file "{data}" does not exist.'
        extension = data.rpartition(".")[2].lower()
        if attribute.allowed_extensions and extension not in attribute.allowed_extensions:
            return f'The extension "{extension}" is not allowed.'
        most = attribute.max_file_size
        if most is not None and len(content or b"") > Decimal(most) * MEGABYTE:
            return f"The file exceeds the maximum size of {most} MB."
        return None

    def _date(self, attribute: Attribute, data: str) -> str | None:  # noqa: ARG002 - one signature
        if _DATE.fullmatch(data):
            return None
        if self._switches.short_date == "accept" and _SHORT_DATE.fullmatch(data):
            return None
        return "This value is not a valid ISO 8601 date."


def _matches(php_regexp: str, text: str) -> bool:
    """Match PHP's notation `/…/flags`; a pattern that Python cannot read matches every text."""
    pattern, _, flags = php_regexp[1:].rpartition(php_regexp[:1])
    try:
        return re.search(pattern, text, re.IGNORECASE if "i" in flags else 0) is not None
    except re.error:
        return True


def _named(found: object) -> str:
    return _TYPES.get(type(found), "NULL" if found is None else "Object")
