"""What is said to the group's coordinator, and how its answers are read, without a broker."""

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest
from aiokafka.structs import OffsetAndMetadata

from service.adapters.kafka import fencing
from service.adapters.kafka.fencing import (
    GroupMetadata,
    InstanceFencedError,
    OffsetsRefusedError,
    _read_committed,
    _TxnOffsetCommitHandler,
    stable_committed,
    watch_membership,
)
from service.core.inputs import CommitRefusal

PLACE = TopicPartition("events", 3)
GROUP = GroupMetadata("group", 7, "member", "instance")
UNSTABLE, REBALANCE, FENCED_INSTANCE = 88, 27, 82


def handler() -> tuple[Any, asyncio.Future[None]]:
    """What commits one position in a transaction, and what waits for it."""
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    manager = SimpleNamespace(
        transactional_id="id",
        producer_id=11,
        producer_epoch=2,
        _pending_txn_offsets=deque([({}, "group", waiting)]),
    )
    sender = SimpleNamespace(_txn_manager=manager, _retry_backoff=0.1)
    return _TxnOffsetCommitHandler(sender, {PLACE: OffsetAndMetadata(5, "as1:")}, GROUP), waiting


async def test_positions_are_committed_for_a_generation() -> None:
    """A member that was thrown out must not commit over its successor."""
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


async def test_a_fenced_instance_is_no_refusal() -> None:
    """Another process has our name: there is nothing to try again."""
    commit, waiting = handler()
    codes: list[Any] = [(3, FENCED_INSTANCE, {}), (4, 22, {})]
    commit.handle_response(SimpleNamespace(errors=[("events", codes, {})]))
    with pytest.raises(InstanceFencedError):
        await waiting


def answer(code: int, *places: tuple[int, int, str | None, int]) -> Any:  # noqa: ANN401 - aiokafka's
    """What the coordinator says: number, offset, metadata and error of each partition."""
    shown: list[Any] = [
        (number, offset, -1, metadata, of, {}) for number, offset, metadata, of in places
    ]
    return SimpleNamespace(error_code=code, topics=[("events", shown, {})])


def test_committed_positions() -> None:
    """A partition that has none is left out; no metadata is the empty one."""
    found = _read_committed(answer(0, (3, 5, "as1:", 0), (4, -1, "", 0), (5, 0, None, 0)))
    assert found == {
        PLACE: OffsetAndMetadata(5, "as1:"),
        TopicPartition("events", 5): OffsetAndMetadata(0, ""),
    }


@pytest.mark.parametrize("reply", [answer(0, (3, 5, "", 0), (4, 1, "", UNSTABLE)), answer(14)])
def test_positions_in_doubt_are_asked_for_again(reply: Any) -> None:  # noqa: ANN401 - aiokafka's
    """One of them is in an open transaction, or the coordinator is still loading."""
    assert _read_committed(reply) is None


@pytest.mark.parametrize("reply", [answer(30), answer(0, (3, 5, "", 30))])
def test_refused_positions_are_an_error(reply: Any) -> None:  # noqa: ANN401 - aiokafka's
    """No right to read them: asking again would not help."""
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
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr(fencing, "time", clock)
        self.acknowledged: list[float] = []
        self.fenced: list[InstanceFencedError] = []
        self.consumer: Any = SimpleNamespace(_coordinator=self)
        watch_membership(self.consumer, self.acknowledged.append, self.fenced.append)

    async def _send_req(self, request: Any) -> Any:  # noqa: ANN401 - aiokafka's
        self.asked.append(request)
        self.now += 30.0
        return SimpleNamespace(error_code=self.code, members=[], topics=[])

    async def ensure_coordinator_known(self) -> None:
        """It is."""


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
    """So the one that was replaced is told."""
    group = Coordinator(monkeypatch, "instance")
    await group._send_req(HEARTBEAT)
    assert group.asked[0].build(lambda *fields: fields) == ("group", 7, "member", "instance")

    group.code = FENCED_INSTANCE
    with pytest.raises(InstanceFencedError):
        await group._send_req(HEARTBEAT)
    assert len(group.fenced) == 1
    assert group.acknowledged == [100.0]


async def test_positions_are_asked_for_when_they_are_stable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An open transaction may still change them."""
    group = Coordinator(monkeypatch, None)
    await stable_committed(group.consumer, [PLACE])
    (request,) = group.asked
    assert request.build(lambda *fields: fields) == ("group", [("events", [3], {})], True, {})
