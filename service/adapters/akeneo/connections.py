"""The connections to the PIM: kept open between calls, straight or through a proxy.

Of our own, because calls are what many small families cost: aiohttp takes more than three times
the CPU a call, httpx more than ten (ADR 6). No redirects, cookies or netrc, no request twice.
"""

import asyncio
import base64
import ssl
from collections import deque

import httpx
import yarl

from service.adapters.akeneo.http1 import BrokenError, Http1Connection, RawReply
from service.adapters.akeneo.wire import HttpRequest
from service.settings import PREFIX, PimSettings, SettingsError

KEEPALIVE_SECONDS = 30.0
"""How long a connection waits for its next call."""

HAPPY_EYEBALLS_SECONDS = 0.25
"""After so long the name's next address is tried beside the first (RFC 8305)."""

CLOSE_SECONDS_MAX = 1.0
"""How long to wait for connections that were ended to be gone."""


class ProxyRefusedError(Exception):
    """The proxy lets nobody through; in words."""


NETWORK_ERRORS = (BrokenError, ProxyRefusedError, httpx.DecodingError, OSError)
"""No connection, a cut one, a proxy's refusal, an answer that is no HTTP or cannot be unpacked."""


class Connections:
    """To one PIM; opened with the first request, as many as there are requests at once."""

    def __init__(self, pim: PimSettings, tls: ssl.SSLContext) -> None:
        """Nothing is opened yet.

        Raises:
            SettingsError: the URL cannot be called.
        """
        self._base = _callable("BASE_URL", pim.base_url)
        proxy_url = pim.proxy_url.get_secret_value() if pim.proxy_url else None
        self._proxy = _callable("PROXY_URL", proxy_url) if proxy_url else None
        self._is_secure = self._base.scheme == "https"
        self._tls = tls
        self._target = self._base.raw_path.rstrip("/")
        self._headers = (
            f"host: {self._base.host_port_subcomponent}\r\n"
            "accept: application/json\r\n"
            "accept-encoding: gzip, deflate\r\n"
            "user-agent: asset-sync\r\n"
        )
        if self._proxy is not None and not self._is_secure:
            self._target = f"http://{self._base.host_port_subcomponent}{self._target}"
            self._headers += _proxy_authorization(self._proxy)
        self._open: set[Http1Connection] = set()
        self._resting: deque[Http1Connection] = deque()
        """Those that wait for a call, the one that waits longest first."""

    async def exchange(self, written: HttpRequest, authorization: str) -> RawReply:
        """Send the request, read its answer; how long it may take is the caller's.

        Raises:
            NETWORK_ERRORS: no answer came.
            TooLargeError: it exceeds `REPLY_BYTES_MAX`.
        """
        connection = self._take_rested() or await self._connect()
        try:
            return await connection.exchange(self._request(written, authorization))
        finally:
            if connection.is_open:
                connection.rests_since = asyncio.get_running_loop().time()
                self._resting.append(connection)

    async def close(self) -> None:
        """Close them all."""
        for connection in self._open:
            connection.abort()
        if self._open:
            ending = [connection.closed for connection in self._open]
            await asyncio.wait(ending, timeout=CLOSE_SECONDS_MAX)

    def _request(self, written: HttpRequest, authorization: str) -> bytes:
        head = (
            f"{written.method} {self._target}{written.path} HTTP/1.1\r\n"
            f"{self._headers}authorization: {authorization}\r\n"
        )
        if written.body is None:
            return f"{head}\r\n".encode("ascii")
        of_body = f"content-type: application/json\r\ncontent-length: {len(written.body)}\r\n\r\n"
        return f"{head}{of_body}".encode("ascii") + written.body

    def _take_rested(self) -> Http1Connection | None:
        """The one that was used last; those that waited too long end."""
        latest = asyncio.get_running_loop().time() - KEEPALIVE_SECONDS
        while self._resting and self._resting[0].rests_since < latest:
            self._resting.popleft().abort()
        while self._resting:
            connection = self._resting.pop()
            if connection.is_open:
                return connection
        return None

    async def _connect(self) -> Http1Connection:
        connection = await self._connect_to(self._proxy or self._base)
        if self._proxy is not None and self._is_secure:
            try:
                await self._tunnel(connection, self._proxy)
            except BaseException:
                connection.abort()
                raise
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    async def _connect_to(self, url: yarl.URL) -> Http1Connection:
        assert url.raw_host is not None, "settings take no URL without"
        assert url.port is not None
        _, connection = await asyncio.get_running_loop().create_connection(
            Http1Connection,
            url.raw_host,
            url.port,
            ssl=self._tls if url.scheme == "https" else None,
            happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS,
        )
        return connection

    async def _tunnel(self, connection: Http1Connection, proxy: yarl.URL) -> None:
        """Through the proxy, unread by it: CONNECT, then TLS with the PIM itself."""
        assert self._base.raw_host is not None
        place = f"{self._base.host_subcomponent}:{self._base.port}"
        request = f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n{_proxy_authorization(proxy)}\r\n"
        status, reason = await connection.tunnel(request.encode("ascii"))
        if status >= 300:
            raise ProxyRefusedError(f"The proxy refuses: {status} {reason}.")
        await connection.secure(self._tls, self._base.raw_host)


def in_words(error: BaseException) -> str:
    """A network error for a person; the innermost cause is the one that names it."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ProxyRefusedError):
        return str(error)
    words = str(error) or type(error).__name__
    return f"The connection failed: {words}"


def _callable(name: str, url: str) -> yarl.URL:
    try:
        read = yarl.URL(url)
        (read.raw_host or "").encode("idna")  # as asyncio will, where it is no address
    except ValueError as error:
        raise SettingsError(f"{PREFIX}PIM__{name} cannot be called: {error}") from None
    return read


def _proxy_authorization(proxy: yarl.URL) -> str:
    if proxy.user is None:
        return ""
    token = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode("ascii")
    return f"proxy-authorization: Basic {token}\r\n"
