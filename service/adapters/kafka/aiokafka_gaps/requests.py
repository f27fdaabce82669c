"""What aiokafka 0.14 does not ask a broker for: rights, and the identity of cluster and topics.

Metadata v8 (brokers since 2.3) answers with the rights of our user. Metadata v10 (since 2.8)
answers with topic ids: a topic that was deleted and created again under its name has another one.
"""

import asyncio
import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

from service.adapters.kafka.aiokafka_gaps.fencing import GroupMovedOnError, has_moved_on
from service.core.model import Binding

ID_BYTES = 8
RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a cluster and its topics are, and how many partitions those have."""

    cluster_id: str
    topic_ids: dict[str, str]
    """Empty where the broker is older than topic ids."""
    partitions: dict[str, tuple[TopicPartition, ...]]
    """None of a topic that is not there, or hidden from us."""

    def binding(self, group_id: str, topic_partition: TopicPartition) -> Binding:
        """What the group's offset maps of a partition are bound to."""
        owner = f"{self.cluster_id}/{group_id}/{topic_partition.topic}/{topic_partition.partition}"
        return Binding(owner, self.topic_ids.get(topic_partition.topic, ""))


async def identify(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> Identity:
    """Ask a broker for the identity of its cluster and of these topics.

    Raises:
        GroupMovedOnError: the group rebalances meanwhile.
        KafkaError: the broker refuses.
    """
    return _identity(await _ask(consumer, _MetadataWithIds(topics)))


async def identify_for(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> Identity:
    """Ask the same for a command.

    Raises:
        KafkaError: the broker refuses, or does not answer.
    """
    client = admin._client  # noqa: SLF001 - no method of the admin client asks for it
    return _identity(await client.send(client.get_random_node(), _MetadataWithIds(topics)))


def _identity(response: Any) -> Identity:  # noqa: ANN401 - aiokafka's
    has_ids = response.API_VERSION == _MetadataResponse10.API_VERSION
    found = [_described(topic, has_ids=has_ids) for topic in response.topics]
    return Identity(
        response.cluster_id or "",
        {name: topic_id for name, topic_id, _ in found},
        {
            name: tuple(TopicPartition(name, number) for number in sorted(numbers))
            for name, _, numbers in found
        },
    )


async def _ask(consumer: AIOKafkaConsumer, request: "_MetadataWithIds") -> Any:  # noqa: ANN401
    """Ask brokers in turn until one answers."""
    client = consumer._client  # noqa: SLF001 - no method of the consumer asks for it
    while not has_moved_on(consumer):
        try:
            return await client.send(client.get_random_node(), request)
        except KafkaError as error:
            if not error.retriable:
                raise
            await asyncio.sleep(RETRY_SECONDS)
    raise GroupMovedOnError


def _described(topic: tuple[Any, ...], *, has_ids: bool) -> tuple[str, str, list[int]]:
    """A topic's name, id and partitions."""
    if has_ids:
        _, name, high, low, _, partitions, *_ = topic
        topic_id = _text(high, low)
    else:
        _, name, _, partitions, _ = topic
        topic_id = ""
    return name, topic_id, [partition[1] for partition in partitions]


def _text(high: int, low: int) -> str:
    """A topic id as Kafka's tools print it; the zero id of a topic without one is empty."""
    if not high and not low:
        return ""
    raw = b"".join(part.to_bytes(ID_BYTES, "big", signed=True) for part in (high, low))
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


class _MetadataResponse8(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataRequest8(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataResponse10(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                ("topic_id_high", Int64),
                ("topic_id_low", Int64),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequest10(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse10
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id_high", Int64),
                ("topic_id_low", Int64),
                ("topic", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class MetadataWithRights(Request[_MetadataRequest8]):  # type: ignore[misc]
    """Which of these topics are there, and what may our user do with them?"""

    API_KEY = 3

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)

    def build(self, request_struct_class: Any) -> Any:  # noqa: ANN401 - aiokafka's
        return request_struct_class(self._names, False, False, True)  # noqa: FBT003 - fields


class _MetadataWithIds(Request[_MetadataRequest8 | _MetadataRequest10]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)

    def build(self, request_struct_class: Any) -> Any:  # noqa: ANN401 - aiokafka's
        options = (False, False, False)
        if request_struct_class is _MetadataRequest8:
            return request_struct_class(self._names, *options)
        topics: list[Any] = [(0, 0, name, {}) for name in self._names]
        return request_struct_class(topics, *options, {})
