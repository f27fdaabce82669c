"""httpx's transport over aiohttp's connections: httpcore's take twice the CPU a call (kafka.md).

Of our own, because httpx-aiohttp's reads every URL twice, a fifth of what a call costs, and wants
a reason phrase to be UTF-8, which no server promises. What is called is httpx's `target` extension
beside the PIM's URL, which is read once. Without httpx's client: redirects and netrc are not for
this, and each answer of its would keep the call's body until the garbage collector comes by.

Errors: aiohttp's as they are (`aiohttp.ClientError`, `OSError`); no timeout, that is the caller's.
"""

import ssl
from collections.abc import AsyncIterator, Iterable
from functools import lru_cache

import aiohttp
import httpx
import yarl

from service.settings import PREFIX, PimSettings, SettingsError

KEEPALIVE_SECONDS = 30.0
"""How long a connection waits for its next call."""

CHUNK_BYTES_MAX = 16 * 1024
"""Read at once: what unpacks to a thousand times as much is bounded by this."""


class PimTransport(httpx.AsyncBaseTransport):
    """The connections to one PIM; opened with the first request."""

    def __init__(self, pim: PimSettings, tls: ssl.SSLContext) -> None:
        """Nothing is opened yet.

        Raises:
            SettingsError: the URL cannot be called.
        """
        self._pim = pim
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        try:
            self._url = httpx.URL(pim.base_url)
            self._base = yarl.URL(pim.base_url)
        except (httpx.InvalidURL, ValueError) as error:
            raise SettingsError(f"{PREFIX}PIM__BASE_URL cannot be called: {error}") from None
        self._prefix = self._url.raw_path.rstrip(b"/")

    def request(
        self, method: str, path: str, authorization: str, body: bytes | None
    ) -> httpx.Request:
        """To a path of the PIM's; JSON where there is a body."""
        return httpx.Request(
            method,
            self._url,
            headers=_headers(authorization, has_body=body is not None),
            # As a stream: httpx adds no headers of its own then, aiohttp does.
            stream=httpx.ByteStream(body or b""),
            extensions={"target": self._prefix + path.encode("ascii")},
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; redirects are not followed, what is packed stays so."""
        if self._session is None:
            self._session = _session(self._pim, self._tls)
        target: bytes = request.extensions["target"]
        response = await self._session.request(
            request.method,
            self._base.with_path(target.decode("ascii"), encoded=True),
            headers=_as_text(request.headers.raw),
            data=request.read() or None,
            allow_redirects=False,
        )
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Body(response))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    """What the answer brings, as it comes."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.content.iter_chunked(CHUNK_BYTES_MAX):
            yield chunk

    async def aclose(self) -> None:
        """What was not read to its end takes its connection along."""
        self._response.close()


def _session(pim: PimSettings, tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """What each request says, and no memory of cookies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            ssl=tls, limit=pim.max_concurrency + 1, keepalive_timeout=KEEPALIVE_SECONDS
        ),
        proxy=pim.proxy_url.get_secret_value() if pim.proxy_url else None,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(),
        auto_decompress=False,
        headers={
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "user-agent": "asset-sync",
        },
    )


@lru_cache(maxsize=8)
def _headers(authorization: str, *, has_body: bool) -> httpx.Headers:
    """Of a request with this token; made once."""
    headers = {"authorization": authorization}
    if has_body:
        headers["content-type"] = "application/json"
    return httpx.Headers(headers)


def _as_text(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("ascii"): value.decode("ascii") for name, value in headers}
