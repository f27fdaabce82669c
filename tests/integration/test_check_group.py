"""`check` and `run` in a group with members or positions of other applications."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from tests.support.newer_group import join_by_newer_protocol
from tests.support.positions import positions, stop, until_empty
from tests.support.proof import assert_exactly_once, events
from tests.support.service import SystemUnderTest, start_command

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


async def check(system: SystemUnderTest) -> tuple[int, str]:
    """Return the exit code and the output on one line."""
    command = start_command(system, "check", DRAIN__MAX_SECONDS="75")
    shown, _ = await asyncio.to_thread(command.communicate)
    return command.returncode, " ".join(shown.decode().split())


async def test_another_application_is_in_the_group(system: SystemUnderTest) -> None:
    """A replica cannot join, and ends with the cause and the remedy; `check` names the member."""
    other = AIOKafkaConsumer(
        system.events,
        bootstrap_servers=system.bootstrap,
        group_id=system.group,
        client_id="somebody",
        enable_auto_commit=False,
        session_timeout_ms=60_000,  # it stays a member, however busy the machine is
    )
    await other.start()

    code, said = await check(system)
    replica = system.start()
    ended = await asyncio.to_thread(replica.wait, 60)
    await other.stop()

    assert code == 1
    assert "assignor roundrobin): somebody at 127.0.0.1." in said
    assert "ASSET_SYNC_KAFKA__GROUP_ID" in said
    assert ended == 1
    [why] = [line for line in system.logs().splitlines() if '"service.ended"' in line]
    assert "with another assignor or protocol than asset-sync's" in why
    assert "[Error 23]" not in why


async def test_check_beside_a_running_replica(system: SystemUnderTest) -> None:
    """The positions and offset maps of the replica are accepted."""
    await system.publish(events(60, 30, system.partitions))
    system.start()
    await assert_exactly_once(system, 60)

    code, said = await check(system)

    assert code == 0, said
    assert "has 3 committed offsets." in said
    assert f"Members of group {system.group}: 1 (asset-sync at 127.0.0.1)." in said


async def test_check_tells_of_positions_that_were_moved(system: SystemUnderTest) -> None:
    """The remedy says what the service will do."""
    await system.publish(events(60, 30, system.partitions))
    replica = system.start()
    await assert_exactly_once(system, 60)
    await stop(replica)
    await until_empty(system)
    topic_partition = TopicPartition(system.events, 1)
    left = (await positions(system))[topic_partition]
    await system.commit({topic_partition: OffsetAndMetadata(left.offset - 3, left.metadata)})

    code, said = await check(system)

    assert code == 0, said
    assert f"{system.events}/1: the committed offset 17 was not committed by asset-sync" in said
    assert "written for position 20" in said


async def test_a_member_of_the_newer_protocol_is_found(system: SystemUnderTest) -> None:
    """It would get partitions for itself, and a broker hides it from the older request."""
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap, client_id="newer")
    await admin.start()
    try:
        if not await join_by_newer_protocol(admin, system.group, [system.events]):
            pytest.skip("the broker has only the older protocol")
        code, said = await check(system)
    finally:
        await admin.close()

    assert code == 1
    found = f"uses group {system.group} (group.protocol=consumer): newer at 127.0.0.1."
    assert found in said
    assert "has no member" not in said
