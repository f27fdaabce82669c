"""The console's port: pages for people who look for an asset.

Rule 1: nothing on this port changes anything, and it sets no cookies. Who may look is decided by
the proxy before it (docs/console.md).
Rule 2: a page contains no script and loads nothing but its style from this port, and the policy in
its headers forbids the rest.
Rule 3: all addresses in a page are relative, so that a proxy may serve it below any path.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from service.adapters.http.listener import Listener
from service.console.facts import PageAnswered, PageEnd, SearchEnded
from service.console.hits import Hits, IndexState
from service.console.links import Links
from service.console.pages import (
    Frame,
    asset_page,
    message_page,
    search_page,
    waiting_page,
)
from service.console.query import Asked, Query, ask, ask_asset
from service.core.facts import Fact
from service.ports import Replicas

CONSOLE_STYLE = "".join(
    (Path(__file__).parent / name).read_text(encoding="utf-8")
    for name in ("page.css", "console.css")
)
"""The look that all pages share, and what only these pages need."""
SEARCHES_MAX = 32
"""Searches that run or wait; further ones are answered with 503."""
CONNECTIONS_MAX = 200
HEAD_BYTES_MAX = 16 * 1024
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "server": "asset-sync",
}

_ANSWERS: dict[int, PageEnd] = {200: "200", 400: "400", 403: "403", 404: "404", 503: "503"}

_NOT_SIGNED_IN = (
    "This page is for signed-in people, and your request does not say who you are. Open it by the "
    "address that your administrator gave you."
)
_BUSY = "Too many people search at this moment. Try again in a few seconds."
_NO_INDEX = (
    "The index of outcomes is being built, so nothing can be found yet. Try again in some minutes."
)
_NO_ASSET = "The address names no asset: it needs a family and a code."
_NO_PAGE = "There is no such page."


@dataclass(frozen=True, slots=True)
class ConsoleHandlers:
    """The functions and texts that the pages are made with.

    Attributes:
        search: Returns a page of hits, or None while the index cannot be searched.
        index: Returns what the index has.
        replicas: Says what is waiting; None if no replicas are set up.
        user_header: The header by which the proxy says who reads, or None if there is none.
    """

    search: Callable[[Query], Awaitable[Hits | None]]
    index: Callable[[], IndexState]
    replicas: Replicas | None
    links: Links
    user_header: str | None
    note: Callable[[Fact], None]


class _AnswerError(Exception):
    """A page other than the one that was asked for."""

    def __init__(self, status: HTTPStatus, title: str, message: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.message = message


class ConsoleServer:
    """Answers people with pages."""

    def __init__(self, handlers: ConsoleHandlers) -> None:
        self._handlers = handlers
        self._searches = 0
        self.is_listening = False
        application = web.Application(middlewares=[self._answer])
        router = application.router
        router.add_get("/", self._search_page)
        router.add_get("/asset", self._asset_page)
        router.add_get("/style.css", _style)
        if handlers.replicas is not None:
            router.add_get("/waiting", self._waiting_page)
        self._listener = Listener(application, CONNECTIONS_MAX, HEAD_BYTES_MAX)

    async def open(self, host: str, port: int) -> int:
        """Listen, and return the port, which matters where 0 was asked for.

        Raises:
            OSError: the address is already in use, or does not belong to this machine.
        """
        bound_port = await self._listener.open(host, port)
        self.is_listening = True
        return bound_port

    async def close(self) -> None:
        """Stop listening, and let the answers of open requests leave."""
        self.is_listening = False
        await self._listener.close()

    # --- pages -------------------------------------------------------------------------------

    async def _search_page(self, request: web.Request) -> web.Response:
        asked = ask(request.query)
        hits = None if asked.is_empty else await self._hits(asked)
        return _html(search_page(self._frame(request), asked, hits, self._handlers.index()))

    async def _asset_page(self, request: web.Request) -> web.Response:
        asked = ask_asset(request.query)
        if not (asked.query.code and asked.query.family):
            raise _AnswerError(HTTPStatus.BAD_REQUEST, "No asset", _NO_ASSET)
        hits = await self._hits(asked)
        return _html(asset_page(self._frame(request), asked, hits, self._handlers.index()))

    async def _waiting_page(self, request: web.Request) -> web.Response:
        assert self._handlers.replicas is not None
        waiting = await self._handlers.replicas.ask()
        return _html(waiting_page(self._frame(request), waiting))

    async def _hits(self, asked: Asked) -> Hits:
        """Search, and note how long it took."""
        if self._searches >= SEARCHES_MAX:
            raise _AnswerError(HTTPStatus.SERVICE_UNAVAILABLE, "Try again", _BUSY)
        self._searches += 1
        began = time.monotonic()
        try:
            hits = await self._handlers.search(asked.query)
        finally:
            self._searches -= 1
        if hits is None:
            raise _AnswerError(HTTPStatus.SERVICE_UNAVAILABLE, "Try again", _NO_INDEX)
        seconds = time.monotonic() - began
        self._handlers.note(SearchEnded(asked.query.kind, seconds, hits.is_partial))
        return hits

    # --- around all pages --------------------------------------------------------------------

    @web.middleware
    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let the handler answer those whom the proxy names; note and complete the answer."""
        try:
            self._require_user(request)
            response = await handler(request)
        except _AnswerError as error:
            response = self._message(request, error)
        except web.HTTPException as error:
            status = HTTPStatus(error.status)
            response = self._message(request, _AnswerError(status, status.phrase, _NO_PAGE))
        except asyncio.CancelledError:
            raise
        except Exception:
            self._handlers.note(PageAnswered("500"))
            raise
        self._handlers.note(PageAnswered(_ANSWERS.get(response.status, "400")))
        response.headers.update(HEADERS)
        return response

    def _message(self, request: web.Request, error: _AnswerError) -> web.Response:
        page = message_page(self._frame(request), error.title, error.message)
        return _html(page, error.status)

    def _require_user(self, request: web.Request) -> None:
        if self._handlers.user_header is not None and not self._user(request):
            raise _AnswerError(HTTPStatus.FORBIDDEN, "Sign in first", _NOT_SIGNED_IN)

    def _frame(self, request: web.Request) -> Frame:
        has_replicas = self._handlers.replicas is not None
        return Frame(self._user(request), has_replicas, self._handlers.links)

    def _user(self, request: web.Request) -> str:
        name = self._handlers.user_header
        return "" if name is None else request.headers.get(name, "").strip()


async def _style(_: web.Request) -> web.Response:
    return web.Response(text=CONSOLE_STYLE, content_type="text/css")


def _html(page: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    body = page.encode("utf-8", "replace")
    return web.Response(body=body, status=status, content_type="text/html", charset="utf-8")
