"""Memory of `translate` is bounded by the settings, whatever the raw events are and become."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.playground.local_system import variables
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from service.settings import load
from tests.support.large import create_large_topics, peak_bytes, publish_batch
from tests.support.memory_sum import translate_bytes
from tests.support.raw import RawSystem, raw_system

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.processes,
    pytest.mark.usefixtures("real_starts"),
]

MIB = 1024 * 1024
PARTITIONS = 5
CODECS = (None, "gzip", "snappy", "lz4", "zstd")
SETTINGS = {"PIPELINE__MAX_PENDING_BYTES": "16MiB", "PIPELINE__MAX_PENDING_CHANGES": "1000"}
LIMIT_BYTES = 400 * MIB
"""What the replica may allocate."""
SOURCES = """
version: 1
hosts:
  dam: {{base: "{dam}", allow_private: true, max_per_second: 1000}}
sources:
  large:
    topics: [{topic}]
    identity: id
    fetch: {{host: dam, url: "/assets/{{id}}", not_found: skip}}
    family: family
    code: $event.id
    values: {{label: title, text: $event.text, number: "$event.numbers[0]"}}
    rules: [{{do: upsert}}]
"""


@pytest.fixture
async def system(bootstrap: str, tmp_path: Path) -> AsyncIterator[RawSystem]:
    """A system with a DAM that is down at first."""
    async with raw_system(bootstrap, tmp_path, PimSimulator(free("packshots"))) as made:
        made.dam.status = 503
        yield made


def hostile(partition: int) -> list[bytes]:
    """Return some 50 MB: long texts, a record of 20 MiB, what is no event, and many numbers.

    The numbers take 20 times their size once they are decoded.
    """

    def event(number: int, **members: object) -> bytes:
        return json.dumps({"id": f"a{partition}_{number}", **members}).encode()

    texts = [event(number, text="x" * (MIB - 2000)) for number in range(20)]
    numbers = [event(100 + number, numbers=[0.5] * 140_000) for number in range(12)]
    return [*texts, b"x" * 20 * MIB, *(b"x" * MIB for _ in range(4)), *numbers]


@pytest.mark.timeout(600)
async def test_hostile_events(system: RawSystem) -> None:
    """A DAM that is down holds all of them up; then each becomes a change or an outcome.

    The kernel refuses the replica more memory than the limit, which is less than what
    docs/operations.md says for these settings.
    """
    settings = load(variables(system.settings() | SETTINGS), None).settings
    assert translate_bytes(settings, 1, 4 * MIB, 60 * MIB) > LIMIT_BYTES
    system.suffix, system.partitions = f"{system.suffix}.memory", PARTITIONS
    topic = f"raw.{system.suffix}"
    large = topic, system.dead_letters
    await create_large_topics(system.bootstrap, PARTITIONS, large, (system.events, system.outcomes))
    system.write_sources(SOURCES.format(dam=system.dam_url, topic=topic))
    for partition in range(PARTITIONS):
        await publish_batch(
            system.bootstrap, topic, partition, CODECS[partition], hostile(partition)
        )

    replica = system.start_translate(**SETTINGS, DEAD_LETTERS__MAX_SHARE="1")
    resource.prlimit(replica.pid, resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
    async with asyncio.timeout(120):
        while '"intake.paused"' not in system.logs():
            assert replica.poll() is None, system.logs()[-3000:]
            await asyncio.sleep(0.1)
    system.dam.status = 200
    changes = await system.changes(PARTITIONS * 32, 300)
    outcomes = await system.outcome_data(PARTITIONS * 5, 60)

    assert len({json.loads(one.value)["id"] for one in changes}) == PARTITIONS * 32
    reasons = [one["data"]["reason"] for one in outcomes]
    assert sorted(reasons) == ["too_large"] * PARTITIONS + ["undecodable"] * PARTITIONS * 4
    assert replica.poll() is None, system.logs()[-3000:]
    assert peak_bytes(replica.pid) < LIMIT_BYTES
