"""Bytes that are not JSON → what is wrong with them, in words that a producer understands.

It is asked only about what the decoder refused, so it may take its time: it is linear.
"""

import json
import re
from typing import NoReturn

TOO_DEEP = "nests its lists and objects too deeply to be read"

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_LOW_SURROGATES = range(0xDC00, 0xE000)
_SURROGATES = range(0xD800, 0xE000)
_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "begins with a byte order mark, which JSON must not have"),
    (b"\xff\xfe", "is UTF-16 (by its byte order mark); JSON must be UTF-8"),
    (b"\xfe\xff", "is UTF-16 (by its byte order mark); JSON must be UTF-8"),
)


class _ConstantError(Exception):
    """A name such as NaN where a value should be."""


def flaw_of_bytes(value: bytes) -> str | None:
    """Return what is wrong before any JSON is read, as the end of a sentence; else None."""
    if not value:
        return "is empty (0 bytes); it must be a JSON object"
    if not value.strip():
        return f"holds nothing but white space ({len(value)} bytes); it must be a JSON object"
    if value.startswith(b"\x00"):
        return (
            "has schema-registry framing (its first byte is 0x00); "
            "events must be plain JSON, without a schema registry"
        )
    for mark, flaw in _BYTE_ORDER_MARKS:
        if value.startswith(mark):
            return flaw
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return f"is not UTF-8: byte {error.start + 1} of {len(value)} is 0x{value[error.start]:02x}"
    return None


def flaw_of_json(value: bytes) -> str:
    """Return what is wrong with UTF-8 text that the decoder refused, as the end of a sentence."""
    text = value.decode()
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str, parse_float=str)
    except _ConstantError as constant:
        return f"contains {constant}, which JSON does not have; use null or a text"
    except json.JSONDecodeError as error:
        return _flaw_of_syntax(text, error)
    except RecursionError:
        return TOO_DEEP
    surrogate = _lone_surrogate(text)
    if surrogate is None:
        return "is not valid JSON"
    return f"contains {surrogate}, half of a surrogate pair, which is no character"


def _refuse(constant: str) -> NoReturn:
    raise _ConstantError(constant)


def _flaw_of_syntax(text: str, error: json.JSONDecodeError) -> str:
    where = f"line {error.lineno}, column {error.colno}"
    end = len(text.rstrip())
    if error.msg == "Extra data":
        return f"goes on after its JSON has ended ({where}); one event a record"
    if error.pos >= end or error.msg.startswith("Unterminated string"):
        return f"ends in the middle of its JSON, after {len(text.encode())} bytes: it is cut off"
    words = error.msg.removesuffix(" at")
    return f"is not valid JSON: {words[:1].lower()}{words[1:]} ({where})"


def _lone_surrogate(text: str) -> str | None:
    """The first escape that is half of a pair without its other half."""
    previous: re.Match[str] | None = None  # the first half of a pair, still without its second
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
