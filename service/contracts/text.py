"""Handling of foreign text: numbers are read within bounds, long text is truncated."""

import re
from decimal import Decimal, InvalidOperation

from service.contracts.asset_change import NAME_CHARACTERS_MAX

DIGITS_MAX = 18
"""Most digits of a count or an offset, so that it fits into 64 bits."""

DEPTH_MAX = 500
"""Most levels of JSON that an outcome repeats; many parsers fail at about 1,000."""

SHOWN_CHARACTERS_MAX = 80
URL_CHARACTERS_MAX = 200
"""How much of a URL is shown."""

DOT_SEGMENTS = frozenset({".", ".."})
"""Names that climb up in the path of a URL, even if they are percent-encoded (RFC 3986 §5.2.4)."""

_CONTROL = re.compile(r"[\u0000-\u001f\u007f-\u009f]")
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def clip(text: str, characters_max: int) -> str:
    """Return the text, truncated with an ellipsis if it is longer than `characters_max`."""
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def shown(text: str | bytes) -> str:
    """Return a foreign text in quotes, escaped, and short enough for a message."""
    if isinstance(text, bytes):
        text = text[: 4 * SHOWN_CHARACTERS_MAX].decode("utf-8", "replace")
    return repr(text if len(text) <= SHOWN_CHARACTERS_MAX else text[:77] + "...")


def shown_url(url: str) -> str:
    """Return a URL for people: without its query, which may hold a signature, and not too long."""
    scheme, _, rest = url.partition("?")[0].partition("#")[0].rpartition("://")
    authority, slash, path = rest.partition("/")
    without_user = f"{authority.rpartition('@')[2]}{slash}{path}"
    return clip(f"{scheme}://{without_user}" if scheme else without_user, URL_CHARACTERS_MAX)


def flaw_of_name(name: str) -> str | None:
    """Return why this is not a family code or an asset code, as the end of a sentence, or None."""
    if not name:
        return "is empty"
    if len(name) > NAME_CHARACTERS_MAX:
        return f"has {len(name)} characters; at most {NAME_CHARACTERS_MAX} are allowed"
    if "/" in name:
        return "contains a slash"
    if not (name.isascii() and name.isprintable()) and _CONTROL.search(name):
        return "contains a control character"
    if name.strip() != name:
        return "begins or ends with white space"
    return None


def is_encodable(text: str) -> bool:
    """Return whether the text is UTF-8: without halves of surrogate pairs, or escaped bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def natural_number(text: str | None) -> int | None:
    """Return the number that the decimal digits denote, or None if the text is not one."""
    if text is None or not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= DIGITS_MAX else None


def finite_number(text: str) -> Decimal | None:
    """Return the exact number, or None for NaN, infinity and what is not a number."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def is_too_deep(json: bytes) -> bool:
    """Return whether this valid JSON nests more than `DEPTH_MAX` levels."""
    if json.count(b"[") + json.count(b"{") <= DEPTH_MAX:
        return False
    depth = 0
    for token in _TOKENS.finditer(json):
        first = token[0][:1]
        depth += (first in b"[{") - (first in b"]}")
        if depth > DEPTH_MAX:
            return True
    return False
