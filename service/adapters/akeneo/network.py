"""What httpx2's transport stands on: sockets, the proxy's tunnel, and connections kept open.

httpx2 is used as it is, but for what its own sockets lose: an answer that comes while the request
is still being sent, such as 413, reaches the caller, even where a reset follows it.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import aiohappyeyeballs
import anyio
import httpcore2
import httpx2
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

KEEPALIVE_SECONDS = 4.0
"""How long a connection waits for its next request: less than servers do (Apache: 5)."""

HAPPY_EYEBALLS_SECONDS = 0.25
"""After so long the name's next address is tried beside the first (RFC 8305)."""

AT_ONCE_BYTES_MAX = 64 * 1024
"""What a fresh connection takes without waiting; while more is written, an answer may come."""

_TLS_TOO_OLD = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"})
"""OpenSSL's reasons where both sides share no version: the server refuses, or takes an old one."""

_CLOSED = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Transport(httpx2.AsyncHTTPTransport):
    """httpx2's own, over these connections: straight, or through a proxy's tunnel."""

    def __init__(self, tls: ssl.SSLContext, network: httpcore2.AsyncNetworkBackend) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._pool = _Pool(tls, network)


class _Pool(httpcore2.AsyncConnectionPool):
    """As many connections as there are requests at once; HTTP/1.1 only; nothing is resent."""

    def __init__(self, tls: ssl.SSLContext, network: httpcore2.AsyncNetworkBackend) -> None:
        super().__init__(max_connections=None, keepalive_expiry=KEEPALIVE_SECONDS)
        self._tls = tls
        self._network = network

    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.AsyncConnectionInterface:
        """Not open yet."""
        return _Connection(
            origin=origin,
            ssl_context=self._tls,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=self._network,
        )


class _Connection(httpcore2.AsyncHTTPConnection):
    """One that is not used again where the server sent more than was asked for."""

    def has_expired(self) -> bool:
        """Whether it must not be used: the next request would take what is left for its answer."""
        if super().has_expired():
            return True
        opened = self._connection
        if not isinstance(opened, httpcore2.AsyncHTTP11Connection):
            return False
        left, _ = opened._h11_state.trailing_data  # noqa: SLF001 - httpcore2 does not look there
        return bool(left)


class Network(httpcore2.AsyncNetworkBackend):
    """Straight to a host, by whichever of its addresses answers."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - whoever calls bounds the whole
        local_address: str | None = None,  # noqa: ARG002 - httpcore2's
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 - likewise
    ) -> httpcore2.AsyncNetworkStream:
        """Connect.

        Raises:
            httpcore2.ConnectError: nobody answers there.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            opened = await aiohappyeyeballs.start_connection(
                found, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS, interleave=1, loop=loop
            )
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(_in_words(error)) from error
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Stream(_Socket(opened))


class Tunnel(httpcore2.AsyncNetworkBackend):
    """Through a proxy, which passes on what it cannot read (CONNECT)."""

    def __init__(self, proxy: httpx2.URL, tls: ssl.SSLContext) -> None:
        self._proxy = proxy
        self._tls = tls

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - whoever calls bounds the whole
        local_address: str | None = None,  # noqa: ARG002 - httpcore2's
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002 - likewise
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the proxy, and by it to the host.

        Raises:
            httpcore2.ConnectError: nobody answers at the proxy's address.
            httpcore2.ProxyError: the proxy refuses; its status and reason.
        """
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        url = httpcore2.URL(
            scheme=self._proxy.raw_scheme,
            host=self._proxy.raw_host,
            port=self._proxy.port,
            target=authority,
        )
        connection = httpcore2.AsyncHTTPConnection(
            url.origin, ssl_context=self._tls, network_backend=Network()
        )
        headers = {"host": authority, **proxy_authorization(self._proxy)}
        answer = await connection.handle_async_request(
            httpcore2.Request("CONNECT", url, headers=list(headers.items()))
        )
        if not 200 <= answer.status < 300:
            await connection.aclose()
            reason = answer.extensions["reason_phrase"].decode("ascii", "replace")
            raise httpcore2.ProxyError(f"{answer.status} {reason}".strip())
        opened: httpcore2.AsyncNetworkStream = answer.extensions["network_stream"]
        return opened


def proxy_authorization(proxy: httpx2.URL) -> Mapping[str, str]:
    """The header that names us to the proxy, and to nobody else."""
    if not proxy.userinfo:
        return {}
    token = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode("ascii")
    return {"proxy-authorization": f"Basic {token}"}


class _Socket(ByteStream):
    """A socket without a transport of asyncio's, which drops what was read before a reset."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._loop = asyncio.get_running_loop()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """What has come, at least a byte."""
        data = await self._loop.sock_recv(self._socket, max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        """Write all of it."""
        await self._loop.sock_sendall(self._socket, item)

    async def send_eof(self) -> None:
        """Nothing more is written."""
        self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close it now."""
        self._socket.close()

    @property
    def extra_attributes(self) -> Mapping[Any, Any]:
        """The socket, for whoever looks whether there is something to read."""
        return {SocketAttribute.raw_socket: lambda: self._socket}


class _Stream(httpcore2.AsyncNetworkStream):
    """A socket, plain or by TLS, as httpcore2 wants it; it reads while much is written."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._reading: asyncio.Task[bytes] | None = None
        """Of what comes while a request is written; the next `read` takes its result."""
        self._writing: asyncio.Task[None] | None = None
        """What was answered before it was written; it ends with the connection."""

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - whoever calls bounds the whole
    ) -> bytes:
        """What has come; b"" where the other side ended it."""
        reading, self._reading = self._reading, None
        return await (self._receive(max_bytes) if reading is None else reading)

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - whoever calls bounds the whole
    ) -> None:
        """Write it, unless an answer comes before."""
        if len(buffer) <= AT_ONCE_BYTES_MAX:
            await self._send(buffer)
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._receive(AT_ONCE_BYTES_MAX))
        self._writing = asyncio.create_task(self._send(buffer))
        await asyncio.wait({self._reading, self._writing}, return_when="FIRST_COMPLETED")
        if not self._writing.done():
            # It goes on beside the reading: what came may only announce an answer (1xx).
            raise httpcore2.WriteError("It was answered before it was sent.")
        writing, self._writing = self._writing, None
        await writing

    async def aclose(self) -> None:
        """Close it; what was not written is lost."""
        tasks = [task for task in (self._reading, self._writing) if task is not None]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - whoever calls bounds the whole
    ) -> httpcore2.AsyncNetworkStream:
        """The same by TLS, with whoever has a certificate of this name."""
        try:
            secured = await TLSStream.wrap(
                self._stream,
                hostname=server_hostname,
                ssl_context=ssl_context,
                standard_compatible=False,
            )
        except anyio.EndOfStream as error:
            await self.aclose()
            raise httpcore2.ConnectError("The other side ended it before TLS began.") from error
        except _CLOSED as error:
            await self.aclose()
            raise httpcore2.ConnectError(_in_words(error)) from error
        except BaseException:
            await self.aclose()
            raise
        return _Stream(secured)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore2's
        """What httpcore2 asks for."""
        known = self._stream.extra
        match info:
            case "is_readable":
                return _is_readable(known(SocketAttribute.raw_socket))
            case "ssl_object":
                return known(TLSAttribute.ssl_object, None)
            case _:
                return None

    async def _receive(self, max_bytes: int) -> bytes:
        try:
            return await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except _CLOSED as error:
            raise httpcore2.ReadError(_in_words(error)) from error

    async def _send(self, buffer: bytes) -> None:
        try:
            await self._stream.send(buffer)
        except _CLOSED as error:
            raise httpcore2.WriteError(_in_words(error)) from error


def _in_words(error: BaseException) -> str:
    """The innermost cause is the one that says what happened."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ssl.SSLError) and error.reason in _TLS_TOO_OLD:
        return f"The server does not speak TLS 1.2 or later ({error})."
    return str(error) or type(error).__name__


def _is_readable(opened: socket.socket) -> bool:
    """Whether something came, or the other side ended it."""
    try:
        opened.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
