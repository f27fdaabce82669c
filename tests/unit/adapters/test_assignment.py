"""An assignment between two answers of the broker, without a broker."""

import asyncio
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

from service.adapters.kafka import assignment, start_positions
from service.adapters.kafka.aiokafka_gaps.fencing_producer import OffsetsRefusedError
from service.adapters.kafka.aiokafka_gaps.group_membership import GroupMetadata, GroupMovedOnError
from service.adapters.kafka.aiokafka_gaps.identity import Identity
from service.adapters.kafka.assignment import Assignment
from service.adapters.kafka.beginning import Beginning
from service.adapters.kafka.start_positions import StartPositions, Starts
from service.adapters.kafka.subscription import Subscription
from service.adapters.kafka.transaction import TransactionLog
from service.core.inputs import CommitRefusal, LeaseRenewed, Start
from service.core.model import Partition
from service.settings import KafkaSettings

TOPIC_PARTITION = TopicPartition("dam.asset-changes", 0)


class Beginner:
    """An assignment that fails while it begins its group; it records what it did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        self.begun_as: list[GroupMetadata] = []
        self.steps: list[str] = []
        self.failures: list[BaseException] = []
        self.rejoins = 0
        self._error = error
        self._group = SimpleNamespace(
            group_id="asset-sync", generation=7, member_id="member", _group_instance_id=None
        )
        self._group._send_req, self._group.request_rejoin = None, self._rejoin
        monkeypatch.setattr(start_positions, "identify", self._identify)
        monkeypatch.setattr(start_positions, "begin_group", self._begin_group)
        monkeypatch.setattr(assignment, "keep_heartbeat", self._keep_heartbeat)

    async def assign(self) -> None:
        """A partition is assigned."""
        kafka = KafkaSettings.model_validate({})
        consumer: Any = SimpleNamespace(_coordinator=self._group)
        nobody: Any = object()  # nothing is submitted
        made = Assignment(
            Subscription(kafka, 10),
            TransactionLog(kafka),
            inbox=nobody,
            note=lambda _: None,
            fail=self.failures.append,
            consumer=lambda: consumer,
        )
        await made.on_partitions_assigned([TOPIC_PARTITION])

    def _rejoin(self) -> None:
        self.rejoins += 1

    def _keep_heartbeat(self, _: object) -> None:
        self.steps.append("heartbeats begin")

    async def _identify(self, *_: object) -> Identity:
        """A heartbeat shows meanwhile that the group removed the member."""
        self.steps.append("positions are read")
        self._group.generation, self._group.member_id = -1, ""
        return Identity("cluster", {}, {})

    async def _begin_group(
        self, _: AIOKafkaConsumer, __: object, member: GroupMetadata, *___: object
    ) -> Beginning | None:
        self.begun_as.append(member)
        raise self._error


async def test_a_group_is_begun_as_the_member_that_was_assigned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A member that is removed meanwhile resets its id, and the broker does not fence that."""
    beginner = Beginner(monkeypatch, GroupMovedOnError())

    await beginner.assign()

    assert beginner.begun_as == [GroupMetadata("asset-sync", 7, "member", None)]


async def test_heartbeats_go_on_while_positions_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading them may take longer than the session, which would cost the membership."""
    beginner = Beginner(monkeypatch, GroupMovedOnError())

    await beginner.assign()

    assert beginner.steps == ["heartbeats begin", "positions are read"]


async def test_a_lease_ends_before_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts from when the acknowledged heartbeat was sent, and leaves a second to cut calls."""
    watched: list[Any] = []
    monkeypatch.setattr(assignment, "watch_membership", lambda _, heard, *__: watched.append(heard))
    inbox = SimpleNamespace(submitted=[])
    inbox.submit = inbox.submitted.append
    kafka = KafkaSettings.model_validate({"session_timeout_seconds": 45.0})
    nobody: Any = object()
    made = Assignment(
        Subscription(kafka, 10), TransactionLog(kafka), inbox, nobody, nobody, lambda: nobody
    )
    await made.on_partitions_revoked([])
    (acknowledged,) = watched

    acknowledged(100.0)

    assert inbox.submitted == [LeaseRenewed(144.0)]
    assert made.lease_renewed_at == 100.0


def test_the_shortest_session_leaves_time_for_calls() -> None:
    """The lease survives a lost heartbeat; they follow after a tenth of the session."""
    schema = KafkaSettings.model_json_schema()
    shortest = schema["properties"]["session_timeout_seconds"]["minimum"]
    assert shortest - assignment.LEASE_MARGIN_SECONDS > 2 * shortest / 10


@pytest.mark.parametrize("refusal", CommitRefusal)
async def test_a_broker_that_cannot_store_an_offset_map_ends_it(
    monkeypatch: pytest.MonkeyPatch, refusal: CommitRefusal
) -> None:
    """Every later join would fail too; the other refusals end with the rebalance."""
    beginner = Beginner(monkeypatch, OffsetsRefusedError(refusal))

    await beginner.assign()

    is_final = refusal is CommitRefusal.METADATA_TOO_LARGE
    assert (len(beginner.failures), beginner.rejoins) == ((1, 0) if is_final else (0, 1))
    assert all("offset.metadata.max.bytes" in str(error) for error in beginner.failures)


SILENT = TopicPartition("dam.asset-changes", 1)


class Undecided:
    """An assignment of two partitions, of which one has no start position yet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, reread_seconds: float | None) -> None:
        self.paused: list[TopicPartition] = []
        self.seeks: list[tuple[TopicPartition, int]] = []
        self.rejoins = 0
        self.failures: list[BaseException] = []
        self.submitted: list[Any] = []
        self.answers: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        silent = frozenset[TopicPartition]() if reread_seconds else frozenset({SILENT})
        found = Starts({TOPIC_PARTITION: Start(5)}, reread_seconds, silent)

        async def read(*_: object) -> Starts:
            return found

        async def until_readable(_: object, topic_partitions: Collection[TopicPartition]) -> None:
            assert topic_partitions == silent
            await self.answers

        monkeypatch.setattr(StartPositions, "read", read)
        monkeypatch.setattr(assignment, "until_readable", until_readable)
        monkeypatch.setattr(assignment, "keep_heartbeat", lambda _: None)
        monkeypatch.setattr(assignment, "request_rejoin", lambda _: self._rejoin())
        group = SimpleNamespace(
            group_id="asset-sync", generation=7, member_id="member", _group_instance_id=None
        )
        group._send_req = None
        consumer: Any = SimpleNamespace(
            _coordinator=group,
            pause=lambda *topic_partitions: self.paused.extend(topic_partitions),
            seek=lambda *at: self.seeks.append(at),
            partitions_for_topic=lambda _: {0, 1},
        )
        kafka = KafkaSettings.model_validate({})
        inbox: Any = SimpleNamespace(submit=self.submitted.append, drain=self._drain)
        self.assignment = Assignment(
            Subscription(kafka, 10),
            TransactionLog(kafka),
            inbox,
            note=lambda _: None,
            fail=self.failures.append,
            consumer=lambda: consumer,
        )

    async def assign(self) -> None:
        """Both partitions are assigned."""
        await self.assignment.on_partitions_assigned([TOPIC_PARTITION, SILENT])
        assert not self.failures

    def _rejoin(self) -> None:
        self.rejoins += 1

    async def _drain(self, *_: object) -> int:
        return 0


async def settle() -> None:
    """Let other tasks run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_partition_whose_leader_is_silent_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The group is joined again as soon as the leader answers, and not before."""
    undecided = Undecided(monkeypatch, None)
    await undecided.assign()
    await settle()

    [assigned] = undecided.submitted
    assert assigned.partitions == {Partition("dam.asset-changes", 0): Start(5)}
    assert (undecided.paused, undecided.rejoins) == ([SILENT], 0)
    assert undecided.assignment.unreadable == {SILENT}
    # A paused partition without any position keeps aiokafka busy.
    assert undecided.seeks == [(SILENT, 0), (TOPIC_PARTITION, 5)]

    undecided.answers.set_result(None)
    await settle()
    assert (undecided.rejoins, undecided.failures) == (1, [])
    await undecided.assignment.on_partitions_revoked([])
    assert undecided.assignment.unreadable == set()


async def test_a_position_above_the_end_is_read_again_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody has to answer for that."""
    undecided = Undecided(monkeypatch, 0.001)
    await undecided.assign()
    async with asyncio.timeout(10):
        while not undecided.rejoins:  # noqa: ASYNC110 - of the code under test
            await asyncio.sleep(0.001)
    assert undecided.failures == []


async def test_a_refusal_is_left_to_the_next_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which says what is refused and by whom."""
    undecided = Undecided(monkeypatch, None)
    await undecided.assign()
    undecided.answers.set_exception(TopicAuthorizationFailedError("dam.asset-changes"))
    await settle()
    assert (undecided.rejoins, undecided.failures) == (1, [])


async def test_a_bug_while_a_position_is_awaited_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody awaits the task."""
    undecided = Undecided(monkeypatch, None)
    await undecided.assign()
    bug = AssertionError("our bug")
    undecided.answers.set_exception(bug)
    await settle()
    assert (undecided.rejoins, undecided.failures) == (0, [bug])


@pytest.mark.parametrize("is_leaving", [False, True])
async def test_a_leader_is_no_longer_awaited_after_the_assignment(
    monkeypatch: pytest.MonkeyPatch, *, is_leaving: bool
) -> None:
    """The next assignment reads all positions, and a replica that leaves reads none."""
    undecided = Undecided(monkeypatch, None)
    await undecided.assign()
    await settle()
    if is_leaving:
        undecided.assignment.leave()
    else:
        await undecided.assignment.on_partitions_revoked([])
    await settle()
    assert undecided.answers.cancelled()
    assert (undecided.rejoins, undecided.failures) == (0, [])
