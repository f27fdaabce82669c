"""Several replicas: joining, a paused one that wakes up, one that is stopped under load."""

import asyncio
import signal

import pytest

from tests.support.proof import assert_exactly_once, events
from tests.support.service import Bench

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


async def test_a_third_replica_joins_two(bench: Bench) -> None:
    """Rebalances under load neither repeat nor lose."""
    bench.pim.call_seconds = 0.05
    records = events(3000, 90, bench.partitions)
    bench.start()
    await bench.publish_and_start(records)
    bench.start()

    await assert_exactly_once(bench, len(records))


async def test_a_paused_replica_wakes_up_fenced(bench: Bench) -> None:
    """SIGSTOP past the session: the group goes on without it, and what it wakes with is void."""
    bench.pim.call_seconds = 0.05
    records = events(3000, 90, bench.partitions)
    bench.start()
    sleeper = await bench.publish_and_start(records)
    sleeper.send_signal(signal.SIGSTOP)
    await asyncio.sleep(6)
    sleeper.send_signal(signal.SIGCONT)

    await assert_exactly_once(bench, len(records))


async def test_a_stop_under_load_drains(bench: Bench) -> None:
    """SIGTERM with work open: exit 0, and the next replica goes on without a duplicate."""
    bench.pim.call_seconds = 0.05
    records = events(3000, 90, bench.partitions)
    first = await bench.publish_and_start(records)
    first.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(first.wait, 30)
    bench.start()

    await assert_exactly_once(bench, len(records))

    assert code == 0, bench.logs()[-3000:]
