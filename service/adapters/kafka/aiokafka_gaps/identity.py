"""Read the identity of a Kafka cluster and of its topics.

Metadata v10 (brokers since 2.8) answers with topic ids: a topic that was deleted and created again
under its name has another id. Older brokers answer Metadata v8, without ids.
"""

import asyncio
import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service.adapters.kafka.aiokafka_gaps.group_membership import GroupMovedOnError, has_moved_on
from service.adapters.kafka.aiokafka_gaps.requests import TOPIC_IDS_VERSION, MetadataWithIds
from service.core.model import Binding

ID_BYTES = 8
RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Identity:
    """The ids of a cluster and its topics, and the partitions of the topics."""

    cluster_id: str
    topic_ids: dict[str, str]
    """Empty if the broker has no topic ids (before Kafka 2.8)."""
    partitions: dict[str, tuple[TopicPartition, ...]]
    """Empty for a topic that does not exist or is hidden from the user."""

    def binding(self, group_id: str, topic_partition: TopicPartition) -> Binding:
        """Return the identity to which the group's offset maps of a partition are bound."""
        owner = f"{self.cluster_id}/{group_id}/{topic_partition.topic}/{topic_partition.partition}"
        return Binding(owner, self.topic_ids.get(topic_partition.topic, ""))


async def identify(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> Identity:
    """Ask brokers for the identity of their cluster and of these topics.

    Raises:
        GroupMovedOnError: the group rebalances meanwhile.
        KafkaError: the broker refuses to answer.
    """
    return _identity(await _ask(consumer, MetadataWithIds(topics)))


async def identify_once(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> Identity:
    """Do the same for a consumer without a group, by one request to one broker.

    Raises:
        KafkaError: the broker refuses to answer, or does not answer.
    """
    client = consumer._client  # noqa: SLF001 - no method of the consumer asks for it
    return _identity(await client.send(client.get_random_node(), MetadataWithIds(topics)))


async def identify_for(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> Identity:
    """Do the same for a command, through an admin client.

    Raises:
        KafkaError: the broker refuses to answer, or does not answer.
    """
    client = admin._client  # noqa: SLF001 - no method of the admin client asks for it
    return _identity(await client.send(client.get_random_node(), MetadataWithIds(topics)))


def _identity(response: Any) -> Identity:  # noqa: ANN401 - aiokafka's
    has_ids = response.API_VERSION == TOPIC_IDS_VERSION
    found = [_described(topic, has_ids=has_ids) for topic in response.topics]
    return Identity(
        response.cluster_id or "",
        {name: topic_id for name, topic_id, _ in found},
        {
            name: tuple(TopicPartition(name, number) for number in sorted(numbers))
            for name, _, numbers in found
        },
    )


async def _ask(consumer: AIOKafkaConsumer, request: MetadataWithIds) -> Any:  # noqa: ANN401
    """Ask brokers at random until one answers."""
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
    """Return the name, the id and the partitions of a topic."""
    if has_ids:
        _, name, high, low, _, partitions, *_ = topic
        topic_id = _text(high, low)
    else:
        _, name, _, partitions, _ = topic
        topic_id = ""
    return name, topic_id, [partition[1] for partition in partitions]


def _text(high: int, low: int) -> str:
    """Return a topic id as Kafka's tools print it, or "" for the zero id (no topic id)."""
    if not high and not low:
        return ""
    raw = b"".join(part.to_bytes(ID_BYTES, "big", signed=True) for part in (high, low))
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
