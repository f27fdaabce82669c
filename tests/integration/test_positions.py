"""Positions that the broker no longer has: never silent, never stuck (contract.md §4)."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import OffsetAndMetadata

from tests.support.positions import recreate, stop
from tests.support.proof import assert_exactly_once, events
from tests.support.service import Bench

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


async def delete_before(bench: Bench, offset: int) -> None:
    """What retention does, in every partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bench.bootstrap)
    await admin.start()
    topic_partitions = (TopicPartition(bench.events, number) for number in range(bench.partitions))
    await admin.delete_records(
        {
            topic_partition: RecordsToDelete(before_offset=offset)
            for topic_partition in topic_partitions
        }
    )
    await admin.close()


async def test_retention_went_past_a_stopped_service(bench: Bench) -> None:
    """It says so, begins at the earliest, and repeats nothing."""
    await bench.publish(events(300, 30, bench.partitions))
    first = bench.start()
    await assert_exactly_once(bench, 300)
    await stop(first)
    await bench.publish(events(300, 30, bench.partitions))
    await delete_before(bench, 150)
    kept = {
        topic_partition: r
        for topic_partition, r in bench.published.items()
        if not 100 <= topic_partition[1] < 150
    }
    bench.published = kept

    bench.start()

    await assert_exactly_once(bench, len(kept))
    assert "the records 100 to 149 are no longer there" in bench.logs()


async def test_retention_overtakes_a_running_service(bench: Bench) -> None:
    """What it holds goes on; what was deleted before it was read is said."""
    bench.pim.go_down()
    # more than the consumer fetches ahead: 1 MiB a partition
    await bench.publish(events(3000, 90, bench.partitions, pad=4000))
    bench.start(PIPELINE__MAX_PENDING_CHANGES="300")
    await bench.until_waiting("pim")
    paused = f"asset_sync_paused_partitions {bench.partitions}.0\n"
    await bench.until("/metrics", lambda text: paused in text)
    await delete_before(bench, 950)
    bench.pim.come_back()

    outcomes = await bench.outcome_data(3 * 50 + 300)
    ids = [outcome["id"] for outcome in outcomes]
    assert len(ids) == len(set(ids))
    offsets = {(o["data"]["origin"]["partition"], o["data"]["origin"]["offset"]) for o in outcomes}
    wanted = {topic_partition for topic_partition in bench.published if topic_partition[1] >= 950}
    assert wanted <= offsets, bench.logs()[-3000:]
    assert "position.lost" in bench.logs()


async def test_a_topic_that_was_re_created_while_the_service_stood_still(bench: Bench) -> None:
    """Kafka drops an idle group's positions with the topic: all of the new one is taken."""
    await bench.publish(events(300, 30, bench.partitions))
    first = bench.start()
    await assert_exactly_once(bench, 300)
    await stop(first)
    await recreate(bench)
    bench.published.clear()
    await bench.publish(events(60, 30, bench.partitions))

    bench.start()

    assert len(await bench.outcome_data(360)) == 360, bench.logs()[-3000:]


async def test_a_position_above_the_end(bench: Bench) -> None:
    """Looked at twice, 10 s apart; then it was a re-created topic, and all of it is taken."""
    await bench.publish(events(60, 30, bench.partitions))
    positions = {
        TopicPartition(bench.events, number): OffsetAndMetadata(10_000, "as1:Ag==")
        for number in range(bench.partitions)
    }
    await bench.commit(positions)

    bench.start()

    await assert_exactly_once(bench, 60)
    assert bench.logs().count("the topic was re-created") == bench.partitions


async def test_foreign_metadata_ends_the_service(bench: Bench) -> None:
    """Another service uses the group: taken for empty, its positions would repeat outcomes."""
    await bench.publish(events(30, 30, bench.partitions))
    await bench.commit({TopicPartition(bench.events, 0): OffsetAndMetadata(3, "somebody else's")})

    replica = bench.start()

    assert await asyncio.to_thread(replica.wait, 30) == 1
    assert "is not asset-sync's" in bench.logs()
    assert "Traceback" not in bench.logs()
