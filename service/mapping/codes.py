"""Codes that are made from texts: asset codes (`as: code`) and option codes (`as: slug`)."""

import hashlib
import re
import unicodedata

from service.contracts.asset_change import NAME_CHARACTERS_MAX

_HASH_CHARACTERS = 8
_KEPT_CHARACTERS = NAME_CHARACTERS_MAX - _HASH_CHARACTERS - 1

_CODE = re.compile(rf"[A-Za-z0-9_]{{1,{NAME_CHARACTERS_MAX}}}")
_NOT_IN_CODES = re.compile(r"[^A-Za-z0-9_]+")
_NOT_IN_SLUGS = re.compile(r"[^a-z0-9]+")
_ASCII_IN_SLUGS = {
    number: chr(number).lower() if chr(number).isalnum() else " " for number in range(128)
}
"""What each ASCII character becomes in a slug, before blanks separate its words: three times as
fast as the expression."""


def code_of(text: str) -> str:
    """Return a code of ASCII letters, digits and `_`.

    A text that is one stays as it is. Any other carries the first 8 hexadecimal digits of its
    SHA-256, so that two ids do not silently become one code.
    """
    if _CODE.fullmatch(text):
        return text
    plain = text if text.isascii() else _without_accents(text)
    clean = _NOT_IN_CODES.sub("_", plain).strip("_")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{clean[:_KEPT_CHARACTERS]}_{digest[:_HASH_CHARACTERS]}"


def slug_of(text: str) -> str:
    """Return lower case ASCII letters and digits with `_` between; empty if there are none."""
    if text.isascii():
        return "_".join(text.translate(_ASCII_IN_SLUGS).split())
    return _NOT_IN_SLUGS.sub("_", _without_accents(text).casefold()).strip("_")


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(each for each in decomposed if not unicodedata.combining(each))
