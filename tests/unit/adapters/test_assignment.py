"""What an assignment does between two answers of the broker, without a broker."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from service.adapters.kafka import assignment
from service.adapters.kafka.assignment import Assignment
from service.adapters.kafka.beginning import Beginning
from service.adapters.kafka.fencing import GroupMetadata, GroupMovedOnError
from service.adapters.kafka.metadata import Identity
from service.adapters.kafka.transaction import TransactionLog
from service.settings import KafkaSettings

PLACE = TopicPartition("dam.asset-changes", 0)


def no_error(error: BaseException) -> None:
    """Nothing is to fail here."""
    raise error


async def test_a_group_is_begun_as_the_member_that_was_assigned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A member that is thrown out meanwhile becomes nobody, whom the broker does not fence."""
    begun_as: list[GroupMetadata] = []
    group = SimpleNamespace(
        group_id="asset-sync", generation=7, member_id="member", _group_instance_id=None
    )
    group._send_req = group.request_rejoin = lambda *_: None

    async def identify(*_: object) -> Identity:
        group.generation, group.member_id = -1, ""
        return Identity("cluster", {}, {})

    async def begin_group(
        _: AIOKafkaConsumer, __: object, member: GroupMetadata, *___: object
    ) -> Beginning | None:
        begun_as.append(member)
        raise GroupMovedOnError

    monkeypatch.setattr(assignment, "identify", identify)
    monkeypatch.setattr(assignment, "begin_group", begin_group)
    monkeypatch.setattr(assignment, "keep_heartbeat", lambda _: None)
    kafka = KafkaSettings.model_validate({})
    made = Assignment(kafka, 1.0, TransactionLog(kafka), no_error, lambda _: None, 1)
    consumer: Any = SimpleNamespace(_coordinator=group)
    made.meet = lambda: consumer
    nobody: Any = object()  # nothing is handed over
    made.assignee = nobody

    await made.on_partitions_assigned([PLACE])

    assert begun_as == [GroupMetadata("asset-sync", 7, "member", None)]
