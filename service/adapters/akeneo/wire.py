"""The JSON of the Asset REST API, both directions (akeneo.md §2, §3, §8).

What is written is exact; what is read is taken leniently: branch on status and shape only.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Raw

from service.core.effects import (
    CreateOption,
    DeleteOne,
    GetAttributes,
    GetFamilies,
    GetFamily,
    GetOptions,
    Request,
    UpsertAssets,
)
from service.core.inputs import CallReply, ItemReply
from service.core.structure import Attribute
from service.ports import Route

API = "/api/rest/v1"
TOKEN_PATH = "/api/oauth/v1/token"  # noqa: S105 - a path
FAMILIES_PATH = f"{API}/asset-families"
MESSAGE_CHARACTERS_MAX = 2000

_STEPS = frozenset({".", ".."})
"""What every proxy on the way would take for a step in a path."""

_members = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw])


class _PimAttribute(msgspec.Struct):
    """An attribute as the PIM shows it, read leniently: limits may be numbers or text."""

    code: str
    type: str
    value_per_locale: bool = False
    value_per_channel: bool = False
    max_characters: int | str | None = None
    decimals_allowed: bool | None = None
    min_value: float | str | None = None
    max_value: float | str | None = None


class _PimOption(msgspec.Struct):
    code: str


class _PimFamilies(msgspec.Struct, rename={"embedded": "_embedded", "links": "_links"}):
    """A page of the list of families; `_links.next` tells that there are more."""

    class Items(msgspec.Struct):
        items: list[_PimOption]

    embedded: Items
    links: dict[str, Raw] = msgspec.field(default_factory=dict)


_attributes = msgspec.json.Decoder(list[_PimAttribute])
_options = msgspec.json.Decoder(list[_PimOption])
_families = msgspec.json.Decoder(_PimFamilies)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


_ABSENT = Raw(b"")


class _UsualItem(msgspec.Struct, gc=False):
    """What the PIM says of one asset, as documented (§2.2)."""

    code: str
    status_code: int
    message: Raw = _ABSENT
    errors: Raw = _ABSENT


_usual_items = msgspec.json.Decoder(list[_UsualItem])


class HttpRequest(NamedTuple):
    """A request as it goes out."""

    method: str
    path: str
    body: bytes | None = None
    route: Route = "other"


def write_request(request: Request) -> HttpRequest | None:
    """The HTTP request; None where a code cannot stand in a URL (`.` and `..`)."""
    match request:
        case GetFamilies():
            return HttpRequest("GET", FAMILIES_PATH, route="families")
        case UpsertAssets(family, assets):
            body = msgspec.json.encode(
                [{"code": asset.asset.code, "values": asset.values} for asset in assets]
            )
            path = _path("{}/assets", family)
            return HttpRequest("PATCH", path, body, route="upsert") if path else None
        case DeleteOne(family, code):
            path = _path("{}/assets/{}", family, code)
            return HttpRequest("DELETE", path, route="delete") if path else None
        case GetFamily(family):
            path = _path("{}", family)
            return HttpRequest("GET", path, route="family") if path else None
        case GetAttributes(family):
            path = _path("{}/attributes", family)
            return HttpRequest("GET", path, route="attributes") if path else None
        case GetOptions(family, attribute):
            path = _path("{}/attributes/{}/options", family, attribute)
            return HttpRequest("GET", path, route="options") if path else None
        case CreateOption(family, attribute, code):
            path = _path("{}/attributes/{}/options/{}", family, attribute, code)
            body = msgspec.json.encode({"code": code})
            return HttpRequest("PATCH", path, body, route="option") if path else None


def read_answer(
    request: Request, status: int, headers: Mapping[str, str], body: bytes
) -> CallReply:
    """What the PIM answered to this request: a family's structure where that was asked for (§5)."""
    if status == HTTPStatus.OK:
        try:
            match request:
                case GetAttributes():
                    attributes = tuple(map(_attribute, _attributes.decode(body)))
                    return CallReply(status, own_json=True, attributes=attributes)
                case GetOptions():
                    options = frozenset(option.code for option in _options.decode(body))
                    return CallReply(status, own_json=True, options=options)
                case GetFamilies():
                    return CallReply(status, own_json=True, families=_all_families(body))
        except _UNREADABLE:
            pass
    return read_reply(status, headers, body)


def read_reply(status: int, headers: Mapping[str, str], body: bytes) -> CallReply:
    """What the PIM, or something before it, answered."""
    retry_after = read_retry_after(headers.get("retry-after"))
    try:
        text = body.strip()
        if text.startswith(b"["):
            return CallReply(
                status, own_json=True, items=_read_items(text), retry_after_seconds=retry_after
            )
        members = _members.decode(text)
    except _UNREADABLE:
        message = _phrase(status)
        return CallReply(status, message=message, retry_after_seconds=retry_after)
    return CallReply(
        status,
        own_json=_is_own(status, members),
        message=_text(members.get("message")) or _phrase(status),
        errors=_errors(members.get("errors")),
        retry_after_seconds=retry_after,
    )


def read_retry_after(text: str | None) -> float | None:
    """Seconds to wait: a number or an HTTP date (akeneo.md §7); None where there is neither."""
    if not text:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return float(text[:12])
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _path(below_families: str, *codes: str) -> str | None:
    if not _STEPS.isdisjoint(codes):
        return None
    quoted = [quote(code, safe="") for code in codes]
    return f"{FAMILIES_PATH}/{below_families.format(*quoted)}"


def _is_own(status: int, members: Mapping[str, Raw]) -> bool:
    """The PIM repeats the status as `code` in every error (§8); a proxy's JSON does not.

    What it shows with 200 (a family, a list) has a `code` of its own or `_links`.
    """
    if status == HTTPStatus.OK:
        return "code" in members or "_links" in members or "_embedded" in members
    try:
        return msgspec.json.decode(members["code"], type=int, strict=False) == status
    except (KeyError, *_UNREADABLE):
        return False


def _all_families(body: bytes) -> frozenset[str] | None:
    """The codes of all families; None where there are more pages (akeneo.md §3)."""
    page = _families.decode(body)
    if "next" in page.links:
        return None
    return frozenset(family.code for family in page.embedded.items)


def _attribute(shown: _PimAttribute) -> Attribute:
    most = str(shown.max_characters)
    return Attribute(
        code=shown.code,
        type=shown.type,
        per_locale=shown.value_per_locale,
        per_channel=shown.value_per_channel,
        characters_max=int(most) if most.isdecimal() else None,
        takes_decimals=shown.decimals_allowed,
        least=_number(shown.min_value),
        most=_number(shown.max_value),
    )


def _number(shown: float | str | None) -> str | None:
    """A limit as text; what is no number limits nothing."""
    try:
        return None if shown is None else str(Decimal(str(shown)))
    except InvalidOperation:
        return None


def _read_items(text: bytes) -> tuple[ItemReply, ...]:
    """One reply an asset: all at once where the answer is as documented, else one by one."""
    try:
        usual = _usual_items.decode(text)
    except msgspec.ValidationError:
        return tuple(map(_item, _items.decode(text)))
    return tuple(
        [
            ItemReply(item.code, item.status_code)
            if item.message is _ABSENT and item.errors is _ABSENT
            else ItemReply(item.code, item.status_code, _text(item.message), _errors(item.errors))
            for item in usual
        ]
    )


def _item(raw: Raw) -> ItemReply:
    try:
        members = _members.decode(raw)
    except _UNREADABLE:
        return ItemReply(None, None)
    return ItemReply(
        code=_text(members.get("code")),
        status=_status(members.get("status_code")),
        message=_text(members.get("message")),
        errors=_errors(members.get("errors")),
    )


def _status(raw: Raw | None) -> int | None:
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=int, strict=False)
    except _UNREADABLE:
        return None


def _text(raw: Raw | None) -> str | None:
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)[:MESSAGE_CHARACTERS_MAX]
    except _UNREADABLE:
        return None


def _errors(raw: Raw | None) -> tuple[Raw, ...]:
    """The PIM's errors, verbatim; what is no list has none."""
    if raw is None:
        return ()
    try:
        bytes(raw).decode()
        return tuple(Raw(bytes(error)) for error in _items.decode(raw))
    except _UNREADABLE:
        return ()


def _phrase(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
