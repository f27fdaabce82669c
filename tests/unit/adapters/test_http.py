"""The service's own port."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from service.adapters.http import HttpPort
from service.adapters.telemetry.metrics import READINGS, Meters, process_registry
from service.contracts.asyncapi import Topics, asyncapi
from service.core.effects import Note


@dataclass
class Bench:
    """A port, its checks, and what counts."""

    url: str
    live: dict[str, bool]
    ready: dict[str, bool]
    meters: Meters
    readings: dict[str, float] = field(default_factory=dict)

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text."""
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A port on loopback."""
    registry = process_registry()
    live, ready = {"runner": True, "poll": True}, {"group": True, "producer": True}
    readings = dict.fromkeys(READINGS, 0.0)
    meters = Meters(registry, "1.2.3", lambda: readings)
    document = asyncapi("1.2.3", Topics(outcomes="<outcomes>"))
    port = HttpPort(lambda: live, lambda: ready, registry, document)
    taken = await port.open("127.0.0.1", 0)
    yield Bench(f"http://127.0.0.1:{taken}", live, ready, meters, readings)
    await port.close()


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes(bench: Bench, path: str) -> None:
    """200 where all is well; else 503, and `?verbose` says what."""
    assert await bench.get(path) == (200, "ok\n")
    (bench.live if path == "/livez" else bench.ready)["producer"] = False

    status, text = await bench.get(path + "?verbose")

    assert status == 503
    assert "[-]producer failed" in text
    assert "[+]" in text


async def test_metrics_count_facts_and_read_the_state(bench: Bench) -> None:
    """In Prometheus's text."""
    settled = {"outcome": "t/0/1", "status": "rejected", "reason": "too_large", "message": "x"}
    bench.meters.note(Note("change.settled", settled))
    bench.meters.note(Note("window.closed", {"family": "f", "assets": 7, "by": "time"}))
    bench.readings["unsettled_changes"] = 42.0

    status, text = await bench.get("/metrics")

    assert status == 200
    assert 'asset_sync_outcomes_total{reason="too_large",status="rejected"} 1.0' in text
    assert 'asset_sync_windows_total{by="time"} 1.0' in text
    assert "asset_sync_unsettled_changes 42.0" in text
    assert 'asset_sync_build_info{version="1.2.3"} 1.0' in text
    assert re.search(r"^process_resident_memory_bytes \d", text, re.MULTILINE)


async def test_the_asyncapi_page_and_its_document(bench: Bench) -> None:
    """For a person, with names escaped; for a tool, as JSON."""
    _, page = await bench.get("/asyncapi")
    _, document = await bench.get("/asyncapi?format=json")

    assert "&lt;outcomes&gt;" in page
    assert "<outcomes>" not in page
    assert document.startswith('{"asyncapi": "3.0.0"')


async def test_nothing_else(bench: Bench) -> None:
    """And no way to change anything."""
    assert (await bench.get("/"))[0] == 404
