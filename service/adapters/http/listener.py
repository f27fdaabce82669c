"""Listens on a port for the pages of a program, and bounds how many connections are open.

Rule 1: above the limit the oldest connection makes room for the newest. A page is answered within
milliseconds, so an old connection is idle, waits for the rest of a request that never comes, or is
not read by its client; and probes are answered however many of those there are.
"""

from typing import TYPE_CHECKING

from aiohttp import web

from service.adapters.http.open_server import bound_port, open_server

if TYPE_CHECKING:
    import asyncio

HEADERS_MAX = 50
"""Most headers of a request: it is held until it is complete, each header with some kilobytes."""
CLOSE_SECONDS_MAX = 1.0
"""How long answers may take to leave once the drain is over: a client may never read them."""


class Listener:
    """Accepts the connections of an application."""

    def __init__(
        self, application: web.Application, connections_max: int, line_bytes_max: int = 8190
    ) -> None:
        """Prepare to listen; a line of a head has at most `line_bytes_max` (aiohttp's default)."""
        self._runner = web.AppRunner(
            application,
            access_log=None,
            max_headers=HEADERS_MAX,
            shutdown_timeout=CLOSE_SECONDS_MAX,
            max_line_size=line_bytes_max,
            max_field_size=line_bytes_max,
        )
        self._connections_max = connections_max
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen, and return the port, which matters where 0 was asked for.

        Raises:
            OSError: the address is already in use, or does not belong to this machine.
        """
        await self._runner.setup()
        self._server = await open_server(self._accept, host, port)
        return bound_port(self._server)

    async def close(self) -> None:
        """Stop listening, and let the answers of open requests leave."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _accept(self) -> web.RequestHandler:
        """Return the handler of a new connection."""
        assert self._runner.server is not None
        transports = [one.transport for one in self._runner.server.connections]
        is_open = [one for one in transports if one is not None and not one.is_closing()]
        for oldest in is_open[: max(0, len(is_open) - self._connections_max + 1)]:
            oldest.abort()
        return self._runner.server()
