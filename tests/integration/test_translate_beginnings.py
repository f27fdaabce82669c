"""Where a source of `translate` begins: each has a group of its own, which begins by itself."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import free
from tests.support.positions import stop
from tests.support.raw import RawSystem, bucket_records, raw_system, thin_records

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

LATEST = {"KAFKA__START_FROM": "latest"}


@pytest.fixture
async def system(bootstrap: str, tmp_path: Path) -> AsyncIterator[RawSystem]:
    """A system with two sources."""
    async with raw_system(bootstrap, tmp_path, PimSimulator(free("packshots", "manuals"))) as made:
        yield made


def begun(system: RawSystem) -> Counter[tuple[str, str]]:
    """Return how often each source has said where it begins, by source and event."""
    lines = [json.loads(line) for line in system.logs().splitlines() if line[:1] == "{"]
    return Counter(
        (line["source"], line["event"])
        for line in lines
        if line["event"] in {"group.begun", "group.begun_again"}
    )


def assert_both_begun_once(system: RawSystem) -> None:
    """Check that each source began once, and that the first one saw no outcome from before.

    The other one may begin later than the first has written one, and then warns.
    """
    said = begun(system)
    assert Counter(source for source, _ in said.elements()) == {"bucket": 1, "thin": 1}
    assert "group.begun" in {event for _, event in said}


async def publish_both(system: RawSystem, count: int) -> None:
    """Publish so many raw records for each source."""
    await system.publish_raw("bucket", bucket_records(count, system.partitions, items=1))
    await system.publish_raw("thin", thin_records(count, system.partitions, assets=3))


async def test_earliest_reads_what_was_there_before(system: RawSystem) -> None:
    """The default: every record of the raw topics is translated."""
    await publish_both(system, 30)
    system.start_translate()

    await system.assert_translated_once()
    assert_both_begun_once(system)
    assert system.logs().count("begin at their earliest record, and 30 records are read") == 2


async def test_latest_reads_what_comes_after_the_first_start(system: RawSystem) -> None:
    """Two replicas begin each group once; a record that comes while none runs is not skipped."""
    await publish_both(system, 30)
    replicas = [system.start_translate(**LATEST) for _ in range(2)]
    await system.until_ready(0)
    await system.until_ready(1)
    system.raw.clear()
    await publish_both(system, 30)
    for replica in replicas:
        await stop(replica)
    await publish_both(system, 30)
    system.start_translate(**LATEST)

    await system.assert_translated_once()
    assert_both_begun_once(system)
    assert system.logs().count("end, and the 30 records before it are not read") == 2


async def test_a_source_that_is_added_later_begins_by_itself(system: RawSystem) -> None:
    """With `latest`, its earlier records are not read, and the other source misses none.

    That is said as a warning, since outcomes are there: the positions might have expired.
    """
    replica = system.start_translate(**LATEST, TRANSLATE__SOURCES="bucket")
    await system.until_ready(0)
    await publish_both(system, 30)
    await system.changes(10)
    await stop(replica)
    system.raw = {name: items for name, items in system.raw.items() if "bucket" in name}

    await system.publish_raw("bucket", bucket_records(30, system.partitions, items=1))
    system.start_translate(**LATEST)
    await system.until_ready(1)
    await system.publish_raw("thin", thin_records(30, system.partitions, assets=3))

    await system.assert_translated_once()
    assert begun(system) == {("bucket", "group.begun"): 1, ("thin", "group.begun_again"): 1}
    assert "the 30 records before it are not read" in system.logs()
    assert "A source that is new in translate has none either" in system.logs()
