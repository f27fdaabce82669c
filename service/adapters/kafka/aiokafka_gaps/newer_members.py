"""Read the members of a group of Kafka's newer protocol (KIP-848, `group.protocol=consumer`).

A broker shows such a group to DescribeGroups, the only such request of aiokafka 0.14, as one that
does not exist. ConsumerGroupDescribe v1 (brokers since 4.0) shows it, with all of its members: a
member of the older protocol, as asset-sync's, can be in it too.

Private parts: `AIOKafkaAdminClient._client`.
"""

from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IncompatibleBrokerVersion, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    Int8,
    Int16,
    Int32,
    Schema,
)

from service.adapters.kafka.aiokafka_gaps.requests import TAGS, TEXT, TOPIC_ID, Field, structs

API_KEY = 69
NEWER_PROTOCOL = 1
"""The type of a member that uses the newer protocol."""
_UNSUPPORTED_VERSION, _GROUP_ID_NOT_FOUND = 35, 69
_ABSENT = frozenset({_UNSUPPORTED_VERSION, _GROUP_ID_NOT_FOUND})
"""Codes for a group that does not exist or is of the older protocol."""

_ASSIGNMENT = Schema(
    (
        "topic_partitions",
        structs(*TOPIC_ID, ("topic", TEXT), ("partitions", CompactArray(Int32))),
    ),
    TAGS,
)
_MEMBER: tuple[Field, ...] = (
    ("member_id", TEXT),
    ("instance_id", TEXT),
    ("rack_id", TEXT),
    ("member_epoch", Int32),
    ("client_id", TEXT),
    ("client_host", TEXT),
    ("subscribed_topics", CompactArray(TEXT)),
    ("subscribed_regex", TEXT),
    ("assignment", _ASSIGNMENT),
    ("target_assignment", _ASSIGNMENT),
    ("member_type", Int8),
)
_GROUP: tuple[Field, ...] = (
    ("error_code", Int16),
    ("error_message", TEXT),
    ("group_id", TEXT),
    ("state", TEXT),
    ("group_epoch", Int32),
    ("assignment_epoch", Int32),
    ("assignor", TEXT),
    ("members", structs(*_MEMBER)),
    ("authorized_operations", Int32),
)


class _DescribeResponse1(Response):  # type: ignore[misc]
    API_KEY = API_KEY
    API_VERSION = 1
    SCHEMA = Schema(("throttle_time_ms", Int32), ("groups", structs(*_GROUP)), TAGS)


class _DescribeRequest1(RequestStruct):  # type: ignore[misc]
    API_KEY = API_KEY
    API_VERSION = 1
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _DescribeResponse1
    SCHEMA = Schema(
        ("group_ids", CompactArray(TEXT)), ("include_authorized_operations", Boolean), TAGS
    )


class _Describe(Request[_DescribeRequest1]):  # type: ignore[misc]
    API_KEY = API_KEY

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: Any) -> Any:  # noqa: ANN401 - aiokafka's
        return request_struct_class([self._group], False, {})  # noqa: FBT003 - a field


class NewerGroupMember(NamedTuple):
    """A member of a group of the newer protocol."""

    client_id: str
    host: str
    topics: frozenset[str]
    is_newer: bool
    """Whether the member itself uses the newer protocol."""


async def newer_members(admin: AIOKafkaAdminClient, group: str) -> tuple[NewerGroupMember, ...]:
    """Return the members of a group of the newer protocol; none if it is not one.

    Raises:
        KafkaError: the broker refuses to answer, or does not answer.
    """
    coordinator = await admin.find_coordinator(group)
    try:
        response = await admin._client.send(coordinator, _Describe(group))  # noqa: SLF001 - no public way
    except (IncompatibleBrokerVersion, NotImplementedError):  # a broker before 4.0
        return ()
    code, _, _, _, _, _, _, members, *_ = response.groups[0]
    if code in _ABSENT:
        return ()
    if code:
        raise for_code(code)(group)
    return tuple(map(_member, members))


def _member(fields: tuple[Any, ...]) -> NewerGroupMember:
    _, _, _, _, client_id, host, topics, _, _, _, member_type, *_ = fields
    return NewerGroupMember(client_id, host, frozenset(topics), member_type == NEWER_PROTOCOL)
