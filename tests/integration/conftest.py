"""Topics, group and PIM of its own for each test, on the session's broker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.playground.pim_simulator import PimSimulator, serve
from tests.support.service import Bench


@pytest.fixture
async def bench(bootstrap: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """The system around a test, with a PIM of two families."""
    pim = PimSimulator({"packshots": None, "manuals": None})
    runner, url = await serve(pim)
    made = Bench(bootstrap, url, pim, tmp_path)
    await made.create_topics()
    try:
        yield made
    finally:
        made.end()
        await runner.cleanup()
