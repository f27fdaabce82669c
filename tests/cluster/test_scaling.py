"""KEDA scales the service on the lag that the broker has, as the chart's values say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from service.playground.local_system import Event, LocalSystem
from tests.cluster.commands import Cluster, Release
from tests.cluster.keda import ADAPTER, running_keda
from tests.cluster.node.node import Node
from tests.support.proof import upsert

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

REPLICAS_MAX = 4
CHANGES = 3_000
KEDA = {
    "enabled": True,
    "maxReplicaCount": REPLICAS_MAX,
    "lagThreshold": "200",
    "pollingInterval": 2,
    "scaleDownStabilizationSeconds": 5,
}


@pytest.fixture
async def _keda(cluster: Cluster, node: Node | None, tmp_path: Path) -> AsyncIterator[None]:
    """Run KEDA for one test."""
    if node is None:
        pytest.skip("KEDA is installed into a node that is started here")
    if not ADAPTER.exists():
        pytest.skip("tests/cluster/node/addons did not run (make test-cluster ADDONS=1)")
    certificates = tmp_path / "keda"
    certificates.mkdir()
    async with running_keda(cluster, node, certificates):
        yield


@asynccontextmanager
async def slow_pim(system: LocalSystem) -> AsyncIterator[None]:
    """Let each call to the PIM take a while, so that lag arises and is worked off slowly."""
    faults = f"{system.pim_url}/_control/faults"
    slow = {"route": "any", "delay_seconds": 1.0, "times": None}
    async with aiohttp.ClientSession(trust_env=False, raise_for_status=True) as session:
        await (await session.post(faults, json=[slow])).release()
        try:
            yield
        finally:
            await (await session.delete(faults)).release()


@pytest.mark.usefixtures("_keda")
async def test_replicas_follow_the_lag(release4: Release, system: LocalSystem) -> None:
    """One replica, the most that the values allow, and one again; each change has one outcome."""
    small = {"PIPELINE__MAX_PENDING_CHANGES": 100, "WINDOW__MAX_ASSETS": 10}
    await release4.apply(autoscaling={"keda": KEDA}, settings=small)
    await release4.until_ready(1)
    async with slow_pim(system):
        changes = [upsert("packshots", f"a{number}", {"n": "1"}) for number in range(CHANGES)]
        await system.publish_events(
            [Event(None, value, partition=n % system.partitions) for n, value in enumerate(changes)]
        )
        await release4.until_ready(REPLICAS_MAX)
    outcomes = await system.outcome_data(CHANGES)
    assert len({one["id"] for one in outcomes}) == len(outcomes) == CHANGES
    await release4.until_ready(1)
