"""Topics, group and PIM of its own for each test, on the session's broker."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support.service import Bench, bench_around


@pytest.fixture
async def bench(bootstrap: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """The system around a test, with a PIM of two families."""
    pim = PimSimulator(free("packshots", "manuals"))
    async with bench_around(bootstrap, tmp_path, pim) as made:
        yield made
