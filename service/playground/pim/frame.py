"""The checks of a call before its route handles it: limits, faults, token and rights."""

import asyncio
import time
from collections.abc import Mapping

import msgspec
from aiohttp import web

from service.contracts.json_flaw import UNREADABLE
from service.playground.pim.faults import Fault, FaultRoute, FaultTarget
from service.playground.pim.responses import RefusedError, json_response
from service.playground.pim.routes import Handler
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.tokens import TokenRefusedError

RATE_SECONDS = 1.0
RETRY_AFTER = "1"
HANG_LOOK_SECONDS = 0.1
GONE = 499
"""Status of a response whose caller is gone: nobody reads it."""

_RIGHTS: Mapping[FaultRoute, str] = {
    "upsert": "write",
    "option": "structure",
    "upload": "write",
    "download": "read",
}
"""The right that a call needs, where it is not called like the route."""

STORED_MAX = web.RequestKey("stored_max", int)
"""How many items a bulk call stores whose connection is about to be cut."""


class Frame:
    """Puts the handlers of a simulator's routes behind its limits, faults, token and rights."""

    def __init__(self, pim: PimSimulator) -> None:
        self._pim = pim

    def around(self, route: FaultRoute, handler: Handler) -> Handler:
        """Return a handler that calls this one for each call that passes all checks."""

        async def handle(request: web.Request) -> web.StreamResponse:
            pim = self._pim
            pim.counts[route] += 1
            if self._is_throttled():
                return self._throttle()
            connection = request.transport
            if connection is None:
                return web.Response(status=GONE)
            pim.in_flight[connection] = time.monotonic()
            pim.at_once_seen = max(pim.at_once_seen, len(pim.in_flight))
            try:
                return await self._carry_out(route, request, handler)
            except ConnectionError:
                return web.Response(status=GONE)
            finally:
                del pim.in_flight[connection]

        return handle

    async def token(self, request: web.Request) -> web.StreamResponse:
        """Answer a token request: faults hit it, limits do not count it."""
        self._pim.counts["token"] += 1
        fault = self._pim.faults.strike(FaultTarget("token"))
        if fault is not None:
            response = await _response_of(fault, request)
            if response is not None:
                return response
        try:
            body = await request.read()
            authorization = request.headers.get("authorization")
            grant = self._pim.tokens.grant(request.content_type, authorization, body)
            return json_response(200, grant)
        except TokenRefusedError as refused:
            return json_response(refused.status, {"code": refused.status, "message": str(refused)})

    async def _carry_out(
        self, route: FaultRoute, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if self._pim.call_seconds:
            await asyncio.sleep(self._pim.call_seconds)
        fault = await self._fault(route, request) if self._pim.faults.are_pending else None
        if fault is not None:
            response = await _response_of(fault, request)
            if response is not None:
                return response
        try:
            self._check_token(request)
            self._check_right(route)
            if fault is not None and fault.cut == "after":
                self._limit_stored(request, fault)
            response = await handler(request)
        except RefusedError as refused:
            response = json_response(refused.status, refused.body)
        if fault is not None and fault.cut == "after":
            _cut(request)
        return response

    def _limit_stored(self, request: web.Request, fault: Fault) -> None:
        switch = self._pim.switches.stored_before_cut
        stored = fault.stored if fault.stored is not None else switch
        if stored is not None:
            request[STORED_MAX] = stored

    def _is_throttled(self) -> bool:
        pim = self._pim
        now = time.monotonic()
        while pim.recent_calls and now - pim.recent_calls[0] >= RATE_SECONDS:
            pim.recent_calls.popleft()
        if (
            len(pim.in_flight) >= pim.calls_at_once_max
            or len(pim.recent_calls) >= pim.calls_per_second_max
        ):
            return True
        pim.recent_calls.append(now)
        return False

    def _throttle(self) -> web.Response:
        counts = self._pim.counts
        counts["throttled"] += 1
        mode = self._pim.switches.retry_after
        has_header = mode == "always" or (mode == "alternate" and counts["throttled"] % 2 == 1)
        headers = {"Retry-After": RETRY_AFTER} if has_header else {}
        return json_response(429, {"code": 429, "message": "Too many requests"}, headers)

    async def _fault(self, route: FaultRoute, request: web.Request) -> Fault | None:
        info = request.match_info
        assets = frozenset({info["asset"]}) if "asset" in info else frozenset()
        if route == "upsert" and "asset" not in info:
            assets = _codes(await request.read())
        return self._pim.faults.strike(FaultTarget(route, info.get("family"), assets))

    def _check_token(self, request: web.Request) -> None:
        flaw = self._pim.tokens.flaw(request.headers.get("authorization", ""))
        if flaw is not None:
            raise RefusedError(401, flaw)

    def _check_right(self, route: FaultRoute) -> None:
        if _RIGHTS.get(route, route) not in self._pim.rights:
            raise RefusedError(403, "Access forbidden. You are not allowed to do this.")


async def _response_of(fault: Fault, request: web.Request) -> web.StreamResponse | None:
    """Return the fault's response, or None where the call is to be carried out."""
    await asyncio.sleep(fault.delay_seconds)
    if fault.hang:
        await _hang(request)
        return web.Response(status=GONE)
    if fault.cut == "before":
        _cut(request)
        return web.Response(status=503)
    if fault.status is None:
        return None
    headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
    if fault.body == "json":
        content = {"code": fault.status, "message": "A fault on demand."}
        return json_response(fault.status, content, headers)
    text = "<html><body>upstream error</body></html>" if fault.body == "html" else ""
    return web.Response(text=text, status=fault.status, content_type="text/html", headers=headers)


async def _hang(request: web.Request) -> None:
    """Keep the call in flight, so that it counts for the limit, for as long as the caller waits."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(HANG_LOOK_SECONDS)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _codes(body: bytes) -> frozenset[str]:
    try:
        return frozenset(item["code"] for item in msgspec.json.decode(body))
    except (*UNREADABLE, TypeError, KeyError):
        return frozenset()
