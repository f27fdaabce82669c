"""The service's own port."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from service.adapters.http.port import Answers, HttpPort
from service.contracts.asyncapi import Topics, asyncapi


@dataclass
class Bench:
    """A port and what it is told."""

    url: str = ""
    live: dict[str, bool] = field(default_factory=lambda: {"runner": True, "poll": True})
    ready: dict[str, bool] = field(default_factory=lambda: {"group": True, "producer": True})
    lines: list[str] = field(default_factory=list)
    held: int | None = None
    page: dict[str, Any] = field(default_factory=dict)

    def answers(self, *, with_page: bool) -> Answers:
        """What the port answers with."""
        return Answers(
            live=lambda: self.live,
            ready=lambda: self.ready,
            live_lines=lambda: self.lines,
            ready_lines=lambda: self.lines,
            registry=CollectorRegistry(),
            asyncapi=asyncapi("1.2.3", Topics(outcomes="<outcomes>")),
            release=lambda: self.held,
            status=(lambda: self.page) if with_page else None,
        )

    async def get(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, headers=headers) as answer,
        ):
            return answer.status, await answer.text(), dict(answer.headers)


@pytest.fixture(params=[True, False], ids=["page", "no page"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """A port on loopback, with and without the status page."""
    made = Bench()
    port = HttpPort(made.answers(with_page=request.param))
    taken = await port.open("127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{taken}"
    yield made
    await port.close()


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes(bench: Bench, path: str) -> None:
    """200 where all is well; else 503, and `?verbose` says what."""
    assert (await bench.get(path))[:2] == (200, "ok\n")
    (bench.live if path == "/livez" else bench.ready)["producer"] = False
    bench.lines.append("[ ]waiting: the PIM throttles")

    status, text, _ = await bench.get(path + "?verbose")

    assert status == 503
    assert "[-]producer failed" in text
    assert "[+]" in text
    assert text.endswith("[ ]waiting: the PIM throttles\n")


async def test_the_asyncapi_page_and_its_document(bench: Bench) -> None:
    """For a person, with names escaped; for a tool, as JSON."""
    _, page, _ = await bench.get("/asyncapi")
    _, document, _ = await bench.get("/asyncapi?format=json")

    assert "&lt;outcomes&gt;" in page
    assert "<outcomes>" not in page
    assert document.startswith('{"asyncapi": "3.0.0"')


async def test_the_status_page_where_it_is_wanted(bench: Bench) -> None:
    """A page that may load and run nothing but itself, and what it shows."""
    bench.page["version"] = "1.2.3"
    status, page, headers = await bench.get("/")
    if status == 404:
        assert (await bench.get("/status"))[0] == 404
        return
    assert status == 200
    assert "<title>asset-sync</title>" in page
    policy = headers["Content-Security-Policy"]
    assert re.match(r"default-src 'none'; connect-src 'self'; script-src 'sha256-", policy)
    assert "unsafe" not in policy
    assert (await bench.get("/status"))[1] == '{"version": "1.2.3"}'


async def test_release_from_this_machine_alone(bench: Bench) -> None:
    """No web page may do it through a browser, and no GET."""
    assert (await bench.get("/release", "POST"))[0] == 409
    bench.held = 7
    assert (await bench.get("/release", "POST"))[:2] == (200, '{"released": 7}')
    assert (await bench.get("/release", "POST", Origin="http://evil.example"))[0] == 403
    assert (await bench.get("/release"))[0] == 405
