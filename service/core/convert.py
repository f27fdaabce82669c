"""`AssetChange` → the command for the PIM, or a `Rejection` (contract §4, `values`).

A number becomes text exactly as written, a bare value one entry without locale and channel,
null and [] erase. Anything narrower than the shapes is the PIM's to judge.
"""

from typing import Literal

import msgspec
from msgspec import Raw

from service.contracts.outcome import ChangeError
from service.core.model import (
    AssetChange,
    Command,
    DeleteAsset,
    Rejection,
    UpsertAsset,
    ValueData,
    ValueKey,
)

Deletes = Literal["apply", "skip"]

_members = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw])
_text = msgspec.json.Decoder(str)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NUMBER_STARTS = b"-0123456789"
ENTRY_OVERHEAD_BYTES = 40
"""JSON around one entry: `{"locale":null,"channel":null,"data":},` and the attribute's share."""


class _FlawError(Exception):
    """What is wrong with one value; never leaves this file."""

    def __init__(self, message: str, locale: str | None = None, channel: str | None = None) -> None:
        super().__init__(message)
        self.locale = locale
        self.channel = channel


def convert(change: AssetChange, deletes: Deletes = "apply") -> Command | Rejection:
    """The command that this change asks for."""
    if change.action == "delete":
        if deletes == "skip":
            return Rejection(
                status="skipped",
                reason="deletes_off",
                message="Deletes are switched off here (ASSET_SYNC_DELETES=skip).",
                action="delete",
                asset=change.asset,
                event=change.event,
                extensions=change.extensions,
            )
        return DeleteAsset(change.asset)
    assert change.values is not None
    try:
        attributes = _members.decode(change.values)
    except _UNREADABLE:
        return _invalid(change, [ChangeError(path="values", message="`values` must be an object.")])
    values: dict[ValueKey, ValueData] = {}
    flaws: list[ChangeError] = []
    for attribute, raw in attributes.items():
        try:
            _read_attribute(attribute, bytes(raw), values)
        except _FlawError as flaw:
            flaws.append(_placed(attribute, flaw))
        except _UNREADABLE as error:
            flaws.append(_placed(attribute, _FlawError(f"cannot be read: {error}")))
    if flaws:
        return _invalid(change, flaws)
    size = len(change.values) + len(change.asset.code) + ENTRY_OVERHEAD_BYTES * (1 + len(values))
    return UpsertAsset(change.asset, values, size)


def _read_attribute(attribute: str, text: bytes, values: dict[ValueKey, ValueData]) -> None:
    if not text.startswith(b"["):
        values[attribute, None, None] = _datum(text)
        return
    items = [bytes(item) for item in _items.decode(text)]
    if items and all(item.startswith(b"{") for item in items):
        for locale, channel, datum in map(_entry, items):
            key = (attribute, locale, channel)
            if key in values:
                raise _FlawError("has the same locale and channel twice", locale, channel)
            values[key] = datum
        return
    if any(item.startswith(b"{") for item in items):
        raise _FlawError("mixes entries and bare values in one list")
    values[attribute, None, None] = _strings(items)


def _entry(text: bytes) -> tuple[str | None, str | None, ValueData]:
    members = _members.decode(text)
    locale = _scope(members, "locale")
    channel = _scope(members, "channel")
    if "data" not in members:
        raise _FlawError("has an entry without `data`", locale, channel)
    try:
        return locale, channel, _datum(bytes(members["data"]))
    except _FlawError as flaw:
        raise _FlawError(str(flaw), locale, channel) from None


def _scope(members: dict[str, Raw], name: str) -> str | None:
    raw = members.get(name)
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        return _text.decode(raw)
    except msgspec.ValidationError:
        raise _FlawError(f"has a `{name}` that is no string") from None


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
        raise _FlawError(
            "holds an object, which is reserved; give text, numbers or a list of texts"
        )
    assert first in _NUMBER_STARTS
    return text.decode()


def _strings(items: list[bytes]) -> list[str] | None:
    """A list of texts; an empty one erases, which the PIM writes as null (akeneo.md §4.3)."""
    if not all(item.startswith(b'"') for item in items):
        raise _FlawError("holds a list of something else than texts")
    return [_text.decode(item) for item in items] or None


def _placed(attribute: str, flaw: _FlawError) -> ChangeError:
    return ChangeError(
        path=f"values.{attribute}",
        message=f"The attribute {attribute} {flaw}.",
        attribute=attribute,
        locale=flaw.locale,
        channel=flaw.channel,
    )


def _invalid(change: AssetChange, flaws: list[ChangeError]) -> Rejection:
    first = flaws[0].message or ""
    more = f" ({len(flaws) - 1} more)" if len(flaws) > 1 else ""
    return Rejection(
        status="rejected",
        reason="invalid_event",
        message=first + more,
        errors=tuple(flaws),
        action=change.action,
        asset=change.asset,
        event=change.event,
        extensions=change.extensions,
    )


def in_pim_shape(values: dict[ValueKey, ValueData]) -> dict[str, list[dict[str, ValueData]]]:
    """Values as the PIM writes them: attribute → entries of locale, channel, data (§4.1)."""
    shaped: dict[str, list[dict[str, ValueData]]] = {}
    for (attribute, locale, channel), datum in values.items():
        entry = {"locale": locale, "channel": channel, "data": datum}
        shaped.setdefault(attribute, []).append(entry)
    return shaped
