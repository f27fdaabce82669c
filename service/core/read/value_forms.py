"""Read the JSON of an event's values, in each of the forms that an event may use (contract.md §4).

A number becomes text exactly as written. A bare value becomes one entry without locale and
channel. null and [] erase the value. Only the form is checked here; the PIM judges the rest.
"""

from typing import cast

import msgspec
from msgspec import Raw

from service.contracts.asset_change import NAME_CHARACTERS_MAX
from service.contracts.json_flaw import UNREADABLE
from service.contracts.outcome import ChangeError, ErrorCode
from service.contracts.text import clip
from service.core.flaws import Flaws
from service.core.read.media_file import read_media_file
from service.core.values import MediaFile, Scope, Value, ValueData, Values, scope_of

_members = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw])
_text = msgspec.json.Decoder(str)
_NUMBER_STARTS = b"-0123456789"
_usual = msgspec.json.Decoder(dict[str, str | bool | list[str | Value] | None])
"""Decodes values of the usual forms at once; files are none of them."""


class _FlawError(Exception):
    """Tells what is wrong with one value; it is caught in this module."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        locale: str | None = None,
        channel: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.locale = locale
        self.channel = channel


def read_values(text: Raw) -> Values | Flaws:
    """Return the values that an event gives, or what is wrong with their form."""
    values = _read_at_once(text)
    return _read_one_by_one(text) if values is None else values


def taken_apart(values: Values | Raw) -> Values:
    """Return values one by one, also those that are still JSON, whose form was checked before."""
    if not isinstance(values, Raw):
        return values
    found = read_values(values)
    assert not isinstance(found, Flaws)
    return found


def _read_at_once(text: Raw) -> Values | None:
    """Return values that all have usual forms; None if any is a number or has a flaw."""
    try:
        attributes = _usual.decode(text)
    except UNREADABLE:
        return None
    values: Values = {}
    for attribute, given in attributes.items():
        if not isinstance(given, list):
            values[attribute] = [Value(given)]
            continue
        if Value not in map(type, given):
            values[attribute] = [Value(cast("list[str]", given) or None)]
        elif str not in map(type, given) and _have_own_scopes(
            entries := cast("list[Value]", given)
        ):
            values[attribute] = entries
        else:
            return None
    return values


def _have_own_scopes(entries: list[Value]) -> bool:
    """Return whether all scopes differ, and no entry has an empty list, which erases, or a file."""
    for entry in entries:
        if entry.data == [] or type(entry.data) is MediaFile:
            return False
    return len(entries) == 1 or len(set(map(scope_of, entries))) == len(entries)


def _read_one_by_one(text: Raw) -> Values | Flaws:
    """Return values of any form, with numbers exactly as written, or all flaws."""
    flaws = Flaws()
    try:
        attributes = _members.decode(text)
    except UNREADABLE:
        message = "`values` must be an object."
        flaws.add(ChangeError(path="values", message=message, code="wrong_type"))
        return flaws
    values: Values = {}
    for attribute, raw in attributes.items():
        try:
            values[attribute] = _read_attribute(bytes(raw))
        except _FlawError as flaw:
            flaws.add(_change_error(attribute, flaw))
        except UNREADABLE:
            flaws.add(_change_error(attribute, _FlawError("too_deep", "nests too deeply")))
    return flaws if flaws.count else values


def _read_attribute(text: bytes) -> list[Value]:
    if not text.startswith(b"["):
        return [Value(_datum(text))]
    items = [bytes(item) for item in _items.decode(text)]
    entries = sum(item.startswith(b"{") for item in items)
    if not entries:
        return [Value(_strings(items))]
    if entries < len(items):
        raise _FlawError("wrong_type", "mixes entries and bare values in one list")
    scopes: dict[Scope, Value] = {}
    for value in map(_entry, items):
        if (value.locale, value.channel) in scopes:
            message = "has the same locale and channel twice"
            raise _FlawError("duplicate_value", message, value.locale, value.channel)
        scopes[value.locale, value.channel] = value
    return list(scopes.values())


def _entry(text: bytes) -> Value:
    members = _members.decode(text)
    locale = _scope(members, "locale")
    channel = _scope(members, "channel")
    if "data" not in members:
        raise _FlawError("missing_data", "has an entry without `data`", locale, channel)
    try:
        return Value(_datum(bytes(members["data"])), locale, channel)
    except _FlawError as flaw:
        raise _FlawError(flaw.code, str(flaw), locale, channel) from None


def _scope(members: dict[str, Raw], name: str) -> str | None:
    raw = members.get(name)
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        return _text.decode(raw)
    except msgspec.ValidationError:
        raise _FlawError("wrong_type", f"has a `{name}` that is not a string") from None


def _datum(text: bytes) -> ValueData:
    first = text[:1]
    if first == b'"':
        return _text.decode(text)
    if first in (b"t", b"f"):
        return first == b"t"
    if first == b"n":
        return None
    if first == b"[":
        return _strings([bytes(item) for item in _items.decode(text)])
    if first == b"{":
        file = read_media_file(text)
        if isinstance(file, str):
            raise _FlawError("wrong_type", file)
        return file
    assert first in _NUMBER_STARTS
    return text.decode()


def _strings(items: list[bytes]) -> list[str] | None:
    """Return a list of strings; None, which erases, for an empty list (akeneo.md §4.3)."""
    if not all(item.startswith(b'"') for item in items):
        raise _FlawError("wrong_type", "has a list whose items are not all strings")
    return [_text.decode(item) for item in items] or None


def _change_error(attribute: str, flaw: _FlawError) -> ChangeError:
    return ChangeError(
        path=f"values.{attribute}",
        message=f"The attribute {clip(attribute, NAME_CHARACTERS_MAX)} {flaw}.",
        attribute=attribute,
        locale=flaw.locale,
        channel=flaw.channel,
        code=flaw.code,
    )
