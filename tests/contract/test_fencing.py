"""The private seams of aiokafka under fencing.py, one by one, on a real broker (kafka.md §2).

Each fails loudly when a new aiokafka moves what the layer stands on.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import aiokafka
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps.fencing import (
    FencingProducer,
    InstanceFencedError,
    OffsetsRefusedError,
    stable_committed,
    watch_membership,
)
from service.core.inputs import CommitRefusal
from tests.support.group import Group, group_of_one, member_of

pytestmark = pytest.mark.kafka


@pytest.fixture
async def group(bootstrap: str) -> AsyncIterator[Group]:
    """A group of one."""
    async with group_of_one(bootstrap) as made:
        yield made


@pytest.fixture
async def producer(group: Group) -> AsyncIterator[FencingProducer]:
    """A producer of the group's."""
    made = FencingProducer(bootstrap_servers=group.bootstrap, transactional_id=f"{group.name}.t")
    await made.start()
    yield made
    await made.stop()


async def committed(group: Group) -> tuple[int, str] | None:
    """The group's position and metadata."""
    found = (await stable_committed(group.consumer, [group.topic_partition])).get(
        group.topic_partition
    )
    return None if found is None else (found.offset, found.metadata)


async def commit(producer: FencingProducer, group: Group, offset: int, metadata: str) -> None:
    """One transaction: an outcome and a position."""
    await producer.begin_transaction()
    await producer.send(group.outcomes, b"%d" % offset)
    await producer.send_offsets(
        {group.topic_partition: OffsetAndMetadata(offset, metadata)}, group.member
    )
    await producer.commit_transaction()


def test_aiokafka_is_the_version_that_was_read() -> None:
    """Another one has other private parts: docs/upgrading-aiokafka.md."""
    assert aiokafka.__version__.startswith("0.14.")


async def test_metadata_goes_there_and_back(group: Group, producer: FencingProducer) -> None:
    """TxnOffsetCommit v3 and OffsetFetch v7, up to the broker's limit."""
    assert await committed(group) is None
    metadata = "as1:" + "x" * 4092

    await commit(producer, group, 5, metadata)

    assert await committed(group) == (5, metadata)


async def test_metadata_above_the_limit_is_refused(group: Group, producer: FencingProducer) -> None:
    """4,097 characters: refused, aborted, nothing visible, and the producer goes on."""
    with pytest.raises(OffsetsRefusedError) as refused:
        await commit(producer, group, 5, "x" * 4097)
    await producer.abort_transaction()
    await commit(producer, group, 6, "")

    assert refused.value.refusal is CommitRefusal.METADATA_TOO_LARGE
    assert await committed(group) == (6, "")
    assert [record.value for record in await group.visible(group.outcomes)] == [b"6"]


@pytest.mark.parametrize("change", ["generation", "member"])
async def test_who_is_not_in_the_group_is_fenced(
    group: Group, producer: FencingProducer, change: str
) -> None:
    """An older generation, another member: refused, and nothing of it is visible."""
    member = group.member
    stranger = {
        "generation": member._replace(generation=member.generation - 1),
        "member": member._replace(member_id="somebody"),
    }[change]
    await producer.begin_transaction()
    await producer.send(group.outcomes, b"zombie")
    with pytest.raises(OffsetsRefusedError) as refused:
        await producer.send_offsets({group.topic_partition: OffsetAndMetadata(9, "")}, stranger)
    await producer.abort_transaction()

    assert refused.value.refusal is CommitRefusal.FENCED
    assert await committed(group) is None
    assert await group.visible(group.outcomes) == []


async def test_a_stable_fetch_waits_for_the_transaction(
    group: Group, producer: FencingProducer
) -> None:
    """A position that a transaction may still change is not read."""
    await producer.begin_transaction()
    await producer.send_offsets({group.topic_partition: OffsetAndMetadata(7, "")}, group.member)
    fetching = asyncio.ensure_future(committed(group))
    done, _ = await asyncio.wait([fetching], timeout=0.5)
    assert not done

    await producer.commit_transaction()

    assert await fetching == (7, "")


@pytest.mark.parametrize("instance_id", [None, "one"])
async def test_acknowledgements_carry_the_time_of_sending(
    bootstrap: str, instance_id: str | None
) -> None:
    """Heartbeats report when they were sent, monotonically."""
    acknowledged: asyncio.Queue[float] = asyncio.Queue()
    async with group_of_one(bootstrap, instance_id) as group:
        watch_membership(group.consumer, acknowledged.put_nowait, pytest.fail)
        began = time.monotonic()

        first, second = await acknowledged.get(), await acknowledged.get()

        assert began < first < second <= time.monotonic()


async def test_who_was_replaced_by_name_is_told(bootstrap: str) -> None:
    """Another process with our instance id has our place: stock heartbeats would not tell."""
    fenced: asyncio.Queue[InstanceFencedError] = asyncio.Queue()
    async with group_of_one(bootstrap, "one") as group:
        watch_membership(group.consumer, lambda _: None, fenced.put_nowait)
        other = member_of(bootstrap, group.name, group.events, "one")
        await other.start()

        await asyncio.wait_for(fenced.get(), 20)

        await other.stop()


async def test_stock_aiokafka_publishes_what_it_aborted(group: Group) -> None:
    """Why fencing.py never goes through error_transaction(): the bug is still there.

    When this fails, aiokafka mended it: simplify `_TxnOffsetCommitHandler.handle_response`.
    """
    stock = AIOKafkaProducer(bootstrap_servers=group.bootstrap, transactional_id="stock.abort")
    await stock.start()
    await stock.begin_transaction()
    await stock.send_and_wait(group.outcomes, b"aborted")
    stock._txn_manager.error_transaction(GroupAuthorizationFailedError("g"))
    await stock.abort_transaction()
    await stock.begin_transaction()
    await stock.send_and_wait(group.outcomes, b"committed")
    await stock.commit_transaction()
    await stock.stop()

    visible = [record.value for record in await group.visible(group.outcomes)]

    assert visible == [b"aborted", b"committed"]


async def test_an_abort_of_ours_hides_everything(group: Group, producer: FencingProducer) -> None:
    """After a refusal of our own layer the abort is a real one."""
    await producer.begin_transaction()
    await producer.send(group.outcomes, b"aborted")
    await producer.abort_transaction()
    await commit(producer, group, 1, "")

    assert producer.is_usable
    assert [record.value for record in await group.visible(group.outcomes)] == [b"1"]


async def test_an_error_state_is_seen(group: Group, producer: FencingProducer) -> None:
    """Aiokafka's own abortable error makes the producer unusable for us."""
    await producer.begin_transaction()
    await producer.send_and_wait(group.outcomes, b"x")
    producer._txn_manager.error_transaction(GroupAuthorizationFailedError("g"))

    assert not producer.is_usable
