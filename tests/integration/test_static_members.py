"""Static membership: a replica with a name keeps its partitions while it is away for a moment."""

import asyncio
import re
import signal
import subprocess

import pytest

from tests.support.proof import assert_exactly_once, events
from tests.support.service import SystemUnderTest

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

SESSION_SECONDS = 10


def start(
    system: SystemUnderTest, name: str, session_seconds: int = SESSION_SECONDS
) -> subprocess.Popen[bytes]:
    """A replica of this name."""
    return system.start(
        KAFKA__GROUP_INSTANCE_ID=name, KAFKA__SESSION_TIMEOUT_SECONDS=str(session_seconds)
    )


async def owned(system: SystemUnderTest, number: int) -> frozenset[str]:
    """The partitions of a replica, by the order of their start."""
    _, text = await system.get("/metrics", number)
    series = re.findall(r"asset_sync_partition_span\{.*partition=\"(\d+)\".*\} ", text)
    return frozenset(series)


async def until_owned(system: SystemUnderTest, *numbers: int) -> list[frozenset[str]]:
    """Once these replicas own all partitions between them."""
    for _ in range(300):
        found = [await owned(system, number) for number in numbers]
        if all(found) and sum(map(len, found)) == system.partitions:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(system.logs()[-5000:])


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_its_partitions_wait_for_it(system: SystemUnderTest, end: signal.Signals) -> None:
    """Stopped or killed and back within the session: nobody else is disturbed meanwhile."""
    system.pim.call_seconds = 0.05
    long = 5 * SESSION_SECONDS  # so that a slow start comes in time
    records = events(3000, 90, system.partitions)
    start(system, "replica-0", long)
    leaving = start(system, "replica-1", long)
    stays, leaves = await until_owned(system, 0, 1)
    await system.publish(records)
    await system.outcome_data(len(records) // 10)

    leaving.send_signal(end)
    code = await asyncio.to_thread(leaving.wait, 30)
    await asyncio.sleep(1)
    assert await owned(system, 0) == stays, "its partitions wait"
    start(system, "replica-1", long)

    assert await until_owned(system, 0, 2) == [stays, leaves]
    await assert_exactly_once(system, len(records))
    assert code == (0 if end is signal.SIGTERM else -signal.SIGKILL)


async def test_one_that_stays_away_is_replaced(system: SystemUnderTest) -> None:
    """After the session its partitions are another's."""
    system.pim.call_seconds = 0.05
    records = events(1000, 90, system.partitions)
    start(system, "replica-0")
    leaving = start(system, "replica-1")
    await until_owned(system, 0, 1)
    await system.publish(records)
    leaving.kill()

    await until_owned(system, 0)
    await assert_exactly_once(system, len(records))


async def test_a_name_that_is_taken_twice(system: SystemUnderTest) -> None:
    """The elder ends with 1 and says why; nothing is lost or repeated."""
    system.pim.call_seconds = 0.05
    records = events(2000, 90, system.partitions)
    elder = start(system, "replica-0")
    await until_owned(system, 0)
    await system.publish(records)
    await system.outcome_data(len(records) // 10)
    start(system, "replica-0")

    assert await asyncio.to_thread(elder.wait, 40) == 1, system.logs()[-5000:]
    said = (system.folder / "replica-0.log").read_text()
    assert "must be unique per replica" in said, said[-3000:]
    assert "Traceback" not in said
    await assert_exactly_once(system, len(records))
