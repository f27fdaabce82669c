"""A TCP proxy that misbehaves on demand, on loopback: cut, delay, throttle, silence."""

import asyncio
import contextlib
from dataclasses import dataclass

CHUNK_BYTES = 16 * 1024
END = b""
CHUNKS_MAX = 16
"""In the line, each way; beyond it the sender has to wait."""


@dataclass
class Trouble:
    """What is wrong with the line at present."""

    delay_seconds: float = 0.0
    """Before each chunk, both ways."""
    bytes_per_second: float = 0.0
    """0: as fast as it goes."""
    is_silent: bool = False
    """Nothing gets through, and nobody is told."""


class Proxy:
    """Listens on `port`, and carries to `target`. Bytes for a peer that is gone are dropped.

    With `is_late` those of a peer that is gone still arrive, as a network may have it: a produce
    request of a process that was killed. Without, the line breaks at once, as a gateway has it.
    """

    def __init__(self, port: int, target: int, *, is_late: bool) -> None:
        self.port = port
        self._target = target
        self._is_late = is_late
        self.trouble = Trouble()
        self._heard = asyncio.Event()
        self._heard.set()
        self._lines: set[asyncio.Task[None]] = set()
        self.ports: set[int] = set()
        """From where it is connected to the target."""
        self._server: asyncio.Server | None = None

    async def suffer(self, trouble: Trouble, seconds: float) -> None:
        """Be in trouble for so long."""
        self.trouble = trouble
        if trouble.is_silent:
            self._heard.clear()
        await asyncio.sleep(seconds)
        self.trouble = Trouble()
        self._heard.set()

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Cut everything and listen no more."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Every connection breaks."""
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
        """One way, until the sender is gone."""
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
                await self._heard.wait()
                writer.write(chunk)
                await writer.drain()
