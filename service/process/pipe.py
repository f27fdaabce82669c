"""Messages between two processes over a socket: the length in four bytes, then the message."""

import asyncio
import contextlib
import socket
from typing import Self

LENGTH_BYTES = 4
UNSENT_BYTES_MAX = 1024 * 1024
"""Bytes that wait for the other process to read them. It hangs if there are more: they are dropped,
since it will have to be restarted."""


class Pipe:
    """One end of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(cls, connection: socket.socket) -> Self:
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.transport.set_write_buffer_limits(high=0)  # so that `drain` waits for everything
        return cls(reader, writer)

    def send(self, message: bytes) -> None:
        """Send a message, from any thread; it is lost if the other process has ended."""
        self._loop.call_soon_threadsafe(self._write, message)

    async def receive(self) -> bytes | None:
        """Return the next message, or None if the other process has closed its end or ended."""
        try:
            length = await self._reader.readexactly(LENGTH_BYTES)
            return await self._reader.readexactly(int.from_bytes(length, "big"))
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def flush(self) -> None:
        """Wait until what was sent has left this process."""
        await asyncio.sleep(0)  # what other threads sent is written by the loop first
        with contextlib.suppress(OSError):  # the other process has ended
            await self._writer.drain()

    async def close(self) -> None:
        """Close this end; what the other process has not read yet may be lost."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _write(self, message: bytes) -> None:
        unsent = self._writer.transport.get_write_buffer_size()
        if self._writer.is_closing() or unsent > UNSENT_BYTES_MAX:
            return
        self._writer.write(len(message).to_bytes(LENGTH_BYTES, "big") + message)
