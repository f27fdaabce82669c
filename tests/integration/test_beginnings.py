"""The beginning of a group is decided once, committed first, and reported (contract.md §3)."""

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
    until_logged,
    until_positions,
)
from tests.support.proof import assert_exactly_once, events, upsert
from tests.support.service import SystemUnderTest

pytestmark = [pytest.mark.kafka, pytest.mark.processes]

LATEST = {"KAFKA__START_FROM": "latest"}


async def publish_to(system: SystemUnderTest, topic: str, count: int) -> None:
    """Changes of this many assets, for a topic with one partition."""
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap)
    await producer.start()
    for number in range(count):
        value = upsert("packshots", f"b{number}", {"n": str(number)})
        await producer.send_and_wait(topic, value)
    await producer.stop()


async def begin_from_latest(system: SystemUnderTest) -> None:
    """A group that began at the end of the published records, without members now."""
    await system.publish(events(30, 30, system.partitions))
    replica = system.start(**LATEST)
    await until_positions(system, system.partitions)
    await stop(replica)
    system.published.clear()


async def test_replicas_that_start_at_once(system: SystemUnderTest) -> None:
    """One of them begins the group in all partitions; later records are read once."""
    await system.publish(events(30, 30, system.partitions))
    for _ in range(3):
        system.start(**LATEST)
    found = await until_positions(system, system.partitions)
    system.published.clear()
    await system.publish(events(60, 30, system.partitions))

    await assert_exactly_once(system, 60)

    assert {at.offset for at in found.values()} == {10}
    assert system.logs().count('"group.begun"') == 1
    assert "the 30 records before it are not read" in system.logs()


async def test_what_a_dead_replica_left_open(system: SystemUnderTest) -> None:
    """It was killed inside the transaction that begins the group; the next replica repeats it."""
    await system.publish(events(30, 30, system.partitions))
    dead = AIOKafkaProducer(
        bootstrap_servers=system.bootstrap,
        transactional_id=f"{system.group}.beginning",
        transaction_timeout_ms=600_000,
    )
    await dead.start()
    await dead.begin_transaction()
    wrong = {
        topic_partition: OffsetAndMetadata(3, "") for topic_partition in system.topic_partitions()
    }
    await dead.send_offsets_to_transaction(wrong, system.group)

    system.start()

    await assert_exactly_once(system, 30)
    with pytest.raises(KafkaError):
        await dead.commit_transaction()
    await dead.stop()


@pytest.mark.parametrize("replicas", [0, 1, 2])
async def test_partitions_that_are_added_are_read_whole(
    system: SystemUnderTest, replicas: int
) -> None:
    """No replica, one or two run meanwhile, and a new one may start."""
    await begin_from_latest(system)
    for _ in range(replicas):
        system.start(**LATEST)
    if replicas:
        await asyncio.gather(*(system.until_ready(number + 1) for number in range(replicas)))
    await add_partitions(system, 5)
    await system.publish(events(60, 30, 5))
    system.start(**LATEST)

    await assert_exactly_once(system, 60, seconds=90)


async def test_a_topic_that_is_added_later_is_read_whole(system: SystemUnderTest) -> None:
    """The group has positions, but none in the new topic."""
    await begin_from_latest(system)
    more = f"more.{system.suffix}"
    await create(system, more)
    await publish_to(system, more, 20)

    system.start(**LATEST, KAFKA__EVENTS_TOPICS=f"{system.events},{more}")

    outcomes = await system.outcome_data(20)
    assert [o["data"]["origin"]["topic"] for o in outcomes] == [more] * 20, system.logs()
    assert f"{more}/0 at 0 (20 records)" in system.logs()


async def test_one_of_two_topics_that_was_created_again(system: SystemUnderTest) -> None:
    """Kafka deletes its positions; the group has others, so the new topic is read whole."""
    other = f"other.{system.suffix}"
    await create(system, other)
    topics = {"KAFKA__EVENTS_TOPICS": f"{system.events},{other}"}
    replica = system.start(**LATEST, **topics)
    await until_positions(system, system.partitions + 1)
    await stop(replica)
    await recreate(system)
    await system.publish(events(50, 30, system.partitions))

    system.start(**LATEST, **topics)

    await assert_exactly_once(system, 50)


async def test_a_topic_that_is_created_again_beside_a_running_replica(
    system: SystemUnderTest,
) -> None:
    """Its positions are gone: that is reported, and no record of the new topic is skipped."""
    await system.publish(events(60, 30, system.partitions))
    system.start(**LATEST)
    await until_positions(system, system.partitions)
    await system.until_ready(0)
    await recreate(system)
    system.published.clear()
    await system.publish(events(90, 30, system.partitions))

    await assert_exactly_once(system, 90, seconds=100)
    assert '"position.lost"' in system.logs()


async def test_positions_that_expired(system: SystemUnderTest) -> None:
    """There are outcomes but no positions: a warning says how many records are read again."""
    await system.publish(events(60, 30, system.partitions))
    replica = system.start()
    await assert_exactly_once(system, 60)
    await stop(replica)
    assert '"group.begun"' in system.logs()
    await delete_group(system)
    assert await positions(system) == {}

    system.start()

    await until_logged(system, '"group.begun_again"')
    assert len(await system.outcome_data(120)) == 120
    assert "60 records are read" in system.logs()
    assert "offsets.retention.minutes" in system.logs()


async def test_more_replicas_than_calls_at_once(system: SystemUnderTest) -> None:
    """Each makes at least one call, so the service warns above the limit (P8)."""
    setting = {"PIM__MAX_CONCURRENCY": "1"}
    first = system.start(**setting)
    await system.until_ready(0)
    assert "group.too_large" not in system.logs()
    system.start(**setting)
    await until_logged(system, '"group.too_large"')
    first.send_signal(signal.SIGTERM)

    assert "2 replicas own partitions" in system.logs()
