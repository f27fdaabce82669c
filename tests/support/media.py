"""A source of media files on loopback, and the client that downloads from it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from service.adapters.media.download import HttpDownloads
from service.adapters.media.folder import MediaFolder
from service.core.effects import StartDownload
from service.core.inputs import Downloaded, DownloadEnd
from service.core.media.hosts import AllowedHosts

HERE = AllowedHosts((), ("localhost", "127.0.0.1", "no-such-host.invalid"))
"""Names of this machine, and one that nobody has."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def say(body: bytes = b"a file", status: int = 200, **headers: str) -> Answer:
    """An answer with this body; `_` in the name of a header stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=named)

    return answer


@dataclass
class Source:
    """A host of files that answers each path with what it was told, and remembers the requests."""

    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    url: str = ""
    usual: Answer = field(default_factory=say)
    """The answer to all other paths."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.asked.append((request.raw_path, request.headers))
        answer = self.answers.get(request.path, self.usual)
        return await (answer.pop(0) if isinstance(answer, list) else answer)(request)

    def headers(self, name: str) -> list[str | None]:
        """The values of a header in the requests, in order."""
        return [headers.get(name) for _, headers in self.asked]


@asynccontextmanager
async def serving(
    usual: Answer | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Source]:
    """Run a source on a free port of loopback."""
    source = Source(usual=usual or say())
    app = web.Application()
    app.router.add_get("/{any:.*}", source.answer, allow_head=True)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    source.url = f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}"
    try:
        yield source
    finally:
        await runner.cleanup()


@asynccontextmanager
async def speaking(*answers: bytes) -> AsyncIterator[str]:
    """Run a server that sends these bytes, one for each connection; yield the URL of a file."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(left.pop(0) if left else b"")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/file.jpg"
    finally:
        server.close()
        await server.wait_closed()


@dataclass
class Client:
    """Downloads into a folder of its own."""

    folder: MediaFolder
    downloads: HttpDownloads

    async def get(
        self, url: str, *, bytes_max: int = 1 << 20, etag: str | None = None, file_id: int = 1
    ) -> DownloadEnd:
        """Download a file once."""
        start = StartDownload(file_id, url, bytes_max, etag)
        return await self.downloads.download(start)

    async def content(self, end: DownloadEnd, file_id: int = 1) -> bytes:
        """The file that was downloaded."""
        assert isinstance(end, Downloaded), end
        assert await self.folder.size(file_id) == end.size
        return b"".join([part async for part in self.folder.read(file_id)])

    @property
    def kept(self) -> set[str]:
        """The names of the files on disk."""
        return {path.name for path in self.folder.path.iterdir()} - {"lock"}


@asynccontextmanager
async def client_in(
    directory: Path,
    hosts: AllowedHosts = HERE,
    seconds_max: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    """Give a client whose folder is in this directory."""
    folder = MediaFolder(directory)
    trusted = tls or ssl.create_default_context()
    client = Client(folder, HttpDownloads(folder, hosts, seconds_max, trusted))
    try:
        yield client
    finally:
        await client.downloads.close()
