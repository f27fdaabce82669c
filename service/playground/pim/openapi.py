"""The simulator describes itself: one list of routes serves requests and documents them."""

import html
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>asset-sync PIM simulator</title>
<style>body{{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
td{{padding:.2rem .8rem .2rem 0;vertical-align:top}}code{{white-space:nowrap}}</style>
<h1>PIM simulator</h1>
<p>Akeneo's Asset API, as far as its public documents tell. The OpenAPI document:
<a href="/openapi.json">/openapi.json</a>.</p>
<table>{rows}</table></html>
"""


@dataclass(frozen=True)
class Route:
    """One route: how it is served and what it is for."""

    method: str
    path: str
    handler: Handler
    summary: str


def openapi(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = re.sub(r":[^}]+", "", route.path)
        operation: dict[str, Any] = {
            "summary": route.summary,
            "responses": {"default": {"description": "As Akeneo's documents say."}},
        }
        names = re.findall(r"\{(\w+)", route.path)
        if names:
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in names
            ]
        paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "asset-sync PIM simulator", "version": "1"},
        "paths": paths,
    }


def page(routes: Sequence[Route]) -> str:
    """The same for a person."""
    rows = "".join(
        f"<tr><td><code>{route.method}</code><td><code>{html.escape(route.path)}</code>"
        f"<td>{html.escape(route.summary)}"
        for route in routes
    )
    return PAGE.format(rows=rows)


def document_routes(routes: Sequence[Route]) -> list[Route]:
    """Where the page and the document are served."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=page(routes), content_type="text/html")

    async def document(_: web.Request) -> web.Response:
        return web.Response(text=json.dumps(openapi(routes)), content_type="application/json")

    return [
        Route("GET", "/", show, "this page"),
        Route("GET", "/openapi.json", document, "the OpenAPI document"),
    ]
