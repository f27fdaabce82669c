"""The routes of the assets: read, upsert, delete (akeneo.md §2, §3)."""

from typing import Any

from aiohttp import web

from service.playground.pim.assets import ItemRefusedError
from service.playground.pim.family_routes import FAMILY
from service.playground.pim.frame import STORED_MAX, Frame
from service.playground.pim.responses import (
    RefusedError,
    check_code_in_body,
    json_response,
    paged,
    read_body,
    written,
)
from service.playground.pim.routes import PimRoute
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import Family

ASSETS = FAMILY + "/assets"
ASSET = ASSETS + "/{asset}"
ITEMS_MAX = 100


class AssetRoutes:
    """Serves the assets of a simulator."""

    def __init__(self, pim: PimSimulator) -> None:
        self._pim = pim

    def routes(self, frame: Frame) -> list[PimRoute]:
        around = frame.around
        return [
            PimRoute("GET", ASSETS, around("read", self._list), "assets, by search_after"),
            PimRoute("PATCH", ASSETS, around("upsert", self._bulk), "upsert up to 100"),
            PimRoute("GET", ASSET, around("read", self._get), "one asset"),
            PimRoute("PATCH", ASSET, around("upsert", self._patch), "upsert one"),
            PimRoute("DELETE", ASSET, around("delete", self._delete), "delete one"),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        assets = self._pim.assets
        family = self._family_of(request).code
        codes, more = assets.page(family, request.query.get("search_after", ""))
        items = [assets.shown((family, code)) for code in codes]
        return paged(request, items, codes, more=more)

    async def _get(self, request: web.Request) -> web.Response:
        return json_response(200, self._pim.assets.shown(self._key_of(request)))

    def _family_of(self, request: web.Request) -> Family:
        return self._pim.family(request.match_info["family"])

    def _key_of(self, request: web.Request) -> tuple[str, str]:
        key = self._pim.assets.key(self._family_of(request).code, request.match_info["asset"])
        if key not in self._pim.state:
            raise RefusedError(404, f'Asset "{key[1]}" does not exist.')
        return key

    async def _bulk(self, request: web.Request) -> web.Response:
        items = await self._items(request)
        if self._pim.switches.unknown_family_on_bulk == "404":
            family = self._family_of(request)
        else:
            code = request.match_info["family"]
            known = self._pim.structure.families.get(code)
            if known is None:
                message = f'Asset family "{code}" does not exist.'
                return json_response(200, [_item(item, 422, message) for item in items])
            family = known
        stored_max = request.get(STORED_MAX, len(items))
        return json_response(200, self._upsert_all(family, items[:stored_max]))

    def _upsert_all(self, family: Family, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        refuses_repeated = self._pim.switches.duplicate_in_batch == "refuse"
        seen: set[object] = set()
        results = []
        for item in items:
            is_repeated = item.get("code") in seen and refuses_repeated
            seen.add(item.get("code"))
            if is_repeated:
                results.append(_item(item, 422, "The code stands twice in the list."))
            else:
                results.append(self._upsert(family, item))
        return results

    async def _items(self, request: web.Request) -> list[dict[str, Any]]:
        found = await read_body(request, self._pim.switches)
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            message = "The list of assets has an invalid format."
            raise RefusedError(400, message, errors=[{"property": "", "message": "Not a list."}])
        if not found and self._pim.switches.empty_array == "refuse":
            raise RefusedError(400, "The list of assets is empty.")
        if len(found) > ITEMS_MAX:
            message = f"Too many resources to process, {ITEMS_MAX} is the maximum allowed."
            raise RefusedError(413, message)
        return found

    def _upsert(self, family: Family, item: dict[str, Any]) -> dict[str, Any]:
        try:
            return _item(item, self._pim.assets.upsert(family, item))
        except ItemRefusedError as refused:
            return _item(item, 422, str(refused), refused.errors)

    async def _patch(self, request: web.Request) -> web.Response:
        family = self._family_of(request)
        item = await read_body(request, self._pim.switches)
        if not isinstance(item, dict):
            raise RefusedError(400, "Invalid json message received")
        code = request.match_info["asset"]
        check_code_in_body(item, code, required=False)
        try:
            status = self._pim.assets.upsert(family, item | {"code": code})
        except ItemRefusedError as refused:
            raise RefusedError(422, str(refused), errors=refused.errors) from refused
        return written(request, is_new=status == 201)

    async def _delete(self, request: web.Request) -> web.Response:
        family, code = self._family_of(request), request.match_info["asset"]
        try:
            was_there = self._pim.assets.delete(family.code, code)
        except ItemRefusedError as refused:
            raise RefusedError(422, str(refused)) from refused
        if not was_there:
            raise RefusedError(404, f'Asset "{code}" does not exist.')
        return web.Response(status=204)


def _item(
    item: dict[str, Any], status: int, message: str | None = None, errors: list[Any] | None = None
) -> dict[str, Any]:
    """Return the entry of a bulk response for one item."""
    result: dict[str, Any] = {"code": item.get("code", ""), "status_code": status}
    if message is not None:
        result["message"] = message
    if errors:
        result["errors"] = errors
    return result
