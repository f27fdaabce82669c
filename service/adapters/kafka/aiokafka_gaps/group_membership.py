"""The consumer's membership in its group, and proof that the coordinator still counts it.

Stock aiokafka sends heartbeats without the instance of a static member, and tells nobody when the
coordinator acknowledged one. This file adds Heartbeat v3 with the instance, and reports the send
time of joins and heartbeats that were acknowledged, for the lease.

Seams, each guarded by a contract test (docs/upgrading-aiokafka.md):
`AIOKafkaConsumer._coordinator`, `GroupCoordinator.generation / member_id / _group_instance_id /
_send_req / _start_heartbeat_task / request_rejoin / _rejoin_needed_fut / _closing`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest
from aiokafka.protocol.types import Int16, Int32, Schema, String

from service.adapters.kafka.aiokafka_gaps.requests import NO_ERROR
from service.ports import clock_seconds

REBALANCE_IN_PROGRESS = 27
FENCED_INSTANCE_ID = 82


class GroupMovedOnError(Exception):
    """The group rebalances, or the consumer is being closed: the assignment is over."""


class InstanceFencedError(KafkaError):  # type: ignore[misc]
    """Another process uses the same group.instance.id."""


class GroupMetadata(NamedTuple):
    """The membership of this replica in the group, during one assignment.

    It is read when partitions are assigned and then kept. A member that the group has removed
    resets itself to (-1, ""), which the broker takes for "no group" and does not fence.
    """

    group_id: str
    generation: int
    member_id: str
    instance_id: str | None


def group_metadata(consumer: AIOKafkaConsumer) -> GroupMetadata:
    """Return the current membership of the consumer."""
    group = consumer._coordinator
    return GroupMetadata(
        group.group_id, group.generation, group.member_id, group._group_instance_id
    )


def request_rejoin(consumer: AIOKafkaConsumer) -> None:
    """Make the consumer go through revocation and assignment once more."""
    consumer._coordinator.request_rejoin()


def has_moved_on(consumer: AIOKafkaConsumer) -> bool:
    """Whether the assignment is over, because the consumer has to join again or is being closed."""
    group = consumer._coordinator
    return bool(group._rejoin_needed_fut.done() or group._closing.done())


def keep_heartbeat(consumer: AIOKafkaConsumer) -> None:
    """Start heartbeats while partitions are being assigned, which aiokafka does only afterwards."""
    consumer._coordinator._start_heartbeat_task()


def watch_membership(
    consumer: AIOKafkaConsumer,
    acknowledged: Callable[[float], None],
    fenced: Callable[[InstanceFencedError], None],
    led: Callable[[int], None] = lambda _members: None,
) -> None:
    """Report acknowledgements, fencing and leadership, as the coordinator's answers show them.

    Stock heartbeats do not contain the group.instance.id. So two processes with the same id would
    replace each other for ever; heartbeats with the id make the coordinator fence one of them.

    Args:
        consumer: the consumer whose requests are watched.
        acknowledged: called with the send time (`clock_seconds`) of each join and heartbeat that
            was acknowledged. The time of the answer proves nothing, as it may be read late.
        fenced: called if another process has taken the group.instance.id.
        led: called with the number of members, if this member leads the group.
    """
    group = consumer._coordinator
    stock = group._send_req
    if getattr(stock, "is_watched", False):
        return

    async def send(request: Any) -> Any:
        sent_at = clock_seconds()
        is_heartbeat = isinstance(request, HeartbeatRequest)
        if is_heartbeat and group._group_instance_id is not None:
            request = _Heartbeat(group_metadata(consumer))
        response = await stock(request)
        if getattr(response, "error_code", NO_ERROR) == FENCED_INSTANCE_ID:
            error = InstanceFencedError("another process uses the same group.instance.id")
            fenced(error)
            raise error
        if is_heartbeat:
            if response.error_code in {NO_ERROR, REBALANCE_IN_PROGRESS}:
                acknowledged(sent_at)
        elif isinstance(request, JoinGroupRequest) and response.error_code == NO_ERROR:
            acknowledged(sent_at)
            if response.members:
                led(len(response.members))
        return response

    send.is_watched = True  # type: ignore[attr-defined]
    group._send_req = send


class _HeartbeatResponse3(Response):  # type: ignore[misc]
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class _HeartbeatRequest3(RequestStruct):  # type: ignore[misc]
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponse3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _Heartbeat(Request[_HeartbeatRequest3]):  # type: ignore[misc]
    API_KEY = 12

    def __init__(self, group: GroupMetadata) -> None:
        self._group = group

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._group)
