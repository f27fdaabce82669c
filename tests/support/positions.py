"""Read, move, copy and delete the positions of a group, as another tool would."""

import asyncio
import signal
import subprocess
from contextlib import suppress

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError, TopicAlreadyExistsError
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.tools.create_topics import until_known
from tests.support.admin import admin_of
from tests.support.service import SystemUnderTest

Positions = dict[TopicPartition, OffsetAndMetadata]
ROUNDS_MAX = 300
ROUND_SECONDS = 0.1


async def stop(replica: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, and wait for the end."""
    replica.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(replica.wait, 30) == 0


async def positions(system: SystemUnderTest, group: str | None = None) -> Positions:
    """Return every position of the group."""
    async with admin_of(system.bootstrap) as admin:
        for _ in range(ROUNDS_MAX):
            with suppress(GroupCoordinatorNotAvailableError):  # a broker that just started
                found = await admin.list_consumer_group_offsets(group or system.group)
                return {
                    topic_partition: at for topic_partition, at in found.items() if at.offset >= 0
                }
            await asyncio.sleep(ROUND_SECONDS)
    raise AssertionError(system.logs()[-3000:])


async def until_positions(system: SystemUnderTest, count: int) -> Positions:
    """Wait until the group has this many positions."""
    for _ in range(ROUNDS_MAX):
        found = await positions(system)
        if len(found) >= count:
            return found
        await asyncio.sleep(ROUND_SECONDS)
    raise AssertionError(system.logs()[-3000:])


async def until_logged(system: SystemUnderTest, text: str, times: int = 1) -> None:
    """Wait until the replicas have logged a text this many times."""
    for _ in range(ROUNDS_MAX):
        if system.logs().count(text) >= times:
            return
        await asyncio.sleep(ROUND_SECONDS)
    raise AssertionError((text, system.logs()[-5000:]))


async def delete_group(system: SystemUnderTest) -> None:
    """Delete the group, as `offsets.retention.minutes` does to one without members."""
    group = system.group
    await until_empty(system)
    async with admin_of(system.bootstrap) as admin:
        coordinator = await admin.find_coordinator(group)
        response = await admin._send_request(DeleteGroupsRequest([group]), coordinator)
    assert [code for _, code in response.results] == [0]


async def until_empty(system: SystemUnderTest) -> None:
    """Wait until the group has no member; only then another tool may commit positions."""
    group = system.group
    async with admin_of(system.bootstrap) as admin:
        for _ in range(ROUNDS_MAX):
            [response] = await admin.describe_consumer_groups([group])
            if response.groups[0][2] in {"Empty", "Dead"}:
                return
            await asyncio.sleep(ROUND_SECONDS)
    raise AssertionError(system.logs()[-3000:])


async def add_partitions(system: SystemUnderTest, total: int) -> None:
    """Add partitions to the events topic."""
    async with admin_of(system.bootstrap) as admin:
        await admin.create_partitions({system.events: NewPartitions(total_count=total)})


async def create(system: SystemUnderTest, topic: str, partitions: int = 1) -> None:
    """Create a topic; if it was just deleted, wait until it is gone."""
    async with admin_of(system.bootstrap) as admin:
        for _ in range(ROUNDS_MAX):
            try:
                await admin.create_topics([NewTopic(topic, partitions, 1)])
            except TopicAlreadyExistsError:
                await asyncio.sleep(ROUND_SECONDS)
            else:
                return await until_known(admin, [topic])
    raise AssertionError(topic)


async def delete_topic(admin: AIOKafkaAdminClient, topic: str) -> None:
    """Delete a topic, and wait until the broker knows that: until then it takes records for it."""
    await admin.delete_topics([topic])
    for _ in range(ROUNDS_MAX):
        [found] = await admin.describe_topics([topic])
        if found["error_code"]:
            return
        await asyncio.sleep(ROUND_SECONDS)
    raise AssertionError(topic)


async def recreate(system: SystemUnderTest) -> None:
    """Delete the events topic and create it again."""
    async with admin_of(system.bootstrap) as admin:
        await delete_topic(admin, system.events)
    await create(system, system.events, system.partitions)
