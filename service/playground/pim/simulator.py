"""The PIM's routes (akeneo.md §0): strict about its limits, with its state behind them."""

import asyncio
import secrets
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web

from service.playground.pim.assets import Asset, Assets, ItemRefusedError
from service.playground.pim.faults import Fault, Faults, Request, Route
from service.playground.pim.openapi import Route as Served
from service.playground.pim.openapi import document_routes
from service.playground.pim.structure import (
    ATTRIBUTES_MAX,
    OPTIONS_MAX,
    Attribute,
    Family,
    Structure,
)
from service.playground.pim.switches import Switches
from service.playground.pim.tokens import TokenRefusedError, Tokens

API = "/api/rest/v1"
ITEMS_MAX = 100
BODY_BYTES_MAX = 8 * 1024 * 1024
MEDIA_BYTES_MAX = 64 * 1024 * 1024
RATE_SECONDS = 1.0
RETRY_AFTER = "1"
HANG_LOOK_SECONDS = 0.1
GONE = 499
"""The caller is gone; nobody reads this."""

STORED_MAX = web.RequestKey("stored_max", int)
"""Of a bulk call that is about to be cut: how many items it stores."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RefusedError(Exception):
    """Any answer but success, in the PIM's own shape (§8)."""

    def __init__(self, status: int, message: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        super().__init__(message)
        self.status = status
        self.body = {"code": status, "message": message, **more}


class PimSimulator:
    """One PIM. Limits are those of the real one; `call_seconds` is how long each call takes."""

    def __init__(
        self,
        structure: Structure,
        *,
        switches: Switches | None = None,
        call_seconds: float = 0.0,
        calls_at_once_max: int = 4,
        calls_per_second_max: int = 100,
    ) -> None:
        self.structure = structure
        self.switches = switches or Switches()
        self.call_seconds = call_seconds
        self.calls_at_once_max = calls_at_once_max
        self.calls_per_second_max = calls_per_second_max
        self.tokens = Tokens()
        self.faults = Faults()
        self.media: dict[str, bytes] = {}
        self.assets = Assets(structure, self.switches, self.media)
        self.rights = {"read", "write", "delete", "structure"}
        """Of the connection; without one its calls are answered 403."""
        self.counts: Counter[str] = Counter()
        """Calls by route, and `throttled`."""
        self.at_once_seen = 0
        self.in_flight: dict[asyncio.Transport, float] = {}
        """Connections whose call is being carried out, and since when (monotonic)."""
        self._sent: deque[float] = deque()

    @property
    def state(self) -> dict[tuple[str, str], Asset]:
        """The assets, by (family, code)."""
        return self.assets.by_key

    @property
    def writes(self) -> int:
        """Upsert and delete calls that came in."""
        return self.counts["upsert"] + self.counts["delete"]

    def go_down(self) -> None:
        """Nothing works, no route, until `come_back`."""
        self.faults.add(Fault(route="any", status=503, times=None))

    def come_back(self) -> None:
        """Every fault is taken back."""
        self.faults.clear()

    # --- routes ------------------------------------------------------------------------------

    def application(self) -> web.Application:
        """The simulator as a web application."""
        application = web.Application(client_max_size=MEDIA_BYTES_MAX)
        routes = [*self._api_routes(), *self._control_routes()]
        for route in [*routes, *document_routes(routes)]:
            application.router.add_route(route.method, route.path, route.handler)
        return application

    def _api_routes(self) -> list[Served]:
        families = API + "/asset-families"
        family = families + "/{family}"
        attribute = family + "/attributes/{attribute}"
        asset = family + "/assets/{asset}"
        api = self._api
        return [
            Served("POST", "/api/oauth/v1/token", self._token, "password grant, refresh"),
            Served("GET", API, self._root, "the routes; no token needed"),
            Served(
                "GET", API + "/system-information", api("read", self._system), "version, edition"
            ),
            Served("GET", families, api("read", self._families), "families, by search_after"),
            Served("GET", family, api("read", self._family), "one family"),
            Served("PATCH", family, api("option", self._patch_family), "create or change a family"),
            Served("GET", family + "/attributes", api("read", self._attributes), "its attributes"),
            Served("GET", attribute, api("read", self._attribute), "one attribute"),
            Served(
                "PATCH", attribute, api("option", self._patch_attribute), "create or change one"
            ),
            Served("GET", attribute + "/options", api("read", self._options), "its options"),
            Served("GET", attribute + "/options/{option}", api("read", self._option), "one option"),
            Served(
                "PATCH",
                attribute + "/options/{option}",
                api("option", self._patch_option),
                "create or change an option",
            ),
            Served("GET", family + "/assets", api("read", self._list), "assets, by search_after"),
            Served("PATCH", family + "/assets", api("upsert", self._bulk), "upsert up to 100"),
            Served("GET", asset, api("read", self._get), "one asset"),
            Served("PATCH", asset, api("upsert", self._patch), "upsert one"),
            Served("DELETE", asset, api("delete", self._delete), "delete one"),
            Served(
                "POST",
                API + "/asset-media-files",
                api("write", self._upload),
                "upload a media file",
            ),
            Served(
                "GET",
                API + "/asset-media-files/{code:.+}",
                api("read", self._download),
                "download a media file",
            ),
        ]

    def _control_routes(self) -> list[Served]:
        return [
            Served(
                "POST", "/_control/faults", self._add_faults, "make calls fail: a list of faults"
            ),
            Served("DELETE", "/_control/faults", self._clear_faults, "everything is well again"),
            Served("POST", "/_control/tokens/expire", self._expire, "access tokens have run out"),
            Served("POST", "/_control/tokens/forget", self._forget, "no token is known any more"),
            Served("GET", "/_control/counts", self._show_counts, "calls by route, throttled"),
            Served("GET", "/_control/assets", self._show_assets, "all assets, at no cost"),
        ]

    # --- the frame of every call -------------------------------------------------------------

    def _api(self, route: Route, answer: Answer) -> Answer:
        """A route behind limits, faults, token and rights."""

        async def handle(request: web.Request) -> web.StreamResponse:
            self.counts[route] += 1
            if self._is_throttled():
                return self._throttle()
            connection = request.transport
            if connection is None:
                return web.Response(status=GONE)
            self.in_flight[connection] = time.monotonic()
            self.at_once_seen = max(self.at_once_seen, len(self.in_flight))
            try:
                return await self._carry_out(route, request, answer)
            except ConnectionError:
                return web.Response(status=GONE)
            finally:
                del self.in_flight[connection]

        return handle

    async def _carry_out(
        self, route: Route, request: web.Request, answer: Answer
    ) -> web.StreamResponse:
        if self.call_seconds:
            await asyncio.sleep(self.call_seconds)
        fault = await self._fault(route, request) if self.faults.are_pending else None
        if fault is not None:
            struck = await self._strike(request, fault)
            if struck is not None:
                return struck
        try:
            self._check_token(request)
            self._check_right(route)
            if fault is not None and fault.cut == "after":
                self._limit_stored(request, fault)
            response = await answer(request)
        except RefusedError as refused:
            response = _json(refused.status, refused.body)
        if fault is not None and fault.cut == "after":
            _cut(request)
        return response

    def _limit_stored(self, request: web.Request, fault: Fault) -> None:
        stored = fault.stored if fault.stored is not None else self.switches.stored_before_cut
        if stored is not None:
            request[STORED_MAX] = stored

    def _is_throttled(self) -> bool:
        now = time.monotonic()
        while self._sent and now - self._sent[0] >= RATE_SECONDS:
            self._sent.popleft()
        if (
            len(self.in_flight) >= self.calls_at_once_max
            or len(self._sent) >= self.calls_per_second_max
        ):
            return True
        self._sent.append(now)
        return False

    def _throttle(self) -> web.Response:
        self.counts["throttled"] += 1
        mode = self.switches.retry_after
        says = mode == "always" or (mode == "alternate" and self.counts["throttled"] % 2 == 1)
        headers = {"Retry-After": RETRY_AFTER} if says else {}
        return _json(429, {"code": 429, "message": "Too many requests"}, headers)

    async def _fault(self, route: Route, request: web.Request) -> Fault | None:
        info = request.match_info
        assets = frozenset({info["asset"]}) if "asset" in info else frozenset()
        if route == "upsert" and "asset" not in info:
            assets = _codes(await request.read())
        return self.faults.strike(Request(route, info.get("family"), assets))

    async def _strike(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        """The fault's answer; None where the call is carried out (and perhaps cut after)."""
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
        return _faulty(fault, headers)

    def _check_token(self, request: web.Request) -> None:
        flaw = self.tokens.flaw(request.headers.get("authorization", ""))
        if flaw is not None:
            raise RefusedError(401, flaw)

    def _check_right(self, route: Route) -> None:
        right = {"upsert": "write", "option": "structure"}.get(route, route)
        if right not in self.rights:
            raise RefusedError(403, "Access forbidden. You are not allowed to do this.")

    # --- tokens and the system ---------------------------------------------------------------

    async def _token(self, request: web.Request) -> web.StreamResponse:
        self.counts["token"] += 1
        fault = self.faults.strike(Request("token"))
        if fault is not None:
            struck = await self._strike(request, fault)
            if struck is not None:
                return struck
        try:
            body = await request.read()
            authorization = request.headers.get("authorization")
            return _json(200, self.tokens.grant(request.content_type, authorization, body))
        except TokenRefusedError as refused:
            return _json(refused.status, {"code": refused.status, "message": str(refused)})

    async def _root(self, _: web.Request) -> web.Response:
        routes = {
            f"{route.method} {route.path}": {"route": route.path, "methods": [route.method]}
            for route in self._api_routes()
        }
        return _json(200, {"host": "", "authentication": {}, "routes": routes})

    async def _system(self, _: web.Request) -> web.Response:
        return _json(200, {"version": "7.0.51", "edition": "EE"})

    # --- structure (§5) ----------------------------------------------------------------------

    def _family_of(self, request: web.Request) -> Family:
        code = request.match_info["family"]
        found = self.structure.families.get(code)
        if found is None:
            raise RefusedError(404, f'Asset family "{code}" does not exist.')
        return found

    def _attribute_of(self, request: web.Request) -> Attribute:
        code = request.match_info["attribute"]
        found = (self._family_of(request).attributes or {}).get(code)
        if found is None:
            raise RefusedError(404, f'Attribute "{code}" does not exist.')
        return found

    async def _families(self, request: web.Request) -> web.Response:
        after = request.query.get("search_after", "")
        codes = sorted(code for code in self.structure.families if code > after)
        page = codes[: self.switches.page_size]
        items = [self._shown_family(self.structure.families[code]) for code in page]
        return self._paged(request, items, page, more=len(codes) > len(page))

    async def _family(self, request: web.Request) -> web.Response:
        return _json(200, self._shown_family(self._family_of(request)))

    def _shown_family(self, family: Family) -> dict[str, Any]:
        return {
            "code": family.code,
            "labels": self._map(family.labels),
            "attribute_as_main_media": family.attribute_as_main_media,
            "naming_convention": self._map({}),
            "product_link_rules": [],
            "transformations": [],
        }

    async def _patch_family(self, request: web.Request) -> web.Response:
        code = request.match_info["family"]
        body = await _object(request)
        _check_code_in_body(body, code, required=True)
        known = self.structure.families.get(code)
        family = known or Family(code, {"label": Attribute("label", value_per_locale=True)})
        family.labels.update(body.get("labels") or {})
        self.structure.families[code] = family
        return self._written(request, is_new=known is None)

    async def _attributes(self, request: web.Request) -> web.Response:
        attributes = self._family_of(request).attributes or {}
        return _json(200, [self._shown_attribute(found) for found in attributes.values()])

    async def _attribute(self, request: web.Request) -> web.Response:
        return _json(200, self._shown_attribute(self._attribute_of(request)))

    def _shown_attribute(self, attribute: Attribute) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(attribute)
        del shown["options"]
        shown["labels"] = self._map(attribute.labels)
        return {name: content for name, content in shown.items() if content is not None}

    async def _patch_attribute(self, request: web.Request) -> web.Response:
        family = self._family_of(request)
        code = request.match_info["attribute"]
        body = await _object(request)
        _check_code_in_body(body, code, required=True)
        attributes = family.attributes if family.attributes is not None else {}
        known = attributes.get(code)
        before = msgspec.to_builtins(known) if known else {}
        for name in ("type", "value_per_locale", "value_per_channel"):
            if known and name in body and body[name] != before[name]:
                raise RefusedError(422, f"The attribute's {name} cannot be changed.")
        after = before | body
        if known and after == before:
            message = "There should be updates to perform on the attribute. None found."
            errors = [{"property": "", "message": message}]
            raise RefusedError(422, "The attribute does not comply.", errors=errors)
        if known is None and len(attributes) >= ATTRIBUTES_MAX:
            raise RefusedError(422, f"A family has {ATTRIBUTES_MAX} attributes at most.")
        try:
            attributes[code] = msgspec.convert(after, Attribute)
        except msgspec.ValidationError as error:
            raise RefusedError(422, f"The attribute has an invalid format: {error}") from error
        family.attributes = attributes
        return self._written(request, is_new=known is None)

    async def _options(self, request: web.Request) -> web.Response:
        options = self._with_options(request).options
        return _json(200, [self._shown_option(c, labels) for c, labels in options.items()])

    async def _option(self, request: web.Request) -> web.Response:
        options, code = self._with_options(request).options, request.match_info["option"]
        if code not in options:
            raise RefusedError(404, f'Option "{code}" does not exist.')
        return _json(200, self._shown_option(code, options[code]))

    async def _patch_option(self, request: web.Request) -> web.Response:
        options, code = self._with_options(request).options, request.match_info["option"]
        body = await _object(request)
        _check_code_in_body(body, code, required=True)
        is_new = code not in options
        if is_new and len(options) >= OPTIONS_MAX:
            raise RefusedError(422, f"An attribute has {OPTIONS_MAX} options at most.")
        options.setdefault(code, {}).update(body.get("labels") or {})
        return self._written(request, is_new=is_new)

    def _with_options(self, request: web.Request) -> Attribute:
        attribute = self._attribute_of(request)
        if not attribute.has_options:
            raise RefusedError(404, f'Attribute "{attribute.code}" has no options.')
        return attribute

    def _shown_option(self, code: str, labels: dict[str, str]) -> dict[str, Any]:
        return {"code": code, "labels": self._map(labels)}

    # --- assets (§2, §3) ---------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.Response:
        family = self._family_of(request).code
        codes, more = self.assets.page(family, request.query.get("search_after", ""))
        items = [self.assets.shown((family, code)) for code in codes]
        return self._paged(request, items, codes, more=more)

    async def _get(self, request: web.Request) -> web.Response:
        return _json(200, self.assets.shown(self._key_of(request)))

    def _key_of(self, request: web.Request) -> tuple[str, str]:
        key = self.assets.key(self._family_of(request).code, request.match_info["asset"])
        if key not in self.state:
            raise RefusedError(404, f'Asset "{key[1]}" does not exist.')
        return key

    async def _bulk(self, request: web.Request) -> web.Response:
        items = await self._items(request)
        if self.switches.unknown_family_on_bulk == "404":
            family = self._family_of(request)
        else:
            code = request.match_info["family"]
            known = self.structure.families.get(code)
            if known is None:
                message = f'Asset family "{code}" does not exist.'
                return _json(200, [_item(item, 422, message) for item in items])
            family = known
        stored_max = request.get(STORED_MAX, len(items))
        seen: set[object] = set()
        results = []
        for item in items[:stored_max]:
            repeated = item.get("code") in seen and self.switches.duplicate_in_batch == "refuse"
            seen.add(item.get("code"))
            if repeated:
                results.append(_item(item, 422, "The code stands twice in the list."))
            else:
                results.append(self._upsert(family, item))
        return _json(200, results)

    async def _items(self, request: web.Request) -> list[dict[str, Any]]:
        found = await self._body(request)
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            message = "The list of assets has an invalid format."
            raise RefusedError(400, message, errors=[{"property": "", "message": "Not a list."}])
        if not found and self.switches.empty_array == "refuse":
            raise RefusedError(400, "The list of assets is empty.")
        if len(found) > ITEMS_MAX:
            message = f"Too many resources to process, {ITEMS_MAX} is the maximum allowed."
            raise RefusedError(413, message)
        return found

    def _upsert(self, family: Family, item: dict[str, Any]) -> dict[str, Any]:
        try:
            return _item(item, self.assets.upsert(family, item))
        except ItemRefusedError as refused:
            return _item(item, 422, str(refused), refused.errors)

    async def _patch(self, request: web.Request) -> web.Response:
        family = self._family_of(request)
        item = await self._body(request)
        if not isinstance(item, dict):
            raise RefusedError(400, "Invalid json message received")
        code = request.match_info["asset"]
        _check_code_in_body(item, code, required=False)
        try:
            status = self.assets.upsert(family, item | {"code": code})
        except ItemRefusedError as refused:
            raise RefusedError(422, str(refused), errors=refused.errors) from refused
        return self._written(request, is_new=status == 201)

    async def _delete(self, request: web.Request) -> web.Response:
        family, code = self._family_of(request), request.match_info["asset"]
        try:
            was_there = self.assets.delete(family.code, code)
        except ItemRefusedError as refused:
            raise RefusedError(422, str(refused)) from refused
        if not was_there:
            raise RefusedError(404, f'Asset "{code}" does not exist.')
        return web.Response(status=204)

    # --- media files (§6) --------------------------------------------------------------------

    async def _upload(self, request: web.Request) -> web.Response:
        if request.content_type != "multipart/form-data":
            raise RefusedError(415, "The Content-Type has to be multipart/form-data.")
        found = (await request.post()).get("file")
        if not isinstance(found, web.FileField):
            raise RefusedError(422, "The property file is required.")
        digest = secrets.token_hex(20)
        given = unquote(found.filename)
        name = "".join(c if c.isalnum() or c in "._-" else "_" for c in given)
        code = f"{digest[0]}/{digest[1]}/{digest[2]}/{digest[3]}/{digest}_{name}"
        self.media[code] = found.file.read()
        location = f"{_base(request)}{API}/asset-media-files/{code}"
        headers = {"Asset-media-file-code": code, "Location": location}
        return web.Response(status=201, headers=headers)

    async def _download(self, request: web.Request) -> web.Response:
        code = request.match_info["code"]
        if code not in self.media:
            raise RefusedError(404, f'Media file "{code}" does not exist.')
        name = code.partition("_")[2]
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return web.Response(body=self.media[code], headers=headers)

    # --- control -----------------------------------------------------------------------------

    async def _add_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults.add(*msgspec.json.decode(await request.read(), type=list[Fault]))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _json(400, {"code": 400, "message": f"A list of faults is needed: {error}"})
        return web.Response(status=204)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self.faults.clear()
        return web.Response(status=204)

    async def _expire(self, _: web.Request) -> web.Response:
        self.tokens.expire()
        return web.Response(status=204)

    async def _forget(self, _: web.Request) -> web.Response:
        self.tokens.forget()
        return web.Response(status=204)

    async def _show_counts(self, _: web.Request) -> web.Response:
        return _json(200, {**self.counts, "calls_at_once_seen": self.at_once_seen})

    async def _show_assets(self, _: web.Request) -> web.Response:
        return _json(200, [self.assets.shown(key) for key in self.state])

    # --- small -------------------------------------------------------------------------------

    async def _body(self, request: web.Request) -> Any:  # noqa: ANN401 - JSON
        if request.content_type != "application/json":
            raise RefusedError(415, "The Content-Type header has to be application/json.")
        body = await request.read()
        if len(body) > BODY_BYTES_MAX:
            raise RefusedError(int(self.switches.oversize), "The request is too large.")
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RefusedError(400, "Invalid json message received") from error

    def _map(self, content: dict[str, Any]) -> dict[str, Any] | list[Any]:
        return [] if not content and self.switches.empty_map == "list" else content

    def _paged(
        self, request: web.Request, items: list[dict[str, Any]], codes: list[str], *, more: bool
    ) -> web.Response:
        here = _base(request) + request.path
        links: dict[str, Any] = {"self": {"href": here}, "first": {"href": here}}
        if more:
            links["next"] = {"href": f"{here}?search_after={codes[-1]}"}
        return _json(200, {"_links": links, "_embedded": {"items": items}})

    def _written(self, request: web.Request, *, is_new: bool) -> web.Response:
        headers = {"Location": _base(request) + request.path}
        return web.Response(status=201 if is_new else 204, headers=headers)


async def serve(simulator: PimSimulator, port: int = 0) -> tuple[web.AppRunner, str]:
    """Serve on loopback; the runner to clean up, and the base URL.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(simulator.application(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, "Invalid json message received") from error
    if not isinstance(found, dict):
        raise RefusedError(400, "Invalid json message received")
    return found


def _check_code_in_body(body: dict[str, Any], code: str, *, required: bool) -> None:
    if "code" not in body and not required:
        return
    if body.get("code") != code:
        raise RefusedError(422, "The code in the body has to be the code in the URL.")


def _codes(body: bytes) -> frozenset[str]:
    try:
        return frozenset(item["code"] for item in msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, KeyError):
        return frozenset()


def _item(
    item: dict[str, Any], status: int, message: str | None = None, errors: list[Any] | None = None
) -> dict[str, Any]:
    result: dict[str, Any] = {"code": item.get("code", ""), "status_code": status}
    if message is not None:
        result["message"] = message
    if errors:
        result["errors"] = errors
    return result


def _faulty(fault: Fault, headers: dict[str, str]) -> web.Response:
    assert fault.status is not None
    if fault.body == "json":
        return _json(fault.status, {"code": fault.status, "message": "A fault on demand."}, headers)
    text = "<html><body>upstream error</body></html>" if fault.body == "html" else ""
    return web.Response(text=text, status=fault.status, content_type="text/html", headers=headers)


async def _hang(request: web.Request) -> None:
    """Hold the call, and its place among those at once, for as long as the caller waits."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(HANG_LOOK_SECONDS)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _base(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def _json(status: int, content: object, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(content),
        status=status,
        content_type="application/json",
        headers=headers or {},
    )
