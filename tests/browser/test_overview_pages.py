"""The status pages of running `translate` and `ingress` in headless Chromium."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from service.playground.local_system import address
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.browser.test_status_page import cells, look
from tests.support.ingress import IngressUnderTest
from tests.support.raw import RawSystem, bucket_records, raw_system, thin_records

pytestmark = [pytest.mark.browser, pytest.mark.kafka, pytest.mark.processes]

PAGE = {"HTTP__STATUS_PAGE": "true"}


@pytest.fixture
async def system(bootstrap: str, tmp_path: Path) -> AsyncIterator[RawSystem]:
    """A system with two sources."""
    async with raw_system(bootstrap, tmp_path, PimSimulator(free("packshots", "manuals"))) as made:
        yield made


async def test_translate_at_work_and_with_a_dam_that_is_down(system: RawSystem) -> None:
    """The sources, their hosts, their partitions, and the items that were rejected."""
    await system.publish_raw("bucket", bucket_records(100, system.partitions))
    await system.publish_raw("thin", thin_records(100, system.partitions))
    replica = system.start_translate(**PAGE)
    await system.assert_translated_once()
    url = await system.url()

    document, complaints = await look(url, system.folder)
    assert complaints == ""
    assert 'class="state" role="status">working<' in document
    assert [row[:2] for row in cells(document, "sources")] == [["bucket", "idle"], ["thin", "idle"]]
    assert cells(document, "hosts") == [["dam", "thin", "no trouble"]]
    assert len(cells(document, "partitions")) == 2 * system.partitions
    assert {row[4] for row in cells(document, "bad_ends")} == {"unmappable"}

    system.dam.status = 503
    await system.publish_raw("thin", thin_records(10, system.partitions))
    for _ in range(100):
        if "The DAM is unavailable" in (await system.get("/readyz?verbose"))[1]:
            break
        await asyncio.sleep(0.2)
    document, _ = await look(url, system.folder)
    assert "1 of 2 sources wait" in document
    assert cells(document, "hosts")[0][2].startswith("failing: The host dam answered HTTP 503")
    replica.kill()


async def test_ingress_that_refused_somebody(bootstrap: str, tmp_path: Path) -> None:
    """The webhooks with their answers, and why a request was refused."""
    ingress = IngressUnderTest(bootstrap, tmp_path)
    await ingress.create_topics()
    replica = ingress.start(**PAGE)
    hook = await ingress.url()
    async with ClientSession() as session:
        assert (await session.post(f"{hook}/hooks", data=b"<script>")).status == 401
        assert (await session.post(f"{hook}/<b>", data=b"")).status == 404

    document, complaints = await look(await address(replica), tmp_path)
    replica.kill()
    replica.wait()
    assert complaints == ""
    hooks, sns = cells(document, "webhooks")
    assert hooks[:2] + hooks[3:] == ["hooks", "/hooks", "hmac", "0", "1", "0", "0"]
    assert sns[4:] == ["0", "0", "0", "0"]
    assert [row[1:3] for row in cells(document, "refusals")] == [["hooks", "401"]]
