"""Convert an `AssetChange` into a command for the PIM or a `Rejection` (contract.md §4, `values`).

A number becomes text exactly as written. A bare value becomes one entry without locale and
channel. null and [] erase the value. Only the form is checked here; the PIM judges the rest.
"""

from itertools import chain
from typing import cast

import msgspec
from msgspec import Raw

from service.contracts.asset_change import NAME_CHARACTERS_MAX
from service.contracts.json_flaw import UNREADABLE
from service.contracts.outcome import ChangeError, ErrorCode
from service.contracts.text import clip
from service.core.flaws import Flaws, sentence
from service.core.limits import Deletes
from service.core.long_form import LongForm
from service.core.model import (
    AssetChange,
    Command,
    DeleteAsset,
    Rejection,
    UpsertAsset,
)
from service.core.read.media_file import read_media_file
from service.core.values import MediaFile, Scope, Value, ValueData, Values, scope_of

_members = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw])
_text = msgspec.json.Decoder(str)
_NUMBER_STARTS = b"-0123456789"
ENTRY_OVERHEAD_BYTES = 40
"""Bytes of JSON around one entry: `{"locale":null,"channel":null,"data":},` and its name."""


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


def convert(
    change: AssetChange, deletes: Deletes = "apply", long_form: LongForm | None = None
) -> Command | Rejection:
    """Return the command for this change, or why there is none.

    `long_form` is that of the change's family, if its structure is known.
    """
    if change.action == "delete":
        if deletes == "skip":
            return Rejection(
                status="skipped",
                reason="deletes_off",
                message="Deletes are switched off (ASSET_SYNC_DELETES=skip).",
                action="delete",
                asset=change.asset,
                event=change.event,
                extensions=change.extensions,
            )
        return DeleteAsset(change.asset)
    assert change.values is not None
    if long_form is not None and (raw := long_form.of(change.values)) is not None:
        size = len(raw) + len(change.asset.code) + ENTRY_OVERHEAD_BYTES
        return UpsertAsset(change.asset, raw, size, long_form)
    values = _read_at_once(change.values)
    has_files = False
    if values is None:
        found = _read_one_by_one(change, change.values)
        if isinstance(found, Rejection):
            return found
        values = found
        has_files = any(type(value.data) is MediaFile for value in chain(*values.values()))
    size = len(change.values) + len(change.asset.code) + ENTRY_OVERHEAD_BYTES * (1 + len(values))
    return UpsertAsset(change.asset, values, size, has_files=has_files)


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


def _read_one_by_one(change: AssetChange, text: Raw) -> Values | Rejection:
    """Return values of any form, with numbers exactly as written, or all flaws."""
    try:
        attributes = _members.decode(text)
    except UNREADABLE:
        wrong = Flaws()
        message = "`values` must be an object."
        wrong.add(ChangeError(path="values", message=message, code="wrong_type"))
        return _invalid(change, wrong)
    values: Values = {}
    flaws = Flaws()
    for attribute, raw in attributes.items():
        try:
            values[attribute] = _read_attribute(bytes(raw))
        except _FlawError as flaw:
            flaws.add(_change_error(attribute, flaw))
        except UNREADABLE:
            flaws.add(_change_error(attribute, _FlawError("too_deep", "nests too deeply")))
    return _invalid(change, flaws) if flaws.count else values


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


def _invalid(change: AssetChange, flaws: Flaws) -> Rejection:
    return Rejection(
        status="rejected",
        reason="invalid_event",
        message=sentence(flaws.first, flaws.count),
        errors=tuple(flaws.first),
        action=change.action,
        asset=change.asset,
        event=change.event,
        extensions=change.extensions,
    )
