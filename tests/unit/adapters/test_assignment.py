"""An assignment between two answers of the broker, without a broker."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from service.adapters.kafka import assignment, start_positions
from service.adapters.kafka.aiokafka_gaps.fencing_producer import OffsetsRefusedError
from service.adapters.kafka.aiokafka_gaps.group_membership import GroupMetadata, GroupMovedOnError
from service.adapters.kafka.aiokafka_gaps.identity import Identity
from service.adapters.kafka.assignment import Assignment
from service.adapters.kafka.beginning import Beginning
from service.adapters.kafka.subscription import Subscription
from service.adapters.kafka.transaction import TransactionLog
from service.core.inputs import CommitRefusal, LeaseRenewed
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
        consumer: Any = SimpleNamespace(
            _coordinator=self._group, beginning_offsets=self._offsets, end_offsets=self._offsets
        )
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

    async def _offsets(self, _: object) -> dict[TopicPartition, int]:
        return {}

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
