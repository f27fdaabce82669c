"""The status page of a running service in headless Chromium."""

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service.playground.pim.faults import Fault
from tests.support.proof import events
from tests.support.service import SystemUnderTest

pytestmark = [pytest.mark.browser, pytest.mark.kafka, pytest.mark.processes]

CHROMIUM = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or "chromium"
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--window-size=1200,1500", "--enable-logging=stderr", "--v=0",
)  # fmt: skip


async def look(url: str, folder: Path, *options: str) -> tuple[str, str]:
    """Open a page for some seconds, and return the document and the messages of its console."""
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder / 'chromium'}", "--timeout=9000"]
    command += ["--virtual-time-budget=6000", *options, "--dump-dom", url]
    done = await asyncio.to_thread(
        lambda: subprocess.run(command, capture_output=True, timeout=60, check=True)  # noqa: S603
    )
    complaints = [line for line in done.stderr.decode().splitlines() if "CONSOLE" in line]
    return done.stdout.decode(), "\n".join(complaints)


def cells(document: str, table: str) -> list[list[str]]:
    """Return the rows of a table's body."""
    body = re.search(rf'id="{table}".*?<tbody>(.*?)</tbody>', document, re.DOTALL)
    assert body is not None, document[:2000]
    return [
        [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
        for row in body[1].split("<tr>")[1:]
    ]


async def test_the_page_shows_the_service_at_work(system: SystemUnderTest) -> None:
    """The page shows outcomes, partitions and families, a PIM that is down, and a lost service."""
    markup = b'{"action": "upsert", "asset_family": "<b>", "code": "<script>", "values": {}}'
    await system.publish([*events(300, 60, system.partitions), (0, None, markup), (1, None, b"{")])
    replica = system.start(HTTP__STATUS_PAGE="true")
    assert len(await system.outcome_data(302)) == 302, system.logs()
    url = await system.url()

    document, complaints = await look(url, system.folder)
    assert complaints == ""
    assert 'class="state" role="status">working<' in document
    assert len(cells(document, "partitions")) == system.partitions
    assert {row[1] for row in cells(document, "partitions")} == {"idle"}
    assert ["&lt;b&gt;/&lt;script&gt;", "rejected"] in [
        row[1:3] for row in cells(document, "recent_dead_letters")
    ], "foreign text stays text"
    assert len(cells(document, "recent_outcomes")) == 50
    assert cells(document, "families") == [["none"]]

    system.pim.faults.add(Fault(route="any", status=503, times=None))
    await system.publish(events(200, 60, system.partitions))
    for _ in range(50):
        if "PIM unavailable" in (await system.get("/readyz?verbose"))[1]:
            break
        await asyncio.sleep(0.2)
    picture = os.environ.get("TEST_PICTURE")
    options = (f"--screenshot={picture}",) if picture else ()
    document, _ = await look(url, system.folder, *options)
    assert 'class="state waiting" role="status">PIM unavailable' in document
    assert "unavailable<" in document
    told = r"PIM unavailable since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ: pim_error \(503\)"
    assert re.search(told, document)
    assert any(row[5].startswith("offset ") for row in cells(document, "partitions"))
    assert sum(int(row[1]) + int(row[2]) + int(row[3]) for row in cells(document, "families")) > 0

    replica.kill()
    replica.wait()
