"""The broker goes away and comes back, on a broker of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.playground.embedded_kafka import EmbeddedKafka, embedded_kafka
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support.proof import assert_exactly_once, events
from tests.support.service import Bench, bench_around

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


@pytest.fixture
def own_broker() -> Iterator[EmbeddedKafka]:
    """A broker that may be killed."""
    with embedded_kafka() as broker:
        yield broker


@pytest.fixture
async def bench(own_broker: EmbeddedKafka, tmp_path: Path) -> AsyncIterator[Bench]:
    """The system around it."""
    pim = PimSimulator(free("packshots", "manuals"), call_seconds=0.05)
    async with bench_around(own_broker.bootstrap_servers, tmp_path, pim) as made:
        yield made


@pytest.mark.parametrize("away_seconds", [0, 8])
async def test_a_killed_broker_comes_back(
    own_broker: EmbeddedKafka, bench: Bench, away_seconds: float
) -> None:
    """Kill -9 of the broker in the middle of the work, shorter and longer than the session.

    A replica may end with 1 (it cannot know whether its last transaction was committed); what
    restarts it is Kubernetes, here the test.
    """
    records = events(3000, 90, bench.partitions)
    replica = await bench.publish_and_start(records)
    own_broker.kill()
    await asyncio.sleep(away_seconds)
    await asyncio.to_thread(own_broker.start)
    restarting = asyncio.ensure_future(bench.keep_running(replica))
    try:
        await assert_exactly_once(bench, len(records), seconds=90)
    finally:
        restarting.cancel()
    assert "Traceback" not in bench.logs()
