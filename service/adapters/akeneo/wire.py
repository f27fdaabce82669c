"""Writes requests to the Asset API and reads its answers (akeneo.md §2, §3, §8).

Rule 1: requests are exact, answers are read leniently: only their status and shape matter.
Rule 2: what is read is bounded while it is read, because decoding 16 MiB of JSON can take a
hundred times as much memory.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from msgspec import Raw

from service.adapters.http_client import read_retry_after, status_text
from service.contracts.json_flaw import UNREADABLE
from service.contracts.text import DOT_SEGMENTS, finite_number
from service.core.inputs import CallReply, ItemReply
from service.core.requests import (
    CreateOption,
    DeleteOne,
    GetAttributes,
    GetFamilies,
    GetFamily,
    GetOptions,
    Request,
    UploadFile,
    UpsertAssets,
)
from service.core.send.verdict import ITEMS_MAX
from service.core.values import Attribute, Values
from service.ports import ENDPOINTS, MEDIA_FILES_PATH, RequestKind

MESSAGE_CHARACTERS_MAX = 2000

ERRORS_MAX = 1000
"""Most errors that are read from one answer or item; an outcome shows 50."""

ERRORS_BYTES_MAX = 64 * 1024
"""Most bytes of errors that are read from one answer or item; an outcome shows 32 KiB."""

STRUCTURE_BYTES_MAX = 4 * 1024 * 1024
ATTRIBUTES_MAX = 1000
OPTIONS_MAX = 10_000
"""Limits on a family's structure, far above the PIM's own (100 attributes, 100 options each).

A larger answer is not read as a structure.
"""

MEGABYTES_MAX = 1_000_000
"""Largest size of a file that is read as a limit."""

MEDIA_CODE_CHARACTERS_MAX = 500
"""Longest code of a media file that is read; the PIM's have about 100 characters and the name."""

NUMBER_CHARACTERS_MAX = 100
"""Longest number that is read where the PIM shows one as text."""

_ABSENT = Raw(b"")

_encode = msgspec.json.Encoder().encode


class _WrittenAsset(msgspec.Struct, gc=False):
    """An asset in the body of an upsert."""

    code: str
    values: Values | Raw


def _first(count: int, of: type) -> msgspec.json.Decoder[msgspec.Struct]:
    """Return a decoder of lists that keeps the first `count` elements and skips the others."""
    fields = [(f"element_{number}", of, _ABSENT) for number in range(count)]
    return msgspec.json.Decoder(msgspec.defstruct("First", fields, array_like=True))


class _Members(msgspec.Struct):
    """The members of an answer, or of one of its items, that are read; others are skipped."""

    code: Raw = _ABSENT
    status_code: Raw = _ABSENT
    message: Raw = _ABSENT
    errors: Raw = _ABSENT
    links: Raw = msgspec.field(default=_ABSENT, name="_links")
    embedded: Raw = msgspec.field(default=_ABSENT, name="_embedded")


_members = msgspec.json.Decoder(_Members)
_items = _first(ITEMS_MAX + 1, Raw)
_errors_list = _first(ERRORS_MAX, Raw)


class _PimAttribute(msgspec.Struct):
    """An attribute as the PIM shows it; its limits may be numbers or text."""

    code: str
    type: str
    value_per_locale: bool = False
    value_per_channel: bool = False
    max_characters: int | str | None = None
    decimals_allowed: bool | None = None
    min_value: float | str | None = None
    max_value: float | str | None = None
    allowed_extensions: list[str] | dict[str, str] | None = None
    """PHP writes a list with gaps as an object."""
    max_file_size: float | str | None = None
    """In MB."""


class _PimOption(msgspec.Struct):
    code: str


class _PimFamilies(msgspec.Struct, rename={"embedded": "_embedded", "links": "_links"}):
    """A page of the list of families; `_links.next` means that more pages follow."""

    class Items(msgspec.Struct):
        items: list[_PimOption]

    class Links(msgspec.Struct):
        next: Raw = _ABSENT

    embedded: Items
    links: Links = msgspec.field(default_factory=Links)


_attributes = msgspec.json.Decoder(list[_PimAttribute])
_options = msgspec.json.Decoder(list[_PimOption])
_families = msgspec.json.Decoder(_PimFamilies)


class _UsualItem(msgspec.Struct, gc=False):
    """The PIM's answer for one asset, in the documented shape (akeneo.md §2.2)."""

    code: str
    status_code: int
    message: Raw = _ABSENT
    errors: Raw = _ABSENT


_usual_items = _first(ITEMS_MAX + 1, _UsualItem)


class HttpRequest(NamedTuple):
    """A request as it is sent, with its path below the PIM's URL."""

    method: str
    path: str
    body: bytes | None = None
    route: RequestKind = "other"
    file: UploadFile | None = None
    """The file on disk that is sent in place of `body`."""


def write_request(request: Request) -> HttpRequest | None:
    """Return the HTTP request; None if a code cannot be part of a URL's path (`.` and `..`)."""
    kind, method, template = ENDPOINTS[type(request)]
    codes = _codes(request)
    # A proxy would resolve such a code, and another resource would be written.
    if not DOT_SEGMENTS.isdisjoint(codes.values()):
        return None
    path = template.format_map({name: quote(code, safe="") for name, code in codes.items()})
    file = request if isinstance(request, UploadFile) else None
    return HttpRequest(method, path, _body(request), kind, file)


def _codes(request: Request) -> dict[str, str]:
    """Return the codes that fill in the path's template."""
    match request:
        case GetFamilies() | UploadFile():
            return {}
        case UpsertAssets(family) | GetFamily(family) | GetAttributes(family):
            return {"asset_family_code": family}
        case DeleteOne(family, code):
            return {"asset_family_code": family, "code": code}
        case GetOptions(family, attribute):
            return {"asset_family_code": family, "attribute_code": attribute}
        case CreateOption(family, attribute, code):
            return {"asset_family_code": family, "attribute_code": attribute, "code": code}


def _body(request: Request) -> bytes | None:
    match request:
        case UpsertAssets(assets=assets):
            return _encode([_WrittenAsset(one.asset.code, one.values) for one in assets])
        case CreateOption(code=code):
            return _encode({"code": code})
        case _:
            return None


def read_answer(
    request: Request, status: int, headers: Mapping[str, str], body: bytes
) -> CallReply:
    """Return the answer to this request, with what was asked for: a structure or a file's code."""
    if isinstance(request, UploadFile) and status == HTTPStatus.CREATED:
        code = _media_code(headers)
        return CallReply(status, is_from_pim=code is not None, media_code=code)
    structure = None
    if status == HTTPStatus.OK and len(body) <= STRUCTURE_BYTES_MAX:
        structure = _read_structure(request, body)
    return read_reply(status, headers, body) if structure is None else structure


def _media_code(headers: Mapping[str, str]) -> str | None:
    """Return the code of an uploaded file, which stands in a header of its own or in `Location`."""
    _, _, tail = headers.get("location", "").partition(MEDIA_FILES_PATH + "/")
    code = headers.get("asset-media-file-code", "").strip() or unquote(tail)
    is_usable = 0 < len(code) <= MEDIA_CODE_CHARACTERS_MAX and code.isprintable()
    return code if is_usable else None


def _read_structure(request: Request, body: bytes) -> CallReply | None:
    try:
        match request:
            case GetAttributes():
                attributes = _attributes.decode(body)
                if len(attributes) <= ATTRIBUTES_MAX:
                    return CallReply(
                        200, is_from_pim=True, attributes=tuple(map(_attribute, attributes))
                    )
            case GetOptions():
                options = frozenset(option.code for option in _options.decode(body))
                if len(options) <= OPTIONS_MAX:
                    return CallReply(200, is_from_pim=True, options=options)
            case GetFamilies():
                return CallReply(200, is_from_pim=True, families=_all_families(body))
    except UNREADABLE:
        pass
    return None


def read_reply(status: int, headers: Mapping[str, str], body: bytes) -> CallReply:
    """Return the answer of the PIM, or of a proxy in front of it."""
    retry_after = read_retry_after(headers.get("retry-after"))
    try:
        text = body.strip()
        if text.startswith(b"["):
            return CallReply(
                status, is_from_pim=True, items=_read_items(text), retry_after_seconds=retry_after
            )
        members = _members.decode(text)
    except UNREADABLE:
        message = status_text(status)
        return CallReply(status, message=message, retry_after_seconds=retry_after)
    return CallReply(
        status,
        is_from_pim=_is_from_pim(status, members),
        message=_text(members.message) or status_text(status),
        errors=_errors(members.errors),
        retry_after_seconds=retry_after,
    )


def _is_from_pim(status: int, members: _Members) -> bool:
    """Return whether the PIM itself answered, and not a proxy with JSON of its own.

    The PIM repeats the status as `code` in every error (akeneo.md §8). Its answers with 200, such
    as a family or a list, have a `code` or `_links`.
    """
    if status == HTTPStatus.OK:
        return any(
            found is not _ABSENT for found in (members.code, members.links, members.embedded)
        )
    return _status(members.code) == status


def _all_families(body: bytes) -> frozenset[str] | None:
    """Return the codes of all families; None if more pages follow (akeneo.md §3)."""
    page = _families.decode(body)
    if page.links.next is not _ABSENT:
        return None
    return frozenset(family.code for family in page.embedded.items)


def _attribute(shown: _PimAttribute) -> Attribute:
    most = str(shown.max_characters)[:NUMBER_CHARACTERS_MAX]
    return Attribute(
        code=shown.code,
        type=shown.type,
        per_locale=shown.value_per_locale,
        per_channel=shown.value_per_channel,
        characters_max=int(most) if most.isdecimal() else None,
        takes_decimals=shown.decimals_allowed,
        least=_number(shown.min_value),
        most=_number(shown.max_value),
        extensions=_extensions(shown.allowed_extensions),
        bytes_max=_bytes(shown.max_file_size),
    )


def _extensions(listed: list[str] | dict[str, str] | None) -> frozenset[str] | None:
    """Return the extensions that an attribute takes; None, which means any, if it lists none."""
    extensions = listed.values() if isinstance(listed, dict) else listed or ()
    return frozenset(one.lower().removeprefix(".") for one in extensions) or None


def _bytes(megabytes: float | str | None) -> int | None:
    """Return a limit in bytes; the larger kind of MB, so that nothing is refused too early."""
    number = finite_number(_number(megabytes) or "")
    return int(number * 1024**2) if number is not None and 0 < number < MEGABYTES_MAX else None


def _number(shown: float | str | None) -> str | None:
    """Return a limit as text; None, which means no limit, if it is not a finite number."""
    text = str(shown)
    is_read = len(text) <= NUMBER_CHARACTERS_MAX and finite_number(text) is not None
    return text if is_read else None


def _elements(first: msgspec.Struct) -> list[Any]:
    return [found for found in msgspec.structs.astuple(first) if found is not _ABSENT]


def _read_items(text: bytes) -> tuple[ItemReply, ...]:
    """Return a reply for each asset.

    An answer in the documented shape is decoded at once, which is fast; any other one by one.
    """
    try:
        usual: list[_UsualItem] = _elements(_usual_items.decode(text))
    except msgspec.ValidationError:
        return tuple(map(_item, _elements(_items.decode(text))))
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
    except UNREADABLE:
        return ItemReply(None, None)
    return ItemReply(
        code=_text(members.code),
        status=_status(members.status_code),
        message=_text(members.message),
        errors=_errors(members.errors),
    )


def _status(raw: Raw) -> int | None:
    try:
        return msgspec.json.decode(raw, type=int, strict=False)
    except UNREADABLE:
        return None


def _text(raw: Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)[:MESSAGE_CHARACTERS_MAX]
    except UNREADABLE:
        return None


def _errors(raw: Raw) -> tuple[Raw, ...]:
    """Return the PIM's first errors verbatim; none if `raw` is not a list."""
    if raw is _ABSENT:
        return ()
    kept: list[Raw] = []
    room = ERRORS_BYTES_MAX
    try:
        bytes(raw).decode()
        for error in _elements(_errors_list.decode(raw)):
            text = bytes(error)
            room -= len(text)
            if room < 0:
                break
            kept.append(Raw(text))
    except UNREADABLE:
        return ()
    return tuple(kept)
