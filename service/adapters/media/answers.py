"""Reads the head of a source's answer: does the file follow, and if not, why?

Rule 1: a refusal costs the change, so only what will be the same tomorrow is one: the file is not
there, not for us, or too large. All else is a fault, after which the download is tried again. A
416 is a fault where the rest was asked for, because the next download asks for the whole file.
Rule 2: a file counts only where its end can be told from a cut connection.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from service.adapters.http_client import read_retry_after, status_text
from service.core.inputs import DownloadFault, DownloadRefused, NotModified
from service.core.media.remembered import ETAG_CHARACTERS_MAX

TYPE_CHARACTERS_MAX = 100
"""Longest media type that is passed on to the PIM."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FAULTS_BELOW_500 = frozenset(
    {
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.LOCKED,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
_HINTS: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: ". Files are downloaded without credentials",
    HTTPStatus.FORBIDDEN: ". A signed URL may have expired",
}
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15})", re.ASCII)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
_VISIBLE = re.compile(r"[\x20-\x7e]+")
_CODINGS = {"": False, "identity": False, "gzip": True, "x-gzip": True}
"""The values of `Content-Encoding` that are understood: is it gzip?"""
_WEB_PAGE_ENDINGS = (".html", ".htm", ".xhtml")

NOT_THE_REST = DownloadFault(
    "After a lost connection, the source sent something else than the rest of the file."
)


class Asked(NamedTuple):
    """What the request said."""

    path: str
    """The path of the URL."""
    etag: str | None
    """The ETag in `If-None-Match`."""
    offset: int
    """The first byte that was asked for in `Range`; 0 for the whole file."""
    resumes: str | None
    """The ETag in `If-Range`: that of the file whose rest was asked for."""
    bytes_max: int
    """How large the file may be."""


class Body(NamedTuple):
    """The file follows, or its rest from an offset on."""

    offset: int
    etag: str | None
    content_type: str | None
    is_gzip: bool
    resumes: str | None
    """The strong ETag with which the rest can be asked for if the connection is lost."""
    size: int | None = None
    """How many bytes the whole body has, where the answer to `Range` says it."""


class Redirect(NamedTuple):
    """The file is at another URL, which may be relative to the one that was asked."""

    location: str


def read_head(
    status: int, headers: Mapping[str, str], asked: Asked
) -> Body | Redirect | NotModified | DownloadRefused | DownloadFault:
    """Return what this answer means; the names of the headers are in lower case."""
    if status == HTTPStatus.OK:
        return _read_body(headers, asked, 0)
    if status == HTTPStatus.PARTIAL_CONTENT and asked.offset:
        return _read_rest(headers, asked)
    if status == HTTPStatus.NOT_MODIFIED and asked.etag is not None:
        return NotModified()
    if status in _REDIRECTS and (location := headers.get("location")):
        return Redirect(_NOT_ASCII.sub(_percent, location))
    message = f"The source answered {status_text(status)}{_HINTS.get(status, '')}."
    has_no_rest = status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and asked.offset > 0
    if 400 <= status < 500 and status not in _FAULTS_BELOW_500 and not has_no_rest:
        return DownloadRefused(message)
    return DownloadFault(message, read_retry_after(headers.get("retry-after")))


def too_large(bytes_max: int, size: int | None = None) -> DownloadRefused:
    """Return the refusal of a file that is larger than allowed; `size` if it was announced."""
    found = "more" if size is None else f"{size:,}"
    return DownloadRefused(f"The file may have at most {bytes_max:,} bytes, and it has {found}.")


def _read_rest(headers: Mapping[str, str], asked: Asked) -> Body | DownloadRefused | DownloadFault:
    """Read the head of a rest, which has to be that of the same file.

    Not every server knows `If-Range`. A server may also send less than was asked for, so the size
    of the whole file is read too.
    """
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    first, size = map(int, found.groups()) if found is not None else (0, 0)
    if first != asked.offset or headers.get("etag") != asked.resumes:
        return NOT_THE_REST
    body = _read_body(headers, asked, asked.offset)
    return body._replace(size=size) if isinstance(body, Body) else body


def _read_body(headers: Mapping[str, str], asked: Asked, offset: int) -> Body | DownloadRefused:
    coding = headers.get("content-encoding", "").strip().lower()
    if coding not in _CODINGS:
        return DownloadRefused(f"The source sent the file compressed ({coding[:50]}), unasked.")
    length = headers.get("content-length", "")
    if not length.isdecimal() and "transfer-encoding" not in headers:
        return DownloadRefused(
            "The source does not say how long the file is, so a file that was cut off could not "
            "be told from a whole one."
        )
    is_announced = length.isdecimal() and not _CODINGS[coding]
    if is_announced and offset + int(length) > asked.bytes_max:
        return too_large(asked.bytes_max, offset + int(length))
    content_type = _content_type(headers.get("content-type", ""))
    if content_type == "text/html" and not asked.path.lower().endswith(_WEB_PAGE_ENDINGS):
        return DownloadRefused(
            "The source sent a web page instead of the file, such as a login or an error page."
        )
    etag = _etag(headers.get("etag", ""))
    resumes = etag if _can_resume(headers, offset) and not _CODINGS[coding] else None
    return Body(offset, etag, content_type, _CODINGS[coding], resumes)


def _percent(found: re.Match[str]) -> str:
    """Return a byte of a `Location` as URLs write it: many servers send UTF-8 as it is."""
    return f"%{ord(found[0]):02X}"


def _can_resume(headers: Mapping[str, str], offset: int) -> bool:
    """Return whether the source can send the rest of exactly this file, by its strong ETag."""
    is_able = offset > 0 or headers.get("accept-ranges", "").strip().lower() == "bytes"
    return is_able and headers.get("etag", "").startswith('"')


def _content_type(text: str) -> str | None:
    """Return the media type if a request can carry it: it is passed on with the file."""
    found = text.partition(";")[0].strip().lower()
    return found if len(found) <= TYPE_CHARACTERS_MAX and _VISIBLE.fullmatch(found) else None


def _etag(text: str) -> str | None:
    """Return the ETag if it can be remembered and sent back."""
    return text if len(text) <= ETAG_CHARACTERS_MAX and _ETAG.fullmatch(text) else None
