"""What asset-sync believes of a PIM, as questions that a sandbox family answers (akeneo.md).

Each question says what is believed; its function does the same in the PIM and returns, in the same
words, what it found. A difference in what Akeneo documents is an error; in what the documents leave
open it is a warning, because asset-sync then goes by what the PIM answers.
"""

import struct
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from service.adapters.akeneo.sandbox import NoAnswerError, NotAskedError, Sandbox, values
from service.core.inputs import CallReply
from service.core.requests import UploadFile
from service.core.send.verdict import ITEMS_MAX
from service.ports import FAMILIES_PATH

UNKNOWN_FAMILY = f"{FAMILIES_PATH}/asset_sync_check_no_such_family"

Grade = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is done in the sandbox, and what asset-sync believes to happen."""

    text: str
    source: str
    """A section of docs/akeneo.md."""
    believed: str
    ask: Callable[[Sandbox], Awaitable[str]]
    is_open: bool = False
    """Whether Akeneo's documents leave it open."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the PIM did."""

    question: Question
    found: str
    grade: Grade


async def answer(question: Question, sandbox: Sandbox) -> Answer:
    """Ask one question; without an answer the PIM differs from what is believed."""
    try:
        found = await question.ask(sandbox)
    except NotAskedError as missing:
        return Answer(question, f"not asked: {missing}", "skipped")
    except NoAnswerError as error:
        return Answer(question, str(error), "failed")
    if found == question.believed:
        return Answer(question, found, "ok")
    return Answer(question, found, "warning" if question.is_open else "failed")


# --- upserts -------------------------------------------------------------------------------------


async def _thrice(sandbox: Sandbox) -> str:
    text = sandbox.attribute("text")
    item = {"code": sandbox.code("thrice"), "values": values(text, "a")}
    changed = item | {"values": values(text, "b")}
    sent = [await sandbox.upsert(one) for one in (item, changed, changed)]
    return ", ".join(reply.in_short for reply in sent)


async def _full_call(sandbox: Sandbox) -> str:
    codes = [sandbox.code(f"many_{number}") for number in range(ITEMS_MAX)]
    reply = await sandbox.upsert(*({"code": code} for code in codes))
    shown = [item.get("code") for item in reply.body] if reply.item_statuses else []
    kinds = sorted({str(status) for status in reply.item_statuses})
    order = "in order" if shown == codes else "in another order"
    return f"{reply.status}: {len(shown)} items, {order}, {', '.join(kinds)}"


async def _too_many(sandbox: Sandbox) -> str:
    codes = [sandbox.code(f"over_{number}") for number in range(ITEMS_MAX + 1)]
    reply = await sandbox.upsert(*({"code": code} for code in codes))
    is_stored = (await sandbox.get(codes[0])).status == 200
    return f"{reply.status}, {'some are' if is_stored else 'none is'} stored"


async def _one_bad(sandbox: Sandbox) -> str:
    bad = {"code": sandbox.code("bad"), "values": values({"code": "asset_sync_no_such"}, "x")}
    return (await sandbox.upsert(bad, {"code": sandbox.code("good")})).in_short


async def _form_of_errors(sandbox: Sandbox) -> str:
    bad = {"code": sandbox.code("bad"), "values": values({"code": "asset_sync_no_such"}, "x")}
    reply = await sandbox.upsert(bad)
    item = reply.body[0] if reply.item_statuses and isinstance(reply.body[0], dict) else {}
    parts = [name for name in ("message", "errors") if item.get(name)]
    errors = item.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        named = sorted(errors[0].keys() & {"property", "message", "attribute"})
        parts[-1] = f"errors with {' and '.join(named)}"
    return ", ".join(parts) or "neither message nor errors"


async def _no_list(sandbox: Sandbox) -> str:
    reply = await sandbox.call("PATCH", f"{sandbox.path}/assets", {"code": sandbox.code("single")})
    return reply.in_short


async def _empty_list(sandbox: Sandbox) -> str:
    reply = await sandbox.upsert()
    return "200 []" if (reply.status, reply.body) == (200, []) else str(reply.status)


async def _twice_in_one(sandbox: Sandbox) -> str:
    item = {"code": sandbox.code("twice")}
    return (await sandbox.upsert(item, item)).in_short


async def _hyphen(sandbox: Sandbox) -> str:
    return (await sandbox.upsert({"code": sandbox.code("with-hyphen")})).in_short


async def _case_of_codes(sandbox: Sandbox) -> str:
    lower, upper = sandbox.code("case_a"), sandbox.code("case_A")
    await sandbox.upsert({"code": lower})
    status = (await sandbox.upsert({"code": upper})).in_short
    return {"201": "two assets", "204": "one asset"}.get(status, status)


async def _page(sandbox: Sandbox) -> str:
    reply = await sandbox.call("GET", f"{sandbox.path}/assets")
    try:
        return f"{len(reply.body['_embedded']['items'])} assets"
    except (LookupError, TypeError):
        return f"{reply.status} without `_embedded.items`"


# --- values --------------------------------------------------------------------------------------


async def _kept(sandbox: Sandbox, name: str, attribute: Mapping[str, Any], *data: object) -> str:
    """Return what GET shows of an attribute after its data were written one after the other."""
    code = sandbox.code(name)
    for one in data:
        status = (await sandbox.upsert({"code": code, "values": values(attribute, one)})).in_short
        if status not in {"201", "204"}:
            return status
    asset = (await sandbox.get(code)).body
    shown = asset.get("values") if isinstance(asset, dict) else None
    entries = shown.get(attribute["code"]) if isinstance(shown, dict) else None
    if not entries:
        return "left out"
    data_shown = entries[0].get("data")
    return "null" if data_shown is None else f"shown as {data_shown!r}"


async def _erased(sandbox: Sandbox) -> str:
    return await _kept(sandbox, "erased", sandbox.attribute("text"), "a", None)


async def _empty_text(sandbox: Sandbox) -> str:
    return await _kept(sandbox, "empty_text", sandbox.attribute("text"), "")


async def _empty_options(sandbox: Sandbox) -> str:
    attribute = sandbox.attribute("multiple_options")
    known = await _option_of(sandbox, attribute)
    return await _kept(sandbox, "empty_options", attribute, [known], [])


async def _no_values(sandbox: Sandbox) -> str:
    code = sandbox.code("no_values")
    await sandbox.upsert({"code": code, "values": {}})
    asset = (await sandbox.get(code)).body
    shown = asset.get("values") if isinstance(asset, dict) else None
    return {"{}": "{}", "[]": "[]"}.get(str(shown), "neither {} nor []")


async def _one(sandbox: Sandbox, name: str, attribute: Mapping[str, Any], data: object) -> str:
    item = {"code": sandbox.code(name), "values": values(attribute, data)}
    return (await sandbox.upsert(item)).in_short


async def _json_number(sandbox: Sandbox) -> str:
    return await _one(sandbox, "json_number", sandbox.attribute("number"), 12)


async def _short_date(sandbox: Sandbox) -> str:
    return await _one(sandbox, "short_date", sandbox.attribute("date"), "2026-11-28")


async def _unknown_option(sandbox: Sandbox) -> str:
    attribute = sandbox.attribute("single_option")
    return await _one(sandbox, "unknown_option", attribute, "asset_sync_no_such_option")


async def _case_of_options(sandbox: Sandbox) -> str:
    attribute = sandbox.attribute("single_option")
    known = await _option_of(sandbox, attribute)
    if known.swapcase() == known:
        raise NotAskedError(f"the option {known} has no letters")
    return await _one(sandbox, "case_of_option", attribute, known.swapcase())


async def _option_of(sandbox: Sandbox, attribute: Mapping[str, Any]) -> str:
    reply = await sandbox.call("GET", f"{sandbox.path}/attributes/{attribute['code']}/options")
    try:
        return str(reply.body[0]["code"])
    except (LookupError, TypeError):
        raise NotAskedError(f"the attribute {attribute['code']} has no option") from None


# --- families, deletes -----------------------------------------------------------------------


async def _unknown_family_in_bulk(sandbox: Sandbox) -> str:
    item = {"code": sandbox.code("nowhere")}
    reply = await sandbox.call("PATCH", f"{UNKNOWN_FAMILY}/assets", [item])
    return reply.in_short if reply.status != 200 else f"items with {reply.in_short}"


async def _unknown_family(sandbox: Sandbox) -> str:
    replies = [
        await sandbox.call("GET", UNKNOWN_FAMILY),
        await sandbox.call("DELETE", f"{UNKNOWN_FAMILY}/assets/{sandbox.code('nowhere')}"),
    ]
    return ", ".join(f"{one.status} {_with_message(one.body)}" for one in replies)


def _with_message(body: object) -> str:
    has_message = isinstance(body, dict) and bool(body.get("message"))
    return "with a message" if has_message else "without a message"


async def _delete(sandbox: Sandbox) -> str:
    code = sandbox.code("deleted")
    await sandbox.upsert({"code": code})
    replies = await sandbox.delete(code), await sandbox.delete(code), await sandbox.get(code)
    return ", ".join(str(reply.status) for reply in replies)


# --- media files -----------------------------------------------------------------------------


async def _unknown_media_file(sandbox: Sandbox) -> str:
    attribute = sandbox.attribute("media_file")
    return await _one(sandbox, "unknown_media", attribute, "0/0/0/0/asset_sync_no_such.png")


async def _upload(sandbox: Sandbox) -> str:
    attribute = sandbox.attribute("media_file")
    extension = next(iter(attribute.get("allowed_extensions") or ()), "png")

    async def permit() -> None: ...

    file = UploadFile(0, f"asset_sync_check.{extension}", "image/png")
    reply = await sandbox.api.send(file, permit=permit, may_write=lambda: True)
    if not isinstance(reply, CallReply):
        raise NoAnswerError(reply.message)
    if reply.media_code is None:
        return f"{reply.status} without a code"
    shown = await _kept(sandbox, "media", attribute, reply.media_code)
    is_same = shown == f"shown as {reply.media_code!r}"
    return f"{reply.status} with a code, {'shown as sent' if is_same else shown}"


class SampleFile:
    """The picture of one pixel that is uploaded; it stands in for files on disk."""

    async def size(self, file_id: int) -> int:  # noqa: ARG002 - there is one
        return len(PNG)

    async def read(self, file_id: int) -> AsyncGenerator[bytes, None]:  # noqa: ARG002 - likewise
        yield PNG


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = b"".join(
    (
        b"\x89PNG\r\n\x1a\n",
        _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        _chunk(b"IDAT", zlib.compress(b"\0\0")),
        _chunk(b"IEND", b""),
    )
)
"""A grey picture of one pixel."""

# In this order: the first page is full once the assets of the question before are there.
MANY = f"200: {ITEMS_MAX} items, in order, 201"

QUESTIONS = (
    Question("an asset created, changed, sent again", "§2.2", "201, 204, 204", _thrice),
    Question(f"{ITEMS_MAX} assets in one call", "§2.1", MANY, _full_call),
    Question("the first page of the assets", "§13, 11", "100 assets", _page, is_open=True),
    Question(f"{ITEMS_MAX + 1} assets in one call", "§2.1", "413, none is stored", _too_many),
    Question("an unknown attribute beside a good asset", "§2.4", "422, 201", _one_bad),
    Question(
        "the form of an item's errors",
        "§2.2",
        "message, errors with message and property",
        _form_of_errors,
        is_open=True,
    ),
    Question("a body that is not a list", "§2.3", "400", _no_list),
    Question("an empty list", "§13, 6", "200 []", _empty_list, is_open=True),
    Question("one code twice in a call", "§13, 1", "201, 204", _twice_in_one, is_open=True),
    Question("a hyphen in a code", "§13, 2", "422", _hyphen, is_open=True),
    Question("codes that differ in case", "§13, 3", "two assets", _case_of_codes, is_open=True),
    Question("a value that was erased, in GET", "§13, 4", "left out", _erased, is_open=True),
    Question("an empty text", "§4.3", "shown as ''", _empty_text, is_open=True),
    Question("options erased by []", "§4.3", "left out", _empty_options, is_open=True),
    Question("an asset without values, in GET", "§13, 15", "{}", _no_values, is_open=True),
    Question("a JSON number", "§13, 7", "422", _json_number, is_open=True),
    Question("a date without a time", "§13, 8", "422", _short_date, is_open=True),
    Question("an unknown option", "§4.2", "422", _unknown_option),
    Question("an option in another case", "§2.5", "422", _case_of_options, is_open=True),
    Question("an unknown media file", "§13, 9", "422", _unknown_media_file, is_open=True),
    Question("a media file", "§6", "201 with a code, shown as sent", _upload),
    Question(
        "an unknown family in a bulk call", "§13, 5", "404", _unknown_family_in_bulk, is_open=True
    ),
    Question(
        "GET of an unknown family, DELETE in it",
        "§3",
        "404 with a message, 404 with a message",
        _unknown_family,
    ),
    Question("an asset deleted, again, then read", "§3", "204, 404, 404", _delete),
)
