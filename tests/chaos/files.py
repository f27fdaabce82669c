"""The files that some events of a chaos run name.

Each file holds its own URL, so that the PIM's state shows which file of which event an asset has.
"""

import json
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web

from service.playground.local_system import Event
from service.playground.pim.assets import Asset
from service.playground.pim.simulator import PimSimulator

SHARE = 10
"""One event of so many names a file."""
FILES = 200


async def own_url(request: web.Request) -> web.StreamResponse:
    """Answer with a file that holds its URL."""
    return web.Response(body=str(request.url).encode(), headers={"ETag": '"1"'})


def with_file(event: Event, number: int, url: str) -> Event:
    """Return the event, to which one upsert of so many adds a file from this host."""
    values = None if number % SHARE else _values_of(event)
    if values is None:
        return event
    content, given = values
    given["media"] = {"url": f"{url}/{number // SHARE % FILES}.jpg"}
    return event._replace(value=json.dumps(content).encode())


def _values_of(event: Event) -> tuple[dict[str, object], dict[str, object]] | None:
    """Return the event's content and the values in it; None if it is not an upsert."""
    try:
        content = json.loads(event.value or b"")
    except ValueError:  # some events are broken
        return None
    values = content.get("data", content).get("values")
    return (content, values) if values else None


def with_urls(pim: PimSimulator) -> dict[tuple[str, str], Asset]:
    """Return the assets of the PIM with files as events name them, instead of their codes."""
    return {key: _with_urls(asset, pim.media) for key, asset in pim.state.items()}


def _with_urls(asset: Asset, contents: Mapping[str, bytes]) -> Asset:
    codes = asset.values.get("media", {})
    files = {at: code and {"url": contents[code].decode()} for at, code in codes.items()}
    return replace(asset, values=asset.values | {"media": files})
