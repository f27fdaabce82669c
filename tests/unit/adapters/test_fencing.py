"""Requests to the group's coordinator, and how its answers are read, without a broker."""

import asyncio
from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
)
from aiokafka.producer.transaction_manager import TransactionResult
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka.aiokafka_gaps import group_membership
from service.adapters.kafka.aiokafka_gaps.committed_positions import (
    _read_committed,
    stable_committed,
)
from service.adapters.kafka.aiokafka_gaps.fencing_producer import (
    ENDING_BACKOFF_SECONDS_MIN,
    FencingProducer,
    OffsetsRefusedError,
    _AddPartitionsToTxnHandler,
    _TxnOffsetCommitHandler,
)
from service.adapters.kafka.aiokafka_gaps.group_membership import (
    GroupMetadata,
    InstanceFencedError,
    watch_membership,
)
from service.core.inputs import CommitRefusal

TOPIC_PARTITION = TopicPartition("events", 3)
GROUP = GroupMetadata("group", 7, "member", "instance")
UNSTABLE, REBALANCE, FENCED_INSTANCE, CONCURRENT_TRANSACTIONS = 88, 27, 82, 51


def handler() -> tuple[Any, asyncio.Future[None]]:
    """A handler that commits one position in a transaction, and the future that waits for it."""
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    manager = SimpleNamespace(
        transactional_id="id",
        producer_id=11,
        producer_epoch=2,
        _pending_txn_offsets=deque([({}, "group", waiting)]),
    )
    sender = SimpleNamespace(_txn_manager=manager, _retry_backoff=0.1)
    return _TxnOffsetCommitHandler(
        sender, {TOPIC_PARTITION: OffsetAndMetadata(5, "as1:")}, GROUP
    ), waiting


async def test_positions_are_committed_for_a_generation() -> None:
    """A member that the group removed must not overwrite the positions of its successor."""
    commit, _ = handler()
    fields = commit.create_request()._fields
    assert fields == (
        *("id", "group", 11, 2, 7, "member", "instance"),
        [("events", [(3, 5, -1, "as1:", {})], {})],
    )


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        (12, CommitRefusal.METADATA_TOO_LARGE),
        (22, CommitRefusal.FENCED),
        (25, CommitRefusal.FENCED),
        (REBALANCE, CommitRefusal.REBALANCE_IN_PROGRESS),
    ],
)
async def test_a_refusal_is_a_value(code: int, refusal: CommitRefusal) -> None:
    """Each has its own remedy."""
    commit, waiting = handler()
    commit.handle_response(SimpleNamespace(errors=[("events", [(3, code, {})], {})]))
    with pytest.raises(OffsetsRefusedError) as refused:
        await waiting
    assert refused.value.refusal is refusal


async def test_a_fenced_instance_is_not_a_refusal() -> None:
    """Another process uses the same group.instance.id, so a retry is useless."""
    commit, waiting = handler()
    codes: list[Any] = [(3, FENCED_INSTANCE, {}), (4, 22, {})]
    commit.handle_response(SimpleNamespace(errors=[("events", codes, {})]))
    with pytest.raises(InstanceFencedError):
        await waiting


def test_pauses_between_two_transactions_double_up_to_those_of_aiokafka() -> None:
    """The broker still writes the markers of the one before, usually for some milliseconds."""
    sender = SimpleNamespace(
        _txn_manager=SimpleNamespace(txn_partitions=set()), _retry_backoff=0.02
    )
    producer: Any = SimpleNamespace(_sender=sender, ending_backoff=ENDING_BACKOFF_SECONDS_MIN)
    adding = _AddPartitionsToTxnHandler(producer, [TOPIC_PARTITION])
    ending = SimpleNamespace(errors=[("events", [(3, CONCURRENT_TRANSACTIONS)])])

    pauses = [adding.handle_response(ending) for _ in range(6)]

    assert pauses == [0.002, 0.004, 0.008, 0.016, 0.02, 0.02]


def answer(code: int, *topic_partitions: tuple[int, int, str | None, int]) -> Any:  # noqa: ANN401 - aiokafka's
    """An answer with number, offset, metadata and error of each partition."""
    shown: list[Any] = [
        (number, offset, -1, metadata, of, {}) for number, offset, metadata, of in topic_partitions
    ]
    return SimpleNamespace(error_code=code, topics=[("events", shown, {})])


def test_committed_positions() -> None:
    """A partition without a position is left out; missing metadata becomes empty."""
    found = _read_committed(answer(0, (3, 5, "as1:", 0), (4, -1, "", 0), (5, 0, None, 0)))
    assert found == {
        TOPIC_PARTITION: OffsetAndMetadata(5, "as1:"),
        TopicPartition("events", 5): OffsetAndMetadata(0, ""),
    }


@pytest.mark.parametrize("reply", [answer(0, (3, 5, "", 0), (4, 1, "", UNSTABLE)), answer(14)])
def test_unstable_positions_are_read_again(reply: Any) -> None:  # noqa: ANN401 - aiokafka's
    """One of them is in an open transaction, or the coordinator is still loading."""
    assert _read_committed(reply) is None


@pytest.mark.parametrize("reply", [answer(30), answer(0, (3, 5, "", 30))])
def test_refused_positions_are_an_error(reply: Any) -> None:  # noqa: ANN401 - aiokafka's
    """Without permission to read them, a retry would not help."""
    with pytest.raises(GroupAuthorizationFailedError):
        _read_committed(reply)


class Coordinator:
    """A group's coordinator; each of its answers is read half a minute later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, instance_id: str | None) -> None:
        self.group_id, self.generation, self.member_id = "group", 7, "member"
        self._group_instance_id = instance_id
        self.asked: list[Any] = []
        self._rejoin_needed_fut: asyncio.Future[None] = asyncio.Future()
        self._closing: asyncio.Future[None] = asyncio.Future()
        self.code = 0
        self.now = 100.0
        monkeypatch.setattr(group_membership, "clock_seconds", lambda: self.now)
        self.acknowledged: list[float] = []
        self.fenced: list[InstanceFencedError] = []
        self.consumer: Any = SimpleNamespace(_coordinator=self)
        watch_membership(self.consumer, self.acknowledged.append, self.fenced.append)

    async def _send_req(self, request: Any) -> Any:  # noqa: ANN401 - aiokafka's
        self.asked.append(request)
        self.now += 30.0
        return SimpleNamespace(error_code=self.code, members=[], topics=[])

    async def ensure_coordinator_known(self) -> None:
        """The coordinator is known."""


HEARTBEAT = HeartbeatRequest("group", 7, "member")
JOIN = JoinGroupRequest("group", 10_000, 60_000, "", None, "consumer", [])


@pytest.mark.parametrize(
    ("request_", "code", "acknowledged"),
    [
        (HEARTBEAT, 0, [100.0]),
        (HEARTBEAT, REBALANCE, [100.0]),
        (HEARTBEAT, 22, []),
        (JOIN, 0, [100.0]),
        (JOIN, REBALANCE, []),
    ],
)
async def test_acknowledgements_carry_the_time_of_sending(
    monkeypatch: pytest.MonkeyPatch,
    request_: Any,  # noqa: ANN401 - aiokafka's
    code: int,
    acknowledged: list[float],
) -> None:
    """An answer that is read late, after a pause, proves nothing about now."""
    group = Coordinator(monkeypatch, None)
    group.code = code
    await group._send_req(request_)
    assert group.acknowledged == acknowledged


async def test_heartbeats_of_a_static_member_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a member that was replaced learns that it is fenced."""
    group = Coordinator(monkeypatch, "instance")
    await group._send_req(HEARTBEAT)
    assert group.asked[0].build(lambda *fields: fields) == ("group", 7, "member", "instance")

    group.code = FENCED_INSTANCE
    with pytest.raises(InstanceFencedError):
        await group._send_req(HEARTBEAT)
    assert len(group.fenced) == 1
    assert group.acknowledged == [100.0]


async def test_positions_are_requested_as_stable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An open transaction may still change them."""
    group = Coordinator(monkeypatch, None)
    await stable_committed(group.consumer, [TOPIC_PARTITION])
    (request,) = group.asked
    assert request.build(lambda *fields: fields) == ("group", [("events", [3], {})], True, {})


class Ends(NamedTuple):
    """A producer whose only request is the end of its transaction, and what it sends."""

    producer: FencingProducer
    sent: list[object]


def ends(*answers: int, ready: Sequence[bool] = (True, True, True)) -> Ends:
    """The coordinator's answers by their error code, and how its connections turn out."""
    producer = FencingProducer(bootstrap_servers="127.0.0.1:1", transactional_id="id")
    producer._closed = True  # else the library warns that it was not stopped
    manager = producer._txn_manager
    manager.set_pid_and_epoch(11, 2)
    manager.begin_transaction()
    manager.consumer_group_added("group")
    manager.committing_transaction()
    producer._sender._coordinators[CoordinationType.TRANSACTION] = 0
    producer._sender._retry_backoff = 0.0
    sent: list[object] = []
    codes, connections = iter(answers), iter(ready)

    async def is_ready(_node: int, *, group: object) -> bool:  # noqa: ARG001 - aiokafka's
        return next(connections)

    async def send(node: int, request: object, *, group: object) -> SimpleNamespace:
        if not await is_ready(node, group=group):
            raise NodeNotReadyError
        sent.append(request)
        code = next(codes, None)
        if code is None:
            raise KafkaConnectionError
        return SimpleNamespace(error_code=code)

    producer._sender.client = producer.client = SimpleNamespace(ready=is_ready, send=send)
    return Ends(producer, sent)


@pytest.mark.parametrize("code", [14, 15, 16, 51])
async def test_an_end_that_is_retried_is_answered(code: int) -> None:
    """The coordinator moved, loads, or is still busy."""
    producer, _ = ends(code)
    await producer._end_transaction(TransactionResult.COMMIT)
    assert producer.unanswered_ends == 0


@pytest.mark.parametrize("code", [47, 48, 49])
async def test_a_refused_end_is_answered(code: int) -> None:
    """The transaction was not ended, so it can be retried."""
    producer, _ = ends(code)
    with pytest.raises(KafkaError):
        await producer._end_transaction(TransactionResult.COMMIT)
    assert producer.unanswered_ends == 0


@pytest.mark.parametrize("code", [-1, 7, 13, 20, 56])
async def test_an_unexpected_error_is_not_an_answer(code: int) -> None:
    """The broker may have logged the commit before it failed; a retry would write it twice."""
    producer, _ = ends(code)
    with pytest.raises(KafkaError):
        await producer._end_transaction(TransactionResult.COMMIT)
    assert producer.unanswered_ends == 1


async def test_an_end_whose_answer_is_lost_counts() -> None:
    """It counts also if the broker came back between two tries to connect."""
    producer, sent = ends(ready=[False, True, True])
    await producer._end_transaction(TransactionResult.COMMIT)
    assert producer.unanswered_ends == len(sent) == 0

    producer, sent = ends(ready=[True, True])
    await producer._end_transaction(TransactionResult.COMMIT)
    assert producer.unanswered_ends == len(sent) == 1
