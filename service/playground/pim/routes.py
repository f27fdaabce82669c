"""The one list of routes, from which they are served and the page at `/` is made."""

import html
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>asset-sync PIM simulator</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
td{{padding:.2rem .8rem .2rem 0;vertical-align:top}}code{{white-space:nowrap}}</style>
<h1>PIM simulator</h1>
<p>Akeneo's Asset API, as far as its public documents describe it.</p>
<table>{rows}</table></html>
"""


@dataclass(frozen=True)
class PimRoute:
    """A method and a path of the simulator, its handler, and what it is for."""

    method: str
    path: str
    handler: Handler
    summary: str


def page_of(routes: Sequence[PimRoute]) -> PimRoute:
    """Return the route of a page for people that lists these routes."""
    rows = "".join(
        f"<tr><td><code>{route.method}</code><td><code>{html.escape(route.path)}</code>"
        f"<td>{html.escape(route.summary)}"
        for route in routes
    )

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=PAGE.format(rows=rows), content_type="text/html")

    return PimRoute("GET", "/", show, "this page")
