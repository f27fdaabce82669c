"""The private parts of aiokafka that fence a replica, on a real broker (kafka.md §2).

A test fails if a new aiokafka changes the part that it covers.
"""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import aiokafka
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ConcurrentTransactions, GroupAuthorizationFailedError
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps.committed_positions import stable_committed
from service.adapters.kafka.aiokafka_gaps.fencing_producer import (
    FencingProducer,
    OffsetsRefusedError,
)
from service.adapters.kafka.aiokafka_gaps.group_membership import (
    InstanceFencedError,
    watch_membership,
)
from service.core.inputs import CommitRefusal
from service.ports import clock_seconds
from tests.support.group import Group, group_of_one, member_of

pytestmark = pytest.mark.kafka


@pytest.fixture
async def group(bootstrap: str) -> AsyncIterator[Group]:
    """A group with one member."""
    async with group_of_one(bootstrap) as made:
        yield made


@pytest.fixture
async def producer(group: Group) -> AsyncIterator[FencingProducer]:
    """A producer of the group."""
    made = FencingProducer(bootstrap_servers=group.bootstrap, transactional_id=f"{group.name}.t")
    await made.start()
    yield made
    await made.stop()


async def committed(group: Group) -> tuple[int, str] | None:
    """The committed position of the group, with its metadata."""
    found = (await stable_committed(group.consumer, [group.topic_partition])).get(
        group.topic_partition
    )
    return None if found is None else (found.offset, found.metadata)


async def commit(producer: FencingProducer, group: Group, offset: int, metadata: str) -> None:
    """Write an outcome and a position in one transaction."""
    await producer.begin_transaction()
    await producer.send(group.outcomes, b"%d" % offset)
    await producer.send_offsets(
        {group.topic_partition: OffsetAndMetadata(offset, metadata)}, group.member
    )
    await producer.commit_transaction()


def test_aiokafka_has_the_expected_version() -> None:
    """Another version has other private parts; see docs/upgrading-aiokafka.md."""
    assert aiokafka.__version__.startswith("0.14.")


async def test_metadata_is_stored_and_read(group: Group, producer: FencingProducer) -> None:
    """TxnOffsetCommit v3 and OffsetFetch v7 work up to the broker's limit."""
    assert await committed(group) is None
    metadata = "as1:" + "x" * 4092

    await commit(producer, group, 5, metadata)

    assert await committed(group) == (5, metadata)


async def test_metadata_above_the_limit_is_refused(group: Group, producer: FencingProducer) -> None:
    """With 4,097 characters nothing becomes visible, and the producer stays usable."""
    with pytest.raises(OffsetsRefusedError) as refused:
        await commit(producer, group, 5, "x" * 4097)
    await producer.abort_transaction()
    await commit(producer, group, 6, "")

    assert refused.value.refusal is CommitRefusal.METADATA_TOO_LARGE
    assert await committed(group) == (6, "")
    assert [record.value for record in await group.visible(group.outcomes)] == [b"6"]


@pytest.mark.parametrize("change", ["generation", "member"])
async def test_a_process_outside_the_group_is_fenced(
    group: Group, producer: FencingProducer, change: str
) -> None:
    """An older generation or another member is refused, and nothing becomes visible."""
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
    """A position is not read while a transaction may still change it."""
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
    """Heartbeats report their send time in ascending order."""
    acknowledged: asyncio.Queue[float] = asyncio.Queue()
    async with group_of_one(bootstrap, instance_id) as group:
        watch_membership(group.consumer, acknowledged.put_nowait, pytest.fail)
        began = clock_seconds()

        first, second = await acknowledged.get(), await acknowledged.get()

        assert began < first < second <= clock_seconds()


async def test_a_member_whose_instance_id_was_taken_is_fenced(bootstrap: str) -> None:
    """Stock heartbeats would not show that another process uses the same id."""
    fenced: asyncio.Queue[InstanceFencedError] = asyncio.Queue()
    async with group_of_one(bootstrap, "one") as group:
        watch_membership(group.consumer, lambda _: None, fenced.put_nowait)
        other = member_of(bootstrap, group.name, group.events, "one")
        await other.start()

        await asyncio.wait_for(fenced.get(), 20)

        await other.stop()


async def test_stock_aiokafka_publishes_what_it_aborted(group: Group) -> None:
    """This bug is the reason why fencing_producer.py never calls error_transaction().

    When this test fails, aiokafka has fixed the bug. Then simplify
    `_TxnOffsetCommitHandler.handle_response`.
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


async def test_an_abort_hides_everything(group: Group, producer: FencingProducer) -> None:
    """After a refusal that fencing_producer.py raises, the abort works."""
    await producer.begin_transaction()
    await producer.send(group.outcomes, b"aborted")
    await producer.abort_transaction()
    await commit(producer, group, 1, "")

    assert producer.is_usable
    assert [record.value for record in await group.visible(group.outcomes)] == [b"1"]


async def test_the_next_transaction_is_asked_for_soon(
    group: Group, producer: FencingProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the broker ends the one before, the pauses are short and grow."""
    real_send = producer.client.send
    backoffs: list[float] = []

    async def send(node: int, request: object, **options: object) -> object:
        if isinstance(request, AddPartitionsToTxnRequest):
            backoffs.append(producer.ending_backoff)
            if len(backoffs) <= 3:
                code = ConcurrentTransactions.errno
                return SimpleNamespace(errors=[(group.outcomes, [(0, code)])])
        return await real_send(node, request, **options)

    monkeypatch.setattr(producer.client, "send", send)
    await commit(producer, group, 1, "")
    await producer.begin_transaction()
    backoffs.append(producer.ending_backoff)
    await producer.abort_transaction()

    assert backoffs == [0.002, 0.004, 0.008, 0.016, 0.002]
    assert [record.value for record in await group.visible(group.outcomes)] == [b"1"]


async def test_an_error_state_is_noticed(group: Group, producer: FencingProducer) -> None:
    """After an abortable error of aiokafka the producer is not used again."""
    await producer.begin_transaction()
    await producer.send_and_wait(group.outcomes, b"x")
    producer._txn_manager.error_transaction(GroupAuthorizationFailedError("g"))

    assert not producer.is_usable
