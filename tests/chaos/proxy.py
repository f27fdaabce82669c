"""A TCP proxy on loopback that can break, delay, throttle and silence its connections."""

import asyncio
import contextlib
from dataclasses import dataclass

CHUNK_BYTES = 16 * 1024
END = b""
CHUNKS_MAX = 16
"""Chunks under way in each direction; beyond that the sender has to wait."""


@dataclass
class Trouble:
    """What is wrong with the proxy's connections now."""

    delay_seconds: float = 0.0
    """The delay before each chunk, in both directions."""
    bytes_per_second: float = 0.0
    """The highest rate; 0 is unlimited."""
    is_silent: bool = False
    """Whether bytes are withheld while the connections stay open."""


class Proxy:
    """Forwards connections from `port` to `target`. Bytes for a peer that is gone are dropped.

    With `is_late` the bytes of a peer that is gone still arrive, as in a network: for example the
    produce request of a process that was killed. Without it the connection breaks at once, as
    behind a gateway.
    """

    def __init__(self, port: int, target: int, *, is_late: bool) -> None:
        self.port = port
        self._target = target
        self._is_late = is_late
        self.trouble = Trouble()
        self._audible = asyncio.Event()
        self._audible.set()
        self._lines: set[asyncio.Task[None]] = set()
        self.ports: set[int] = set()
        """Local ports of the connections to the target."""
        self._server: asyncio.Server | None = None

    async def suffer(self, trouble: Trouble, seconds: float) -> None:
        """Be in trouble for this many seconds."""
        self.trouble = trouble
        if trouble.is_silent:
            self._audible.clear()
        await asyncio.sleep(seconds)
        self.trouble = Trouble()
        self._audible.set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            self._server.close()
        self.break_connections()

    def break_connections(self) -> None:
        """Break every connection."""
        for line in self._lines:
            line.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.ensure_future(self._carry(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                there, back = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                writer.transport.abort()
                return
            port = back.get_extra_info("sockname")[1]
            self.ports.add(port)
            ways = [
                asyncio.ensure_future(self._pump(reader, back)),
                asyncio.ensure_future(self._pump(there, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.ports.discard(port)
                for way in ways:
                    way.cancel()
                writer.transport.abort()
                back.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one direction until the sender is gone."""
        line: asyncio.Queue[bytes] = asyncio.Queue(CHUNKS_MAX)
        delivering = asyncio.ensure_future(self._deliver(line, writer))
        try:
            with contextlib.suppress(OSError):
                while chunk := await reader.read(CHUNK_BYTES):
                    await line.put(chunk)
            if self._is_late:
                await line.put(END)
                await delivering
        finally:
            delivering.cancel()

    async def _deliver(self, line: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await line.get():
                trouble = self.trouble
                if trouble.delay_seconds:
                    await asyncio.sleep(trouble.delay_seconds)
                if trouble.bytes_per_second:
                    await asyncio.sleep(len(chunk) / trouble.bytes_per_second)
                await self._audible.wait()
                writer.write(chunk)
                await writer.drain()
