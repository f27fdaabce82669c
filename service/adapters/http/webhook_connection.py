"""One connection of a sender: aiohttp's protocol, with limits on the head of a request.

aiohttp limits each line of a head, but not the head as a whole, and waits for it without end. This
file uses its private parts for that; tests/unit/adapters/test_webhook_server.py guards them.

Rule 1: a head has at most `HEADER_BYTES_MAX` bytes (431), and a request is complete within
`REQUEST_SECONDS_MAX` after its first byte (408). A sender that leaves its answer unread for as long
is disconnected.
Rule 2: one request at a time. Bytes that come while a request is being answered close the
connection after the answer, so that they take no memory.
Rule 3: above the limit on connections, the longest idle one makes room; if none is idle, the new
one is answered with 503.
Rule 4: what is not HTTP ends a request at once, also in the middle of its body (400), and so do
trailers or an extension of a chunk that are longer than a head.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo

from service.webhooks.head import HEADER_BYTES_MAX

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader

REQUEST_SECONDS_MAX = 10.0
IDLE_SECONDS_MAX = 75.0
"""How long an idle connection is kept; longer than proxies keep theirs (60 s is usual)."""
LINGER_SECONDS = 1.0
"""How long a refused sender may go on sending, so that it reads the answer before a reset."""
RETRY_AFTER_SECONDS = 5
SMALLEST_FIELD_BYTES = len(b"a:\r\n")

SERVER_HEADERS = {"server": "asset-sync"}

Refused = Callable[[HTTPStatus, float], None]
"""Is told the status and the seconds of an answer to a request that was never complete."""


class Connections(web.Server):
    """Makes a protocol for each connection, and knows all that are open."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        refused: Refused,
        connections_max: int,
        request_seconds_max: float,
    ) -> None:
        super().__init__(
            handler,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE_SECONDS_MAX,
            lingering_time=LINGER_SECONDS,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADER_BYTES_MAX // SMALLEST_FIELD_BYTES,
        )
        self.refused = refused
        self.connections_max = connections_max
        self.request_seconds_max = request_seconds_max

    def __call__(self) -> RequestHandler:
        return WebhookConnection(self, loop=self._loop, **self._kwargs)

    @property
    def count(self) -> int:
        return len(self._connections)

    def make_room(self) -> bool:
        """Close the longest idle connection; return whether there was one."""
        for connection in self._connections:  # in the order in which they were opened
            if isinstance(connection, WebhookConnection) and connection.is_idle:
                connection.force_close()
                return True
        return False


class WebhookConnection(RequestHandler):
    """A connection of a sender."""

    __slots__ = (
        "_bare_bytes",
        "_body",
        "_connections",
        "_head_bytes",
        "_head_timer",
        "_is_answering",
        "_socket",
        "_unread_timer",
        "began_at",
    )

    def __init__(self, connections: Connections, **options: Any) -> None:  # noqa: ANN401 - aiohttp's
        super().__init__(connections, **options)
        self._connections = connections
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        """Runs while a part of an answer waits for the sender to read."""
        self._body: StreamReader | None = None
        """The body of the last request whose head is complete."""
        self._bare_bytes = 0
        """Bytes since the body last grew: trailers, which aiohttp keeps, or a chunk's extension."""
        self._is_answering = False
        """Whether the head of a request is complete and its answer is not written yet."""
        self.began_at = 0.0
        """When the first byte of the current request arrived, in the loop's time."""

    @property
    def is_idle(self) -> bool:
        """Whether a request was answered, none has begun since, and it is not being closed."""
        is_between = self._body is not None and not self._is_answering and not self._head_bytes
        return is_between and not self._force_close

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._socket = cast("asyncio.Transport", transport)
        self._socket.set_write_buffer_limits(0)  # pause_writing is called as soon as anything waits
        self.began_at = self._loop.time()
        connections = self._connections
        if connections.count > connections.connections_max and not connections.make_room():
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, linger_seconds=0)
        else:
            self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_is_over()
        self._stop_unread_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give the sender a time to read its answer."""
        super().pause_writing()
        seconds_max = self._connections.request_seconds_max
        self._unread_timer = self._loop.call_later(seconds_max, self._socket.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_unread_timer()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a head or a body; aiohttp passes none to go on with what it has."""
        if len(data) <= HEADER_BYTES_MAX:
            self._take(data)
        else:
            for at in range(0, len(data), HEADER_BYTES_MAX):
                self._take(data[at : at + HEADER_BYTES_MAX])

    def _take(self, data: bytes) -> None:
        """Take not more bytes than a head may have, so that its limit is not far exceeded."""
        if self._close or self._force_close:
            return
        body = None if self._body is None or self._body.is_eof() else self._body
        if data and body is None:
            data = self._begin_or_continue_head(data)
            if not data:
                return
        known_bytes = 0 if body is None else body.total_bytes
        known = len(self._messages)
        super().data_received(data)
        self._drop_pipelined(known if self._is_answering else known + 1)
        if len(self._messages) > known:
            self._head_is_over()
            self._is_answering = True
            self._body = self._messages[-1][1]
            self._bare_bytes = 0
        elif self._head_bytes > HEADER_BYTES_MAX:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._head_bytes and self._head_timer is None:
            self._expect_head()
        elif body is not None:
            self._count_bare_bytes(0 if body.total_bytes > known_bytes else len(data))

    def _count_bare_bytes(self, count: int) -> None:
        """Count bytes of a request by which its body did not grow; 0 if it did."""
        self._bare_bytes = self._bare_bytes + count if count else 0
        if self._bare_bytes > HEADER_BYTES_MAX:
            self.close()
            if self._is_answering:
                self._break_body()

    def _begin_or_continue_head(self, data: bytes) -> bytes:
        """Count bytes of a head, and return them without blank lines before it.

        Some senders add a blank line to a body that does not belong to it (RFC 9112, section 2.2).
        """
        if not self._head_bytes:
            data = data.lstrip(b"\r\n")
        if data and self._is_answering:
            self.close()
            return b""
        if data and not self._head_bytes:
            self.began_at = self._loop.time()
        self._head_bytes += len(data)
        return data

    def _drop_pipelined(self, messages_max: int) -> None:
        """Forget requests that came before the answer to the last one."""
        if len(self._messages) > messages_max:
            self.close()
            while len(self._messages) > messages_max:
                message, _ = self._messages.pop()
                if isinstance(message, _ErrInfo):
                    self._break_body()

    def _break_body(self) -> None:
        """Let nobody wait for the rest of a body whose bytes are not HTTP."""
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(RequestPayloadError("The body is not HTTP."))
            self._body.feed_eof()

    def answer_is_known(self) -> None:
        """Expect another request, which may come as soon as the sender has read the answer."""
        self._is_answering = False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature
    ) -> web.StreamResponse:
        """Return an answer without body: to what is not HTTP, and to a bug in this service."""
        if request.writer.output_size > 0:
            raise ConnectionError("A part of an answer is sent already.")
        self.answer_is_known()
        answered = HTTPStatus(status)
        if isinstance(exc, LineTooLong):
            answered = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        elif answered is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log_exception("A webhook could not be handled", exc_info=exc)
        self._connections.refused(answered, self._loop.time() - self.began_at)
        answer = web.Response(status=answered, headers=SERVER_HEADERS)
        answer.force_close()
        return answer

    def _expect_head(self) -> None:
        deadline = self.began_at + self._connections.request_seconds_max
        self._head_timer = self._loop.call_at(deadline, self._head_is_late)

    def _head_is_over(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _head_is_late(self) -> None:
        has_time = self._loop.time() < self.began_at + self._connections.request_seconds_max
        if self._head_bytes and has_time:  # it began some time after the connection
            self._expect_head()
        elif self._head_bytes:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.force_close()

    def _refuse(self, status: HTTPStatus, linger_seconds: float = LINGER_SECONDS) -> None:
        """Answer a request whose head is not complete, and close a little later."""
        self._connections.refused(status, self._loop.time() - self.began_at)
        self._head_is_over()
        self.close()
        if self.transport is None:
            return
        self.transport.write(_bare_answer(status))
        self._loop.call_later(linger_seconds, self.force_close)


def _bare_answer(status: HTTPStatus) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Content-Length: 0", "Connection: close"]
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        lines.append(f"Retry-After: {RETRY_AFTER_SECONDS}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
