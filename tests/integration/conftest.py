"""One embedded broker for the session; topics, group and PIM of its own for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.playground.embedded_kafka import embedded_kafka
from service.playground.pim_simulator import PimSimulator, serve
from tests.support.service import Bench


@pytest.fixture(scope="session")
def bootstrap() -> Iterator[str]:
    """The address of a running broker."""
    with embedded_kafka() as broker:
        yield broker.bootstrap_servers


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
