"""The port for webhooks: reads each request within limits, and answers as it is told.

Rule 1: a body that is complete together with its head costs nothing but its own bytes. Bodies that
come in parts share `READING_BYTES_MAX`, so that slow senders cannot fill the memory.
Rule 2: every answer is noted, and has no body except that of a challenge.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, cast, get_args

from aiohttp import HttpVersion11, web
from aiohttp.web_protocol import RequestPayloadError

from service.adapters.http.open_server import bound_port, open_server
from service.adapters.http.webhook_connection import (
    REQUEST_SECONDS_MAX,
    RETRY_AFTER_SECONDS,
    SERVER_HEADERS,
    Connections,
    WebhookConnection,
)
from service.core.facts import Fact
from service.webhooks.delivery import Delivery, HeaderFields
from service.webhooks.endpoint import Endpoint
from service.webhooks.facts import Answered, RequestAnswered, RequestTurnedAway, WhyBusy
from service.webhooks.head import Answer, Head, answer_to_head

if TYPE_CHECKING:
    from aiohttp.streams import StreamReader

CONNECTIONS_MAX = 1_000
READING_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of all bodies together that are not complete yet."""
CLOSE_SECONDS_MAX = 1.0
"""How long answers may take to leave once the drain is over."""

_CLOSING = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    }
)
"""After these answers the connection closes: where the next request would begin is in doubt."""

_LABELS: Mapping[HTTPStatus, Answered] = {
    HTTPStatus(int(label)): label for label in get_args(Answered)
}

Receive = Callable[[Endpoint, Delivery], Awaitable[HTTPStatus]]

_TOO_LARGE = Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_BUSY = Answer(HTTPStatus.SERVICE_UNAVAILABLE)
_GONE = Answer(HTTPStatus.BAD_REQUEST)
"""The answer to a body that is broken or whose sender went away; the latter never reads it."""


class WebhookServer:
    """Answers the DAMs, on a port of its own."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        receive: Receive,
        note: Callable[[Fact], None],
        body_bytes_max: int,
        connections_max: int = CONNECTIONS_MAX,
        reading_bytes_max: int = READING_BYTES_MAX,
        request_seconds_max: float = REQUEST_SECONDS_MAX,
    ) -> None:
        self._endpoints = endpoints
        self._receive = receive
        self._note = note
        self._body_bytes_max = body_bytes_max
        self._reading_bytes_max = reading_bytes_max
        self._request_seconds_max = request_seconds_max
        self._connections_max = connections_max
        self._connections: Connections | None = None
        self._listening: asyncio.Server | None = None
        self._is_draining = False
        self._is_idle = asyncio.Event()
        """Set in a drain when the last open request is answered."""
        self.open_requests = 0
        """Requests whose head is complete and whose answer is not known yet."""
        self.reading_bytes = 0
        """Bytes of bodies that are not complete yet."""

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._connections.count if self._connections else 0

    @property
    def is_listening(self) -> bool:
        return self._listening is not None and self._listening.is_serving()

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen, and return the port, which matters where 0 was asked for.

        Raises:
            OSError: the address is already in use, or does not belong to this machine.
        """
        self._connections = Connections(
            self._handle, self._note_refusal, self._connections_max, self._request_seconds_max
        )
        self._listening = await open_server(
            self._connections, host, port, tls, self._request_seconds_max
        )
        return bound_port(self._listening)

    async def drain(self, seconds_max: float) -> None:
        """Answer new requests with 503, and wait until the open ones are answered."""
        self._is_draining = True
        if not self.open_requests:
            return
        try:
            await asyncio.wait_for(self._is_idle.wait(), seconds_max)
        except TimeoutError:
            return

    async def close(self) -> None:
        """Stop listening and close every connection."""
        if self._listening is not None:
            self._listening.close()
        if self._connections is not None:
            await self._connections.shutdown(CLOSE_SECONDS_MAX)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        head = _head_of(request)
        connection = cast("WebhookConnection", request.protocol)
        self.open_requests += 1
        try:
            answer = await self._answer(request, head, connection.began_at)
        finally:
            self.open_requests -= 1
            if self._is_draining and not self.open_requests:
                self._is_idle.set()
        connection.answer_is_known()
        seconds = asyncio.get_running_loop().time() - connection.began_at
        self._note_answer(self._source_of(head), answer.status, seconds)
        return self._response(answer, is_read=request.content.is_eof())

    async def _answer(self, request: web.BaseRequest, head: Head, began_at: float) -> Answer:
        endpoint = answer_to_head(head, self._endpoints, self._body_bytes_max)
        if self._is_draining:
            return self._turn_away(head, "draining")
        if isinstance(endpoint, Answer):
            return endpoint
        body = self._whole(request.content)
        if body is None:
            body = await self._read(request, head, began_at + self._request_seconds_max)
        if isinstance(body, Answer):
            return body
        return Answer(await self._receive(endpoint, Delivery(head.headers, body, time.time())))

    def _whole(self, content: "StreamReader") -> bytes | Answer | None:
        """Return a body that is complete already, or its answer; None if more is to come."""
        if not content.is_eof():
            return None
        try:
            body = content.read_nowait()
        except (RequestPayloadError, OSError):
            return _GONE
        return body if len(body) <= self._body_bytes_max else _TOO_LARGE

    async def _read(self, request: web.BaseRequest, head: Head, deadline: float) -> bytes | Answer:
        """Return the body, or the answer to a request whose body is not taken."""
        try:
            if _expects_to_continue(request, head):
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0
            async with asyncio.timeout_at(deadline):
                return await self._read_parts(request, head)
        except TimeoutError:
            return Answer(HTTPStatus.REQUEST_TIMEOUT)
        except (RequestPayloadError, web.HTTPException, OSError):
            return _GONE

    async def _read_parts(self, request: web.BaseRequest, head: Head) -> bytes | Answer:
        body = bytearray()
        try:
            while part := await request.content.readany():
                body += part
                self.reading_bytes += len(part)
                if len(body) > self._body_bytes_max:
                    return _TOO_LARGE
                if self.reading_bytes > self._reading_bytes_max:
                    return self._turn_away(head, "reading")
        finally:
            self.reading_bytes -= len(body)
        return bytes(body)

    def _response(self, answer: Answer, *, is_read: bool) -> web.Response:
        """Return the response; the connection closes if a body may still follow (not `is_read`)."""
        headers = dict(SERVER_HEADERS)
        if answer.status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers["retry-after"] = str(RETRY_AFTER_SECONDS)
        if answer.allow:
            headers["allow"] = answer.allow
        if answer.body:
            headers["content-type"] = "application/json"
        response = web.Response(status=answer.status, body=answer.body or None, headers=headers)
        if self._is_draining or not is_read or answer.status in _CLOSING:
            response.force_close()
        return response

    def _turn_away(self, head: Head, why: WhyBusy) -> Answer:
        self._note(RequestTurnedAway(self._source_of(head), why))
        return _BUSY

    def _source_of(self, head: Head) -> str:
        endpoint = self._endpoints.get(head.path)
        return endpoint.source if endpoint else ""

    def _note_refusal(self, status: HTTPStatus, seconds: float) -> None:
        """Note the answer to a request that was never complete, so that it has no source."""
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self._note(RequestTurnedAway("", "connections"))
        self._note_answer("", status, seconds)

    def _note_answer(self, source: str, status: HTTPStatus, seconds: float) -> None:
        self._note(RequestAnswered(source, _LABELS[status], seconds))


def _expects_to_continue(request: web.BaseRequest, head: Head) -> bool:
    """Return whether the sender waits for a leave to send its body, which HTTP/1.0 knows not."""
    expected = (head.headers.first("expect") or b"").lower()
    return expected == b"100-continue" and request.version >= HttpVersion11


def _head_of(request: web.BaseRequest) -> Head:
    target = request.raw_path
    if not target.startswith("/"):  # with scheme and host, as a proxy may send it
        target = str(request.rel_url)
    path, _, query = target.partition("?")
    return Head(request.method, path, query, HeaderFields(request.raw_headers))
