"""The HTTP port of the service: health checks, metrics and pages (contract.md §6).

Rule 1: no request changes state, except `POST /release` from loopback with the token of its file.
Rule 2: the port closes last in a drain, so that Kubernetes and Prometheus see the drain.
Rule 3: many requests at once do not stop the replica's own work: each turn of the event loop
answers one, and what takes milliseconds is made once for all requests of a moment.
"""

import asyncio
import base64
import hashlib
import hmac
import html
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from service.adapters.http.listener import Listener
from service.adapters.http.release_token import HEADER, TokenFile

if TYPE_CHECKING:
    from service.core.status import HeldBack

Checks = Callable[[], Mapping[str, bool]]
Lines = Callable[[], Sequence[str]]
Handler = Callable[[web.Request], Awaitable[web.Response]]

SHARED_SECONDS = 0.1
"""For how long the metrics are given to further requests as they are."""
CONNECTIONS_MAX = 50


def _page(name: str) -> str:
    """Return a page with the style and the script that all pages share."""
    folder = Path(__file__).parent
    page = (folder / name).read_text(encoding="utf-8")
    for shared in ("page.css", "page.js"):
        text = (folder / shared).read_text(encoding="utf-8")
        page = page.replace(f"/* {shared} */\n", text)
    return page


STATUS_PAGE = _page("status.html")
"""Shows the state of a replica of `run`."""
OVERVIEW_PAGE = _page("overview.html")
"""Shows the tiles and tables of an `Overview`, whatever they are about."""
ASYNCAPI_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
pre{{background:#f4f4f4;padding:1rem;overflow:auto}}</style>
<h1>{title}</h1><p>{description}</p>{channels}
<h2>AsyncAPI document</h2><p>As JSON: <a href="/asyncapi?format=json">/asyncapi?format=json</a></p>
<pre>{document}</pre></html>
"""


@dataclass(frozen=True, slots=True)
class NotReleased:
    """Why a request to release changes nothing, and the HTTP status that says so."""

    message: str
    status: HTTPStatus = HTTPStatus.CONFLICT


NOTHING_HELD_BACK = NotReleased(
    "Nothing is held back: neither the dead-letter limit nor the ceiling on deletes was reached."
)


@dataclass(frozen=True, slots=True)
class AdminHandlers:
    """The functions and texts that the port answers with."""

    live: Checks
    ready: Checks
    live_lines: Lines
    """Lines that `/livez?verbose` adds to the checks."""
    ready_lines: Lines
    """Lines that `/readyz?verbose` adds to the checks."""
    registry: CollectorRegistry
    asyncapi: dict[str, Any] | None = None
    """The document of the program's topics; None if there is no such page."""
    release: "Callable[[str | None], int | NotReleased] | None" = None
    """Resumes after the dead-letter limit or the ceiling on deletes was reached; None if the
    program has neither.

    It is given the name of a source, or None.

    Returns how many changes were held back, or why nothing was released.
    """
    held_back: "Callable[[str | None], HeldBack | NotReleased] | None" = None
    """Returns what `release` would let go of this source, or why nothing would be."""
    status: Callable[[], dict[str, Any]] | None = None
    """The data of the status page; None if there is no status page."""
    page: str = STATUS_PAGE
    """The status page, which fetches its data from `/status`."""


class AdminServer:
    """Answers health checks, Prometheus and operators."""

    def __init__(self, handlers: AdminHandlers) -> None:
        self._handlers = handlers
        self._turn = asyncio.Lock()
        self._token_file: TokenFile | None = None
        self._token = ""
        self._why_no_token = ""
        self._shared_metrics = b""
        self._metrics_made_at = float("-inf")
        self._asyncapi_text = ""
        application = web.Application(middlewares=[self._in_turn])
        router = application.router
        router.add_get("/livez", _probe(handlers.live, handlers.live_lines))
        router.add_get("/readyz", _probe(handlers.ready, handlers.ready_lines))
        router.add_get("/metrics", self._metrics)
        if handlers.asyncapi is not None:
            router.add_get("/asyncapi", self._asyncapi)
        if handlers.release is not None:
            router.add_get("/release", self._held_back, allow_head=False)
            router.add_post("/release", self._release)
        if handlers.status is not None:
            router.add_get("/", self._page)
            router.add_get("/status", self._status)
        self._listener = Listener(application, CONNECTIONS_MAX)

    async def open(self, host: str, port: int) -> int:
        """Listen, and return the port, which matters where 0 was asked for.

        Raises:
            OSError: the address is already in use, or does not belong to this machine.
        """
        bound_port = await self._listener.open(host, port)
        if self._handlers.release is not None:
            self._create_token(bound_port)
        return bound_port

    def _create_token(self, port: int) -> None:
        """Write the token that a release needs into its file."""
        self._token_file = TokenFile(port)
        try:
            self._token = self._token_file.create()
        except OSError as error:
            self._why_no_token = (
                f"The token file {self._token_file.path} cannot be written ({error.strerror}). Set "
                "TMPDIR to a directory that the service can write to, or restart the service, "
                "which resumes too."
            )

    async def close(self) -> None:
        await self._listener.close()
        if self._token:
            assert self._token_file is not None
            self._token_file.remove()

    @web.middleware
    async def _in_turn(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answer the request when those before it are answered, and their turns are over."""
        async with self._turn:
            await asyncio.sleep(0)
            return await handler(request)

    async def _metrics(self, _: web.Request) -> web.Response:
        if time.monotonic() >= self._metrics_made_at + SHARED_SECONDS:
            self._shared_metrics = generate_latest(self._handlers.registry)
            self._metrics_made_at = time.monotonic()
        headers = {"content-type": CONTENT_TYPE_LATEST}
        return web.Response(body=self._shared_metrics, headers=headers)

    async def _asyncapi(self, request: web.Request) -> web.Response:
        document = self._handlers.asyncapi
        assert document is not None
        if request.query.get("format") == "json":
            return web.json_response(document)
        self._asyncapi_text = self._asyncapi_text or _asyncapi_page(document)
        return web.Response(text=self._asyncapi_text, content_type="text/html")

    async def _page(self, _: web.Request) -> web.Response:
        page = self._handlers.page
        headers = {"content-security-policy": _policy(page)}
        return web.Response(text=page, content_type="text/html", headers=headers)

    async def _status(self, _: web.Request) -> web.Response:
        assert self._handlers.status is not None
        return web.json_response(self._handlers.status(), headers={"cache-control": "no-store"})

    async def _held_back(self, request: web.Request) -> web.Response:
        if why := self._why_refused(request):
            return web.json_response({"message": why}, status=403)
        assert self._handlers.held_back is not None
        held = self._handlers.held_back(request.query.get("source"))
        if isinstance(held, NotReleased):
            return web.json_response({"message": held.message}, status=held.status)
        return web.json_response(asdict(held), headers={"cache-control": "no-store"})

    async def _release(self, request: web.Request) -> web.Response:
        if why := self._why_refused(request):
            return web.json_response({"message": why}, status=403)
        assert self._handlers.release is not None
        released = self._handlers.release(request.query.get("source"))
        if isinstance(released, NotReleased):
            return web.json_response({"message": released.message}, status=released.status)
        return web.json_response({"released": released})

    def _why_refused(self, request: web.Request) -> str:
        """Return why the request is refused; an empty text if it is allowed."""
        if not _is_loopback(request.remote) or "origin" in request.headers:
            return "/release is accepted only from the service's own machine."
        if self._why_no_token:
            return self._why_no_token
        given = request.headers.get(HEADER, "").encode(errors="surrogateescape")
        if not self._token or not hmac.compare_digest(given, self._token.encode()):
            assert self._token_file is not None
            return (
                f"The token in {self._token_file.path} is missing or wrong. Run `asset-sync "
                "release` in the service's container, as the service's user."
            )
        return ""


def _probe(checks: Checks, lines: Lines) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        results = checks()
        is_ok = all(results.values())
        text = "ok\n" if is_ok else "failed\n"
        if "verbose" in request.query:
            shown = [f"[{'+' if ok else '-'}]{name} {_word(ok=ok)}" for name, ok in results.items()]
            text = "\n".join([*shown, *lines(), ""])
        return web.Response(text=text, status=200 if is_ok else 503)

    return answer


def _word(*, ok: bool) -> str:
    return "ok" if ok else "failed"


def _is_loopback(remote: str | None) -> bool:
    try:
        address = ip_address(remote or "")
    except ValueError:
        return False
    # So the peer of a connection by IPv4 is named where the socket takes IPv6 as well.
    by_ipv4 = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (by_ipv4 or address).is_loopback


def _policy(page: str) -> str:
    """Return a content security policy that allows only the page's own script, style and data."""
    hashes = {
        tag: base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        for tag in ("script", "style")
        if (found := re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL))
    }
    sources = "".join(f"; {tag}-src 'sha256-{digest}'" for tag, digest in hashes.items())
    return f"default-src 'none'; connect-src 'self'{sources}"


def _asyncapi_page(document: dict[str, Any]) -> str:
    """Return the AsyncAPI document as a page that needs no other file."""
    channels = "".join(
        f"<h2>{html.escape(channel['address'])}</h2><p>{html.escape(channel['description'])}</p>"
        for channel in document["channels"].values()
    )
    return ASYNCAPI_PAGE.format(
        title=html.escape(document["info"]["title"]),
        description=html.escape(document["info"]["description"]),
        channels=channels,
        document=html.escape(json.dumps(document, indent=2)),
    )
