"""An offset map is used only with the position for which it was written (architecture.md D3)."""

import asyncio
import signal
from collections import Counter

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from service.core.settle import offset_map
from service.playground.pim.faults import Fault
from tests.support.positions import Positions, positions, recreate, stop, until_empty, until_logged
from tests.support.proof import assert_exactly_once, events, upsert
from tests.support.service import Input, SystemUnderTest

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

SETTLED = 20
"""Completed changes above the pending one, in partition 0."""


def upserts(first: int, count: int, partition: int = 0) -> list[Input]:
    """Changes of this many assets."""
    codes = (f"a{number}" for number in range(first, first + count))
    return [(partition, None, upsert("packshots", code, {"n": code})) for code in codes]


async def position_with_map(system: SystemUnderTest) -> OffsetAndMetadata:
    """The state that a killed replica left in partition 0: only offset 0 is pending."""
    system.pim.faults.add(Fault(asset="stuck", hang=True, times=None))
    stuck = (0, None, upsert("packshots", "stuck", {"n": "1"}))
    await system.publish([stuck, *upserts(0, SETTLED)])
    replica = system.start(WINDOW__MAX_ASSETS="1")
    assert len(await system.outcome_data(SETTLED)) == SETTLED, system.logs()
    replica.send_signal(signal.SIGKILL)
    await asyncio.to_thread(replica.wait)
    system.pim.faults.clear()
    await until_empty(system)
    return (await positions(system))[TopicPartition(system.events, 0)]


async def outcomes_by_offset(system: SystemUnderTest, count: int) -> dict[int, Counter[int]]:
    """Return for each partition how many outcomes each offset has."""
    found: dict[int, Counter[int]] = {n: Counter() for n in range(system.partitions)}
    for outcome in await system.outcome_data(count):
        origin = outcome["data"]["origin"]
        found[origin["partition"]][origin["offset"]] += 1
    return found


def only(system: SystemUnderTest, found: OffsetAndMetadata, partition: int = 0) -> Positions:
    """A position in one partition."""
    return {TopicPartition(system.events, partition): found}


async def test_the_map_of_an_earlier_release_is_read(system: SystemUnderTest) -> None:
    """A replica of an earlier release wrote it in a rolling upgrade; no outcome is repeated."""
    left = await position_with_map(system)
    above = frozenset(range(1, SETTLED + 1))
    bound = offset_map.encode(0, offset_map.bitmap(0, above))
    unbound = offset_map.UNBOUND_TAG + bound.rpartition(":")[2]
    assert left.offset == 0
    await system.commit(only(system, OffsetAndMetadata(0, unbound)))

    system.start()

    await assert_exactly_once(system, SETTLED + 1)


async def test_a_position_that_was_moved_with_its_map(system: SystemUnderTest) -> None:
    """MirrorMaker does that: nothing above the position counts as completed, and a log says so."""
    left = await position_with_map(system)
    moved = left.offset + 5
    await system.publish(upserts(100, 10))
    await system.commit(only(system, OffsetAndMetadata(moved, left.metadata)))

    system.start()
    await until_logged(system, "its offset map was written for position 0")

    published = range(moved, SETTLED + 11)
    found = await outcomes_by_offset(system, SETTLED + len(published))
    assert all(found[0][offset] for offset in published), system.logs()[-3000:]
    assert "asset_sync_offset_maps_unused_total 1.0" in (await system.get("/metrics", 1))[1]


async def test_a_map_that_was_copied_to_another_partition(system: SystemUnderTest) -> None:
    """The map is not used, though the position is the same."""
    left = await position_with_map(system)
    await system.publish(upserts(100, 10, partition=1))
    await system.commit(only(system, left, partition=1))

    system.start()
    await until_logged(system, "was written for another topic, partition, group or cluster")

    found = await outcomes_by_offset(system, SETTLED + 11)
    assert found[1] == Counter(range(10))
    assert set(found[0].values()) == {1}, "the map of partition 0 is where it belongs"


async def test_a_map_that_was_copied_from_another_group(system: SystemUnderTest) -> None:
    """The map is not used: the outcomes of that group are not the outcomes of this group."""
    left = await position_with_map(system)
    system.suffix += ".copy"
    await system.create_topics()
    events_topic = system.events.removesuffix(".copy")
    await system.commit({TopicPartition(events_topic, 0): left})

    system.start(KAFKA__EVENTS_TOPICS=events_topic)
    await until_logged(system, "was written for another topic, partition, group or cluster")

    assert (await outcomes_by_offset(system, SETTLED + 1))[0] == Counter(range(SETTLED + 1))


async def test_a_position_of_an_earlier_topic_of_this_name(system: SystemUnderTest) -> None:
    """The new topic has more records than the position already."""
    await system.publish(events(60, 30, system.partitions))
    replica = system.start()
    await assert_exactly_once(system, 60)
    await stop(replica)
    left = await positions(system)
    await recreate(system)
    system.published.clear()
    await system.publish(events(90, 30, system.partitions))
    await system.commit(left)

    system.start()

    found = await outcomes_by_offset(system, 150)
    assert [found[n] for n in range(3)] == [Counter([*range(20), *range(30)])] * 3
    assert system.logs().count("the topic was re-created") == system.partitions


async def test_a_map_that_reaches_above_the_end(system: SystemUnderTest) -> None:
    """The broker lost records of completed changes; the records in their place are read."""
    await system.publish(upserts(0, 5))
    above = offset_map.bitmap(2, range(4, 12))
    unbound = offset_map.UNBOUND_TAG + offset_map.encode(2, above).rpartition(":")[2]
    await system.commit(only(system, OffsetAndMetadata(2, unbound)))

    system.start()
    await until_logged(system, "but the partition ends at 5")
    await system.publish(upserts(5, 7))

    assert (await outcomes_by_offset(system, 10))[0] == Counter(range(2, 12))
