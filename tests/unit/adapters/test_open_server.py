"""The port of a server, on machines with and without IPv6."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.adapters.http.open_server import EVERY_ADDRESS, bound_port, open_server

BY_IPV4, BY_IPV6 = "127.0.0.1", "::1"

needs_ipv6 = pytest.mark.skipif(
    not socket.has_dualstack_ipv6(), reason="no socket of this machine takes IPv6 and IPv4"
)


class Greeting(asyncio.Protocol):
    """Greets each client and hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"hello")
        transport.close()


@asynccontextmanager
async def listening(host: str, port: int = 0) -> AsyncIterator[int]:
    """Open a server, and yield its port."""
    async with await open_server(Greeting, host, port) as server:
        yield bound_port(server)


async def answer(address: str, port: int) -> bytes | None:
    """Return what a client of this address reads, or None if nobody listens there."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError:
        return None
    read = await reader.read()
    writer.close()
    return read


@needs_ipv6
async def test_every_address_is_those_of_ipv6_and_of_ipv4() -> None:
    """A pod has addresses of one kind or both, and is asked at each."""
    async with listening(EVERY_ADDRESS) as port:
        assert await answer(BY_IPV4, port) == b"hello"
        assert await answer(BY_IPV6, port) == b"hello"


async def test_every_address_of_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel may have been started without IPv6."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    async with listening(EVERY_ADDRESS) as port:
        assert await answer(BY_IPV4, port) == b"hello"
        assert await answer(BY_IPV6, port) is None


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "heard", "unheard"), [(BY_IPV4, BY_IPV4, BY_IPV6), (BY_IPV6, BY_IPV6, BY_IPV4)]
)
async def test_an_address_of_one_kind(host: str, heard: str, unheard: str) -> None:
    """Whoever names one does not listen on the other kind."""
    async with listening(host) as port:
        assert await answer(heard, port) == b"hello"
        assert await answer(unheard, port) is None


async def test_a_port_that_is_taken() -> None:
    """The error is the one that every program explains at its start."""
    async with listening(EVERY_ADDRESS) as port:
        with pytest.raises(OSError, match="in use"):
            await open_server(Greeting, EVERY_ADDRESS, port)
