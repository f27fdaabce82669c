"""The client against a server that writes what it likes; and connections kept or not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
import pytest

from service.adapters.akeneo.client import OddAnswerError, PimClient, RawReply
from service.adapters.akeneo.wire import HttpRequest
from service.settings import PimSettings

GET = HttpRequest("GET", "/a", None)
CUT_SHORT = "isconnected without|peer closed connection"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


@dataclass
class Server:
    """Answers each request with the next of these; b"" ends the connection."""

    answers: list[bytes]
    asked: list[bytes] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    closed: list[asyncio.Event] = field(default_factory=list)
    """Of each connection, once neither side has it any more."""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the client."""
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
    """Ours, to whoever listens there."""
    return PimClient(PimSettings.model_validate({"base_url": url, "app_token": "t"}))


Ask = Callable[[], Coroutine[None, None, RawReply]]


@asynccontextmanager
async def client_of(
    *answers: bytes, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Server, PimClient, Ask]]:
    """A server with these answers, and our client of it."""
    server = Server(list(answers))
    listening = await asyncio.start_server(server.take, host, 0)
    port = listening.sockets[0].getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    url = f"http://{name}:{port}"
    client = client_to(url)

    async def ask() -> RawReply:
        async with asyncio.timeout(5):
            return await client.exchange(GET, "Bearer t")

    yield server, client, ask
    await client.close()
    for writer in server.writers:
        writer.close()
    listening.close()
    await listening.wait_closed()


async def test_an_answer_that_is_only_announced() -> None:
    """1xx says that one will come; it is none."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Of: hints\r\n\r\n"
    async with client_of(b"HTTP/1.1 100 Continue\r\n\r\n" + early + OK, OK) as (server, _, ask):
        reply = await ask()
        assert (reply.status, reply.body) == (200, b"[]")
        assert reply.headers == {"content-length": "2"}
        await ask()
    assert server.connections == 1


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK\r\nConnection: close"])
async def test_an_answer_to_the_connections_end(head: bytes) -> None:
    """It says no length: its end is the connection's."""
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
    """Half of a list would be taken for all of it."""
    async with client_of(cut, OK) as (_, _, ask):
        with pytest.raises(Exception, match=CUT_SHORT):
            await ask()
        assert (await ask()).status == 200


@pytest.mark.parametrize("surplus", [b"!", OK, b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
async def test_what_nobody_asked_for_costs_the_connection(surplus: bytes) -> None:
    """The next request would take it for its own answer."""
    async with client_of(OK + surplus, OK.replace(b"[]", b"{}")) as (server, _, ask):
        assert (await ask()).body == b"[]"
        await asyncio.sleep(0.02)
        assert (await ask()).body == b"{}"
    assert server.connections == 2


async def test_a_farewell_between_two_calls() -> None:
    """Many a server says 408 to a connection that rests, and closes it."""
    async with client_of(OK, OK) as (server, _, ask):
        await ask()
        server.writers[0].write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(0.02)
        assert (await ask()).status == 200
    assert server.connections == 2


async def test_a_head_without_end() -> None:
    """Memory is bounded by us."""
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
    """In words, and never twice on the same connection."""
    async with client_of(odd, OK) as (server, _, ask):
        with pytest.raises((httpx2.RemoteProtocolError, OddAnswerError)):
            await ask()
        assert (await ask()).status == 200
    assert server.connections == 2


async def test_a_call_that_is_given_up_takes_its_connection_along() -> None:
    """Its answer may still come, and would be the next call's."""
    async with client_of(b"HTTP/1.1 200 OK\r\n", OK) as (server, _, ask):
        task = asyncio.create_task(ask())
        await server.was_asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await ask()).body == b"[]"
    assert server.connections == 2


async def test_a_connection_that_rested_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not trusted any more; nor kept."""
    monkeypatch.setattr("service.adapters.akeneo.network.KEEPALIVE_SECONDS", 0.0)
    async with client_of(OK, OK) as (server, _, ask):
        await ask()
        await ask()
        await server.closed[0].wait()
    assert server.connections == 2


async def test_a_connection_that_was_closed_while_it_rested() -> None:
    """Nothing is sent on it: the next call takes another, and leaves once."""
    async with client_of(OK, OK) as (server, _, ask):
        await ask()
        server.writers[0].close()
        await server.closed[0].wait()
        assert (await ask()).status == 200
    assert (server.connections, len(server.asked)) == (2, 2)


async def test_an_address_of_version_6() -> None:
    """In brackets where it is named."""
    async with client_of(OK, host="::1") as (server, _, ask):
        assert (await ask()).status == 200
    assert b"\r\nHost: [::1]:" in server.asked[0]


async def test_a_server_that_hangs_up_at_once() -> None:
    """Before anything was asked: said at once, not after the timeout."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listening = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    client = client_to(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    for _ in range(50):
        with pytest.raises((httpx2.NetworkError, httpx2.RemoteProtocolError)):
            async with asyncio.timeout(5):
                await client.exchange(GET, "Bearer t")
    await client.close()
    listening.close()
