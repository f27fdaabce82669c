"""What the clients of the PIM and of the DAMs share: one request, and an answer of bounded size.

Only the transport of httpx2 is used, because its client would follow redirects, keep cookies, read
netrc and the proxy variables of the environment, and decompress answers of any size.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple

import httpx2

from service.settings import SettingsError

WORDS_CHARACTERS_MAX = 500
"""Longest text of an error that is kept: a proxy may send a reason of any length."""

HEADERS = {
    "accept": "application/json",
    "accept-encoding": "identity",
    "user-agent": "asset-sync",
}

_HOST = re.compile(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")


TakePart = Callable[[bytes, int | None], None]
"""Takes a part of a body, and the length of the whole body as far as it is known."""


class InvalidAnswerError(Exception):
    """The answer is not one that HTTP allows for this request; the message says why."""


class RawReply(NamedTuple):
    """A decompressed answer; header names are in lower case, with the first value of each."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TooLargeError(Exception):
    """The answer has more bytes than the client reads; `head` is the answer without its body."""

    def __init__(self, head: RawReply) -> None:
        super().__init__(f"HTTP {head.status}")
        self.head = head


async def exchange(
    transport: httpx2.AsyncHTTPTransport, request: httpx2.Request, bytes_max: int
) -> RawReply:
    """Send the request once and read its answer; the caller sets the timeout.

    Raises:
        TooLargeError: the answer has more than `bytes_max` bytes, as sent or decompressed.
        Exception: there is no answer, or it is not HTTP; `in_words` gives a message.
    """
    answer = await transport.handle_async_request(request)
    try:
        return await _read(answer, bytes_max)
    finally:
        await answer.aclose()
        if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            # The server may not have read the body, and then resets the connection later.
            await answer.extensions["network_stream"].aclose()


async def exchange_in_parts(
    transport: httpx2.AsyncHTTPTransport, request: httpx2.Request, take: TakePart, bytes_max: int
) -> RawReply:
    """Send the request once, and pass the body of a 200 on as it comes.

    The caller sets the timeout. Any other answer is returned with its body, as by `exchange`.

    Raises:
        InvalidAnswerError: the answer is compressed, which was not accepted.
        Exception: as `exchange` raises.
    """
    answer = await transport.handle_async_request(request)
    try:
        if answer.status_code != HTTPStatus.OK:
            return await _read(answer, bytes_max)
        head = head_of(answer)
        if head.headers.get("content-encoding", "identity") != "identity":
            raise InvalidAnswerError("The answer is compressed, which was not accepted.")
        length = head.headers.get("content-length", "")
        async for part in answer.aiter_raw():
            take(part, int(length) if length.isdecimal() else None)
        return head
    finally:
        await answer.aclose()


def parse_url(text: str) -> httpx2.URL:
    """Return the URL that is written here.

    Raises:
        ValueError: it is not a URL, or its host is not a host name; the message says why.
    """
    try:
        url = httpx2.URL(text)
        host = url.raw_host.decode("ascii")
        host.encode("idna")  # the system's resolver does the same
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise ValueError(str(error)) from None
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is not a host name.")
    return url


def url_of(key: str, text: str) -> httpx2.URL:
    """Return the URL that is written under this key of the settings or of a file.

    Raises:
        SettingsError: it is not a URL; the message names the key and says why.
    """
    try:
        return parse_url(text)
    except ValueError as error:
        raise SettingsError(f"{key} is not a valid URL: {error}") from None


def in_words(error: Exception) -> str:
    """Return a message about an error of the connection or the proxy."""
    words = (str(error) or type(error).__name__)[:WORDS_CHARACTERS_MAX]
    if isinstance(error, httpx2.ProxyError):
        return f"The proxy refused the request: {words}."
    return f"The connection failed: {words}"


def read_retry_after(text: str | None) -> float | None:
    """Return the seconds to wait, from a number or an HTTP date (akeneo.md §7), if there is one."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        until = parsedate_to_datetime(text)
    except Exception:  # noqa: BLE001 - the parser is meant for e-mail and raises various errors
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def status_text(status: int) -> str:
    """Return the status as people write it, such as `HTTP 404 Not Found`."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def head_of(answer: httpx2.Response) -> RawReply:
    """Return the answer without its body.

    Raises:
        InvalidAnswerError: its status is not the status of an answer.
    """
    if answer.status_code < 200:
        raise InvalidAnswerError(f"The answer is an unexpected HTTP {answer.status_code}.")
    headers: dict[str, str] = {}
    for name, value in answer.headers.raw:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return RawReply(answer.status_code, headers, b"")


async def _read(answer: httpx2.Response, bytes_max: int) -> RawReply:
    head = head_of(answer)
    compressed = bytearray()
    async for part in answer.aiter_raw():
        compressed += part
        if len(compressed) > bytes_max:
            raise TooLargeError(head)
    body = _decompressed(compressed, answer.headers, bytes_max)
    if len(body) > bytes_max:
        raise TooLargeError(head)
    return head._replace(body=body)


def _decompressed(body: bytearray, headers: httpx2.Headers, bytes_max: int) -> bytes:
    """Return the body, decompressed if it is compressed with gzip, up to one byte too many.

    The request accepts no compression, but some proxies compress all the same. Other codings than
    gzip, or several, are not known from practice and are refused.
    """
    codings = [
        value.strip().lower()
        for name, all_values in headers.raw
        if name.lower() == b"content-encoding"
        for value in all_values.split(b",")
    ]
    match [coding for coding in codings if coding not in {b"", b"identity"}]:
        case []:
            return bytes(body)
        case [b"gzip" | b"x-gzip"]:
            return _without_gzip(body, bytes_max) if body else b""
        case found:
            names = b", ".join(found).decode("ascii", "replace")
            raise InvalidAnswerError(f"The answer is compressed ({names}), which was not accepted.")


def _without_gzip(compressed: bytearray, bytes_max: int) -> bytes:
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = decompressor.decompress(compressed, bytes_max + 1)
    except zlib.error as error:
        raise InvalidAnswerError("The answer is not valid gzip.") from error
    is_whole = decompressor.eof and not decompressor.unused_data
    if len(body) <= bytes_max and not is_whole:
        raise InvalidAnswerError("The answer is not valid gzip.")
    return body
