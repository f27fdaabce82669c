"""A consumer group with one member on a real broker, with topics of its own."""

import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from service.adapters.kafka.aiokafka_gaps.group_membership import GroupMetadata, group_metadata
from service.playground.local_system import create_topics

QUIET_MS = 700
"""How long a reader waits for more records before it stops."""


@dataclass
class Group:
    """A group whose topics have one partition each; `consumer` is its only member."""

    bootstrap: str
    name: str
    events: str
    outcomes: str
    dead: str
    changes: str
    consumer: AIOKafkaConsumer

    @property
    def topic_partition(self) -> TopicPartition:
        """The one partition of the events topic."""
        return TopicPartition(self.events, 0)

    @property
    def member(self) -> GroupMetadata:
        """The membership of the consumer in its current assignment."""
        return group_metadata(self.consumer)

    async def visible(self, topic: str) -> list[Any]:
        """The records of the topic that a `read_committed` reader sees."""
        reader = AIOKafkaConsumer(
            topic,
            bootstrap_servers=self.bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        await reader.start()
        try:
            found: list[Any] = []
            [only] = reader.assignment()
            while (
                records := await reader.getmany(timeout_ms=QUIET_MS)
            ) or reader.last_stable_offset(only) is None:  # nothing is known of the log yet
                found += [record for batch in records.values() for record in batch]
            return found
        finally:
            await reader.stop()


def member_of(
    bootstrap: str, group: str, events: str, instance_id: str | None = None
) -> AIOKafkaConsumer:
    """A consumer that has not joined the group yet."""
    return AIOKafkaConsumer(
        events,
        bootstrap_servers=bootstrap,
        group_id=group,
        group_instance_id=instance_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )


@contextlib.asynccontextmanager
async def group_of_one(
    bootstrap: str,
    instance_id: str | None = None,
    dead_configs: Mapping[str, str] | None = None,
    **log_configs: str,
) -> AsyncIterator[Group]:
    """Create topics, and a member that has joined; with an instance id it is a static member.

    `log_configs` are of the topics for outcomes, dead letters and changes; `dead_configs` replace
    those of the dead letters.
    """
    suffix = uuid.uuid4().hex[:8]
    kinds = ("events", "outcomes", "dead", "changes")
    events, outcomes, dead, changes = (f"{kind}.{suffix}" for kind in kinds)
    await create_topics(
        bootstrap,
        [
            NewTopic(events, 1, 1),
            NewTopic(outcomes, 1, 1, topic_configs=log_configs),
            NewTopic(dead, 1, 1, topic_configs={**log_configs, **(dead_configs or {})}),
            NewTopic(changes, 1, 1, topic_configs=log_configs),
        ],
    )
    consumer = member_of(bootstrap, f"group.{suffix}", events, instance_id)
    await consumer.start()
    try:
        while not consumer.assignment():
            await consumer.getmany(timeout_ms=100)
        yield Group(bootstrap, f"group.{suffix}", events, outcomes, dead, changes, consumer)
    finally:
        await consumer.stop()
