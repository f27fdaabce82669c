"""A member of a group by Kafka's newer protocol (KIP-848), which aiokafka does not have."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, Int16, Int32, Schema

from service.adapters.kafka.aiokafka_gaps.requests import TAGS, TEXT, TOPIC_ID, structs

API_KEY = 68
JOINING_EPOCH = 0
COORDINATOR_NOT_AVAILABLE = 15
NOT_READY = frozenset({14, COORDINATOR_NOT_AVAILABLE, 16})
"""Codes of a coordinator that loads the group, is not elected yet, or is another broker."""
UNSUPPORTED_VERSION = 35
REBALANCE_MS = 60_000
SECONDS_MAX = 30.0
RETRY_SECONDS = 0.1


class _HeartbeatResponse0(Response):  # type: ignore[misc]
    API_KEY = API_KEY
    API_VERSION = 0
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16), ("error_message", TEXT))
    """The first fields; those of the assignment are not read."""


class _HeartbeatRequest0(RequestStruct):  # type: ignore[misc]
    API_KEY = API_KEY
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _HeartbeatResponse0
    SCHEMA = Schema(
        ("group_id", TEXT),
        ("member_id", TEXT),
        ("member_epoch", Int32),
        ("instance_id", TEXT),
        ("rack_id", TEXT),
        ("rebalance_timeout_ms", Int32),
        ("subscribed_topics", CompactArray(TEXT)),
        ("server_assignor", TEXT),
        ("topic_partitions", structs(*TOPIC_ID, ("partitions", CompactArray(Int32)))),
        TAGS,
    )


class _Heartbeat(Request[_HeartbeatRequest0]):  # type: ignore[misc]
    API_KEY = API_KEY

    def __init__(self, group: str, topics: Sequence[str]) -> None:
        self._fields: tuple[object, ...] = (
            *(group, "", JOINING_EPOCH, None, None),
            *(REBALANCE_MS, list(topics), None, [], {}),
        )

    def build(self, request_struct_class: Any) -> Any:  # noqa: ANN401 - aiokafka's
        return request_struct_class(*self._fields)


async def join_by_newer_protocol(
    admin: AIOKafkaAdminClient, group: str, topics: Sequence[str]
) -> bool:
    """Join a group with the client id of the admin client; the broker drops the member later.

    Return False if the broker has only the older protocol (before Kafka 4.0).

    A broker that has just started elects the coordinator of the group first, which is waited for.
    """
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            try:
                coordinator = await admin.find_coordinator(group)
                response = await admin._client.send(coordinator, _Heartbeat(group, topics))
            except IncompatibleBrokerVersion:
                return False
            except GroupCoordinatorNotAvailableError:
                code = COORDINATOR_NOT_AVAILABLE
            else:
                code = response.error_code
            if code not in NOT_READY:
                break
            await asyncio.sleep(RETRY_SECONDS)
    assert code in {0, UNSUPPORTED_VERSION}, (code, response.error_message)
    return bool(code == 0)
