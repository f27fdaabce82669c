"""The newest uploads, so that the same file is neither fetched nor uploaded twice.

Rule 1: what is remembered is bounded in number and in bytes: URLs by their digests.
"""

import hashlib
from collections import OrderedDict
from typing import NamedTuple

from service.core.group.work_files import Content, FoundFile

ETAG_CHARACTERS_MAX = 200
CODE_CHARACTERS_MAX = 300
"""A longer ETag or code is not remembered. The codes of the PIM have about 100 characters."""


class Seen(NamedTuple):
    """What a URL led to when it was fetched last."""

    etag: str
    content: Content


class Remembered:
    """Which code the PIM gave to which content, and what content was seen under which URL."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._codes: OrderedDict[Content, str] = OrderedDict()
        self._seen: OrderedDict[bytes, Seen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._codes)

    def code(self, content: Content) -> str | None:
        """Return the code that the PIM has for this content, if that is known."""
        found = self._codes.get(content)
        if found is not None:
            self._codes.move_to_end(content)
        return found

    def seen(self, url: str) -> Seen | None:
        """Return what the URL led to, if the PIM is known to have it."""
        found = self._seen.get(_digest(url))
        return found if found is not None and found.content in self._codes else None

    def note_seen(self, url: str, etag: str | None, content: Content) -> None:
        """Remember what a URL led to; without an ETag, nobody can ask whether it has changed."""
        digest = _digest(url)
        self._seen.pop(digest, None)
        if etag is not None and len(etag) <= ETAG_CHARACTERS_MAX:
            self._seen[digest] = Seen(etag, content)
            _shrink(self._seen, self._most)

    def note_code(self, content: Content, code: str) -> None:
        """Remember an upload."""
        self._codes.pop(content, None)
        if len(code) <= CODE_CHARACTERS_MAX:
            self._codes[content] = code
            _shrink(self._codes, self._most)

    def forget(self, refused: FoundFile) -> None:
        """Forget a code that the PIM refused, unless another one took its place."""
        if self._codes.get(refused.content) == refused.code:
            del self._codes[refused.content]


def content_of(sha256: str, extension: str) -> Content:
    """Return the key of a content, whose digest is given in hexadecimal digits."""
    return bytes.fromhex(sha256), extension


def _digest(url: str) -> bytes:
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest()


def _shrink(kept: "OrderedDict[bytes, Seen] | OrderedDict[Content, str]", most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
