"""`check` and `run` beside others in the group: members and positions that are not asset-sync's."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from tests.support.positions import positions, stop, until_empty
from tests.support.proof import assert_exactly_once, events
from tests.support.service import Bench, start_command

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


async def check(bench: Bench) -> tuple[int, str]:
    """Exit code and what is printed, on one line."""
    command = start_command(bench, "check", DRAIN__MAX_SECONDS="75")
    shown, _ = await asyncio.to_thread(command.communicate)
    return command.returncode, " ".join(shown.decode().split())


async def test_another_application_is_in_the_group(bench: Bench) -> None:
    """A replica cannot join, and ends with the cause and the remedy; `check` names the member."""
    other = AIOKafkaConsumer(
        bench.events,
        bootstrap_servers=bench.bootstrap,
        group_id=f"group.{bench.suffix}",
        client_id="somebody",
        enable_auto_commit=False,
    )
    await other.start()

    code, said = await check(bench)
    replica = bench.start()
    ended = await asyncio.to_thread(replica.wait, 60)
    await other.stop()

    assert code == 1
    assert "assignor roundrobin): somebody at 127.0.0.1." in said
    assert "ASSET_SYNC_KAFKA__GROUP_ID" in said
    assert ended == 1
    [why] = [line for line in bench.logs().splitlines() if '"service.ended"' in line]
    assert "with another assignor or protocol than asset-sync's" in why
    assert "[Error 23]" not in why


async def test_check_beside_a_running_replica(bench: Bench) -> None:
    """Its positions and its maps are its own: all is well."""
    await bench.publish(events(60, 30, bench.partitions))
    bench.start()
    await assert_exactly_once(bench, 60)

    code, said = await check(bench)

    assert code == 0, said
    assert "has 3 positions." in said
    assert "has 1 members: asset-sync at 127.0.0.1." in said


async def test_check_tells_of_positions_that_were_moved(bench: Bench) -> None:
    """With what the service will do."""
    await bench.publish(events(60, 30, bench.partitions))
    replica = bench.start()
    await assert_exactly_once(bench, 60)
    await stop(replica)
    await until_empty(bench)
    topic_partition = TopicPartition(bench.events, 1)
    left = (await positions(bench))[topic_partition]
    await bench.commit({topic_partition: OffsetAndMetadata(left.offset - 3, left.metadata)})

    code, said = await check(bench)

    assert code == 0, said
    assert f"{bench.events}/1: position 17 was not set by asset-sync as it stands" in said
    assert "written for position 20" in said
