"""Read which of the needed topics exist, and what the service's user may do with them.

A broker reports that in its answer to Metadata v8, which aiokafka 0.14 lacks (`requests.py`).
"""

from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code

from service.adapters.kafka.aiokafka_gaps.requests import MetadataWithPermissions
from service.settings import KafkaSettings

_READ, _WRITE = 3, 4
"""The numbers of Kafka's operations; an answer has one bit for each operation that is allowed."""
_OPERATIONS_UNKNOWN = -(2**31)
"""Sent by a broker that does not report which operations are allowed."""
_UNKNOWN_TOPIC, _TOPIC_AUTHORIZATION_FAILED = 3, 29


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that the service needs, as the broker shows it to the service's user."""

    name: str
    partitions: int
    """0 for a topic that does not exist, or that the user may not see."""
    missing_permission: str | None
    """The permission that is not granted: Read or Write."""
    is_hidden: bool = False
    """Whether not even Describe is granted."""


async def topics(admin: AIOKafkaAdminClient, kafka: KafkaSettings) -> list[Topic]:
    """Return every topic of the settings, with the permission that is missing on it.

    Raises:
        KafkaError: the broker refuses to answer.
    """
    needs = dict.fromkeys(kafka.events_topic_names, ("Read", _READ))
    needs |= dict.fromkeys((kafka.outcomes_topic, kafka.dead_letters_topic), ("Write", _WRITE))
    response = await admin._client.send(  # noqa: SLF001 - its own methods send older versions
        admin._client.get_random_node(),  # noqa: SLF001
        MetadataWithPermissions(needs),
    )
    found = {
        topic: (code, partitions, allowed)
        for code, topic, _, partitions, allowed in response.topics
    }
    return [_topic(name, *found[name], *need) for name, need in needs.items()]


def _topic(
    name: str, code: int, partitions: list[Any], allowed: int, permission: str, operation: int
) -> Topic:
    if code == _TOPIC_AUTHORIZATION_FAILED:
        return Topic(name, 0, permission, is_hidden=True)
    if code == _UNKNOWN_TOPIC:
        return Topic(name, 0, None)
    if code:
        raise for_code(code)(name)
    is_allowed = allowed == _OPERATIONS_UNKNOWN or bool(allowed & (1 << operation))
    return Topic(name, len(partitions), None if is_allowed else permission)
