"""Several replicas: joining, a paused one that wakes up, one that is stopped under load."""

import asyncio
import re
import signal

import pytest

from tests.support.proof import assert_exactly_once, events
from tests.support.service import SystemUnderTest

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


def has_open_work(metrics: str) -> bool:
    """Whether a replica holds changes."""
    return bool(re.search(r"^asset_sync_pending_changes [1-9]", metrics, re.MULTILINE))


def owns_partitions(metrics: str) -> bool:
    """Whether a replica has joined the group and was given partitions."""
    return bool(re.search(r"^asset_sync_assigned_partitions [1-9]", metrics, re.MULTILINE))


async def test_a_third_replica_joins_two(system: SystemUnderTest) -> None:
    """Rebalances under load neither repeat nor lose."""
    system.pim.call_seconds = 0.05
    records = events(3000, 90, system.partitions)
    system.start()
    await system.publish_and_start(records)
    system.start()

    await assert_exactly_once(system, len(records))


async def test_a_paused_replica_wakes_up_fenced(system: SystemUnderTest) -> None:
    """SIGSTOP past the session: the group goes on without it, and what it wakes with is void."""
    system.pim.call_seconds = 0.2
    records = events(3000, 90, system.partitions)
    system.start()
    sleeper = system.start()
    await system.until("/metrics", owns_partitions)
    await system.until("/metrics", owns_partitions, number=1)
    await system.publish(records)
    await system.until("/metrics", has_open_work, number=1)
    sleeper.send_signal(signal.SIGSTOP)
    await system.until_assigned(system.partitions)
    sleeper.send_signal(signal.SIGCONT)

    await assert_exactly_once(system, len(records))


async def test_a_stop_under_load_drains(system: SystemUnderTest) -> None:
    """SIGTERM with work open: exit 0, and the next replica goes on without a duplicate."""
    system.pim.call_seconds = 0.05
    records = events(3000, 90, system.partitions)
    first = await system.publish_and_start(records)
    first.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(first.wait, 30)
    system.start()

    await assert_exactly_once(system, len(records))

    assert code == 0, system.logs()[-3000:]


async def test_a_second_signal_ends_at_once(system: SystemUnderTest) -> None:
    """With 1: what was under way is the next replica's to find out."""
    system.pim.call_seconds = 4
    records = events(300, 30, system.partitions)
    first = system.start()
    await system.publish(records)
    await system.until("/metrics", lambda _: system.pim.in_flight)
    first.send_signal(signal.SIGTERM)
    await system.until_waiting("drain")
    first.send_signal(signal.SIGTERM)

    assert await asyncio.to_thread(first.wait, 2) == 1
    system.pim.call_seconds = 0
    system.start()
    await assert_exactly_once(system, len(records))


async def test_a_library_that_hangs_does_not_keep_us(system: SystemUnderTest) -> None:
    """All is committed: the process ends, whatever will not be closed."""
    records = events(300, 30, system.partitions)
    replica = system.start_stuck()
    await system.publish(records)
    await assert_exactly_once(system, len(records))
    replica.send_signal(signal.SIGTERM)

    assert await asyncio.to_thread(replica.wait, 20) == 0, system.logs()[-3000:]
    assert "service.drained" in system.logs()
