"""Sockets for httpx2, also through a proxy that forwards encrypted bytes.

The sockets of httpx2 lose an answer that arrives while the request is still being sent, such as a
413. These sockets deliver it, even if the server resets the connection afterwards.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import aiohappyeyeballs
import anyio
import httpcore2
import httpx2
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from service.adapters.public_addresses import first_not_public

HAPPY_EYEBALLS_SECONDS = 0.25
"""Delay before the next address of a host is tried beside the first (RFC 8305)."""

AT_ONCE_BYTES_MAX = 64 * 1024
"""Largest write that a new connection takes at once; an answer may come during a larger one."""

_TLS_TOO_OLD = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"})
"""OpenSSL's reasons for an error if the server supports only versions of TLS before 1.2."""

_CLOSED = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Network(httpcore2.AsyncNetworkBackend):
    """Opens connections to a host, by whichever of its addresses answers first."""

    async def connect_tcp(
        self, host: str, port: int, *_: object, **__: object
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the host, without the options that this service never sets.

        Raises:
            NotPublicError: the host must not be connected to.
            NotListeningError: the host refuses connections to this port.
            httpcore2.ConnectError: the host is unknown or does not answer.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._check(host, [str(address[0]) for *_, address in found])
            opened = await aiohappyeyeballs.start_connection(
                found, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS, interleave=1, loop=loop
            )
        except ConnectionRefusedError as error:
            raise NotListeningError(_in_words(error)) from error
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(_in_words(error)) from error
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Stream(_Socket(opened))

    def _check(self, host: str, addresses: list[str]) -> None:
        """Raise `NotPublicError` if the host must not be connected to at these addresses."""


class NotPublicError(httpcore2.ConnectError):
    """A host has an address to which no connection may be opened."""


class NotListeningError(httpcore2.ConnectError):
    """A host is there, but nothing listens on the port."""


class PublicNetwork(Network):
    """Opens connections only to hosts that have none but public addresses.

    The connection goes to the addresses that were judged: a name that is resolved a second time may
    have others by then.
    """

    def _check(self, host: str, addresses: list[str]) -> None:
        if (address := first_not_public(addresses)) is not None:
            raise NotPublicError(f"{host} has the address {address}, which is not public.")


class Tunnel(httpcore2.AsyncNetworkBackend):
    """Opens connections through a proxy that forwards encrypted bytes (CONNECT)."""

    def __init__(self, proxy: httpx2.URL, tls: ssl.SSLContext) -> None:
        self._proxy = proxy
        self._tls = tls

    async def connect_tcp(
        self, host: str, port: int, *_: object, **__: object
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the proxy, and through it to the host.

        Raises:
            httpcore2.ConnectError: the proxy is unknown or does not answer.
            httpcore2.ProxyError: the proxy refused; the message has its status and reason.
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
    """Return the header with the credentials for the proxy, which only the proxy may see."""
    if not proxy.userinfo:
        return {}
    token = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode("ascii")
    return {"proxy-authorization": f"Basic {token}"}


class _Socket(ByteStream):
    """A plain socket, because asyncio's transports drop bytes that arrived before a reset."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._loop = asyncio.get_running_loop()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        # Bytes that are there already are returned at once: without this, a server that sends them
        # faster than they are read would keep the event loop from everything else.
        await asyncio.sleep(0)
        data = await self._loop.sock_recv(self._socket, max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        await self._loop.sock_sendall(self._socket, item)

    async def send_eof(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        self._socket.close()

    @property
    def extra_attributes(self) -> Mapping[Any, Any]:
        return {SocketAttribute.raw_socket: lambda: self._socket}


class _Stream(httpcore2.AsyncNetworkStream):
    """A connection, plain or with TLS, that reads during a large write."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._reading: asyncio.Task[bytes] | None = None
        """The read that runs during a write; the next `read` takes its result."""
        self._writing: asyncio.Task[None] | None = None
        """A write that an answer interrupted; it is cancelled when the connection is closed."""

    async def read(self, max_bytes: int, *_: object, **__: object) -> bytes:
        """Return the bytes that arrived; b"" if the server closed the connection."""
        reading, self._reading = self._reading, None
        return await (self._receive(max_bytes) if reading is None else reading)

    async def write(self, buffer: bytes, *_: object, **__: object) -> None:
        """Write the buffer.

        Raises:
            httpcore2.WriteError: an answer arrived first, or the connection is closed.
        """
        if len(buffer) <= AT_ONCE_BYTES_MAX:
            await self._send(buffer)
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._receive(AT_ONCE_BYTES_MAX))
        self._writing = asyncio.create_task(self._send(buffer))
        await asyncio.wait({self._reading, self._writing}, return_when="FIRST_COMPLETED")
        if not self._writing.done():
            # The write goes on, because these bytes may be a 1xx that comes before the answer.
            raise httpcore2.WriteError("The answer arrived before the request was sent.")
        writing, self._writing = self._writing, None
        await writing

    async def aclose(self) -> None:
        """Close the connection; bytes that were not written yet are lost."""
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
        *_: object,
        **__: object,
    ) -> httpcore2.AsyncNetworkStream:
        """Return the connection with TLS.

        Raises:
            httpcore2.ConnectError: TLS failed, or the certificate is not one of this host name.
        """
        try:
            secured = await TLSStream.wrap(
                self._stream,
                hostname=server_hostname,
                ssl_context=ssl_context,
                standard_compatible=False,
            )
        except anyio.EndOfStream as error:
            await self.aclose()
            raise httpcore2.ConnectError(
                "The server closed the connection before TLS began."
            ) from error
        except _CLOSED as error:
            await self.aclose()
            raise httpcore2.ConnectError(_in_words(error)) from error
        except BaseException:
            await self.aclose()
            raise
        return _Stream(secured)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as in httpcore2
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
    """Return the message of the innermost cause, which is the one that explains the error."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ssl.SSLError) and error.reason in _TLS_TOO_OLD:
        return f"The server does not support TLS 1.2 or later ({error})."
    return str(error) or type(error).__name__


def _is_readable(opened: socket.socket) -> bool:
    """Return whether bytes arrived, or the server closed the connection."""
    try:
        opened.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
