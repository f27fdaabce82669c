"""Puts the routes of a simulated PIM together and serves them over HTTP."""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from service.playground.pim.asset_routes import AssetRoutes
from service.playground.pim.control_routes import ControlRoutes
from service.playground.pim.family_routes import FamilyRoutes
from service.playground.pim.frame import Frame
from service.playground.pim.media_routes import MEDIA_BYTES_MAX, MediaRoutes
from service.playground.pim.responses import API, json_response
from service.playground.pim.routes import PimRoute, page_of
from service.playground.pim.simulator import PimSimulator


async def serve(pim: PimSimulator, port: int = 0) -> tuple[web.AppRunner, str]:
    """Serve on loopback; return the runner, which has to be cleaned up, and the base URL.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(application(pim), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


@contextlib.asynccontextmanager
async def served(pim: PimSimulator) -> AsyncIterator[str]:
    """Serve on a free port of loopback until the context ends; yield the base URL."""
    runner, url = await serve(pim)
    try:
        yield url
    finally:
        await runner.cleanup()


def application(pim: PimSimulator) -> web.Application:
    """Return the web application of a simulator, with all its routes."""
    made = web.Application(client_max_size=MEDIA_BYTES_MAX)
    routes = [*_api_routes(pim), *ControlRoutes(pim).routes()]
    for route in [*routes, page_of(routes)]:
        made.router.add_route(route.method, route.path, route.handler)
    return made


def _api_routes(pim: PimSimulator) -> list[PimRoute]:
    frame = Frame(pim)
    routes: list[PimRoute] = []

    async def root(_: web.Request) -> web.Response:
        shown = {
            f"{route.method} {route.path}": {"route": route.path, "methods": [route.method]}
            for route in routes
        }
        return json_response(200, {"host": "", "authentication": {}, "routes": shown})

    system = frame.around("read", _system)
    routes += [
        PimRoute("POST", "/api/oauth/v1/token", frame.token, "password grant, refresh"),
        PimRoute("GET", API, root, "the routes; no token needed"),
        PimRoute("GET", API + "/system-information", system, "version, edition"),
        *FamilyRoutes(pim).routes(frame),
        *AssetRoutes(pim).routes(frame),
        *MediaRoutes(pim).routes(frame),
    ]
    return routes


async def _system(_: web.Request) -> web.Response:
    return json_response(200, {"version": "7.0.51", "edition": "EE"})
