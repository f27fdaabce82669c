"""The client against a server that sends arbitrary bytes, and the reuse of connections."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpcore2
import httpx2
import pytest
import trustme

from service.adapters.akeneo.client import PimClient
from service.adapters.akeneo.wire import HttpRequest
from service.adapters.http_client import InvalidAnswerError, RawReply, TooLargeError, exchange
from service.adapters.network import Network
from service.adapters.transport import Transport
from service.settings import PimSettings

GET = HttpRequest("GET", "/a", None)
CUT_SHORT = "isconnected without|peer closed connection"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


@dataclass
class Server:
    """A server that answers each request with the next of these; b"" closes the connection."""

    answers: list[bytes]
    url: str = ""
    asked: list[bytes] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    closed: list[asyncio.Event] = field(default_factory=list)
    """Of each connection, once neither side has it any more."""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection of the client."""
        self.connections += 1
        self.writers.append(writer)
        self.closed.append(asyncio.Event())
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
                self.was_asked.set()
                answer = self.answers.pop(0)
                writer.write(answer)
                await writer.drain()
                if not answer or b"onnection: close" in answer or b"HTTP/1.0" in answer:
                    break
        writer.close()
        self.closed[self.writers.index(writer)].set()


def client_to(url: str) -> PimClient:
    """Return a client for this URL."""
    return PimClient(PimSettings.model_validate({"base_url": url, "app_token": "t"}))


Ask = Callable[[], Coroutine[None, None, RawReply]]


@asynccontextmanager
async def client_of(
    *answers: bytes, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Server, PimClient, Ask]]:
    """Yield a server with these answers, and a client of it."""
    server = Server(list(answers))
    listening = await asyncio.start_server(server.take, host, 0)
    port = listening.sockets[0].getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    server.url = f"http://{name}:{port}"
    client = client_to(server.url)

    async def ask() -> RawReply:
        async with asyncio.timeout(60):
            return await client.exchange(GET, "Bearer t")

    yield server, client, ask
    await client.close()
    for writer in server.writers:
        writer.close()
    listening.close()
    await listening.wait_closed()


async def test_an_answer_that_is_only_announced() -> None:
    """A 1xx announces an answer, and is not the answer."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Of: hints\r\n\r\n"
    async with client_of(b"HTTP/1.1 100 Continue\r\n\r\n" + early + OK, OK) as (server, _, ask):
        reply = await ask()
        assert (reply.status, reply.body) == (200, b"[]")
        assert reply.headers == {"content-length": "2"}
        await ask()
    assert server.connections == 1


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK\r\nConnection: close"])
async def test_an_answer_to_the_connections_end(head: bytes) -> None:
    """An answer without a length ends with its connection."""
    async with client_of(head + b"\r\n\r\n[1, 2]", OK) as (server, _, ask):
        assert (await ask()).body == b"[1, 2]"
        assert (await ask()).body == b"[]"
    assert server.connections == 2


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20\r\n\r\n[1, 2]",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Le",
        b"",
    ],
)
async def test_an_answer_that_is_cut_short(cut: bytes) -> None:
    """Half of a list must not be read as the whole list."""
    async with client_of(cut, OK) as (_, _, ask):
        with pytest.raises(Exception, match=CUT_SHORT):
            await ask()
        assert (await ask()).status == 200


@pytest.mark.parametrize("surplus", [b"!", OK, b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
async def test_what_nobody_asked_for_costs_the_connection(surplus: bytes) -> None:
    """The next request would read surplus bytes as its own answer."""
    async with client_of(OK + surplus, OK.replace(b"[]", b"{}")) as (server, _, ask):
        assert (await ask()).body == b"[]"
        await asyncio.sleep(0.02)
        assert (await ask()).body == b"{}"
    assert server.connections == 2


async def test_a_farewell_between_two_calls() -> None:
    """Many servers send a 408 on an idle connection and close it."""
    async with client_of(OK, OK) as (server, _, ask):
        await ask()
        server.writers[0].write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(0.02)
        assert (await ask()).status == 200
    assert server.connections == 2


async def test_a_head_without_end() -> None:
    """The client bounds its memory itself."""
    endless = b"HTTP/1.1 200 OK\r\n" + b"X-Much: yes\r\n" * 50_000
    async with client_of(endless) as (_, _, ask):
        with pytest.raises(httpx2.RemoteProtocolError, match="too long"):
            await ask()


@pytest.mark.parametrize(
    "odd",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]]",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n[]",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_what_is_no_http(odd: bytes) -> None:
    """The error has a message, and the connection is not used again."""
    async with client_of(odd, OK) as (server, _, ask):
        with pytest.raises((httpx2.RemoteProtocolError, InvalidAnswerError)):
            await ask()
        assert (await ask()).status == 200
    assert server.connections == 2


async def test_a_call_that_is_given_up_takes_its_connection_along() -> None:
    """Its answer may still arrive, and the next call would read it as its own."""
    async with client_of(b"HTTP/1.1 200 OK\r\n", OK) as (server, _, ask):
        task = asyncio.create_task(ask())
        await server.was_asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await ask()).body == b"[]"
    assert server.connections == 2


async def test_a_connection_that_rested_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle connection is closed after its time, and not used again."""
    monkeypatch.setattr("service.adapters.transport.KEEPALIVE_SECONDS", 0.0)
    async with client_of(OK, OK) as (server, _, ask):
        await ask()
        await ask()
        await server.closed[0].wait()
    assert server.connections == 2


async def test_an_idle_connection_to_a_host_that_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is closed after its time too, as soon as another host is asked."""
    monkeypatch.setattr("service.adapters.transport.KEEPALIVE_SECONDS", 0.0)
    transport = Transport(ssl.create_default_context(), Network())
    async with client_of(OK) as (one, _, _), client_of(OK) as (other, _, _):
        for server in (one, other):
            await exchange(transport, httpx2.Request("GET", server.url), bytes_max=9)
        await one.closed[0].wait()
        await transport.aclose()
        await other.closed[0].wait()


async def test_each_host_has_connections_of_its_own() -> None:
    """One client of a service may call several hosts."""
    transport = Transport(ssl.create_default_context(), Network())
    async with client_of(OK, OK) as (one, _, _), client_of(OK) as (other, _, _):
        for server in (one, other, one):
            await exchange(transport, httpx2.Request("GET", server.url), bytes_max=9)
        await transport.aclose()
    assert (one.connections, len(one.asked)) == (1, 2)
    assert (other.connections, len(other.asked)) == (1, 1)


async def test_calls_at_once_have_connections_of_their_own() -> None:
    """Later calls use the same connections again."""
    async with client_of(*[OK] * 5) as (server, _, ask):
        await asyncio.gather(ask(), ask())
        await ask()
        await asyncio.gather(ask(), ask())
    assert server.connections == 2


async def test_a_call_that_is_given_up_while_its_answer_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody knows then in what state the connection is."""

    async def cancelled(_: httpcore2.Response) -> None:
        raise asyncio.CancelledError

    async with client_of(OK, OK) as (server, _, ask):
        with monkeypatch.context() as patched:
            patched.setattr(httpcore2.Response, "aclose", cancelled)
            with pytest.raises(asyncio.CancelledError):
                await ask()
        await server.closed[0].wait()
        assert (await ask()).status == 200
    assert server.connections == 2


@pytest.mark.parametrize("closed", [0, 1])
async def test_one_of_two_connections_that_was_closed_while_it_rested(closed: int) -> None:
    """The next call uses the other one."""
    async with client_of(*[OK] * 3) as (server, _, ask):
        await asyncio.gather(ask(), ask())
        server.writers[closed].close()
        await server.closed[closed].wait()
        assert (await ask()).status == 200
    assert (server.connections, len(server.asked)) == (2, 3)


async def test_a_connection_that_was_closed_while_it_rested() -> None:
    """The next call opens another connection, and its request is sent once."""
    async with client_of(OK, OK) as (server, _, ask):
        await ask()
        server.writers[0].close()
        await server.closed[0].wait()
        assert (await ask()).status == 200
    assert (server.connections, len(server.asked)) == (2, 2)


async def test_an_address_of_version_6() -> None:
    """An IPv6 address stands in brackets in a URL."""
    async with client_of(OK, host="::1") as (server, _, ask):
        assert (await ask()).status == 200
    assert b"\r\nHost: [::1]:" in server.asked[0]


async def test_a_server_that_hangs_up_at_once() -> None:
    """The fault is reported at once, not after the timeout."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listening = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    client = client_to(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    for _ in range(50):
        with pytest.raises((httpx2.NetworkError, httpx2.RemoteProtocolError)):
            async with asyncio.timeout(60):
                await client.exchange(GET, "Bearer t")
    await client.close()
    listening.close()


# --- answers that come early ----------------------------------------------------------------------

HEAVY = HttpRequest("PATCH", "/a", b"x" * 4 * 1024 * 1024)
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge"
Take = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    """Return a private CA."""
    return trustme.CA()


@asynccontextmanager
async def client_before(take: Take, ca: trustme.CA | None = None) -> AsyncIterator[PimClient]:
    """Yield a client of a server that runs `take` for each connection, with TLS if it has a CA."""
    tls, settings = None, {}
    if ca is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("localhost").configure_cert(tls)
    listening = await asyncio.start_server(take, "127.0.0.1", 0, ssl=tls)
    url = f"{'https' if tls else 'http'}://localhost:{listening.sockets[0].getsockname()[1]}"
    with ExitStack() as files:
        if ca is not None:
            settings["ca_file"] = files.enter_context(ca.cert_pem.tempfile())
        pim = PimSettings.model_validate({"base_url": url, "app_token": "t", **settings})
        client = PimClient(pim)
    yield client
    await client.close()
    listening.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close the connection so that the client loses bytes that it has not read."""
    at_once = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()


@pytest.mark.parametrize("is_secure", [False, True])
@pytest.mark.parametrize("read", [0, 300_000])
@pytest.mark.parametrize("end", [reset, asyncio.StreamWriter.close])
async def test_an_answer_before_the_body_was_sent(
    ca: trustme.CA, read: int, end: Callable[[asyncio.StreamWriter], None], *, is_secure: bool
) -> None:
    """The answer arrives every time, even if a reset follows it at once."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(read)
        writer.write(TOO_LARGE)
        await writer.drain()
        end(writer)

    async with client_before(refuse, ca if is_secure else None) as client, asyncio.timeout(30):
        for _ in range(10):
            reply = await client.exchange(HEAVY, "Bearer t")
            assert (reply.status, reply.body) == (413, b"large")


async def test_a_server_that_answers_in_tls_1_0() -> None:
    """The message names TLS if a server takes an old version instead of refusing."""
    hello = b"\x03\x01" + bytes(32) + b"\0" + b"\xc0\x13" + b"\0"
    handshake = b"\x02" + len(hello).to_bytes(3, "big") + hello

    is_over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"\x16\x03\x01" + len(handshake).to_bytes(2, "big") + handshake)
        while await reader.read(65536):
            pass
        writer.close()
        is_over.set()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = client_to(f"https://localhost:{listening.sockets[0].getsockname()[1]}")
    async with asyncio.timeout(60):
        with pytest.raises(httpx2.ConnectError, match=r"not support TLS 1\.2 or later"):
            await client.exchange(GET, "Bearer t")
        await is_over.wait()
    await client.close()
    listening.close()


async def test_a_connection_after_a_413_is_not_used_again() -> None:
    """A server that did not read the body may reset the connection later."""
    async with client_of(TOO_LARGE, OK) as (server, _, ask):
        assert (await ask()).status == 413
        assert (await ask()).status == 200
    assert server.connections == 2


async def test_an_answer_of_a_server_that_reads_no_further() -> None:
    """The call ends although the server never takes the rest of the body."""
    is_over = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio's, of any socket
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await is_over.wait()
        writer.close()

    async with client_before(stall) as client, asyncio.timeout(10):
        reply = await client.exchange(
            HttpRequest("PATCH", "/a", b"x" * 64 * 1024 * 1024), "Bearer t"
        )
        is_over.set()
    assert reply.status == 403


async def test_an_announcement_does_not_stop_the_body() -> None:
    """A 1xx may arrive early too, and is not the answer."""
    taken: list[int] = []

    async def announce(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"expect" not in head.lower()
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        taken.append(len(await reader.readexactly(len(HEAVY.body or b""))))
        writer.write(OK)
        writer.close()

    async with client_before(announce) as client, asyncio.timeout(10):
        assert (await client.exchange(HEAVY, "Bearer t")).status == 200
    assert taken == [len(HEAVY.body or b"")]


# --- bounds ---------------------------------------------------------------------------------------


async def test_trailers_are_not_headers() -> None:
    """Trailers after the body are ignored."""
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\n[]\r\n0\r\nRetry-After: 99\r\nContent-Encoding: gzip\r\n\r\n"
    )
    async with client_of(chunked, OK) as (server, _, ask):
        reply = await ask()
        assert (reply.body, reply.headers) == (b"[]", {"transfer-encoding": "chunked"})
        await ask()
    assert server.connections == 1


@pytest.mark.parametrize("end", [b"", b"0\r\n"])
async def test_a_line_or_trailers_without_end(end: bytes) -> None:
    """Memory is bounded while they arrive."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    endless = head + end + b"X: y\r\n" * 500_000 if end else head + b"1" * 3_000_000
    async with client_of(endless) as (_, _, ask):
        with pytest.raises(httpx2.RemoteProtocolError):
            await ask()


def packed_as(coding: bytes, body: bytes) -> bytes:
    """Return an answer with this content encoding."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (coding, len(body)) + body


@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"x-gzip", b"identity, gzip"])
async def test_a_body_packed_once_is_read(coding: bytes) -> None:
    """Some proxies compress although the request accepts no compression."""
    async with client_of(packed_as(coding, gzip.compress(b"[1]"))) as (server, _, ask):
        assert (await ask()).body == b"[1]"
    assert b"accept-encoding: identity" in server.asked[0]


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip, gzip", gzip.compress(gzip.compress(b"[]"))),
        (b"gzip\r\nContent-Encoding: gzip", gzip.compress(gzip.compress(b"[]"))),
        (b"br", b"[]"),
        (b"\xe9", b"[]"),
        (b"gzip", gzip.compress(b"[1, 2, 3]")[:-9]),
        (b"gzip", gzip.compress(b"[]") * 2),
        (b"gzip", b"[]"),
    ],
    ids=["twice", "two headers", "brotli", "no ASCII", "cut", "two members", "not packed"],
)
async def test_a_body_packed_otherwise_is_a_fault(coding: bytes, body: bytes) -> None:
    """Twice compressed, unknown and truncated bodies are refused."""
    async with client_of(packed_as(coding, body), OK) as (_, _, ask):
        with pytest.raises(InvalidAnswerError, match=r"compressed|not valid gzip"):
            await ask()
        assert (await ask()).status == 200


@pytest.mark.slow
async def test_what_a_body_unpacks_to_is_bounded() -> None:
    """A body that expands a thousand times is neither decompressed nor kept."""
    bomb = packed_as(b"gzip", gzip.compress(b"0" * 256 * 1024 * 1024, 9))
    async with client_of(bomb) as (_, _, ask):
        tracemalloc.start()
        try:
            with pytest.raises(TooLargeError):
                await ask()
            assert tracemalloc.get_traced_memory()[1] < 64 * 1024 * 1024
        finally:
            tracemalloc.stop()


# --- what is given up leaves nothing behind -------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy", [None, "silent", "says yes, then nothing", "says yes, no TLS"])
async def test_a_call_that_is_given_up_leaves_nothing_behind(
    scheme: str, proxy: str | None
) -> None:
    """No socket stays open, whether the call was connecting, tunnelling, writing or reading."""
    ended: list[asyncio.Event] = []

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = asyncio.Event()
        ended.append(end)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if proxy in {"says yes, then nothing", "says yes, no TLS"}:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            if proxy == "says yes, no TLS":
                await reader.read(1)
                writer.write(b"this is not TLS at all")
            while await reader.read(65536):
                pass
        writer.close()
        end.set()

    listening = await asyncio.start_server(stall, "127.0.0.1", 0)
    authority = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    settings = {"base_url": f"{scheme}://{authority}", "app_token": "t"}
    if proxy is not None:
        settings["proxy_url"] = f"http://{authority}"
    client = PimClient(PimSettings.model_validate(settings))

    for number in range(10):
        with pytest.raises((TimeoutError, httpx2.HTTPError)):
            async with asyncio.timeout(0.005 * number):
                await client.exchange(HEAVY, "Bearer t")

    async with asyncio.timeout(60):
        for end in ended:
            await end.wait()
    await client.close()
    listening.close()


async def test_a_dead_first_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next address of the host is tried, whether the first refuses or does not answer."""
    async with client_of(OK) as (server, _, ask):
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def two(host: str, port: int, **more: Any) -> list[Any]:  # noqa: ANN401 - asyncio's
            dead = await real("127.0.0.99", port, **more)
            return dead + await real(host, port, **more)

        monkeypatch.setattr(loop, "getaddrinfo", two)
        assert (await ask()).status == 200
    assert server.connections == 1


async def test_a_server_that_sends_without_end_does_not_stop_the_event_loop() -> None:
    """Hints before the answer, faster than they are read: the caller's timeout ends that."""
    listening = socket.create_server(("127.0.0.1", 0))
    connecting = Network().connect_tcp(*listening.getsockname())
    opened, (server, _) = await asyncio.gather(connecting, asyncio.to_thread(listening.accept))
    server.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    for _ in range(100):
        assert await opened.read(100)
    counting.cancel()
    assert turns >= 100, "something else runs between two reads"
    await opened.aclose()
    server.close()
    listening.close()
