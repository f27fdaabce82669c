"""The demo, as a new user runs it."""

import asyncio

import pytest

from service.playground.demo import Progress, run_demo

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


async def test_the_demo_adds_up() -> None:
    """Broker, PIM, service and a kill -9: nothing twice, nothing missing."""
    result = await asyncio.to_thread(run_demo, 400, Progress(lambda _: None))

    assert result.audit.flaws == []
    assert sum(result.audit.statuses.values()) == 400
    assert result.pim_calls < 400
