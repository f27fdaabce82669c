"""The broker goes away under `translate` and comes back: one that no other test uses then."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.playground.embedded_kafka import EmbeddedKafka
from service.playground.local_system import LoggedProcess
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support.raw import RawSystem, bucket_records, raw_system, thin_records

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.processes,
    pytest.mark.xdist_group("broker of translate"),
]


@pytest.fixture
async def system(own_broker: EmbeddedKafka, tmp_path: Path) -> AsyncIterator[RawSystem]:
    """A system with two sources around it."""
    pim = PimSimulator(free("packshots", "manuals"))
    async with raw_system(own_broker.bootstrap_servers, tmp_path, pim) as made:
        yield made


async def keep_running(system: RawSystem, replica: LoggedProcess) -> None:
    """Start a replica again whenever it ends, as Kubernetes does."""
    while True:
        await asyncio.to_thread(replica.wait)
        assert replica.returncode == 1, system.logs()[-3000:]
        replica = system.start_translate()


@pytest.mark.parametrize("away_seconds", [0, 12])
async def test_a_killed_broker_comes_back(
    own_broker: EmbeddedKafka, system: RawSystem, away_seconds: float
) -> None:
    """Kill -9 of the broker in the middle of the work: the replica waits, and every part ends once.

    It may end with 1 where it cannot know whether its last transaction was committed.
    """
    system.dam.seconds = 0.05
    await system.publish_raw("bucket", bucket_records(1000, system.partitions))
    await system.publish_raw("thin", thin_records(1000, system.partitions))
    replica = system.start_translate(PIPELINE__MAX_PENDING_CHANGES="100")
    await system.changes(100, quiet_seconds=0)
    own_broker.kill()
    await asyncio.sleep(away_seconds)
    await asyncio.to_thread(own_broker.start)
    restarting = asyncio.ensure_future(keep_running(system, replica))
    try:
        await system.assert_translated_once()
    finally:
        restarting.cancel()
    assert "Traceback" not in system.logs()
