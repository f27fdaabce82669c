"""The simulator's rules, switches and faults, which cannot be tested on a real PIM."""

import asyncio
import html
import io
import json
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from service.playground.pim.faults import Fault, read_scenario
from service.playground.pim.frame import Frame
from service.playground.pim.responses import API
from service.playground.pim.server import serve
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import Attribute, Structure, family, sample
from service.playground.pim.switches import Switches
from service.playground.pim.values import BusinessRules, flaws_of_shape
from tests.support.waiting import until

Values = dict[str, list[dict[str, Any]]]
ATTRIBUTES = {
    attribute.code: attribute
    for attribute in (
        Attribute("text", max_characters=5),
        Attribute("mail", validation_rule="email"),
        Attribute("url", validation_rule="url"),
        Attribute("sku", validation_rule="regexp", validation_regexp="/^[A-Z]+$/i"),
        Attribute("number", "number", min_value="0", max_value="10"),
        Attribute("decimal", "number", decimals_allowed=True),
        Attribute("one", "single_option", options={"red": {}}),
        Attribute("many", "multiple_options", options={"red": {}, "blue": {}}),
        Attribute("file", "media_file", allowed_extensions=["png"]),
        Attribute("flag", "boolean"),
        Attribute("day", "date"),
        Attribute("by_locale", value_per_locale=True),
        Attribute("by_channel", value_per_channel=True),
        Attribute("by_both", value_per_locale=True, value_per_channel=True),
    )
}
STRUCTURE = Structure({"f": family("f", *ATTRIBUTES.values())})


def entry(data: object, locale: str | None = None, channel: str | None = None) -> dict[str, Any]:
    """Return one entry of a value."""
    return {"locale": locale, "channel": channel, "data": data}


def flaws(values: Values, **switches: Any) -> list[str]:  # noqa: ANN401 - of any switch
    """Return the flaws of shape, or else those of the rules."""
    shape = [text for _, text in flaws_of_shape(values, ATTRIBUTES)]
    rules = BusinessRules(STRUCTURE, Switches(**switches), {"a/b_x.png": b"PNG"})
    return shape or [text for _, text in rules.flaws(values, ATTRIBUTES)]


@pytest.mark.parametrize(
    ("attribute", "data"),
    [
        ("text", "abcde"), ("text", None), ("mail", "a@b.cd"), ("url", "https://a.example/x"),
        ("sku", "abc"), ("number", "10"), ("decimal", "1.5"), ("one", "red"), ("one", None),
        ("many", ["red", "blue"]), ("many", []), ("file", "a/b_x.png"), ("flag", False),
        ("day", "2026-01-31T09:23:34+00:00"),
    ],
)  # fmt: skip
def test_what_an_attribute_takes(attribute: str, data: object) -> None:
    """Types and rules are those of akeneo.md §4.2."""
    assert flaws({attribute: [entry(data)]}) == []


@pytest.mark.parametrize(
    ("attribute", "data"),
    [
        ("text", "abcdef"), ("text", 7), ("mail", "nobody"), ("url", "nowhere"), ("sku", "12"),
        ("number", "11"), ("number", "-1"), ("number", "1.5"), ("number", "x"), ("number", 5),
        ("one", "teal"), ("one", ["red"]), ("many", ["red", "teal"]), ("many", "red"),
        ("file", "nothing.png"), ("flag", "true"), ("day", "2026-01-31"), ("nowhere", "x"),
    ],
)  # fmt: skip
def test_what_an_attribute_refuses(attribute: str, data: object) -> None:
    """The type is checked first, then the rules; each flaw has a message."""
    (flaw,) = flaws({attribute: [entry(data)]})
    assert flaw


@pytest.mark.parametrize(
    ("attribute", "scope", "is_well"),
    [
        ("text", (None, None), True), ("text", ("en_US", None), False),
        ("text", (None, "print"), False),
        ("by_locale", ("fr_FR", None), True), ("by_locale", (None, None), False),
        ("by_locale", ("de_DE", None), False),
        ("by_channel", (None, "print"), True), ("by_channel", (None, None), False),
        ("by_channel", (None, "nowhere"), False), ("by_channel", ("en_US", "print"), False),
        ("by_both", ("en_US", "print"), True), ("by_both", ("fr_FR", "print"), False),
        ("by_both", ("fr_FR", "ecommerce"), True), ("by_both", ("en_US", None), False),
    ],
)  # fmt: skip
def test_where_a_value_may_stand(
    attribute: str, scope: tuple[str | None, str | None], *, is_well: bool
) -> None:
    """Scopes follow the table of akeneo.md §4.1, with locales activated by channel."""
    assert (flaws({attribute: [entry("x", *scope)]}) == []) is is_well


@pytest.mark.parametrize(
    ("attribute", "data", "switch"),
    [
        ("number", 5, {"json_number": "accept"}),
        ("day", "2026-01-31", {"short_date": "accept"}),
        ("file", "nothing.png", {"missing_media_file": "accept"}),
    ],
)
def test_switches_of_values(attribute: str, data: object, switch: dict[str, str]) -> None:
    """These are switches 7, 8 and 9 of akeneo.md §13."""
    assert flaws({attribute: [entry(data)]}) != []
    assert flaws({attribute: [entry(data)]}, **switch) == []


@pytest.mark.parametrize("values", [[], "x", None, {"text": "x"}, {"text": [7]}, {"text": [{}]}])
def test_shapes_that_are_no_values(values: object) -> None:
    """Each shape has a flaw, and nothing crashes."""
    assert list(flaws_of_shape(values, ATTRIBUTES))


Call = Callable[..., Any]


class Client:
    """A client of a simulator, with a token."""

    def __init__(self, pim: PimSimulator, url: str, session: aiohttp.ClientSession) -> None:
        self.pim = pim
        self._url = url
        self._session = session
        self._token = ""

    async def log_in(self) -> None:
        """Get a token."""
        tokens = self.pim.tokens
        auth = aiohttp.encode_basic_auth(tokens.client_id, tokens.client_secret)
        body = {
            "grant_type": "password",
            "username": tokens.username,
            "password": tokens.password,
        }
        async with self._session.post(
            self._url + "/api/oauth/v1/token", json=body, headers={"authorization": auth}
        ) as answer:
            self._token = (await answer.json())["access_token"]

    async def call(
        self,
        method: str,
        path: str,
        **more: Any,  # noqa: ANN401 - aiohttp's
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, body and headers of a call."""
        headers = {"authorization": f"Bearer {self._token}"} | more.pop("headers", {})
        async with self._session.request(
            method, self._url + path, headers=headers, **more
        ) as answer:
            body = await answer.read()
            is_json = "json" in answer.headers.get("content-type", "")
            found = json.loads(body) if is_json else body
            return answer.status, found, {k.lower(): v for k, v in answer.headers.items()}

    async def bulk(self, *codes: str, name: str = "packshots") -> tuple[int, Any]:
        """Upsert these assets without values."""
        items = [{"code": code} for code in codes]
        status, body, _ = await self.call(
            "PATCH", f"{API}/asset-families/{name}/assets", json=items
        )
        return status, body

    async def delete(self, code: str) -> int:
        """Delete an asset."""
        return (await self.call("DELETE", f"{API}/asset-families/packshots/assets/{code}"))[0]


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Any]]:
    """Return a function that starts a simulator with switches and limits."""
    runners = []
    async with aiohttp.ClientSession() as session:

        async def make(limits: dict[str, Any] | None = None, **switches: Any) -> Client:  # noqa: ANN401
            pim = PimSimulator(sample(), switches=Switches(**switches), **(limits or {}))
            runner, url = await serve(pim)
            runners.append(runner)
            client = Client(pim, url, session)
            await client.log_in()
            return client

        yield make
    for runner in runners:
        await runner.cleanup()


Start = Callable[..., Any]


def hold_calls(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Keep every call in flight until the event is set."""
    go_on = asyncio.Event()
    stock = Frame._carry_out

    async def carry_out(*call: Any) -> web.StreamResponse:  # noqa: ANN401 - handed on
        await go_on.wait()
        return await stock(*call)

    monkeypatch.setattr(Frame, "_carry_out", carry_out)
    return go_on


async def test_switches_of_bulk_calls(start: Start) -> None:
    """These are switches 1, 2, 5 and 6 of akeneo.md §13."""
    client = await start()
    assert [item["status_code"] for item in (await client.bulk("a", "a"))[1]] == [201, 204]
    assert (await client.bulk("a-b"))[1][0]["status_code"] == 422
    assert (await client.bulk("a", name="typo"))[0] == 404
    assert await client.bulk() == (200, [])

    other = await start(
        duplicate_in_batch="refuse",
        hyphen_in_code="accept",
        unknown_family_on_bulk="items",
        empty_array="refuse",
    )
    assert [item["status_code"] for item in (await other.bulk("a", "a"))[1]] == [201, 422]
    assert (await other.bulk("a-b"))[1][0]["status_code"] == 201
    assert (await other.bulk("a", name="typo"))[1][0]["status_code"] == 422
    assert (await other.bulk())[0] == 400


async def test_switches_of_reading(start: Start) -> None:
    """These are switches 3, 4, 11 and 15 of akeneo.md §13."""
    client = await start(case_of_codes="folded", page_size=2, empty_map="list")
    await client.bulk("A", "b", "c")
    path = f"{API}/asset-families/packshots/assets"
    _, page, _ = await client.call("GET", path)
    assert [item["code"] for item in page["_embedded"]["items"]] == ["a", "b"]
    assert page["_embedded"]["items"][0]["values"] == []
    following = page["_links"]["next"]["href"].removeprefix(client._url)
    _, page, _ = await client.call("GET", following)
    assert [item["code"] for item in page["_embedded"]["items"]] == ["c"]
    assert "next" not in page["_links"]
    assert (await client.call("GET", f"{path}/A"))[0] == 200

    erased = {"code": "d", "values": {"photographer": [entry(None)]}}
    for switch, shown in (("omitted", {}), ("null", {"photographer": [entry(None)]})):
        other = await start(erased_value=switch)
        await other.call("PATCH", path, json=[erased])
        assert (await other.call("GET", f"{path}/d"))[1]["values"] == shown


async def test_a_linked_asset(start: Start) -> None:
    """This is switch 10 of akeneo.md §13."""
    path = f"{API}/asset-families/packshots/assets"
    linked = {"code": "a", "values": {"product_ref": [entry("boot")]}}
    for switch, status in (("accept", 204), ("refuse", 422)):
        client = await start(delete_of_linked=switch)
        await client.call("PATCH", path, json=[linked])
        assert await client.delete("a") == status


async def test_too_large_a_body(start: Start) -> None:
    """This is switch 13 of akeneo.md §13."""
    big = {"code": "a", "values": {"photographer": [entry("x" * 9_000_000)]}}
    for switch in ("403", "413"):
        client = await start(oversize=switch)
        path = f"{API}/asset-families/packshots/assets"
        with io.BytesIO(json.dumps([big]).encode()) as body:
            headers = {"content-type": "application/json"}
            assert (await client.call("PATCH", path, data=body, headers=headers))[0] == int(switch)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("always", [True, True]), ("never", [False, False]), ("alternate", [True, False])],
)
async def test_above_its_limit_it_throttles(
    start: Start, monkeypatch: pytest.MonkeyPatch, mode: str, expected: list[bool]
) -> None:
    """A 429 has Retry-After or not, by switch 12 (akeneo.md §7, §13)."""
    client = await start({"calls_at_once_max": 1}, retry_after=mode)
    go_on = hold_calls(monkeypatch)
    paths = [f"{API}/asset-families"] * 3
    calls = asyncio.gather(*(client.call("GET", path) for path in paths))
    await until(lambda: client.pim.counts["throttled"] == 2)
    go_on.set()
    throttled = [headers for status, _, headers in await calls if status == 429]
    assert ["retry-after" in headers for headers in throttled] == expected


async def test_calls_given_up_go_on(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose caller is gone still counts for the limit."""
    client = await start()
    go_on = hold_calls(monkeypatch)
    path = f"{API}/asset-families"
    given_up = asyncio.create_task(client.call("GET", path))
    await until(lambda: client.pim.in_flight)
    given_up.cancel()
    await until(lambda: all(connection.is_closing() for connection in client.pim.in_flight))
    assert len(client.pim.in_flight) == 1
    second = asyncio.create_task(client.call("GET", path))
    await until(lambda: client.pim.at_once_seen == 2)
    go_on.set()
    assert (await second)[0] == 200
    await until(lambda: not client.pim.in_flight)


async def test_calls_a_second(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls above the limit per second are answered 429 (akeneo.md §7)."""
    monkeypatch.setattr("service.playground.pim.frame.RATE_SECONDS", 3600.0)
    client = await start({"calls_per_second_max": 3})
    statuses = [(await client.call("GET", f"{API}/asset-families"))[0] for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


async def test_faults_on_demand(start: Start) -> None:
    """Faults hit by route, family, asset and times; they are posted and removed over HTTP."""
    client = await start()
    faults = [
        {"route": "upsert", "asset": "bad", "status": 500, "body": "json", "times": None},
        {"route": "delete", "status": 503, "retry_after": "7", "times": 1},
    ]
    assert (await client.call("POST", "/_control/faults", json=faults))[0] == 204
    assert (await client.bulk("good"))[0] == 200
    assert (await client.bulk("good", "bad"))[0] == 500
    assert (await client.bulk("bad"))[0] == 500
    path = f"{API}/asset-families/packshots/assets/good"
    status, body, headers = await client.call("DELETE", path)
    assert (status, headers["retry-after"]) == (503, "7")
    assert b"<html>" in body
    assert await client.delete("good") == 204
    assert (await client.call("DELETE", "/_control/faults"))[0] == 204
    assert (await client.bulk("bad"))[0] == 200
    status, body, _ = await client.call("POST", "/_control/faults", json=[{"kind": "odd"}])
    assert status == 400
    assert "kind" in body["message"]


@pytest.mark.parametrize(
    ("fault", "stored"),
    [
        (Fault(cut="before"), set()),
        (Fault(cut="after"), {"a", "b", "c"}),
        (Fault(cut="after", stored=2), {"a", "b"}),
    ],
)
async def test_a_cut_connection_before_after_and_in_the_middle(
    start: Start, fault: Fault, stored: set[str]
) -> None:
    """A fault says how many items are stored before the cut."""
    client = await start()
    client.pim.faults.add(fault)
    with pytest.raises(aiohttp.ClientError):
        await client.bulk("a", "b", "c")
    assert {code for _, code in client.pim.state} == stored


async def test_what_a_cut_has_stored_is_a_switch_too(start: Start) -> None:
    """Switch 14 of akeneo.md §13 counts where the fault does not say."""
    client = await start(stored_before_cut=1)
    client.pim.faults.add(Fault(cut="after"))
    with pytest.raises(aiohttp.ClientError):
        await client.bulk("a", "b", "c")
    assert {code for _, code in client.pim.state} == {"a"}


async def test_tokens_expire_and_are_forgotten(start: Start) -> None:
    """The control routes let tokens expire and forget them."""
    client = await start()
    await client.call("POST", "/_control/tokens/expire")
    status, body, _ = await client.call("GET", f"{API}/asset-families")
    assert (status, body["message"]) == (401, "The access token provided has expired.")
    await client.call("POST", "/_control/tokens/forget")
    assert "invalid" in (await client.call("GET", f"{API}/asset-families"))[1]["message"]


async def test_a_missing_right(start: Start) -> None:
    """Only calls that need the right are answered 403."""
    client = await start()
    client.pim.rights.discard("delete")
    await client.bulk("a")
    assert await client.delete("a") == 403


async def test_structure_can_be_written(start: Start) -> None:
    """Families, attributes and options have limits and fixed properties (akeneo.md §5)."""
    client = await start()
    family_path = f"{API}/asset-families/fresh"
    assert (await client.call("PATCH", family_path, json={"code": "fresh"}))[0] == 201
    path = f"{family_path}/attributes/color"
    made = {"code": "color", "type": "single_option"}
    assert (await client.call("PATCH", path, json=made))[0] == 201
    assert (await client.call("PATCH", path, json=made))[0] == 422, "nothing to change"
    assert (await client.call("PATCH", path, json=made | {"type": "text"}))[0] == 422
    for number in range(100):
        option = {"code": f"o{number}"}
        await client.call("PATCH", f"{path}/options/o{number}", json=option)
        client.pim.recent_calls.clear()
    assert (await client.call("PATCH", f"{path}/options/o100", json={"code": "o100"}))[0] == 422
    _, options, _ = await client.call("GET", f"{path}/options")
    assert len(options) == 100
    assert (await client.call("GET", f"{path}/options/o7"))[1]["code"] == "o7"
    label = f"{family_path}/attributes/label/options"
    assert (await client.call("GET", label))[0] == 404


async def test_media_files(start: Start) -> None:
    """An upload gives a code, by which the file is downloaded and used (akeneo.md §6)."""
    client = await start()
    form = aiohttp.FormData()
    form.add_field("file", b"\x89PNG", filename="side view.png", content_type="image/png")
    path = f"{API}/asset-media-files"
    status, _, headers = await client.call("POST", path, data=form)
    code = headers["asset-media-file-code"]
    assert status == 201
    assert code.endswith("_side_view.png")
    status, body, _ = await client.call("GET", f"{path}/{code}")
    assert (status, body) == (200, b"\x89PNG")
    asset = {"code": "a", "values": {"media": [entry(code)]}}
    assets = f"{API}/asset-families/packshots/assets"
    assert (await client.call("PATCH", assets, json=[asset]))[1][0]["status_code"] == 201
    assert (await client.call("POST", path, json={}))[0] == 415
    _, shown, _ = await client.call("GET", "/_control/media")
    assert shown == {code: {"bytes": 4, "sha256": sha256(b"\x89PNG").hexdigest()}}
    assert (await client.call("DELETE", "/_control/media"))[0] == 204
    assert (await client.call("PATCH", assets, json=[asset]))[1][0]["status_code"] == 422


async def test_files_that_the_pim_refuses(start: Start) -> None:
    """An extension with other characters at upload; the size when the code is used."""
    client = await start()
    attributes = client.pim.structure.families["packshots"].attributes
    assert attributes is not None
    attributes["media"].max_file_size = "0.000004"  # of a MB: four bytes
    path = f"{API}/asset-media-files"

    async def upload(name: str, content: bytes) -> tuple[int, Any]:
        form = aiohttp.FormData()
        form.add_field("file", content, filename=name)
        status, _, headers = await client.call("POST", path, data=form)
        return status, headers.get("asset-media-file-code")

    assert (await upload("a.j-g", b"1234"))[0] == 422
    for content, expected in ((b"1234", 201), (b"12345", 422)):
        _, code = await upload("a.jpg", content)
        asset = {"code": f"a{expected}", "values": {"media": [entry(code)]}}
        assets = f"{API}/asset-families/packshots/assets"
        _, items, _ = await client.call("PATCH", assets, json=[asset])
        assert items[0]["status_code"] == expected
    client.pim.faults.add(Fault(route="upload", status=500))
    assert (await upload("a.jpg", b"1234"))[0] == 500
    client.pim.rights.discard("write")
    assert (await upload("a.jpg", b"1234"))[0] == 403


async def test_it_describes_itself(start: Start) -> None:
    """A page for people lists every route of the API, and its own."""
    client = await start()
    status, body, _ = await client.call("GET", "/")
    assert status == 200
    page = html.unescape(body.decode())
    _, root, _ = await client.call("GET", API)
    for name in root["routes"]:
        method, _, path = name.partition(" ")
        assert f"<code>{method}</code><td><code>{path}</code>" in page
    assert f"PATCH {API}/asset-families/{{family}}/assets" in root["routes"]
    assert f"GET {API}/asset-media-files/{{code:.+}}" in root["routes"]
    assert "<code>POST</code><td><code>/_control/faults</code>" in page


async def test_a_scenario_by_the_clock(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The faults of a scenario begin and end at their times."""
    moments = iter([0.0, 0.1, 0.4, 0.7])  # the plan's, then one a call
    clock = SimpleNamespace(monotonic=lambda: next(moments))
    fault = {"route": "any", "status": 503, "times": None}
    phases = [{"at_seconds": 0.3, "for_seconds": 0.3, "fault": fault}]
    path = tmp_path / "scenario.json"
    path.write_text(json.dumps({"phases": phases}))
    client = await start()
    monkeypatch.setattr("service.playground.pim.faults.time", clock)
    client.pim.faults.plan(read_scenario(path))
    assert [(await client.bulk("a"))[0] for _ in range(3)] == [200, 503, 200]


def test_a_scenario_that_cannot_be_read(tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "odd.json"
    path.write_text('{"phases": [{"fault": {"status": "many"}}]}')
    with pytest.raises(ValueError, match=r"odd\.json.*status"):
        read_scenario(path)
