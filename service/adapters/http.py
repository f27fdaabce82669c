"""The service's own port: `/livez`, `/readyz`, `/metrics`, `/asyncapi` (contract §6)."""

import html
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Checks = Callable[[], Mapping[str, bool]]
Handler = Callable[[web.Request], Awaitable[web.Response]]

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
pre{{background:#f4f4f4;padding:1rem;overflow:auto}}</style>
<h1>{title}</h1><p>{description}</p>{channels}
<h2>The document</h2><p>As JSON: <a href="/asyncapi?format=json">/asyncapi?format=json</a></p>
<pre>{document}</pre></html>
"""


class HttpPort:
    """Answers probes. It is the last to close in a drain."""

    def __init__(
        self, live: Checks, ready: Checks, registry: CollectorRegistry, asyncapi: dict[str, Any]
    ) -> None:
        self._registry = registry
        self._asyncapi = asyncapi
        application = web.Application()
        application.router.add_get("/livez", _probe(live))
        application.router.add_get("/readyz", _probe(ready))
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/asyncapi", self._document)
        self._runner = web.AppRunner(application, access_log=None)

    async def open(self, host: str, port: int) -> int:
        """Listen; the port that was taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        taken: int = self._runner.addresses[0][1]
        return taken

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"content-type": CONTENT_TYPE_LATEST})

    async def _document(self, request: web.Request) -> web.Response:
        if request.query.get("format") == "json":
            return web.json_response(self._asyncapi)
        return web.Response(text=_page(self._asyncapi), content_type="text/html")


def _probe(checks: Checks) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        found = checks()
        is_well = all(found.values())
        text = "ok\n" if is_well else "failed\n"
        if "verbose" in request.query:
            text = "".join(
                f"[{'+' if ok else '-'}]{name} {'ok' if ok else 'failed'}\n"
                for name, ok in found.items()
            )
        return web.Response(text=text, status=200 if is_well else 503)

    return answer


def _page(document: dict[str, Any]) -> str:
    """The AsyncAPI document for a person: no build step, no external file."""
    channels = "".join(
        f"<h2>{html.escape(channel['address'])}</h2><p>{html.escape(channel['description'])}</p>"
        for channel in document["channels"].values()
    )
    return PAGE.format(
        title=html.escape(document["info"]["title"]),
        description=html.escape(document["info"]["description"]),
        channels=channels,
        document=html.escape(json.dumps(document, indent=2)),
    )
