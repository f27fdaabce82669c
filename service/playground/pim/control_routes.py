"""The simulator's own routes: faults, tokens and counts, for whoever runs it."""

from hashlib import sha256

import msgspec
from aiohttp import web

from service.playground.pim.faults import Fault
from service.playground.pim.responses import json_response
from service.playground.pim.routes import PimRoute
from service.playground.pim.simulator import PimSimulator

CONTROL = "/_control"


class ControlRoutes:
    """Lets a user of a simulator see and change its state; no limit or fault applies here."""

    def __init__(self, pim: PimSimulator) -> None:
        self._pim = pim

    def routes(self) -> list[PimRoute]:
        faults, tokens = CONTROL + "/faults", CONTROL + "/tokens"
        return [
            PimRoute("POST", faults, self._add_faults, "make calls fail: a list of faults"),
            PimRoute("DELETE", faults, self._clear_faults, "remove every fault"),
            PimRoute("POST", tokens + "/expire", self._expire, "let all access tokens expire"),
            PimRoute("POST", tokens + "/forget", self._forget, "forget every token"),
            PimRoute("GET", CONTROL + "/counts", self._show_counts, "calls by route, throttled"),
            PimRoute("GET", CONTROL + "/assets", self._show_assets, "all assets, at no cost"),
            PimRoute("GET", CONTROL + "/media", self._show_media, "the media files, by code"),
            PimRoute("DELETE", CONTROL + "/media", self._forget_media, "forget every media file"),
        ]

    async def _add_faults(self, request: web.Request) -> web.Response:
        try:
            self._pim.faults.add(*msgspec.json.decode(await request.read(), type=list[Fault]))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            message = f"A list of faults is needed: {error}"
            return json_response(400, {"code": 400, "message": message})
        return web.Response(status=204)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self._pim.faults.clear()
        return web.Response(status=204)

    async def _expire(self, _: web.Request) -> web.Response:
        self._pim.tokens.expire()
        return web.Response(status=204)

    async def _forget(self, _: web.Request) -> web.Response:
        self._pim.tokens.forget()
        return web.Response(status=204)

    async def _show_counts(self, _: web.Request) -> web.Response:
        counts = {**self._pim.counts, "calls_at_once_seen": self._pim.at_once_seen}
        return json_response(200, counts)

    async def _show_assets(self, _: web.Request) -> web.Response:
        return json_response(200, [self._pim.assets.shown(key) for key in self._pim.state])

    async def _show_media(self, _: web.Request) -> web.Response:
        shown = {
            code: {"bytes": len(content), "sha256": sha256(content).hexdigest()}
            for code, content in self._pim.media.items()
        }
        return json_response(200, shown)

    async def _forget_media(self, _: web.Request) -> web.Response:
        self._pim.media.clear()
        return web.Response(status=204)
