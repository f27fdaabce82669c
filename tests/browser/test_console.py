"""The console's pages in headless Chromium: they have no script, and look as they should."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.browser.test_status_page import look
from tests.support.console import ConsoleUnderTest, outcome

pytestmark = [pytest.mark.browser, pytest.mark.kafka, pytest.mark.processes]

REFUSED = {
    "status": "rejected",
    "result": None,
    "reason": "refused_by_pim",
    "message": "The PIM refused <script>alert(1)</script> & more.",
    "errors": [{"attribute": "caption", "locale": "en_US", "message": "too long"}],
}


@pytest.fixture
async def console(bootstrap: str, tmp_path: Path) -> AsyncIterator[ConsoleUnderTest]:
    """Yield a console that has indexed outcomes of twelve assets, one of them refused."""
    made = ConsoleUnderTest(bootstrap, tmp_path)
    await made.create_topic()
    await made.write([outcome(n) for n in range(12)] + [outcome(7, **REFUSED)])
    made.start(
        CONSOLE__REPLICAS="localhost:1",
        CONSOLE__DAM_LINK="https://dam.example/assets/{context.dam_id}",
    )
    async with asyncio.timeout(60):
        while "console_index_outcomes 13.0" not in await made.metrics():  # noqa: ASYNC110 - a process
            await asyncio.sleep(0.1)
    yield made
    made.end()


def text_of(document: str) -> str:
    """Return what a reader sees, without the elements."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", document))


def picture(name: str) -> list[str]:
    """Return the option that makes a picture, if a folder for pictures is given."""
    folder = os.environ.get("TEST_PICTURES")
    return [f"--screenshot={folder}/{name}.png"] if folder else []


@pytest.mark.parametrize("width", [1200, 390], ids=["desk", "phone"])
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/", ["Where is my asset?", "Asset code", "13 ended changes can be found"]),
        (
            "/?code=sku_7",
            [
                "Not in the PIM: the change was rejected",
                "caption (en_US) : too long",
                "Who must act: content people.",
                "In the PIM: the asset was updated",
                "Open in the DAM",
            ],
        ),
        ("/?code=sku_&begins=1", ["sku_11", "in the order of codes"]),
        ("/asset?family=packshots&code=sku_7", ["History, newest first", "DAM-7"]),
        ("/?code=nobody", ["No change matches."]),
        ("/waiting", ["127.0.0.1:1", "nothing is known about what waits"]),
    ],
    ids=["start", "hits", "prefix", "asset", "nothing", "waiting"],
)
async def test_a_page_is_shown(
    console: ConsoleUnderTest, path: str, words: list[str], width: int
) -> None:
    """Nothing breaks the policy of the page, and foreign text stays text."""
    name = re.sub(r"\W+", "-", path).strip("-") or "start"
    document, complaints = await look(
        await console.url() + path,
        console.folder,
        f"--window-size={width},1400",
        *picture(f"{name}-{width}"),
    )
    assert complaints == ""
    shown = text_of(document)
    for one in words:
        assert one in shown, one
    assert "<script" not in document
