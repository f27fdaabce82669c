"""What a decoder raises for bytes that are not JSON, and what is wrong with them in plain words.

The functions run only for what the decoder refused, so they need not be fast; their time is
linear in the size of the text.
"""

import json
import re
from typing import NoReturn

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not JSON, nest too deeply, or have another shape."""

TOO_DEEP = "nests its lists and objects too deeply to be decoded"

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_LOW_SURROGATES = range(0xDC00, 0xE000)
_SURROGATES = range(0xD800, 0xE000)
_COMPRESSED = "is compressed by its producer ({}); compress batches (compression.type) instead"
_BEGINNINGS = (
    (b"\xef\xbb\xbf", "begins with a byte order mark, which JSON must not have"),
    (b"\xff\xfe", "is UTF-16 (by its byte order mark); JSON must be UTF-8"),
    (b"\xfe\xff", "is UTF-16 (by its byte order mark); JSON must be UTF-8"),
    (b"\x1f\x8b", _COMPRESSED.format("gzip")),
    (b"\x28\xb5\x2f\xfd", _COMPRESSED.format("zstd")),
)
"""Bytes with which a text may begin, and what is wrong then."""
_UTF_16 = re.compile(rb'\x00?[{\["\s]\x00')
"""The first character of JSON in UTF-16 without a byte order mark (RFC 4627, section 3)."""


class _ConstantError(Exception):
    """A constant such as NaN stands where JSON requires a value."""


def flaw_of_bytes(value: bytes) -> str | None:
    """Return what is wrong before any JSON is parsed, as the end of a sentence, or None."""
    if not value:
        return "is empty (0 bytes); it must be a JSON object"
    if not value.strip():
        return f"contains only white space ({len(value)} bytes); it must be a JSON object"
    if _UTF_16.match(value):
        return "is UTF-16 (every other byte is 0x00); JSON must be UTF-8"
    if value.startswith(b"\x00"):
        return (
            "has schema-registry framing (its first byte is 0x00); "
            "events must be plain JSON, without a schema registry"
        )
    for beginning, flaw in _BEGINNINGS:
        if value.startswith(beginning):
            return flaw
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return f"is not UTF-8: byte {error.start + 1} of {len(value)} is 0x{value[error.start]:02x}"
    return None


def flaw_of_json(value: bytes) -> str:
    """Return why the decoder refused this UTF-8 text, as the end of a sentence."""
    text = value.decode()
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str, parse_float=str)
    except _ConstantError as constant:
        return f"contains {constant}, which JSON does not have; use null or a string"
    except json.JSONDecodeError as error:
        return _flaw_of_syntax(text, error)
    except RecursionError:
        return TOO_DEEP
    surrogate = _lone_surrogate(text)
    if surrogate is None:
        return "is not valid JSON"
    return f"contains {surrogate}, half of a surrogate pair, which is not a character"


def _refuse(constant: str) -> NoReturn:
    raise _ConstantError(constant)


def _flaw_of_syntax(text: str, error: json.JSONDecodeError) -> str:
    where = f"line {error.lineno}, column {error.colno}"
    end = len(text.rstrip())
    if error.msg == "Extra data":
        return f"has data after the end of its JSON ({where}); a record must be one event"
    if error.pos >= end or error.msg.startswith("Unterminated string"):
        return f"is incomplete: it ends after {len(text.encode())} bytes, in the middle of its JSON"
    words = error.msg.removesuffix(" at")
    return f"is not valid JSON: {words[:1].lower()}{words[1:]} ({where})"


def _lone_surrogate(text: str) -> str | None:
    """Return the first escape that is one half of a surrogate pair without the other half."""
    previous: re.Match[str] | None = (
        None  # the first half of a pair, as long as its second half is missing
    )
    for escape in _ESCAPE.finditer(text):
        code = int(escape[1], 16) if escape[1] else 0
        if previous is not None and (
            code not in _LOW_SURROGATES or escape.start() != previous.end()
        ):
            return previous[0]
        if previous is None and code in _LOW_SURROGATES:
            return escape[0]
        previous = escape if previous is None and code in _SURROGATES else None
    return previous[0] if previous is not None else None
