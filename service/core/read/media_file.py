"""Read a value that is a file: `{"url": …, "name"?: …, "sha256"?: …}` (contract.md §4)."""

import re

import msgspec

from service.contracts.asset_change import FILE_NAME_CHARACTERS_MAX, URL_CHARACTERS_MAX
from service.contracts.text import shown
from service.core.values import MediaFile

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str | None)


def read_media_file(text: bytes) -> MediaFile | str:
    """Return the file that a JSON object describes, or what is wrong, as the end of a sentence."""
    members = _members.decode(text)
    unknown = members.keys() - {"url", "name", "sha256"}
    if unknown:
        return (
            f"has an object as its value with the member {shown(min(unknown))}; "
            "a file has `url` and, if wanted, `name` and `sha256`"
        )
    texts: dict[str, str | None] = {}
    for member, given in members.items():
        try:
            texts[member] = _text.decode(given)
        except msgspec.ValidationError:
            return f"has a file whose `{member}` is not a string"
    return _of_texts(texts)


def _of_texts(texts: dict[str, str | None]) -> MediaFile | str:
    url, name, sha256 = texts.get("url"), texts.get("name"), texts.get("sha256")
    if not url:
        return "has an object as its value without `url`, so it is not a file"
    if len(url) > URL_CHARACTERS_MAX:
        return f"has a file whose `url` has more than {URL_CHARACTERS_MAX} characters"
    if name is not None and len(name) > FILE_NAME_CHARACTERS_MAX:
        return f"has a file whose `name` has more than {FILE_NAME_CHARACTERS_MAX} characters"
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        return "has a file whose `sha256` does not consist of 64 hexadecimal digits"
    return MediaFile(url, name or None, sha256.lower() if sha256 else None)
