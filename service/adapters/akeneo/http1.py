"""One connection: a request out, its answer in, by HTTP/1.1. What comes is read by llhttp.

Rule 1: one exchange at a time; what comes outside of one ends the connection.
Rule 2: an answer is whole or none; the connection of one that is not is not used again.
"""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

import httptools
import httpx

REPLY_BYTES_MAX = 16 * 1024 * 1024
"""A bulk answer of 100 refusals has some hundred KiB; what is larger is not the PIM's."""

HEAD_BYTES_MAX = 64 * 1024
"""Status and headers; some KiB are usual, cookies and all."""

UNPACK_BYTES_MAX = 16 * 1024
"""Unpacked at once: what unpacks to a thousand times as much is bounded by this."""


class BrokenError(Exception):
    """The connection ended, or brought no HTTP; in words."""


class TooLargeError(Exception):
    """The answer exceeds `REPLY_BYTES_MAX`."""


class RawReply(NamedTuple):
    """An answer as it came, unpacked; names of headers in lower case, the first of each."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http1Connection(asyncio.Protocol):
    """Open from its transport's making until it is lost."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.rests_since = 0.0
        """When its last exchange ended, in seconds of the loop's clock; kept by its owner."""
        self._transport: asyncio.Transport | None = None
        self._answer: _Answer | None = None

    @property
    def is_open(self) -> bool:
        """Whether another exchange may begin."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes) -> RawReply:
        """Write a request, read its answer.

        Raises:
            BrokenError: the connection ended, or brought no HTTP.
            TooLargeError: the answer exceeds `REPLY_BYTES_MAX`.
            httpx.DecodingError: it is not packed as it says.
        """
        answer = await self._exchange(request, _Answer())
        return RawReply(answer.status, answer.headers, _unpacked(answer))

    async def tunnel(self, request: bytes) -> tuple[int, str]:
        """Write a CONNECT, read status and reason: after 2xx the line is the other side's."""
        answer = await self._exchange(request, _Answer(is_tunnel=True))
        return answer.status, answer.reason

    async def _exchange(self, request: bytes, answer: "_Answer") -> "_Answer":
        assert self._answer is None, "one exchange at a time"
        transport = self._still_open()
        self._answer = answer
        transport.write(request)
        try:
            await answer.ended
        finally:
            self._answer = None
            answer.let_go()
            if not answer.keeps_connection:
                self.abort()
        return answer

    async def secure(self, tls: ssl.SSLContext, name: str) -> None:
        """From here on by TLS, with whoever has a certificate of this name."""
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(self._still_open(), self, tls, server_hostname=name)
        self._transport = cast("asyncio.Transport", transport)

    def _still_open(self) -> asyncio.Transport:
        """It may have been lost before anybody could be told."""
        if self._transport is None or not self.is_open:
            raise BrokenError("The other side closed it before it was asked.")
        return self._transport

    def abort(self) -> None:
        """End it now; what was not written is lost."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio's side ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """More of the answer; without an exchange a farewell, such as 408, and nobody's."""
        if self._answer is None:
            self.abort()
        else:
            self._answer.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended; that is the end of some answers, and the loss of others."""
        if self._answer is not None:
            self._answer.end_of_data(exc)
        if not self.closed.done():
            self.closed.set_result(None)


class _Answer:
    """What came of an answer so far; llhttp calls the `on_` methods."""

    def __init__(self, *, is_tunnel: bool = False) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.keeps_connection = False
        self._is_tunnel = is_tunnel
        self._body: list[bytes] = []
        self._size = 0
        self._head_size = 0
        self._is_head_read = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def body(self) -> bytes:
        """As it came: out of its chunks, but packed where it is packed."""
        return b"".join(self._body)

    def take(self, data: bytes) -> None:
        """Read on; what comes after the answer's end costs the connection."""
        if self.ended.done():
            self.keeps_connection = False
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.keeps_connection = False
            self._fail(BrokenError(f"The answer is no HTTP: {error}"))
            return
        if not self._is_head_read:
            self._head_size += len(data)
            if self._head_size > HEAD_BYTES_MAX:
                self._fail(BrokenError(f"The answer's head has more than {HEAD_BYTES_MAX} bytes."))

    def end_of_data(self, error: Exception | None) -> None:
        """Nothing more comes: the end of an answer that says no length of its own."""
        says_its_end = "content-length" in self.headers or "transfer-encoding" in self.headers
        if error is None and self._is_head_read and not says_its_end:
            self._end()
            return
        place = "in the middle of" if self._is_head_read else "before"
        broken = BrokenError(f"The other side closed it {place} its answer.")
        broken.__cause__ = error
        self._fail(broken)

    def let_go(self) -> None:
        """The parser knows us and we know it: without the one the other goes at once."""
        del self._parser

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _fail(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)

    # --- llhttp's side -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins, or one more than was asked for."""
        if self.ended.done():
            self.keeps_connection = False

    def on_status(self, reason: bytes) -> None:
        """The words beside the status."""
        if not self.ended.done():
            self.reason += reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; the first of its name counts."""
        if not self.ended.done():
            self.headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """The head is read; all of a tunnel's answer is its head."""
        if self.ended.done():
            return
        self.status = self._parser.get_status_code()
        self._is_head_read = self.status >= 200
        if self._is_tunnel and self._is_head_read:
            self.keeps_connection = self.status < 300
            self._end()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if not self.ended.done():
            self._body.append(data)
            self._size += len(data)
            if self._size > REPLY_BYTES_MAX:
                self._fail(TooLargeError())

    def on_message_complete(self) -> None:
        """The answer is whole, unless it only says that one will come (1xx)."""
        if self.ended.done():
            return
        if self.status < 200:
            self.headers, self.reason = {}, ""
            return
        self.keeps_connection = self._parser.should_keep_alive()
        self._end()


def _unpacked(answer: _Answer) -> bytes:
    packed = answer.body
    encoding = answer.headers.get("content-encoding")
    if encoding is None or not packed:
        return packed
    headers = {"content-encoding": encoding}
    chunks: list[bytes] = []
    size = 0
    for chunk in httpx.Response(200, headers=headers, stream=_Slices(packed)).iter_bytes():
        size += len(chunk)
        if size > REPLY_BYTES_MAX:
            raise TooLargeError
        chunks.append(chunk)
    return b"".join(chunks)


class _Slices(httpx.SyncByteStream):
    """Bytes, a little at a time."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        for begin in range(0, len(self._content), UNPACK_BYTES_MAX):
            yield self._content[begin : begin + UNPACK_BYTES_MAX]
