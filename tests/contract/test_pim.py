"""Facts of akeneo.md, tested over HTTP on the simulator, or on a real PIM where one is given.

    TEST_PIM_URL, TEST_PIM_CLIENT_ID, TEST_PIM_CLIENT_SECRET, TEST_PIM_USERNAME,
    TEST_PIM_PASSWORD, TEST_PIM_FAMILY (with the attribute `label`, localizable, en_US active)

What it writes there begins with `asset_sync_test_` and is deleted again.
"""

import base64
import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from service.playground.pim.server import serve
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample

API = "/api/rest/v1"


@dataclass
class Client:
    """A client of a PIM."""

    session: aiohttp.ClientSession
    url: str
    credentials: dict[str, str]
    family: str
    headers: dict[str, str] = field(default_factory=dict)

    async def token(self, **grant: str) -> tuple[int, Any]:
        """Ask for a token."""
        known = self.credentials
        pair = f"{known['client_id']}:{known['client_secret']}".encode()
        body = {
            "grant_type": "password",
            "username": known["username"],
            "password": known["password"],
        }
        headers = {"authorization": "Basic " + base64.b64encode(pair).decode()}
        async with self.session.post(
            self.url + "/api/oauth/v1/token", json=body | grant, headers=headers
        ) as answer:
            return answer.status, await answer.json()

    async def log_in(self) -> None:
        """Get a token, and use it for the next calls."""
        status, grant = await self.token()
        assert status == 200, grant
        self.headers = {"authorization": f"Bearer {grant['access_token']}"}

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, Any]:  # noqa: ANN401
        """Return status and JSON of a call (None where there is no body)."""
        async with self.session.request(
            method, self.url + API + path, headers=self.headers | more.pop("headers", {}), **more
        ) as answer:
            return answer.status, await answer.json() if await answer.read() else None

    @property
    def assets(self) -> str:
        """The path of the family's assets."""
        return f"/asset-families/{self.family}/assets"

    async def bulk(self, *items: object) -> tuple[int, Any]:
        """Upsert several assets in one call."""
        return await self.call("PATCH", self.assets, json=list(items))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Give a client with a token, of the simulator unless `TEST_PIM_URL` names another PIM."""
    async with aiohttp.ClientSession() as session:
        if "TEST_PIM_URL" in os.environ:
            names = ("client_id", "client_secret", "username", "password")
            credentials = {name: os.environ[f"TEST_PIM_{name.upper()}"] for name in names}
            url, family = os.environ["TEST_PIM_URL"], os.environ["TEST_PIM_FAMILY"]
            made = Client(session, url.rstrip("/"), credentials, family)
            await made.log_in()
            yield made
            return
        pim = PimSimulator(sample())
        runner, url = await serve(pim)
        tokens = pim.tokens
        credentials = {
            "client_id": tokens.client_id,
            "client_secret": tokens.client_secret,
            "username": tokens.username,
            "password": tokens.password,
        }
        made = Client(session, url, credentials, "packshots")
        await made.log_in()
        yield made
        await runner.cleanup()


@pytest.fixture
async def code(client: Client) -> AsyncIterator[str]:
    """Give a new asset code; the asset is deleted at the end."""
    made = f"asset_sync_test_{uuid.uuid4().hex[:8]}"
    yield made
    await client.call("DELETE", f"{client.assets}/{made}")


def label(text: str | None, locale: str = "en_US") -> dict[str, Any]:
    """Return values with one label."""
    return {"label": [{"locale": locale, "channel": None, "data": text}]}


async def test_a_refresh_token_gives_new_tokens_once(client: Client) -> None:
    """§1.1: both are new."""
    _, first = await client.token()
    status, second = await client.token(
        grant_type="refresh_token", refresh_token=first["refresh_token"]
    )
    assert status == 200
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]


async def test_wrong_credentials_are_422(client: Client) -> None:
    """§1.2: never 401 on the token route."""
    status, body = await client.token(password="wrong")
    assert (status, body["code"]) == (422, 422)
    status, _ = await client.token(grant_type="refresh_token", refresh_token="gone")
    assert status == 422


async def test_a_call_without_a_valid_token_is_401(client: Client) -> None:
    """§1.3."""
    client.headers = {}
    assert (await client.call("GET", "/asset-families"))[0] == 401
    client.headers = {"authorization": "Bearer nonsense"}
    assert (await client.call("GET", "/asset-families"))[0] == 401


async def test_created_then_updated_then_the_same(client: Client, code: str) -> None:
    """§2.2: 201, 204, and 204 where nothing changed."""
    for expected in (201, 204, 204):
        status, items = await client.bulk({"code": code, "values": label("A")})
        assert status == 200
        assert [(item["code"], item["status_code"]) for item in items] == [(code, expected)]


async def test_each_item_for_itself_and_in_order(client: Client, code: str) -> None:
    """§2.2, §2.4: one bad item does not touch the others."""
    bad = {"code": "asset_sync_test_bad", "values": {"asset_sync_no_such_attribute": []}}
    bad["values"] = {"asset_sync_no_such": [{"locale": None, "channel": None, "data": "x"}]}
    status, items = await client.bulk(bad, {"code": code, "values": {}})
    assert status == 200
    assert [item["status_code"] for item in items] == [422, 201]
    assert items[0]["message"]


async def test_values_merge_by_their_place_and_null_erases(client: Client, code: str) -> None:
    """§4.3."""
    await client.bulk({"code": code, "values": label("A")})
    await client.bulk({"code": code, "values": {}})
    _, asset = await client.call("GET", f"{client.assets}/{code}")
    assert asset["values"]["label"][0]["data"] == "A"
    await client.bulk({"code": code, "values": label(None)})
    _, asset = await client.call("GET", f"{client.assets}/{code}")
    shown = (asset["values"] or {}).get("label", [])
    assert [entry for entry in shown if entry["data"] is not None] == []


async def test_more_than_a_hundred_are_refused_whole(client: Client) -> None:
    """§2.1."""
    items = [{"code": f"asset_sync_test_{number}"} for number in range(101)]
    status, body = await client.bulk(*items)
    assert (status, body["code"]) == (413, 413)


async def test_what_is_no_list_is_400(client: Client) -> None:
    """§2.3."""
    assert (await client.call("PATCH", client.assets, json={"code": "a"}))[0] == 400
    headers = {"content-type": "application/json"}
    assert (await client.call("PATCH", client.assets, data=b"{nothing", headers=headers))[0] == 400


async def test_a_wrong_content_type_is_415(client: Client) -> None:
    """§2.3."""
    headers = {"content-type": "text/plain"}
    assert (await client.call("PATCH", client.assets, data=b"[]", headers=headers))[0] == 415


async def test_an_unknown_family_is_404(client: Client) -> None:
    """§2.3, §3; the list of families is there."""
    path = "/asset-families/asset_sync_no_such_family"
    for method, more in (("GET", ""), ("DELETE", "/assets/a")):
        status, body = await client.call(method, path + more)
        assert (status, body["code"]) == (404, 404)
    status, body = await client.call("GET", "/asset-families")
    assert status == 200
    assert client.family in {item["code"] for item in body["_embedded"]["items"]}


async def test_delete_then_absent(client: Client, code: str) -> None:
    """§3: 204, then 404."""
    await client.bulk({"code": code})
    path = f"{client.assets}/{code}"
    assert (await client.call("DELETE", path))[0] == 204
    assert (await client.call("DELETE", path))[0] == 404
    assert (await client.call("GET", path))[0] == 404


async def test_single_upsert(client: Client, code: str) -> None:
    """§3: 201 and 204; a code that differs from the URL's is refused."""
    path = f"{client.assets}/{code}"
    assert (await client.call("PATCH", path, json={"code": code}))[0] == 201
    assert (await client.call("PATCH", path, json={"values": label("B")}))[0] == 204
    assert (await client.call("PATCH", path, json={"code": "other"}))[0] == 422


async def test_attributes_are_a_plain_list(client: Client) -> None:
    """§5: no paging, every family has a label."""
    status, attributes = await client.call("GET", f"/asset-families/{client.family}/attributes")
    assert status == 200
    assert "label" in {attribute["code"] for attribute in attributes}
    assert all("type" in attribute for attribute in attributes)


async def test_system_information(client: Client) -> None:
    """§9."""
    status, body = await client.call("GET", "/system-information")
    assert status == 200
    assert {"version", "edition"} <= body.keys()
