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

    def find(self, content: Content, size: int | None = None) -> FoundFile | None:
        """Return the file of this content, if the PIM is known to have it.

        `size` is that of a file that was fetched to learn its content, in bytes.
        """
        code = self._codes.get(content)
        if code is None:
            return None
        self._codes.move_to_end(content)
        return FoundFile(code, content, size, is_remembered=True)

    def seen(self, url: str, extension: str) -> Seen | None:
        """Return what the URL led to, if the PIM is known to have it with this extension."""
        found = self._seen.get(_digest(url))
        if found is None or found.content not in self._codes:
            return None
        return found if found.content[1] == extension else None

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
