"""A PIM over HTTP for tests: the part of the Asset API that the service touches (akeneo.md).

Tokens, families, assets (upsert many, get, list, delete), with per-asset state that is read back
through the API itself. `POST /_control/fault` makes the next answers fail.
"""

import asyncio
import base64
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

API = "/api/rest/v1"
ITEMS_MAX = 100
PAGE_SIZE = 100
TOKEN_BYTES_MAX = 300
CODE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
TOP_LEVEL = frozenset(
    {"code", "values", "created", "updated", "asset_family_code", "attribute_type"}
)


@dataclass(frozen=True)
class Fault:
    """What the next write calls answer: a status, after a delay, or a cut connection."""

    status: int = 503
    delay_seconds: float = 0.0
    retry_after: str | None = None
    cut: bool = False


@dataclass
class PimSimulator:
    """State and rules. `families`: code → attribute codes, None for any attribute."""

    families: dict[str, frozenset[str] | None]
    client_id: str = "client"
    client_secret: str = "secret"
    username: str = "user"
    password: str = "password"
    call_seconds: float = 0.0
    calls_at_once_max: int = 100
    token_seconds: int = 3600
    assets: dict[tuple[str, str], dict[str, dict[tuple[str | None, str | None], Any]]] = field(
        default_factory=dict
    )
    calls: int = 0
    """Writes that came in."""
    logins: int = 0
    """Tokens that were given."""
    faults: deque[Fault] = field(default_factory=deque)
    is_down: bool = False
    _tokens: set[str] = field(default_factory=set)
    _in_flight: int = 0

    def application(self) -> web.Application:
        """The simulator as a web application."""
        application = web.Application(client_max_size=64 * 1024**2)
        family = API + "/asset-families/{family}"
        application.router.add_post("/api/oauth/v1/token", self._token)
        application.router.add_get(API + "/asset-families", self._get_families)
        application.router.add_get(family, self._get_family)
        application.router.add_get(family + "/assets", self._list_assets)
        application.router.add_patch(family + "/assets", self._upsert_assets)
        application.router.add_get(family + "/assets/{code}", self._get_asset)
        application.router.add_delete(family + "/assets/{code}", self._delete_asset)
        application.router.add_post("/_control/fault", self._control_fault)
        return application

    # --- tokens (§1) -------------------------------------------------------------------------

    async def _token(self, request: web.Request) -> web.Response:
        if self.is_down:
            return _html(503)
        body = await request.read()
        if len(body) > TOKEN_BYTES_MAX:
            return _error(413, "Request content exceeded the maximum allowed size of 300 bytes")
        pair = f"{self.client_id}:{self.client_secret}".encode()
        expected = "Basic " + base64.b64encode(pair).decode()
        if request.headers.get("authorization") != expected:
            return _error(422, 'Parameter "client_id" is missing or does not match any client')
        try:
            grant = msgspec.json.decode(body, type=dict[str, str])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _error(400, "Invalid json message received")
        if grant.get("grant_type") == "refresh_token":
            if grant.get("refresh_token") not in self._tokens:
                return _error(422, "Refresh token is invalid or has expired")
        elif (grant.get("username"), grant.get("password")) != (self.username, self.password):
            return _error(422, "No user found for the given username and password")
        self.logins += 1
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        self._tokens |= {access, refresh}
        return _json(
            200,
            {
                "access_token": access,
                "expires_in": self.token_seconds,
                "token_type": "bearer",
                "scope": None,
                "refresh_token": refresh,
            },
        )

    def forget_tokens(self) -> None:
        """Every token, refresh tokens too, is unknown from now on."""
        self._tokens.clear()

    # --- reading -----------------------------------------------------------------------------

    async def _get_families(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        items = [{"code": code} for code in sorted(self.families)]
        return refusal or _json(200, {"_links": {}, "_embedded": {"items": items}})

    async def _get_family(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request) or self._unknown_family(request)
        return refusal or _json(200, {"code": request.match_info["family"], "labels": {}})

    async def _get_asset(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request) or self._unknown_family(request)
        if refusal:
            return refusal
        key = (request.match_info["family"], request.match_info["code"])
        if key not in self.assets:
            return _error(404, f'Asset "{key[1]}" does not exist.')
        return _json(200, self._shown(key))

    async def _list_assets(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request) or self._unknown_family(request)
        if refusal:
            return refusal
        family = request.match_info["family"]
        after = request.query.get("search_after", "")
        codes = sorted(code for f, code in self.assets if f == family and code > after)
        page = codes[:PAGE_SIZE]
        links: dict[str, Any] = {"self": {"href": str(request.url)}}
        if len(codes) > PAGE_SIZE:
            links["next"] = {"href": str(request.url.with_query(search_after=page[-1]))}
        items = [self._shown((family, code)) for code in page]
        return _json(200, {"_links": links, "_embedded": {"items": items}})

    def _shown(self, key: tuple[str, str]) -> dict[str, Any]:
        values = {
            attribute: [
                {"locale": locale, "channel": channel, "data": data}
                for (locale, channel), data in entries.items()
            ]
            for attribute, entries in self.assets[key].items()
            if entries
        }
        return {"code": key[1], "values": values}

    # --- writing -----------------------------------------------------------------------------

    async def _upsert_assets(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        refusal = await self._before_write(request) or self._unknown_family(request)
        if refusal:
            return refusal
        try:
            items = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _error(400, "Invalid json message received")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            return _error(400, "The list of assets has an invalid format.")
        if len(items) > ITEMS_MAX:
            return _error(413, "Too many resources to process, 100 is the maximum allowed.")
        family = request.match_info["family"]
        return _json(200, [self._upsert(family, item) for item in items])

    def _upsert(self, family: str, item: dict[str, Any]) -> dict[str, Any]:
        code, values = item.get("code", ""), item.get("values", {})
        if not isinstance(code, str) or not code or set(code) - CODE_CHARACTERS:
            return _item(code, "The asset has an invalid format.", "code", "Invalid code.")
        for name in item.keys() - TOP_LEVEL:
            return {"code": code, "status_code": 422, "message": f"Property '{name}' is unknown."}
        if not isinstance(values, dict):
            return _item(code, "The asset has an invalid format.", "values", "Not an object.")
        known = self.families[family]
        for attribute in values:
            if known is not None and attribute not in known:
                message = f'Attribute "{attribute}" does not exist.'
                rule = "The asset has data that does not comply with the business rules."
                return _item(code, rule, f"values.{attribute}", message)
        is_new = (family, code) not in self.assets
        asset = self.assets.setdefault((family, code), {})
        for attribute, entries in values.items():
            place = asset.setdefault(attribute, {})
            for entry in entries:
                key = (entry.get("locale"), entry.get("channel"))
                place.pop(key, None)
                if entry["data"] is not None:
                    place[key] = entry["data"]
        return {"code": code, "status_code": 201 if is_new else 204}

    async def _delete_asset(self, request: web.Request) -> web.StreamResponse:
        refusal = await self._before_write(request) or self._unknown_family(request)
        if refusal:
            return refusal
        key = (request.match_info["family"], request.match_info["code"])
        if self.assets.pop(key, None) is None:
            return _error(404, f'Asset "{key[1]}" does not exist.')
        return web.Response(status=204)

    # --- refusing ----------------------------------------------------------------------------

    async def _before_write(self, request: web.Request) -> web.Response | None:
        self.calls += 1
        if self._in_flight >= self.calls_at_once_max:
            return _error(429, "Too many requests", {"Retry-After": "1"})
        self._in_flight += 1
        try:
            await asyncio.sleep(self.call_seconds)
            if self.faults:
                return await self._fail(request, self.faults.popleft())
        finally:
            self._in_flight -= 1
        return self._refusal(request)

    async def _fail(self, request: web.Request, fault: Fault) -> web.Response:
        await asyncio.sleep(fault.delay_seconds)
        if fault.cut and request.transport is not None:
            request.transport.close()
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        return _html(fault.status, headers)

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self.is_down:
            return _html(503)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            return _error(401, "Authentication is required")
        if token not in self._tokens:
            return _error(401, "The access token provided is invalid.")
        return None

    def _unknown_family(self, request: web.Request) -> web.Response | None:
        family = request.match_info["family"]
        if family in self.families:
            return None
        return _error(404, f'Asset family "{family}" does not exist.')

    async def _control_fault(self, request: web.Request) -> web.Response:
        """Make the next `count` writes answer `fault`; `{"down": true}` makes all fail."""
        wanted = msgspec.json.decode(await request.read(), type=dict[str, Any])
        if "down" in wanted:
            self.is_down = bool(wanted["down"])
        else:
            fault = msgspec.convert(wanted.get("fault", {}), Fault)
            self.faults.extend([fault] * int(wanted.get("count", 1)))
        return web.Response(status=204)


async def serve(simulator: PimSimulator, port: int = 0) -> tuple[web.AppRunner, str]:
    """Serve on loopback; the runner to clean up, and the base URL."""
    runner = web.AppRunner(simulator.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


def _json(status: int, content: object) -> web.Response:
    body = msgspec.json.encode(content)
    return web.Response(body=body, status=status, content_type="application/json")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = msgspec.json.encode({"code": status, "message": message})
    return web.Response(
        body=body, status=status, content_type="application/json", headers=headers or {}
    )


def _html(status: int, headers: dict[str, str] | None = None) -> web.Response:
    text = "<html><body>upstream error</body></html>"
    return web.Response(text=text, status=status, content_type="text/html", headers=headers or {})


def _item(code: object, message: str, path: str, detail: str) -> dict[str, Any]:
    errors = [{"property": path, "message": detail}]
    return {"code": code, "status_code": 422, "message": message, "errors": errors}
