"""The routes of the structure: families, attributes and options (akeneo.md §5)."""

from typing import Any

import msgspec
from aiohttp import web

from service.playground.pim.frame import Frame
from service.playground.pim.responses import (
    API,
    RefusedError,
    as_map,
    check_code_in_body,
    json_response,
    paged,
    read_object,
    written,
)
from service.playground.pim.routes import PimRoute
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import ATTRIBUTES_MAX, OPTIONS_MAX, Attribute, Family

CHANNELS = API + "/channels"
FAMILIES = API + "/asset-families"
FAMILY = FAMILIES + "/{family}"
ATTRIBUTES = FAMILY + "/attributes"
ATTRIBUTE = ATTRIBUTES + "/{attribute}"
OPTIONS = ATTRIBUTE + "/options"
OPTION = OPTIONS + "/{option}"
FIXED = ("type", "value_per_locale", "value_per_channel")
"""Properties of an attribute that cannot be changed."""


class FamilyRoutes:
    """Serves the structure of a simulator."""

    def __init__(self, pim: PimSimulator) -> None:
        self._pim = pim

    def routes(self, frame: Frame) -> list[PimRoute]:
        around = frame.around
        return [
            PimRoute("GET", CHANNELS, around("read", self._channels), "channels, with locales"),
            PimRoute("GET", FAMILIES, around("read", self._families), "families, by search_after"),
            PimRoute("GET", FAMILY, around("read", self._family), "one family"),
            PimRoute(
                "PATCH", FAMILY, around("option", self._patch_family), "create or change a family"
            ),
            PimRoute("GET", ATTRIBUTES, around("read", self._attributes), "its attributes"),
            PimRoute("GET", ATTRIBUTE, around("read", self._attribute), "one attribute"),
            PimRoute(
                "PATCH", ATTRIBUTE, around("option", self._patch_attribute), "create or change one"
            ),
            PimRoute("GET", OPTIONS, around("read", self._options), "its options"),
            PimRoute("GET", OPTION, around("read", self._option), "one option"),
            PimRoute(
                "PATCH", OPTION, around("option", self._patch_option), "create or change an option"
            ),
        ]

    async def _channels(self, request: web.Request) -> web.Response:
        channels = self._pim.structure.channels
        items = [{"code": code, "locales": locales} for code, locales in channels.items()]
        return paged(request, items, list(channels), more=False)

    # --- families ----------------------------------------------------------------------------

    async def _families(self, request: web.Request) -> web.Response:
        families = self._pim.structure.families
        after = request.query.get("search_after", "")
        codes = sorted(code for code in families if code > after)
        page = codes[: self._pim.switches.page_size]
        items = [self._shown_family(families[code]) for code in page]
        return paged(request, items, page, more=len(codes) > len(page))

    async def _family(self, request: web.Request) -> web.Response:
        return json_response(200, self._shown_family(self._family_of(request)))

    def _family_of(self, request: web.Request) -> Family:
        return self._pim.family(request.match_info["family"])

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
        body = await read_object(request)
        check_code_in_body(body, code, required=True)
        families = self._pim.structure.families
        known = families.get(code)
        family = known or Family(code, {"label": Attribute("label", value_per_locale=True)})
        family.labels.update(body.get("labels") or {})
        families[code] = family
        return written(request, is_new=known is None)

    # --- attributes --------------------------------------------------------------------------

    async def _attributes(self, request: web.Request) -> web.Response:
        attributes = self._family_of(request).attributes or {}
        return json_response(200, [self._shown_attribute(found) for found in attributes.values()])

    async def _attribute(self, request: web.Request) -> web.Response:
        return json_response(200, self._shown_attribute(self._attribute_of(request)))

    def _attribute_of(self, request: web.Request) -> Attribute:
        info = request.match_info
        return self._pim.attribute(info["family"], info["attribute"])

    def _shown_attribute(self, attribute: Attribute) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(attribute)
        del shown["options"]
        shown["labels"] = self._map(attribute.labels)
        return {name: content for name, content in shown.items() if content is not None}

    async def _patch_attribute(self, request: web.Request) -> web.Response:
        family = self._family_of(request)
        code = request.match_info["attribute"]
        body = await read_object(request)
        check_code_in_body(body, code, required=True)
        attributes = family.attributes if family.attributes is not None else {}
        known = attributes.get(code)
        if known is None and len(attributes) >= ATTRIBUTES_MAX:
            raise RefusedError(422, f"A family has {ATTRIBUTES_MAX} attributes at most.")
        after = _changed(known, body) if known else body
        try:
            attributes[code] = msgspec.convert(after, Attribute)
        except msgspec.ValidationError as error:
            raise RefusedError(422, f"The attribute has an invalid format: {error}") from error
        family.attributes = attributes
        return written(request, is_new=known is None)

    # --- options -----------------------------------------------------------------------------

    async def _options(self, request: web.Request) -> web.Response:
        options = self._with_options(request).options
        return json_response(200, [self._shown_option(c, labels) for c, labels in options.items()])

    async def _option(self, request: web.Request) -> web.Response:
        options, code = self._with_options(request).options, request.match_info["option"]
        if code not in options:
            raise RefusedError(404, f'Option "{code}" does not exist.')
        return json_response(200, self._shown_option(code, options[code]))

    async def _patch_option(self, request: web.Request) -> web.Response:
        options, code = self._with_options(request).options, request.match_info["option"]
        body = await read_object(request)
        check_code_in_body(body, code, required=True)
        is_new = code not in options
        if is_new and len(options) >= OPTIONS_MAX:
            raise RefusedError(422, f"An attribute has {OPTIONS_MAX} options at most.")
        options.setdefault(code, {}).update(body.get("labels") or {})
        return written(request, is_new=is_new)

    def _with_options(self, request: web.Request) -> Attribute:
        attribute = self._attribute_of(request)
        if not attribute.has_options:
            raise RefusedError(404, f'Attribute "{attribute.code}" has no options.')
        return attribute

    def _shown_option(self, code: str, labels: dict[str, str]) -> dict[str, Any]:
        return {"code": code, "labels": self._map(labels)}

    def _map(self, content: dict[str, Any]) -> dict[str, Any] | list[Any]:
        return as_map(content, self._pim.switches)


def _changed(known: Attribute, body: dict[str, Any]) -> dict[str, Any]:
    """Return a known attribute as the body changes it, or raise 422."""
    before = msgspec.to_builtins(known)
    for name in FIXED:
        if name in body and body[name] != before[name]:
            raise RefusedError(422, f"The attribute's {name} cannot be changed.")
    after: dict[str, Any] = before | body
    if after == before:
        message = "There should be updates to perform on the attribute. None found."
        errors = [{"property": "", "message": message}]
        raise RefusedError(422, "The attribute does not comply.", errors=errors)
    return after
