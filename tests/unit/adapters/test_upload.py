"""The upload of a media file: from disk, in constant memory, with the code that the PIM gives."""

import asyncio
import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import BodyPartReader, web

from service.adapters.akeneo.api import HttpAssetApi, Uploads
from service.adapters.akeneo.wire import read_answer
from service.adapters.media.answers import TYPE_CHARACTERS_MAX, Asked, Body, read_head
from service.adapters.media.folder import READ_BYTES, MediaFolder
from service.core.inputs import Answer, CallFault, CallReply, FaultKind
from service.core.requests import UploadFile
from service.playground.pim.faults import Fault
from service.playground.pim.server import served
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample
from service.settings import Credentials, PimSettings
from tests.support.pim import credentials_of

MIB = 1024 * 1024


@dataclass
class Uploader:
    """A client of the PIM, and the folder of its files."""

    pim: PimSimulator
    folder: MediaFolder
    api: HttpAssetApi
    permits: list[None] = field(default_factory=list)

    async def keep(self, content: bytes, file_id: int = 1) -> None:
        """Put a file on disk."""
        file = self.folder.new_file(file_id)
        for at in range(0, len(content), MIB):
            await file.write(content[at : at + MIB])
        await file.finish()

    async def send(
        self,
        name: str = "boot.jpg",
        content_type: str | None = "image/jpeg",
        file_id: int = 1,
        size: int | None = None,
    ) -> Answer:
        """Upload a file."""

        async def permit() -> None:
            self.permits.append(None)

        upload = UploadFile(file_id, name, content_type, size)
        return await self.api.send(upload, permit=permit, may_write=lambda: True)


@asynccontextmanager
async def uploading_to(
    url: str, directory: Path, pim: PimSimulator, seconds: float = 30.0
) -> AsyncIterator[Uploader]:
    """Give a client of the PIM at this URL; other requests than uploads have to be very fast."""
    folder = MediaFolder(directory)
    settings = PimSettings.model_validate(
        {"base_url": url, "timeout_seconds": 20, "app_token": "t0ken"}
    )
    pim.tokens.app_token = "t0ken"

    def credentials() -> Credentials:
        return credentials_of(pim) if pim.tokens.app_token is None else Credentials("t0ken")

    api = HttpAssetApi(settings, credentials, uploads=Uploads(folder, seconds))
    yield Uploader(pim, folder, api)
    await api.close()
    await folder.close()


@pytest.fixture
async def uploader(tmp_path: Path) -> AsyncIterator[Uploader]:
    """A client of a simulator."""
    pim = PimSimulator(sample())
    async with served(pim) as url, uploading_to(url, tmp_path, pim) as made:
        yield made


def code(answer: Answer) -> str:
    """The code of the file that was uploaded."""
    assert isinstance(answer, CallReply), answer
    assert answer.status == 201
    assert answer.is_from_pim
    assert answer.media_code is not None
    return answer.media_code


async def test_the_pim_has_the_file(uploader: Uploader) -> None:
    """With its name; each upload gives a code of its own (akeneo.md §6)."""
    content = os.urandom(2 * READ_BYTES + 5) + b"\r\n--"
    await uploader.keep(content)
    found = code(await uploader.send())
    assert found.endswith("_boot.jpg")
    assert uploader.pim.media == {found: content}
    assert code(await uploader.send(content_type=None)) != found
    assert uploader.pim.counts["upload"] == 2


@pytest.mark.parametrize("name", ['a"b.jpg', "a\r\nx: y.jpg", "ä.jpg", "a;b=c.jpg", "%41.jpg"])
async def test_any_name_stays_a_name(uploader: Uploader, name: str) -> None:
    """It ends neither its quotes nor its line."""
    await uploader.keep(b"content")
    assert uploader.pim.media == {code(await uploader.send(name)): b"content"}


@pytest.mark.parametrize(
    ("said", "passed_on"),
    [
        ("Image/JPEG; q=1", "image/jpeg"),
        ("image/jp\xe9g", None),
        ("image/jpeg\r\nx: y", None),
        ("image/jpeg\tx", None),
        ("", None),
        ("x" * TYPE_CHARACTERS_MAX, "x" * TYPE_CHARACTERS_MAX),
        ("x" * (TYPE_CHARACTERS_MAX + 1), None),
    ],
)
async def test_any_type_that_a_source_says_leaves_the_upload_well(
    uploader: Uploader, said: str, passed_on: str | None
) -> None:
    """What a request cannot carry is left out: nobody may take it for a fault of the PIM."""
    asked = Asked("/boot.jpg", None, 0, None, 100)
    body = read_head(200, {"content-length": "7", "content-type": said}, asked)
    assert isinstance(body, Body)
    assert body.content_type == passed_on
    await uploader.keep(b"content")
    assert uploader.pim.media == {
        code(await uploader.send(content_type=body.content_type)): b"content"
    }


async def test_the_file_is_sent_again_after_a_401(uploader: Uploader) -> None:
    """From its beginning, with the new token."""
    content = os.urandom(READ_BYTES + 1)
    await uploader.keep(content)
    uploader.pim.tokens.app_token = None
    code(await uploader.send())
    uploader.pim.tokens.forget()
    assert uploader.pim.media[code(await uploader.send())] == content


async def test_what_the_pim_answers_instead(uploader: Uploader) -> None:
    """A refusal is passed on; throttling and errors too."""
    await uploader.keep(b"content")
    answer = await uploader.send("boot.j-g")
    assert isinstance(answer, CallReply)
    assert (answer.status, answer.is_from_pim, answer.media_code) == (422, True, None)
    for status in (403, 413, 429, 500, 503):
        uploader.pim.faults.add(Fault(route="upload", status=status, body="html"))
        answer = await uploader.send()
        assert isinstance(answer, CallReply)
        assert (answer.status, answer.is_from_pim, answer.media_code) == (status, False, None)
    uploader.pim.faults.add(Fault(route="upload", cut="after"))
    answer = await uploader.send()
    assert isinstance(answer, CallFault)
    assert answer.kind is FaultKind.CONNECTION


async def test_an_upload_has_a_timeout_of_its_own(tmp_path: Path) -> None:
    pim = PimSimulator(sample())
    async with served(pim) as url, uploading_to(url, tmp_path, pim, seconds=0.3) as uploader:
        await uploader.keep(b"content")
        pim.faults.add(Fault(route="upload", hang=True))
        answer = await uploader.send()
        assert answer == CallFault(FaultKind.TIMEOUT, "No answer within 0.3 s.")


async def test_a_file_that_is_gone_is_no_trouble_of_the_pim(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody emptied the directory, or the disk fails."""
    answer = await uploader.send(file_id=9)
    assert isinstance(answer, CallFault)
    assert answer.kind is FaultKind.FILE_LOST
    assert "No such file" in answer.message

    await uploader.keep(b"x" * 2 * READ_BYTES)
    original = os.read

    def fail(descriptor: int, size: int) -> bytes:
        if size == READ_BYTES:
            raise OSError(5, "Input/output error")
        return original(descriptor, size)

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", fail)
        answer = await uploader.send()
    assert isinstance(answer, CallFault)
    assert answer.kind is FaultKind.FILE_LOST
    assert code(await uploader.send()), "the next one has a connection of its own"


@pytest.mark.parametrize("size", [0, 6, 8])
async def test_a_file_that_somebody_changed_is_not_uploaded(uploader: Uploader, size: int) -> None:
    """Such as one that was emptied to make room, before the upload."""
    await uploader.keep(b"content")
    os.truncate(uploader.folder.path / "1", size)
    answer = await uploader.send(size=7)
    assert isinstance(answer, CallFault)
    assert answer.kind is FaultKind.FILE_LOST
    assert f"{size} bytes on disk instead of 7" in answer.message
    assert not uploader.pim.media


@pytest.mark.parametrize("size", [READ_BYTES, 2 * READ_BYTES - 1, 3 * READ_BYTES])
async def test_a_file_that_somebody_changes_during_its_upload_is_no_trouble_of_the_pim(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    await uploader.keep(b"x" * 2 * READ_BYTES)
    original = os.read

    def read(descriptor: int, count: int) -> bytes:
        part = original(descriptor, count)
        if count == READ_BYTES:
            os.truncate(uploader.folder.path / "1", size)
        return part

    monkeypatch.setattr(os, "read", read)
    answer = await uploader.send(size=2 * READ_BYTES)
    assert isinstance(answer, CallFault)
    assert answer.kind is FaultKind.FILE_LOST
    assert f"instead of {2 * READ_BYTES:,}" in answer.message
    assert not uploader.pim.media


async def test_an_early_refusal_is_read_while_the_file_is_sent(tmp_path: Path) -> None:
    """A proxy that takes no such body says so at once and reads no further."""
    pim = PimSimulator(sample())
    answered = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await answered.wait()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with uploading_to(url, tmp_path, pim) as uploader:
        await uploader.keep(b"x" * 20 * MIB)
        answer = await asyncio.wait_for(uploader.send(), 10)
        assert isinstance(answer, CallReply)
        assert answer.status == 413
        answered.set()
    server.close()
    await server.wait_closed()


@pytest.mark.slow
async def test_memory_is_constant(tmp_path: Path) -> None:
    """50 MB go to the PIM, and less than 4 MiB of memory is used by client and server."""
    size, digest = 50_000_000, hashlib.sha256()
    pim = PimSimulator(sample())
    received = 0

    async def take(request: web.Request) -> web.Response:
        nonlocal received
        assert request.content_length is not None
        reader = await request.multipart()
        part = await reader.next()
        assert isinstance(part, BodyPartReader)
        while chunk := await part.read_chunk(READ_BYTES):
            received += len(chunk)
            digest.update(chunk)
        return web.Response(status=201, headers={"Location": "/api/rest/v1/asset-media-files/a/b"})

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/api/rest/v1/asset-media-files", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with uploading_to(url, tmp_path, pim, seconds=120) as uploader:
        part = os.urandom(1_000_000)
        file = uploader.folder.new_file(1)
        for _ in range(size // len(part)):
            await file.write(part)
        expected = await file.finish()
        tracemalloc.start()
        try:
            answer = await uploader.send("film.mp4")
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert code(answer) == "a/b"
    await runner.cleanup()
    assert (received, digest.hexdigest()) == (size, expected)
    assert most < 4 * MIB


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"asset-media-file-code": "3/b/5/5/abc_boot.jpg"}, "3/b/5/5/abc_boot.jpg"),
        (
            {"location": "https://pim/api/rest/v1/asset-media-files/3/b/x_boot.jpg"},
            "3/b/x_boot.jpg",
        ),
        ({"location": "/api/rest/v1/asset-media-files/3/b%20c.jpg"}, "3/b c.jpg"),
        ({"asset-media-file-code": "code", "location": "/other"}, "code"),
        ({}, None),
        ({"location": "https://pim/api/rest/v1/elsewhere/3"}, None),
        ({"asset-media-file-code": "x" * 501}, None),
        ({"asset-media-file-code": "a\x85b"}, None),
    ],
)
def test_the_code_of_a_file(headers: Mapping[str, str], expected: str | None) -> None:
    """Without one, nobody can say that it was the PIM that answered."""
    reply = read_answer(UploadFile(1, "boot.jpg", None), 201, headers, b"")
    assert (reply.media_code, reply.is_from_pim) == (expected, expected is not None)


def test_a_code_is_read_of_a_201_alone() -> None:
    headers = {"asset-media-file-code": "code"}
    for status in (200, 202, 204, 302, 422):
        assert read_answer(UploadFile(1, "boot.jpg", None), status, headers, b"").media_code is None
