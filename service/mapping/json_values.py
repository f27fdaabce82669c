"""Values as they stand in an event: decoded JSON, with numbers as they were written."""

import codecs
import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, Self

import msgspec
from msgspec import Raw

from service.contracts.json_flaw import TOO_DEEP, flaw_of_bytes, flaw_of_json
from service.mapping.endings import RecordEndedError

UNCOUNTED_BYTES = 128 * 1024
"""The tokens of a text up to this long are not counted."""

TOKENS_MAX = 150_000
"""Most commas and opening brackets in one event. Each makes an object in memory of about 100
bytes, so that an event of any size takes at most 20 MiB."""


TOKEN_BYTES = 128
"""Memory of an element with its place in a list or an object, besides its text."""


class Absent(Enum):
    """The value of a path that the event does not have, which is another thing than null."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


class Number(float):
    """A number with a fraction or an exponent: it compares as a number and is sent as written."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number


Number.__name__ = "float"  # the functions of JMESPath know a type by its name

_decoder = msgspec.json.Decoder(float_hook=Number)
_MINUS_ZERO = re.compile(rb"-0[\s,\]}]")
_LONG_INTEGER = re.compile(rb"[0-9]{4300}")


def decode(text: bytes, what: str) -> object:
    """Return the decoded JSON; `what` names the text in a message.

    Raise RecordEndedError when it is not JSON, or has more than `TOKENS_MAX` tokens.
    """
    _check_tokens(text, what)
    try:
        return _decoded(text)
    except RecursionError:
        flaw = TOO_DEEP
    except (msgspec.DecodeError, UnicodeDecodeError):
        flaw = _flaw(text)
    raise RecordEndedError("rejected", "undecodable", f"{what} {flaw}.")


def _check_tokens(text: bytes, what: str) -> None:
    if len(text) > UNCOUNTED_BYTES and (tokens := _tokens(text)) > TOKENS_MAX:
        counted = f"{what} has {tokens:,} lists, objects and elements"
        message = f"{counted}; at most {TOKENS_MAX:,} are mapped."
        raise RecordEndedError("rejected", "too_large", message)


def _decoded(text: bytes) -> object:
    found: object = _decoder.decode(text)
    if _MINUS_ZERO.search(text) or text.endswith(b"-0"):
        return _with_minus_zero(text)
    return found


def _with_minus_zero(text: bytes) -> object:
    """Decode valid JSON in which -0 seems to stand: the fast decoder gives integers no text."""
    return json.loads(text, parse_float=Number, parse_int=_integer)


def _integer(text: str) -> int | Number:
    return Number(text) if text == "-0" else int(text)


def decode_fetched(body: bytes) -> Mapping[str, object]:
    """Return the object that a DAM answered.

    A byte order mark at the beginning is not a part of it, as in files that commands read.

    Raises:
        RecordEndedError: the body is not an object within the bounds; the message says why.
    """
    found = decode(body.removeprefix(codecs.BOM_UTF8), "The answer")
    if isinstance(found, dict):
        return found
    raise RecordEndedError("rejected", "unmappable", "The answer is JSON, but not an object.")


def decoded_bytes(text: bytes) -> int:
    """Return how much memory the decoded text takes, in bytes: at most twice as much in fact."""
    return 2 * len(text) + TOKEN_BYTES * _tokens(text)


def _tokens(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _flaw(text: bytes) -> str:
    flaw = flaw_of_bytes(text)
    if flaw is None and _LONG_INTEGER.search(text):
        flaw = "contains a number with more than 4,300 digits"
    return flaw or flaw_of_json(text)


def decode_leniently(text: str, what: str) -> object:
    """Return the decoded JSON, or the text itself if it is not JSON; `what` is for a message.

    Raise RecordEndedError when it has more than `TOKENS_MAX` tokens: Base64 and escapes hide them
    from whoever counts those around it.
    """
    encoded = text.encode()
    _check_tokens(encoded, what)
    try:
        return _decoded(encoded)
    except (msgspec.DecodeError, RecursionError):
        return text


def encode(value: object) -> bytes:
    """Return JSON with numbers as the event had them."""
    return _encoder.encode(value)


def _encode_number(number: object) -> Raw:
    assert isinstance(number, Number), number
    return Raw(number.text.encode())


_encoder = msgspec.json.Encoder(enc_hook=_encode_number)


def kind_of(value: object) -> str:
    """Return the JSON type of a value with its article, for messages."""
    if value is None:
        return "null"
    kinds: dict[type, str] = {bool: "a boolean", str: "a text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a number" if isinstance(value, (int, float)) else "no value")


def text_of_number(number: float) -> str | None:
    """Return the number as it was written, or None for infinity and NaN, which a path can make."""
    if isinstance(number, Number):
        return number.text
    text = str(number)
    return text if text[-1].isdecimal() else None
