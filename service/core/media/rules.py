"""What is known of a file before anything is fetched: may it be, and within which limits.

Rule 1: a file that breaks a limit is refused before its host is asked for anything.
"""

import re
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from service.contracts.text import shown, shown_url
from service.core.limits import MediaOptions
from service.core.media.hosts import AllowedHosts
from service.core.values import Attribute, MediaFile

UPLOAD_NAME_CHARACTERS_MAX = 100
EXTENSION_CHARACTERS_MAX = 10
"""What stands behind the last dot of a name is an extension only if it is not longer."""
EXTENSIONS_NAMED_MAX = 10

_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")


class FileKey(NamedTuple):
    """What makes two files the same: they are fetched and uploaded once."""

    url: str
    sha256: str | None
    extension: str
    bytes_max: int


class Allowed(NamedTuple):
    """A file that may be fetched."""

    key: FileKey
    upload_name: str
    host: str


class Rules:
    """Judges files by the operator's limits and those of the attribute."""

    def __init__(self, options: MediaOptions) -> None:
        self._hosts = AllowedHosts(options.hosts, options.private_hosts)
        self._bytes_max = options.file_bytes_max

    def judge(self, file: MediaFile, attribute: Attribute | None) -> Allowed | str:
        """Return how the file may be fetched, or why it may not, in a sentence.

        `attribute` is the one whose value the file is, as far as the family's structure is known.
        """
        try:
            parts = urlsplit(file.url)
            host = parts.hostname or ""
        except ValueError:
            return f"The URL {shown_url(file.url)} is not valid."
        if (flaw := self._flaw_of_url(file.url, parts, host)) is not None:
            return flaw
        name = upload_name(file.name or _last_part(parts))
        extension = extension_of(name)
        bytes_max = self._bytes_max
        if attribute is not None:
            if attribute.extensions is not None and extension not in attribute.extensions:
                return _wrong_extension(name, extension, attribute.code, attribute.extensions)
            bytes_max = min(bytes_max, attribute.bytes_max or bytes_max)
        key = FileKey(file.url, file.sha256, extension, bytes_max)
        return Allowed(key, name, host)

    def _flaw_of_url(self, url: str, parts: SplitResult, host: str) -> str | None:
        if self._hosts.are_none:
            return "Files are not synchronised: ASSET_SYNC_MEDIA__HOSTS allows no host."
        if parts.scheme not in {"http", "https"} or not host:
            return f"The URL {shown_url(url)} is not an address of the web (https://…)."
        if parts.username is not None or parts.password is not None:
            return f"The URL {shown_url(url)} names a user: files are fetched anonymously."
        if not self._hosts.allow(host):
            named = shown(host)
            return (
                f"Files may not be fetched from {named}: ASSET_SYNC_MEDIA__HOSTS does not allow it."
            )
        if parts.scheme == "http" and not self._hosts.is_private(host):
            return f"The URL {shown_url(url)} has no TLS: use https."
        return None


def upload_name(name: str) -> str:
    """Return a name of letters, digits, `.`, `_` and `-`, of at most 100 characters."""
    usual = _UNUSUAL.sub("_", name).lstrip(".-") or "file"
    if len(usual) <= UPLOAD_NAME_CHARACTERS_MAX:
        return usual
    extension = extension_of(usual)
    ending = f".{extension}" if extension else ""
    stem = usual[: UPLOAD_NAME_CHARACTERS_MAX - len(ending)]
    return f"{stem}{usual[len(usual) - len(ending) :]}"


def extension_of(name: str) -> str:
    """Return what stands behind the last dot of a name in lower case; empty if there is none."""
    stem, _, extension = name.rpartition(".")
    is_one = stem and len(extension) <= EXTENSION_CHARACTERS_MAX
    return extension.lower() if is_one else ""


def _last_part(parts: SplitResult) -> str:
    return unquote(parts.path).rpartition("/")[2]


def _wrong_extension(name: str, extension: str, code: str, accepted: frozenset[str]) -> str:
    has = f"the extension {extension}" if extension else "no extension"
    named = ", ".join(sorted(accepted)[:EXTENSIONS_NAMED_MAX]) or "none"
    return f"The file {name} has {has}; {code} accepts {named}."
