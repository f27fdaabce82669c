"""An offset map is used on no other position than its own (architecture.md D3)."""

import asyncio
import signal
from collections import Counter

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from service.core.settle import offset_map
from service.playground.pim.faults import Fault
from tests.support.positions import Positions, positions, recreate, stop, until_empty, until_said
from tests.support.proof import assert_exactly_once, events, upsert
from tests.support.service import Bench, Input

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

SETTLED = 20
"""Changes above the one that is not settled, in partition 0."""


def upserts(first: int, count: int, partition: int = 0) -> list[Input]:
    """Changes of as many assets."""
    codes = (f"a{number}" for number in range(first, first + count))
    return [(partition, None, upsert("packshots", code, {"n": code})) for code in codes]


async def position_with_map(bench: Bench) -> OffsetAndMetadata:
    """What a killed replica left in partition 0: offset 0 is open, all above are settled."""
    bench.pim.faults.add(Fault(asset="stuck", hang=True, times=None))
    stuck = (0, None, upsert("packshots", "stuck", {"n": "1"}))
    await bench.publish([stuck, *upserts(0, SETTLED)])
    replica = bench.start(WINDOW__MAX_ASSETS="1")
    assert len(await bench.outcome_data(SETTLED)) == SETTLED, bench.logs()
    replica.send_signal(signal.SIGKILL)
    await asyncio.to_thread(replica.wait)
    bench.pim.faults.clear()
    await until_empty(bench)
    return (await positions(bench))[TopicPartition(bench.events, 0)]


async def outcomes_by_offset(bench: Bench, count: int) -> dict[int, Counter[int]]:
    """By partition: how many outcomes each offset has."""
    found: dict[int, Counter[int]] = {n: Counter() for n in range(bench.partitions)}
    for outcome in await bench.outcome_data(count):
        origin = outcome["data"]["origin"]
        found[origin["partition"]][origin["offset"]] += 1
    return found


def only(bench: Bench, found: OffsetAndMetadata, partition: int = 0) -> Positions:
    """A position of one partition."""
    return {TopicPartition(bench.events, partition): found}


async def test_the_map_of_an_earlier_release_is_read(bench: Bench) -> None:
    """A replica of that release left it in a rolling upgrade: no outcome is repeated."""
    left = await position_with_map(bench)
    above = frozenset(range(1, SETTLED + 1))
    bound = offset_map.encode(0, offset_map.bitmap(0, above))
    unbound = offset_map.UNBOUND_TAG + bound.rpartition(":")[2]
    assert left.offset == 0
    await bench.commit(only(bench, OffsetAndMetadata(0, unbound)))

    bench.start()

    await assert_exactly_once(bench, SETTLED + 1)


async def test_a_position_that_was_moved_with_its_map(bench: Bench) -> None:
    """As MirrorMaker does: nothing above the position is taken for settled, and it is said."""
    left = await position_with_map(bench)
    moved = left.offset + 5
    await bench.publish(upserts(100, 10))
    await bench.commit(only(bench, OffsetAndMetadata(moved, left.metadata)))

    bench.start()
    await until_said(bench, "its offset map was written for position 0")

    published = range(moved, SETTLED + 11)
    found = await outcomes_by_offset(bench, SETTLED + len(published))
    assert all(found[0][offset] for offset in published), bench.logs()[-3000:]
    assert "asset_sync_offset_maps_unused_total 1.0" in (await bench.get("/metrics", 1))[1]


async def test_a_map_that_was_copied_to_another_partition(bench: Bench) -> None:
    """Though the position is the same."""
    left = await position_with_map(bench)
    await bench.publish(upserts(100, 10, partition=1))
    await bench.commit(only(bench, left, partition=1))

    bench.start()
    await until_said(bench, "was written for another topic, partition, group or cluster")

    found = await outcomes_by_offset(bench, SETTLED + 11)
    assert found[1] == Counter(range(10))
    assert set(found[0].values()) == {1}, "the map of partition 0 is where it belongs"


async def test_a_map_that_was_copied_from_another_group(bench: Bench) -> None:
    """That group's outcomes are not this group's."""
    left = await position_with_map(bench)
    bench.suffix += ".copy"
    await bench.create_topics()
    events_topic = bench.events.removesuffix(".copy")
    await bench.commit({TopicPartition(events_topic, 0): left})

    bench.start(KAFKA__EVENTS_TOPICS=events_topic)
    await until_said(bench, "was written for another topic, partition, group or cluster")

    assert (await outcomes_by_offset(bench, SETTLED + 1))[0] == Counter(range(SETTLED + 1))


async def test_a_position_of_an_earlier_topic_of_this_name(bench: Bench) -> None:
    """A topic that was created again, and is longer than the position already."""
    await bench.publish(events(60, 30, bench.partitions))
    replica = bench.start()
    await assert_exactly_once(bench, 60)
    await stop(replica)
    left = await positions(bench)
    await recreate(bench)
    bench.published.clear()
    await bench.publish(events(90, 30, bench.partitions))
    await bench.commit(left)

    bench.start()

    found = await outcomes_by_offset(bench, 150)
    assert [found[n] for n in range(3)] == [Counter([*range(20), *range(30)])] * 3
    assert bench.logs().count("the topic was re-created") == bench.partitions


async def test_a_map_that_reaches_above_the_end(bench: Bench) -> None:
    """The broker lost records that were settled: what is written in their place is read."""
    await bench.publish(upserts(0, 5))
    above = offset_map.bitmap(2, range(4, 12))
    unbound = offset_map.UNBOUND_TAG + offset_map.encode(2, above).rpartition(":")[2]
    await bench.commit(only(bench, OffsetAndMetadata(2, unbound)))

    bench.start()
    await until_said(bench, "above the end 5")
    await bench.publish(upserts(5, 7))

    assert (await outcomes_by_offset(bench, 10))[0] == Counter(range(2, 12))
