"""Bodies of requests and responses in the PIM's own shape (akeneo.md §0, §8)."""

from typing import Any

import msgspec
from aiohttp import web

from service.contracts.json_flaw import UNREADABLE
from service.playground.pim.switches import Switches

API = "/api/rest/v1"
BODY_BYTES_MAX = 8 * 1024 * 1024


class RefusedError(Exception):
    """The PIM refuses a call: status and body of its answer."""

    def __init__(self, status: int, message: str, **more: Any) -> None:  # noqa: ANN401 - JSON
        super().__init__(message)
        self.status = status
        self.body = {"code": status, "message": message, **more}


# --- requests --------------------------------------------------------------------------------


async def read_body(request: web.Request, switches: Switches) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON body of an asset call.

    Raises:
        RefusedError: 415 for another content type, 403 or 413 above 8 MB, 400 where it is not JSON.
    """
    if request.content_type != "application/json":
        raise RefusedError(415, "The Content-Type header has to be application/json.")
    body = await request.read()
    if len(body) > BODY_BYTES_MAX:
        raise RefusedError(int(switches.oversize), "The request is too large.")
    return _decoded(body)


async def read_object(request: web.Request) -> dict[str, Any]:
    """Return the JSON object that is the body of a structure call.

    Raises:
        RefusedError: 400, the body is not a JSON object.
    """
    found = _decoded(await request.read())
    if not isinstance(found, dict):
        raise RefusedError(400, "Invalid json message received")
    return found


def _decoded(body: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return msgspec.json.decode(body)
    except UNREADABLE as error:
        raise RefusedError(400, "Invalid json message received") from error


def check_code_in_body(body: dict[str, Any], code: str, *, required: bool) -> None:
    """Compare the body's code with the code in the URL.

    Raises:
        RefusedError: 422, they differ, or a required one is missing.
    """
    if "code" not in body and not required:
        return
    if body.get("code") != code:
        raise RefusedError(422, "The code in the body has to be the code in the URL.")


# --- responses -------------------------------------------------------------------------------


def json_response(
    status: int, content: object, headers: dict[str, str] | None = None
) -> web.Response:
    """Return a response with this content as its JSON body."""
    return web.Response(
        body=msgspec.json.encode(content),
        status=status,
        content_type="application/json",
        headers=headers or {},
    )


def written(request: web.Request, *, is_new: bool) -> web.Response:
    """Return the answer to a PATCH of one thing: 201 or 204, with its location."""
    headers = {"Location": base_url(request) + request.path}
    return web.Response(status=201 if is_new else 204, headers=headers)


def paged(
    request: web.Request, items: list[dict[str, Any]], codes: list[str], *, more: bool
) -> web.Response:
    """Return one page of a list; `codes` are those of its items, the last one leads to the next."""
    here = base_url(request) + request.path
    links: dict[str, Any] = {"self": {"href": here}, "first": {"href": here}}
    if more:
        links["next"] = {"href": f"{here}?search_after={codes[-1]}"}
    return json_response(200, {"_links": links, "_embedded": {"items": items}})


def base_url(request: web.Request) -> str:
    """Return the URL of this PIM as the caller wrote it."""
    return f"{request.scheme}://{request.host}"


def as_map(content: dict[str, Any], switches: Switches) -> dict[str, Any] | list[Any]:
    """Return a map as the PIM writes it in JSON: PHP writes an empty one as a list."""
    return [] if not content and switches.empty_map == "list" else content
