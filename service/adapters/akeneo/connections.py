"""The connections to the PIM: one request, one answer, as it came.

Over aiohttp: httpx's connections (httpcore) take twice the CPU a call (kafka.md), and its requests
and answers a tenth of what is left. httpx unpacks what comes packed. Redirects, netrc and cookies
are not for this.
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import aiohttp
import httpx
import yarl

from service.adapters.akeneo.wire import HttpRequest
from service.settings import PREFIX, PimSettings, SettingsError

KEEPALIVE_SECONDS = 30.0
"""How long a connection waits for its next call."""

REPLY_BYTES_MAX = 16 * 1024 * 1024
"""A bulk answer of 100 refusals has some hundred KiB; what is larger is not the PIM's."""

CHUNK_BYTES_MAX = 16 * 1024
"""Read at once: what unpacks to a thousand times as much is bounded by this."""

NETWORK_ERRORS = (aiohttp.ClientError, httpx.DecodingError, OSError)
"""No connection, a cut one, a proxy's refusal, an answer that is no HTTP or cannot be unpacked."""


class TooLargeError(Exception):
    """The answer exceeds `REPLY_BYTES_MAX`."""


class RawReply(NamedTuple):
    """An answer as it came, unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connections:
    """To one PIM; opened with the first request."""

    def __init__(self, pim: PimSettings, tls: ssl.SSLContext) -> None:
        """Nothing is opened yet.

        Raises:
            SettingsError: the URL cannot be called.
        """
        self._pim = pim
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        try:
            self._base = yarl.URL(pim.base_url)
        except ValueError as error:
            raise SettingsError(f"{PREFIX}PIM__BASE_URL cannot be called: {error}") from None
        self._prefix = self._base.raw_path.rstrip("/")

    async def exchange(self, written: HttpRequest, authorization: str) -> RawReply:
        """Send the request, read its answer; how long it may take is the caller's.

        Raises:
            NETWORK_ERRORS: no answer came.
            TooLargeError: it exceeds `REPLY_BYTES_MAX`.
        """
        if self._session is None:
            self._session = _session(self._pim, self._tls)
        headers = {"authorization": authorization}
        if written.body is not None:
            headers["content-type"] = "application/json"
        response = await self._session.request(
            written.method,
            self._base.with_path(self._prefix + written.path, encoded=True),
            headers=headers,
            data=written.body,
            allow_redirects=False,
        )
        try:
            body = await _bounded_body(response)
        finally:
            response.close()  # what was not read to its end takes its connection along
        return RawReply(response.status, response.headers, body)

    async def close(self) -> None:
        """Close them all."""
        if self._session is not None:
            await self._session.close()


def in_words(error: BaseException) -> str:
    """A network error for a person; the innermost cause is the one that names it."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, aiohttp.ClientHttpProxyError):  # in its own words the password shows
        return f"The proxy refuses: {error.status} {error.message}."
    words = str(error) or type(error).__name__
    return f"The connection failed: {words}"


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in _chunks(response):
        size += len(chunk)
        if size > REPLY_BYTES_MAX:
            raise TooLargeError
        chunks.append(chunk)
    return b"".join(chunks)


def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """What the answer brings, as it comes; unpacked where it is packed."""
    chunks = response.content.iter_chunked(CHUNK_BYTES_MAX)
    if "content-encoding" not in response.headers:
        return chunks
    packed = httpx.Response(response.status, headers=response.raw_headers, stream=_Packed(chunks))
    return packed.aiter_bytes()


class _Packed(httpx.AsyncByteStream):
    """Chunks as httpx takes them."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks


class _BrokenError(aiohttp.ClientConnectionError):
    """A connection that ended before an answer."""


async def _send_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Ends a broken connection with what is no reason for aiohttp to send a GET or DELETE again.

    Each request takes from the rate; whether another leaves is not for the connections to say.
    """
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _BrokenError from error


def _session(pim: PimSettings, tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """What each request says; no memory of cookies, no second try."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            ssl=tls, limit=pim.max_concurrency + 1, keepalive_timeout=KEEPALIVE_SECONDS
        ),
        proxy=pim.proxy_url.get_secret_value() if pim.proxy_url else None,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(_send_once,),
        timeout=aiohttp.ClientTimeout(),
        auto_decompress=False,
        headers={
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "user-agent": "asset-sync",
        },
    )
