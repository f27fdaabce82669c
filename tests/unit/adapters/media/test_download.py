"""Downloads from real servers on loopback: limits, redirects, lies and lost connections."""

import asyncio
import contextlib
import errno
import gzip
import hashlib
import os
import shutil
import ssl
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from service.adapters.media import download
from service.adapters.media.download import RESUMES_MAX
from service.adapters.media.folder import NewFile
from service.adapters.media.transfer import BUFFER_BYTES
from service.core.inputs import (
    Downloaded,
    DownloadEnd,
    DownloadFault,
    DownloadRefused,
    NotModified,
)
from service.core.media.hosts import AllowedHosts
from tests.support.media import Answer, Client, Source, client_in, say, serving, speaking
from tests.support.waiting import until

MIB = 1024 * 1024


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    """A source that answers every path with a file."""
    async with serving() as served:
        yield served


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A client that may ask every host."""
    async with client_in(tmp_path) as made:
        yield made


def refusal(end: DownloadEnd) -> str:
    """The message of the refusal that the end must be."""
    assert isinstance(end, DownloadRefused), end
    return end.message


def is_from_host(end: DownloadEnd) -> bool:
    """Whether the host of the URL answered."""
    assert isinstance(end, DownloadRefused), end
    return end.is_from_host


def fault(end: DownloadEnd) -> str:
    """The message of the fault that the end must be."""
    assert isinstance(end, DownloadFault), end
    return end.message


async def until_empty(client: Client) -> None:
    """Wait until nothing is on disk."""
    await until(lambda: not client.kept)


def chunked(*parts: bytes) -> Answer:
    """An answer that does not say its length."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        return response

    return answer


# --- the file ------------------------------------------------------------------------------------


async def test_a_file_is_on_disk_as_it_was_sent(source: Source, client: Client) -> None:
    content = os.urandom(3 * BUFFER_BYTES + 7)
    source.answers["/f.jpg"] = say(content, Content_Type="Image/JPEG; q=1", ETag='"v1"')
    end = await client.get(source.url + "/f.jpg?signed=1")
    assert end == Downloaded(
        hashlib.sha256(content).hexdigest(), len(content), '"v1"', "image/jpeg"
    )
    assert await client.content(end) == content
    client.downloads.drop(1)
    await until_empty(client)


async def test_downloads_are_anonymous(
    source: Source, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No credentials, no cookies, no proxy of the environment, and the file as it is."""
    for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    source.answers["/f"] = say(Set_Cookie="session=1")
    for _ in range(2):
        await client.get(source.url + "/f?a=%2F&b=c+d")
    assert [path for path, _ in source.asked] == ["/f?a=%2F&b=c+d"] * 2
    for name in ("authorization", "cookie", "referer"):
        assert source.headers(name) == [None, None]
    assert source.headers("accept-encoding") == ["identity"] * 2
    assert "user name" in refusal(await client.get(source.url.replace("//", "//me:pw@")))


async def test_a_file_that_has_not_changed_is_not_sent_again(
    source: Source, client: Client
) -> None:
    source.answers["/f"] = [say(status=304), say(status=304)]
    assert await client.get(source.url + "/f", etag='W/"v1"') == NotModified()
    assert source.headers("if-none-match") == ['W/"v1"']
    assert "HTTP 304" in fault(await client.get(source.url + "/f")), "nobody asked"
    assert not client.kept


async def test_a_source_that_compresses_unasked(source: Source, client: Client) -> None:
    """As stores of objects do; what is limited is the file, not what was sent."""
    content = b"<svg>" + b"a" * MIB
    zipped = gzip.compress(content)
    source.answers["/f"] = say(zipped, Content_Encoding="gzip")
    end = await client.get(source.url + "/f", bytes_max=len(content))
    assert await client.content(end) == content
    assert "at most" in refusal(await client.get(source.url + "/f", bytes_max=len(content) - 1))
    noise = os.urandom(MIB)
    source.answers["/f"] = say(gzip.compress(noise), Content_Encoding="gzip")
    end = await client.get(source.url + "/f", bytes_max=len(noise))
    assert await client.content(end) == noise, "it is sent with more bytes than it has"
    for broken in (zipped[:-1], zipped + b"more", b"no gzip"):
        source.answers["/f"] = say(broken, Content_Encoding="gzip")
        end = await client.get(source.url + "/f", bytes_max=2 * MIB)
        assert "not valid gzip" in fault(end)
    source.answers["/f"] = say(zipped, Content_Encoding="br")
    assert "compressed (br)" in refusal(await client.get(source.url + "/f"))


@pytest.mark.slow
async def test_memory_is_constant(client: Client) -> None:
    """50 MB are on their way, and less than 4 MiB of memory is used by server and client."""
    size, part = 50_000_000, os.urandom(100_000)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // len(part)):
            writer.write(part)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    tracemalloc.start()
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/film.mp4"
        end = await client.get(url, bytes_max=size)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        server.close()
    assert isinstance(end, Downloaded)
    assert (end.size, await client.folder.size(1)) == (size, size)
    assert most < 4 * MIB


# --- limits, and sources that lie ----------------------------------------------------------------


async def test_a_file_that_is_too_large(source: Source, client: Client) -> None:
    """By what it says, and by what it sends; at the limit it is not."""
    source.answers["/said"] = say(b"x" * 101)
    assert "at most 100 bytes" in refusal(await client.get(source.url + "/said", bytes_max=100))
    assert await client.content(await client.get(source.url + "/said", bytes_max=101))
    source.answers["/unsaid"] = chunked(b"x" * 100, b"x")
    assert "at most 100 bytes" in refusal(await client.get(source.url + "/unsaid", bytes_max=100))
    assert await client.content(await client.get(source.url + "/unsaid", bytes_max=101))
    client.downloads.drop(1)
    await until_empty(client)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"content-length: 10\r\n\r\nfour", "The connection failed"),
        (b"content-length: -1\r\n\r\nfour", "The connection failed"),
        (b"content-length: 1\r\ncontent-length: 4\r\n\r\nfour", "The connection failed"),
        (b"transfer-encoding: chunked\r\n\r\n4\r\nfour\r\n", "The connection failed"),
        (b"transfer-encoding: chunked\r\n\r\n9\r\nfour\r\n0\r\n\r\n", "The connection failed"),
        (b"transfer-encoding: gzip, chunked\r\n\r\n", "The connection failed"),
        (b"x: " + b"y" * 200_000 + b"\r\n\r\n", "The connection failed"),
        (b"nonsense", "The connection failed"),
    ],
)
async def test_a_source_that_lies_about_the_length(client: Client, head: bytes, said: str) -> None:
    """A part of a file is never taken for the file."""
    async with speaking(b"HTTP/1.1 200 OK\r\n" + head) as url:
        assert said in fault(await client.get(url))
    await until_empty(client)


async def test_a_file_whose_end_cannot_be_seen(client: Client) -> None:
    """A cut connection would look like its end."""
    async with speaking(b"HTTP/1.1 200 OK\r\n\r\nhalf a fi", b"HTTP/1.0 200 OK\r\n\r\nhalf") as url:
        for _ in range(2):
            assert "does not say how long" in refusal(await client.get(url))


async def test_a_source_that_sends_more_than_it_says(client: Client) -> None:
    """The file is what the head says, and the rest is not taken for the next answer."""
    said = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"
    async with speaking(said + b"fourHTTP/1.1 200 OK\r\n\r\n", said + b"five") as url:
        assert await client.content(await client.get(url)) == b"four"
        assert await client.content(await client.get(url)) == b"five"


async def test_a_web_page_in_place_of_the_file(source: Source, client: Client) -> None:
    """The login page of a source answers 200."""
    page = say(b"<html>", Content_Type="text/html; charset=utf-8")
    source.answers |= {"/f.jpg": page, "/f.html": page}
    assert "web page" in refusal(await client.get(source.url + "/f.jpg"))
    assert await client.content(await client.get(source.url + "/f.html")) == b"<html>"


async def test_an_empty_file_is_refused(source: Source, client: Client) -> None:
    source.answers["/f"] = say(b"")
    assert "empty" in refusal(await client.get(source.url + "/f"))
    await until_empty(client)


@pytest.mark.parametrize("kind", ["said", "unsaid"])
async def test_a_slow_source(tmp_path: Path, kind: str) -> None:
    """A byte now and then keeps the download alive, but not for ever."""
    ended = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if kind == "said":
            response.content_length = 1000
        await response.prepare(request)
        try:
            while True:
                await response.write(b".")
                await asyncio.sleep(0.05)
        finally:
            ended.set()

    async with serving() as source, client_in(tmp_path, seconds_max=0.5) as client:
        source.answers["/f"] = drip
        assert fault(await client.get(source.url + "/f")) == "The download took more than 0.5 s."
        await asyncio.wait_for(ended.wait(), 10)
        await until_empty(client)


async def test_a_silent_source(
    source: Source, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its answer, and in the middle of the file."""
    monkeypatch.setattr(download, "SILENCE_SECONDS_MAX", 1.0)

    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError("cancelled by then")

    async def stop(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await response.write(b"begun")
        await asyncio.sleep(60)
        return response

    source.answers |= {"/hang": hang, "/stop": stop}
    assert fault(await client.get(source.url + "/hang")) == (
        "The source did not answer within 1 s."
    )
    assert fault(await client.get(source.url + "/stop")) == "The source sent nothing for 1 s."
    await until_empty(client)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "The disk is full"),
        (errno.EDQUOT, "The disk is full"),
        (errno.EIO, "cannot be written: Input/output error"),
    ],
)
@pytest.mark.parametrize("at", ["_append", "_close"])
async def test_a_disk_that_does_not_take_it(
    source: Source, client: Client, monkeypatch: pytest.MonkeyPatch, number: int, said: str, at: str
) -> None:
    """The download is a fault, which is tried again; the other files are not touched."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(NewFile, at, fail)
        end = await client.get(source.url + "/f")
        assert said in fault(end)
        assert isinstance(end, DownloadFault)
        assert end.is_of_disk, "the source is not to blame"
    assert isinstance(await client.get(source.url + "/f"), Downloaded)


# --- what the source answers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, DownloadRefused) for status in (400, 401, 402, 403, 404, 405, 406, 410)),
        *((status, DownloadRefused) for status in (416, 451)),
        *((status, DownloadFault) for status in (407, 408, 423, 425, 429)),
        *((status, DownloadFault) for status in (500, 502, 503, 504, 507, 599, 999)),
        *((status, DownloadFault) for status in (201, 202, 204, 206, 300, 304, 305)),
    ],
)
async def test_what_a_status_means(
    source: Source, client: Client, status: int, kind: type[DownloadEnd]
) -> None:
    """Only what will be the same tomorrow is a refusal."""
    source.answers["/f"] = say(b"", status)
    end = await client.get(source.url + "/f")
    assert type(end) is kind
    assert f"HTTP {status}" in str(end)


async def test_retry_after_is_kept(source: Source, client: Client) -> None:
    source.answers["/f"] = [say(b"", status, Retry_After="17") for status in (429, 503)]
    for status in (429, 503):
        end = await client.get(source.url + "/f")
        assert isinstance(end, DownloadFault)
        assert (end.retry_after_seconds, str(status) in end.message) == (17.0, True)


async def test_a_source_that_is_not_there(client: Client) -> None:
    for url in ("http://127.0.0.1:1/f", "http://no-such-host.invalid/f"):
        assert "The connection failed" in fault(await client.get(url))


@pytest.mark.parametrize("etag", ['"é"', "v1", '"' + "x" * 200 + '"', '"a"b"'])
async def test_an_etag_that_cannot_be_remembered(client: Client, etag: str) -> None:
    """It is longer than we keep, or cannot be sent back as it is."""
    head = f"HTTP/1.1 200 OK\r\netag: {etag}\r\ncontent-length: 1\r\n\r\nx"
    async with speaking(head.encode("latin-1")) as url:
        end = await client.get(url)
        assert isinstance(end, Downloaded)
        assert end.etag is None


async def test_a_type_that_cannot_be_passed_on(client: Client) -> None:
    """The file is taken without it, since it says nothing that the PIM needs."""
    head = "HTTP/1.1 200 OK\r\ncontent-type: image/jp\xe9g\r\ncontent-length: 1\r\n\r\nx"
    async with speaking(head.encode("latin-1")) as url:
        end = await client.get(url)
        assert isinstance(end, Downloaded)
        assert end.content_type is None


# --- redirects -----------------------------------------------------------------------------------


async def test_three_redirects_are_followed(source: Source, client: Client) -> None:
    """Relative ones too; the ETag is that of the last answer."""
    hops = [source.url + "/1?q=a%2Fb", "/2", "3"]
    for number, hop in enumerate(hops):
        source.answers[f"/{number}"] = say(b"", (301, 307, 303)[number], Location=hop)
    source.answers["/3"] = say(b"found", ETag='"v"')
    end = await client.get(source.url + "/0")
    assert await client.content(end) == b"found"
    assert [path for path, _ in source.asked] == ["/0", "/1?q=a%2Fb", "/2", "/3"]
    source.answers["/3"] = say(b"", 302, Location="/4")
    assert "more than 3 times" in refusal(await client.get(source.url + "/0"))
    assert source.asked[-1][0] == "/3"


async def test_a_redirect_in_utf_8_is_followed_as_it_is_meant(
    source: Source, client: Client
) -> None:
    """Many servers send the path as it is on their disk, without percent-encoding."""
    source.answers["/Böse Größe.jpg"] = say(b"found")
    head = (
        f"HTTP/1.1 302 Found\r\nlocation: {source.url}/Böse Größe.jpg\r\ncontent-length: 0\r\n\r\n"
    )
    async with speaking(head.encode()) as url:
        assert await client.content(await client.get(url)) == b"found"
    assert source.asked[-1][0] == "/B%C3%B6se%20Gr%C3%B6%C3%9Fe.jpg"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("https://Elsewhere.example/x?secret=1", "from elsewhere.example: ASSET_SYNC_MEDIA__HOSTS"),
        ("//elsewhere.example:8443/", "from elsewhere.example: ASSET_SYNC_MEDIA__HOSTS"),
        ("https://cdn.example.evil/", "from cdn.example.evil: ASSET_SYNC_MEDIA__HOSTS"),
        ("https://localhost@evil.example/", "user name"),
        ("https://evil.example\\@localhost/", "user name"),
        ("http://cdn.example/", "over https, but the URL at cdn.example is of http"),
        ("ftp://localhost/", "over https, but the URL at localhost is of ftp"),
        ("file:///etc/passwd", "cannot be asked"),
        ("http://[x", "cannot be asked"),
        ("http:////[[]", "cannot be asked"),
        ("////x[y", "cannot be asked"),
        ("http://a b/", "from a%20b: ASSET_SYNC_MEDIA__HOSTS"),
        ("gopher:", "cannot be asked"),
    ],
)
async def test_each_redirect_is_judged_anew(tmp_path: Path, target: str, said: str) -> None:
    """By the host that would be asked, however the source writes it."""
    hosts = AllowedHosts(["cdn.example"], ["localhost"])
    async with serving() as source, client_in(tmp_path, hosts) as client:
        source.answers["/f"] = say(b"", 302, Location=target)
        end = await client.get(source.url + "/f")
        assert said in refusal(end)
        assert is_from_host(end)


async def test_a_url_that_cannot_be_asked_says_nothing_of_its_host(client: Client) -> None:
    end = await client.get("https://localhost:abc/f")
    assert "cannot be asked" in refusal(end)
    assert not is_from_host(end)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "169.254.169.254", "10.1.2.3", "[::ffff:10.0.0.1]"]
)
async def test_an_address_inside_is_refused_before_it_is_asked(tmp_path: Path, host: str) -> None:
    """Such as that of a cloud's metadata, also as the target of a redirect."""
    hosts = AllowedHosts([host.strip("[]")], ["localhost"])
    async with serving() as source, client_in(tmp_path, hosts) as client:
        url = f"https://{host}:1/latest/meta-data"
        source.answers["/f"] = say(b"", 302, Location=url)
        for asked in (url, source.url + "/f"):
            end = await client.get(asked)
            assert "which is not public" in refusal(end)
            assert "MEDIA__PRIVATE_HOSTS" in refusal(end)
            assert is_from_host(end) == (asked != url)


# --- lost connections ----------------------------------------------------------------------------


def breaking(
    content: bytes, *, after: int, etag: str = '"v1"', knows_ranges: bool = True
) -> Answer:
    """An answer that ends in the middle; a later one sends the rest that was asked for."""

    async def answer(request: web.Request) -> web.StreamResponse:
        begin = (request.http_range.start or 0) if knows_ranges else 0
        headers = {"etag": etag, "accept-ranges": "bytes"}
        if begin:
            headers["content-range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        response = web.StreamResponse(status=206 if begin else 200, headers=headers)
        response.content_length = len(content) - begin
        await response.prepare(request)
        await response.write(content[begin : begin + after])
        if begin + after < len(content):
            assert request.transport is not None
            await asyncio.sleep(0.05)
            request.transport.close()
        return response

    return answer


async def test_the_rest_is_asked_for_after_a_lost_connection(
    source: Source, client: Client
) -> None:
    content = os.urandom(3 * BUFFER_BYTES)
    source.answers["/f"] = breaking(content, after=BUFFER_BYTES + 1)
    end = await client.get(source.url + "/f")
    assert await client.content(end) == content
    assert end == Downloaded(
        hashlib.sha256(content).hexdigest(), len(content), '"v1"', "application/octet-stream"
    )
    assert source.headers("range") == [
        None,
        f"bytes={BUFFER_BYTES + 1}-",
        f"bytes={2 * BUFFER_BYTES + 2}-",
    ]
    assert source.headers("if-range") == [None, '"v1"', '"v1"']


async def test_a_file_that_changed_meanwhile_is_taken_from_its_beginning(
    source: Source, client: Client
) -> None:
    """The source answers 200 to a range whose ETag is not the file's any more."""
    old, new = b"o" * 2 * BUFFER_BYTES, os.urandom(BUFFER_BYTES)
    source.answers["/f"] = [
        breaking(old, after=BUFFER_BYTES + 100),
        breaking(new, after=1000, etag='"v2"', knows_ranges=False),
        breaking(new, after=BUFFER_BYTES, etag='"v2"'),
    ]
    end = await client.get(source.url + "/f")
    assert await client.content(end) == new
    assert end == Downloaded(
        hashlib.sha256(new).hexdigest(), len(new), '"v2"', "application/octet-stream"
    )
    assert source.headers("range") == [None, f"bytes={BUFFER_BYTES + 100}-", "bytes=1000-"]
    assert source.headers("if-range") == [None, '"v1"', '"v2"']


@pytest.mark.parametrize(
    "second",
    [
        say(b"rest", 206, Content_Range="bytes 1-4/5", ETag='"v1"'),
        say(b"rest", 206, Content_Range="nonsense", ETag='"v1"'),
        say(b"rest", 206, Content_Range=f"bytes {BUFFER_BYTES}-{BUFFER_BYTES + 3}/*", ETag='"v1"'),
        say(b"", 416),
        say(b"", 503),
        say(b"", 304),
    ],
    ids=["from elsewhere", "from nowhere", "to nowhere", "416", "503", "304"],
)
async def test_a_rest_that_does_not_fit_is_not_taken(
    source: Source, client: Client, second: Answer
) -> None:
    source.answers["/f"] = [breaking(b"o" * 2 * BUFFER_BYTES, after=BUFFER_BYTES), second]
    fault(await client.get(source.url + "/f", etag='"v0"'))
    await until_empty(client)


@pytest.mark.parametrize(
    ("etag", "range_", "rest"),
    [
        ('"v2"', "bytes 5-9/10", b"B" * 5),
        ("", "bytes 5-9/10", b"B" * 5),
        ('"v1"', "bytes 5-6/10", b"A" * 2),
        ('"v1"', "bytes 5-9/10", b"A" * 2),
    ],
    ids=["of another file", "of any file", "less of it", "less than it says"],
)
async def test_the_rest_of_another_file_and_less_than_the_rest_are_not_taken(
    source: Source, client: Client, etag: str, range_: str, rest: bytes
) -> None:
    """Some servers do not know If-Range, or never send more than some bytes at once."""
    second = say(rest, 206, Content_Range=range_, ETag=etag)
    source.answers["/f"] = [breaking(b"A" * 10, after=5), second, say(b"B" * 10)]
    assert "something else than the rest" in fault(await client.get(source.url + "/f"))
    await until_empty(client)
    assert await client.content(await client.get(source.url + "/f")) == b"B" * 10


async def test_a_connection_that_is_lost_behind_the_last_byte(
    source: Source, client: Client
) -> None:
    """Nothing is left to ask for, so the source refuses the range; the next download has none."""

    async def lose_the_end(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"etag": '"v1"', "accept-ranges": "bytes"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"a file")
        assert request.transport is not None
        await asyncio.sleep(0.05)
        request.transport.close()
        return response

    source.answers["/f"] = [lose_the_end, say(b"", 416, Content_Range="bytes */6"), say(b"a file")]
    assert "HTTP 416" in fault(await client.get(source.url + "/f"))
    assert await client.content(await client.get(source.url + "/f")) == b"a file"
    assert source.headers("range") == [None, "bytes=6-", None]


@pytest.mark.parametrize("etag", ['W/"v1"', "", "v1"])
async def test_without_a_strong_etag_nothing_is_resumed(
    source: Source, client: Client, etag: str
) -> None:
    """The rest might be that of another file."""
    source.answers["/f"] = breaking(b"o" * BUFFER_BYTES, after=100, etag=etag)
    assert "The connection failed" in fault(await client.get(source.url + "/f"))
    assert len(source.asked) == 1


async def test_a_source_that_loses_every_connection(source: Source, client: Client) -> None:
    """It is asked a few times, and only while that brings the file on."""
    source.answers["/f"] = breaking(b"o" * 10_000, after=10)
    fault(await client.get(source.url + "/f"))
    assert len(source.asked) == 1 + RESUMES_MAX
    breaks = [breaking(b"o" * 10_000, after=after) for after in (10, 0, 10)]
    for answers, times in ((breaks, 2), (breaks[1:], 1)):
        source.answers["/f"] = list(answers)
        source.asked.clear()
        fault(await client.get(source.url + "/f"))
        assert len(source.asked) == times


async def test_the_limits_hold_for_the_whole_file(source: Source, client: Client) -> None:
    """Not for the rest alone."""
    source.answers["/f"] = breaking(b"o" * 101, after=60)
    assert "at most 100" in refusal(await client.get(source.url + "/f", bytes_max=100))
    source.answers["/f"] = [
        breaking(b"o" * 100, after=60),
        say(b"o" * 41, 206, Content_Range="bytes 60-100/101", ETag='"v1"'),
    ]
    assert "it has 101" in refusal(await client.get(source.url + "/f", bytes_max=100))


# --- cancelling, TLS -----------------------------------------------------------------------------


async def test_a_cancelled_download_leaves_nothing(source: Source, client: Client) -> None:
    began = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"." * BUFFER_BYTES)
            began.set()
            await asyncio.sleep(0.01)

    source.answers["/f"] = drip
    task = asyncio.create_task(client.get(source.url + "/f", bytes_max=1 << 40))
    await asyncio.wait_for(began.wait(), 10)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await until_empty(client)


async def test_certificates_are_verified(tmp_path: Path) -> None:
    ca = trustme.CA()
    serving_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(serving_tls)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    async with serving(tls=serving_tls) as source:
        async with client_in(tmp_path, tls=trusting) as client:
            assert await client.content(await client.get(source.url + "/f")) == b"a file"
        async with client_in(tmp_path) as client:
            assert "certificate" in fault(await client.get(source.url + "/f"))


# --- a disk that is full -------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode != 0:  # noqa: S603
        pytest.skip("no file system can be mounted here (mount needs a privilege)")
    yield path
    subprocess.run(["umount", str(path)], check=True)  # noqa: S603, S607 - as it was mounted


async def test_a_full_disk_is_a_fault_and_keeps_nothing(small_disk: Path, source: Source) -> None:
    """What is on it already stays, and when there is room again, the download succeeds."""
    source.answers |= {"/small": say(b"s" * 600_000), "/large": say(b"l" * 900_000)}
    async with client_in(small_disk) as client:
        small = await client.get(source.url + "/small", file_id=1)
        assert "The disk is full" in fault(await client.get(source.url + "/large", file_id=2))
        assert await client.content(small) == b"s" * 600_000
        assert client.kept == {"1"}
        client.downloads.drop(1)
        large = await client.get(source.url + "/large", file_id=2)
        assert await client.content(large, 2) == b"l" * 900_000
