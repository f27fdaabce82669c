"""Memory is bounded by the settings, whatever a batch unpacks to."""

import asyncio
import resource
import subprocess
from typing import Any

import pytest

from service.playground.local_system import variables
from service.settings import load
from tests.support.large import create_large_topics, peak_bytes, publish_batch
from tests.support.memory_sum import memory_bytes
from tests.support.proof import upsert
from tests.support.service import SystemUnderTest

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.processes,
    pytest.mark.usefixtures("real_starts"),
]

MIB = 1024 * 1024
PARTITIONS = 6
CODECS = (None, "gzip", "snappy", "lz4", "zstd")
SETTINGS = {
    "PIPELINE__MAX_PENDING_BYTES": "16MiB",
    "PIPELINE__MAX_PENDING_CHANGES": "1000",
    "PIM__MAX_CONCURRENCY": "1",
    "PIM__TIMEOUT_SECONDS": "60",
    "KAFKA__SESSION_TIMEOUT_SECONDS": "30",
}
"""On a busy machine, unpacking and sending such batches takes longer than in other tests."""
LIMIT_BYTES = 400 * MIB
"""What the replica may allocate. It takes 200 to 280 MiB, and 750 where batches are read whole."""


def hostile(partition: int) -> list[bytes]:
    """60 MB: upserts of 1 MiB of one character, what is no event, and a record of 20 MiB.

    One partition has upserts of many numbers instead, which take 20 times their size as objects.
    """
    if partition == PARTITIONS - 1:
        numbers = {f"{n:x}": n for n in range(55_000)}
        return [upsert("packshots", f"{partition}_{n}", dict(numbers)) for n in range(20)]
    text = "x" * (MIB - 300)
    good = [upsert("packshots", f"{partition}_{n}", {"text": text}) for n in range(36)]
    return [*good, b"x" * 20 * MIB, *(b"x" * MIB for _ in range(4))]


async def outcomes_of(
    system: SystemUnderTest, replica: subprocess.Popen[bytes], count: int
) -> list[dict[str, Any]]:
    """The outcomes, once there are so many; the replica must live until then."""
    reading = asyncio.ensure_future(system.outcome_data(count, 300))
    while not reading.done():
        assert replica.poll() is None, system.logs()[-3000:]
        await asyncio.wait({reading}, timeout=0.5)
    return reading.result()


@pytest.mark.timeout(600)
async def test_hostile_batches(system: SystemUnderTest) -> None:
    """A PIM that is down holds all of them up; then each record gets its outcome.

    The kernel refuses the replica more memory than the limit, which is less than what
    docs/operations.md says for these settings.
    """
    settings = load(variables(system.settings() | SETTINGS), None).settings
    assert memory_bytes(settings, 60 * MIB) > LIMIT_BYTES
    system.suffix, system.partitions = f"{system.suffix}.memory", PARTITIONS
    await create_large_topics(
        system.bootstrap, PARTITIONS, (system.events, system.dead_letters), (system.outcomes,)
    )
    system.pim.go_down()
    count = 0
    for partition in range(PARTITIONS):
        values = hostile(partition)
        count += len(values)
        codec = CODECS[partition % len(CODECS)]
        await publish_batch(system.bootstrap, system.events, partition, codec, values)

    replica = system.start(**SETTINGS)
    resource.prlimit(replica.pid, resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
    async with asyncio.timeout(120):
        while '"intake.paused"' not in system.logs():
            assert replica.poll() is None, system.logs()[-3000:]
            await asyncio.sleep(0.1)
    system.pim.come_back()
    outcomes = await outcomes_of(system, replica, count)

    assert len(outcomes) == count, system.logs()[-3000:]
    partitions = {
        (o["data"]["origin"]["partition"], o["data"]["origin"]["offset"]) for o in outcomes
    }
    assert len(partitions) == count
    large = [one for one in outcomes if one["data"]["reason"] == "too_large"]
    assert len(large) == PARTITIONS - 1, system.logs()[-3000:]
    assert peak_bytes(replica.pid) < LIMIT_BYTES
