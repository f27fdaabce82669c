"""The transport for httpx2, with a pool that keeps idle connections and nothing more.

The gate limits concurrent calls, so no request has to wait for a connection. The pool of httpx2
looks at all connections and all requests twice a call, which takes a fifth of the call's CPU.
docs/upgrading-httpx2.md has the private names of httpx2 that this file uses.
"""

import ssl
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator

import httpcore2
import httpx2

KEEPALIVE_SECONDS = 4.0
"""How long an idle connection is kept; servers close theirs later (Apache after 5 s)."""


class Transport(httpx2.AsyncHTTPTransport):
    """The transport of httpx2 with the pool of this file."""

    def __init__(self, tls: ssl.SSLContext, network: httpcore2.AsyncNetworkBackend) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._pool = _Pool(tls, network)  # type: ignore[assignment]  # it has what is called


class _Pool:
    """Opens connections for HTTP/1.1, and keeps them for later requests to the same host.

    It never sends a request again by itself: only the core decides about a retry.
    """

    def __init__(self, tls: ssl.SSLContext, network: httpcore2.AsyncNetworkBackend) -> None:
        self._tls = tls
        self._network = network
        self._idle: deque[_Connection] = deque()
        """The connection that was used last is the last one."""

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        """Send the request; its connection is kept when its answer is closed, if it may be."""
        connection = await self._take(request.url.origin) or self._new(request.url.origin)
        answer = await connection.handle_async_request(request)
        return httpcore2.Response(
            answer.status,
            headers=answer.headers,
            content=_Body(self, connection, answer),
            extensions=answer.extensions,
        )

    def keep(self, connection: "_Connection") -> None:
        """Keep a connection whose answer was read; others are closed already."""
        if connection.is_idle():
            self._idle.append(connection)

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().aclose()

    async def _take(self, origin: httpcore2.Origin) -> "_Connection | None":
        """Return an idle connection to this origin, if there is one; close those that expired."""
        while self._idle and self._idle[0].has_expired():
            await self._idle.popleft().aclose()
        while (connection := self._newest(origin)) is not None:
            self._idle.remove(connection)
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return None

    def _newest(self, origin: httpcore2.Origin) -> "_Connection | None":
        fitting = (one for one in reversed(self._idle) if one.can_handle_request(origin))
        return next(fitting, None)

    def _new(self, origin: httpcore2.Origin) -> "_Connection":
        return _Connection(
            origin=origin,
            ssl_context=self._tls,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=self._network,
        )


class _Body:
    """The body of an answer, which frees its connection when it is closed."""

    def __init__(self, pool: _Pool, connection: "_Connection", answer: httpcore2.Response) -> None:
        self._pool = pool
        self._connection = connection
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._answer.stream, AsyncIterable)
        return aiter(self._answer.stream)

    async def aclose(self) -> None:
        try:
            await self._answer.aclose()
        except BaseException:  # also when it is cancelled
            await self._connection.aclose()
            raise
        self._pool.keep(self._connection)


class _Connection(httpcore2.AsyncHTTPConnection):
    """A connection that is not used again if the server sent more bytes than its answer."""

    def has_expired(self) -> bool:
        """Return whether the connection must not be used again.

        The next request would take bytes after the last answer for its own answer.
        """
        if super().has_expired():
            return True
        opened = self._connection
        if not isinstance(opened, httpcore2.AsyncHTTP11Connection):
            return False
        surplus, _ = opened._h11_state.trailing_data  # noqa: SLF001 - httpcore2 ignores it
        return bool(surplus)
