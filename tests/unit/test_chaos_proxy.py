"""The proxy of the chaos run: what it forwards, also from a sender that is gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import pytest

from service.playground.embedded_kafka import free_ports
from tests.chaos.proxy import Proxy, Trouble

MESSAGE = b"x" * 40_000


@dataclass
class Target:
    """A target that echoes and keeps what it receives."""

    got: bytearray = field(default_factory=bytearray)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while chunk := await reader.read(1024):
                self.got += chunk
                writer.write(chunk)
        except OSError:
            pass
        finally:
            self.ended.set()
            writer.close()


Line = Literal["late", "strict"]
Open = Callable[[Line], Awaitable[tuple[Proxy, Target]]]


@pytest.fixture
async def open_proxy() -> AsyncIterator[Open]:
    """Run a proxy before a target that echoes."""
    opened: list[tuple[Proxy, asyncio.Server]] = []

    async def make(line: Line) -> tuple[Proxy, Target]:
        target = Target()
        (port, behind) = free_ports(2)
        server = await asyncio.start_server(target.serve, "127.0.0.1", behind)
        proxy = Proxy(port, behind, is_late=line == "late")
        await proxy.open()
        opened.append((proxy, server))
        return proxy, target

    yield make
    for proxy, server in opened:
        await proxy.close()
        server.close()


@pytest.mark.parametrize("line", get_args(Line))
@pytest.mark.parametrize(
    "trouble", [Trouble(), Trouble(delay_seconds=0.01), Trouble(bytes_per_second=400_000)]
)
async def test_carries_all_both_ways(open_proxy: Open, trouble: Trouble, line: Line) -> None:
    """All bytes arrive in order, whatever the trouble."""
    proxy, _ = await open_proxy(line)
    proxy.trouble = trouble
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(MESSAGE)
    assert await reader.readexactly(len(MESSAGE)) == MESSAGE
    writer.close()


@pytest.mark.parametrize("line", get_args(Line))
async def test_of_a_sender_that_is_gone(open_proxy: Open, line: Line) -> None:
    """With `is_late` the proxy delivers what it has; without it, it drops that and breaks."""
    proxy, target = await open_proxy(line)
    proxy.trouble = Trouble(delay_seconds=0.1)
    _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(MESSAGE)
    await writer.drain()
    writer.close()
    await asyncio.wait_for(target.ended.wait(), 5)
    assert (len(target.got) == len(MESSAGE)) is (line == "late")


async def test_silence_and_cut(open_proxy: Open) -> None:
    """Nothing arrives while the proxy is silent; a broken connection ends on both sides."""
    proxy, target = await open_proxy("late")
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    silence = asyncio.ensure_future(proxy.suffer(Trouble(is_silent=True), 0.3))
    await asyncio.sleep(0.05)
    writer.write(b"hello")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(5), 0.1)
    await silence
    assert await reader.readexactly(5) == b"hello"
    proxy.break_connections()
    assert await reader.read() == b""
    writer.close()
    await asyncio.wait_for(target.ended.wait(), 5)
