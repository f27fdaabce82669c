"""Where a group begins: decided once, committed before the first record, and said (contract §3)."""

import asyncio
import signal

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from tests.support.positions import (
    add_partitions,
    create,
    delete_group,
    positions,
    recreate,
    stop,
    until_positions,
    until_said,
)
from tests.support.proof import assert_exactly_once, events, upsert
from tests.support.service import Bench

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

LATEST = {"KAFKA__START_FROM": "latest"}


async def publish_to(bench: Bench, topic: str, count: int) -> None:
    """Changes of as many assets, to a topic of one partition."""
    producer = AIOKafkaProducer(bootstrap_servers=bench.bootstrap)
    await producer.start()
    for number in range(count):
        value = upsert("packshots", f"b{number}", {"n": str(number)})
        await producer.send_and_wait(topic, value)
    await producer.stop()


async def begin_from_latest(bench: Bench) -> None:
    """A group that began at the end of what was published, and stands still."""
    await bench.publish(events(30, 30, bench.partitions))
    replica = bench.start(**LATEST)
    await until_positions(bench, bench.partitions)
    await stop(replica)
    bench.published.clear()


async def test_replicas_that_start_at_once(bench: Bench) -> None:
    """One of them begins the group, for all partitions; what comes after is read once."""
    await bench.publish(events(30, 30, bench.partitions))
    for _ in range(3):
        bench.start(**LATEST)
    found = await until_positions(bench, bench.partitions)
    bench.published.clear()
    await bench.publish(events(60, 30, bench.partitions))

    await assert_exactly_once(bench, 60)

    assert {at.offset for at in found.values()} == {10}
    assert bench.logs().count('"group.begun"') == 1
    assert "the 30 records before it are not read" in bench.logs()


async def test_what_a_dead_replica_left_open(bench: Bench) -> None:
    """It died inside the transaction that begins the group: the next one does it anew."""
    await bench.publish(events(30, 30, bench.partitions))
    dead = AIOKafkaProducer(
        bootstrap_servers=bench.bootstrap,
        transactional_id=f"group.{bench.suffix}.beginning",
        transaction_timeout_ms=600_000,
    )
    await dead.start()
    await dead.begin_transaction()
    wrong = {
        topic_partition: OffsetAndMetadata(3, "") for topic_partition in bench.topic_partitions()
    }
    await dead.send_offsets_to_transaction(wrong, f"group.{bench.suffix}")

    bench.start()

    await assert_exactly_once(bench, 30)
    with pytest.raises(KafkaError):
        await dead.commit_transaction()
    await dead.stop()


@pytest.mark.parametrize("replicas", [0, 1, 2])
async def test_partitions_that_are_added_are_read_whole(bench: Bench, replicas: int) -> None:
    """Whoever runs meanwhile: nothing, one or two replicas; also beside a new one."""
    await begin_from_latest(bench)
    for _ in range(replicas):
        bench.start(**LATEST)
    if replicas:
        await asyncio.gather(*(bench.until_ready(number + 1) for number in range(replicas)))
    await add_partitions(bench, 5)
    await bench.publish(events(60, 30, 5))
    bench.start(**LATEST)

    await assert_exactly_once(bench, 60, seconds=90)


async def test_a_topic_that_is_added_later_is_read_whole(bench: Bench) -> None:
    """The group has positions; the new topic has none."""
    await begin_from_latest(bench)
    more = f"more.{bench.suffix}"
    await create(bench, more)
    await publish_to(bench, more, 20)

    bench.start(**LATEST, KAFKA__EVENTS_TOPICS=f"{bench.events},{more}")

    outcomes = await bench.outcome_data(20)
    assert [o["data"]["origin"]["topic"] for o in outcomes] == [more] * 20, bench.logs()
    assert f"{more}/0 at 0 (20 records)" in bench.logs()


async def test_one_of_two_topics_that_was_created_again(bench: Bench) -> None:
    """Kafka drops its positions with it; the group has others, so all of the new one is read."""
    other = f"other.{bench.suffix}"
    await create(bench, other)
    topics = {"KAFKA__EVENTS_TOPICS": f"{bench.events},{other}"}
    replica = bench.start(**LATEST, **topics)
    await until_positions(bench, bench.partitions + 1)
    await stop(replica)
    await recreate(bench)
    await bench.publish(events(50, 30, bench.partitions))

    bench.start(**LATEST, **topics)

    await assert_exactly_once(bench, 50)


async def test_a_topic_that_is_created_again_beside_a_running_replica(bench: Bench) -> None:
    """It had positions that are gone: that is said, and nothing of the new topic is skipped."""
    await bench.publish(events(60, 30, bench.partitions))
    bench.start(**LATEST)
    await until_positions(bench, bench.partitions)
    await bench.until_ready(0)
    await recreate(bench)
    bench.published.clear()
    await bench.publish(events(90, 30, bench.partitions))

    await assert_exactly_once(bench, 90, seconds=100)
    assert '"position.lost"' in bench.logs()


async def test_positions_that_expired(bench: Bench) -> None:
    """Outcomes are there, positions are not: said as a warning, with what is read again."""
    await bench.publish(events(60, 30, bench.partitions))
    replica = bench.start()
    await assert_exactly_once(bench, 60)
    await stop(replica)
    assert '"group.begun"' in bench.logs()
    await delete_group(bench)
    assert await positions(bench) == {}

    bench.start()

    await until_said(bench, '"group.begun_again"')
    assert len(await bench.outcome_data(120)) == 120
    assert "60 records are read" in bench.logs()
    assert "offsets.retention.minutes" in bench.logs()


async def test_more_replicas_than_calls_at_once(bench: Bench) -> None:
    """Each makes at least one call: beyond the limit the service warns (P8)."""
    setting = {"PIM__MAX_CONCURRENCY": "1"}
    first = bench.start(**setting)
    await bench.until_ready(0)
    assert "group.too_large" not in bench.logs()
    bench.start(**setting)
    await until_said(bench, '"group.too_large"')
    first.send_signal(signal.SIGTERM)

    assert "2 replicas own partitions" in bench.logs()
