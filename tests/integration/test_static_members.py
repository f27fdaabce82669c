"""Static membership: a replica with a name keeps its partitions while it is away for a moment."""

import asyncio
import re
import signal
import subprocess

import pytest

from tests.support.proof import assert_exactly_once, events
from tests.support.service import Bench

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

SESSION_SECONDS = 10


def start(
    bench: Bench, name: str, session_seconds: int = SESSION_SECONDS
) -> subprocess.Popen[bytes]:
    """A replica of this name."""
    return bench.start(
        KAFKA__GROUP_INSTANCE_ID=name, KAFKA__SESSION_TIMEOUT_SECONDS=str(session_seconds)
    )


async def owned(bench: Bench, number: int) -> frozenset[str]:
    """The partitions of a replica, by the order of their start."""
    _, text = await bench.get("/metrics", number)
    series = re.findall(r"asset_sync_partition_span\{.*partition=\"(\d+)\".*\} ", text)
    return frozenset(series)


async def until_owned(bench: Bench, *numbers: int) -> list[frozenset[str]]:
    """Once these replicas own all partitions between them."""
    for _ in range(300):
        found = [await owned(bench, number) for number in numbers]
        if all(found) and sum(map(len, found)) == bench.partitions:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(bench.logs()[-5000:])


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_its_partitions_wait_for_it(bench: Bench, end: signal.Signals) -> None:
    """Stopped or killed and back within the session: nobody else is disturbed meanwhile."""
    bench.pim.call_seconds = 0.05
    long = 5 * SESSION_SECONDS  # so that a slow start comes in time
    records = events(3000, 90, bench.partitions)
    start(bench, "replica-0", long)
    leaving = start(bench, "replica-1", long)
    stays, leaves = await until_owned(bench, 0, 1)
    await bench.publish(records)
    await bench.outcome_data(len(records) // 10)

    leaving.send_signal(end)
    code = await asyncio.to_thread(leaving.wait, 30)
    await asyncio.sleep(1)
    assert await owned(bench, 0) == stays, "its partitions wait"
    start(bench, "replica-1", long)

    assert await until_owned(bench, 0, 2) == [stays, leaves]
    await assert_exactly_once(bench, len(records))
    assert code == (0 if end is signal.SIGTERM else -signal.SIGKILL)


async def test_one_that_stays_away_is_replaced(bench: Bench) -> None:
    """After the session its partitions are another's."""
    bench.pim.call_seconds = 0.05
    records = events(1000, 90, bench.partitions)
    start(bench, "replica-0")
    leaving = start(bench, "replica-1")
    await until_owned(bench, 0, 1)
    await bench.publish(records)
    leaving.kill()

    await until_owned(bench, 0)
    await assert_exactly_once(bench, len(records))


async def test_a_name_that_is_taken_twice(bench: Bench) -> None:
    """The elder ends with 1 and says why; nothing is lost or repeated."""
    bench.pim.call_seconds = 0.05
    records = events(2000, 90, bench.partitions)
    elder = start(bench, "replica-0")
    await until_owned(bench, 0)
    await bench.publish(records)
    await bench.outcome_data(len(records) // 10)
    start(bench, "replica-0")

    assert await asyncio.to_thread(elder.wait, 40) == 1, bench.logs()[-5000:]
    said = (bench.folder / "replica-0.log").read_text()
    assert "must be unique per replica" in said, said[-3000:]
    assert "Traceback" not in said
    await assert_exactly_once(bench, len(records))
