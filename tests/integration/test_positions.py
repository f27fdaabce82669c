"""A position that the broker no longer has is reported and stops nothing (contract.md §4)."""

import asyncio
from collections import Counter

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.structs import OffsetAndMetadata

from tests.support.admin import admin_of
from tests.support.positions import recreate, stop
from tests.support.proof import assert_exactly_once, events
from tests.support.service import SystemUnderTest

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


async def delete_before(system: SystemUnderTest, offset: int) -> None:
    """Delete records in every partition, as retention does."""
    async with admin_of(system.bootstrap) as admin:
        topic_partitions = (
            TopicPartition(system.events, number) for number in range(system.partitions)
        )
        await admin.delete_records(
            {
                topic_partition: RecordsToDelete(before_offset=offset)
                for topic_partition in topic_partitions
            }
        )


async def test_retention_went_past_a_stopped_service(system: SystemUnderTest) -> None:
    """The service reports it, begins at the earliest record, and repeats nothing."""
    await system.publish(events(300, 30, system.partitions))
    first = system.start()
    await assert_exactly_once(system, 300)
    await stop(first)
    await system.publish(events(300, 30, system.partitions))
    await delete_before(system, 150)
    kept = {
        topic_partition: r
        for topic_partition, r in system.published.items()
        if not 100 <= topic_partition[1] < 150
    }
    system.published = kept

    system.start()

    await assert_exactly_once(system, len(kept))
    assert "the records at offsets 100 to 149 were deleted" in system.logs()


async def test_retention_overtakes_a_running_service(system: SystemUnderTest) -> None:
    """Pending changes continue; records that were deleted before they were read are reported."""
    system.pim.go_down()
    # more than the consumer fetches ahead: 1 MiB a partition
    await system.publish(events(3000, 90, system.partitions, pad=4000))
    system.start(PIPELINE__MAX_PENDING_CHANGES="300")
    await system.until_waiting("pim")
    paused = f"asset_sync_paused_partitions {system.partitions}.0\n"
    await system.until("/metrics", lambda text: paused in text)
    await delete_before(system, 950)
    system.pim.come_back()

    wanted = {topic_partition for topic_partition in system.published if topic_partition[1] >= 950}
    found: Counter[tuple[int, int]] = Counter()
    while not found.keys() >= wanted:
        outcomes = await system.outcome_data(found.total() + 1)
        assert len(outcomes) > found.total(), system.logs()[-3000:]
        origins = [outcome["data"]["origin"] for outcome in outcomes]
        found = Counter((origin["partition"], origin["offset"]) for origin in origins)
    assert set(found.values()) == {1}
    assert "position.lost" in system.logs()


async def test_a_topic_that_was_re_created_while_the_service_stood_still(
    system: SystemUnderTest,
) -> None:
    """Kafka deletes positions of an idle group with the topic, so the new topic is read whole."""
    await system.publish(events(300, 30, system.partitions))
    first = system.start()
    await assert_exactly_once(system, 300)
    await stop(first)
    await recreate(system)
    system.published.clear()
    await system.publish(events(60, 30, system.partitions))

    system.start()

    assert len(await system.outcome_data(360)) == 360, system.logs()[-3000:]


async def test_a_position_above_the_end(system: SystemUnderTest) -> None:
    """It is read again after 10 s; then the topic counts as re-created, and is read whole."""
    await system.publish(events(60, 30, system.partitions))
    positions = {
        TopicPartition(system.events, number): OffsetAndMetadata(10_000, "as1:Ag==")
        for number in range(system.partitions)
    }
    await system.commit(positions)

    system.start()

    await assert_exactly_once(system, 60)
    assert system.logs().count("the topic was re-created") == system.partitions


async def test_foreign_metadata_ends_the_service(system: SystemUnderTest) -> None:
    """The service ends: without their metadata, positions of others would repeat outcomes."""
    await system.publish(events(30, 30, system.partitions))
    await system.commit({TopicPartition(system.events, 0): OffsetAndMetadata(3, "somebody else's")})

    replica = system.start()

    assert await asyncio.to_thread(replica.wait, 30) == 1
    assert "is not asset-sync's" in system.logs()
    assert "Traceback" not in system.logs()
