"""Read which of the needed topics exist, and what the service's user may do with them.

A broker reports that in its answer to Metadata v8, which aiokafka 0.14 lacks (`requests.py`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code

from service.adapters.kafka.aiokafka_gaps.requests import MetadataWithPermissions
from service.settings import KafkaSettings

Permission = Literal["Read", "Write"]
Needs = Mapping[str, Permission]
"""The permission that is needed on each topic."""

_OPERATIONS: Mapping[Permission, int] = {"Read": 3, "Write": 4}
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
    missing_permission: Permission | None
    is_hidden: bool = False
    """Whether not even Describe is granted."""


def needs_of_run(kafka: KafkaSettings) -> Needs:
    """Return every topic that `run` reads or writes."""
    return {**dict.fromkeys(kafka.events_topic_names, "Read"), **needs_of_outcomes(kafka)}


def needs_of_outcomes(kafka: KafkaSettings) -> Needs:
    """Return the topics for what became of each change."""
    return dict.fromkeys((kafka.outcomes_topic, kafka.dead_letters_topic), "Write")


def needs_of_translate(raw_topics: Iterable[str], changes_topic: str) -> Needs:
    """Return what `asset-sync translate` reads and writes, besides outcomes and dead letters."""
    return {**dict.fromkeys(raw_topics, "Read"), changes_topic: "Write"}


def needs_of_ingress(raw_topics: Iterable[str]) -> Needs:
    """Return what `asset-sync ingress` needs: to write the raw topics of its webhooks."""
    return dict.fromkeys(raw_topics, "Write")


def needs_of_console(kafka: KafkaSettings) -> Needs:
    """Return what `asset-sync console` needs: to read the outcomes."""
    return {kafka.outcomes_topic: "Read"}


async def topics(admin: AIOKafkaAdminClient, needs: Needs) -> list[Topic]:
    """Return each topic, with the permission if it is missing.

    Raises:
        KafkaError: the broker refuses to answer.
    """
    response = await admin._client.send(  # noqa: SLF001 - its own methods send older versions
        admin._client.get_random_node(),  # noqa: SLF001
        MetadataWithPermissions(needs),
    )
    found = {
        topic: (code, partitions, allowed)
        for code, topic, _, partitions, allowed in response.topics
    }
    return [_topic(name, *found[name], permission) for name, permission in needs.items()]


def _topic(
    name: str, code: int, partitions: list[Any], allowed: int, permission: Permission
) -> Topic:
    if code == _TOPIC_AUTHORIZATION_FAILED:
        return Topic(name, 0, permission, is_hidden=True)
    if code == _UNKNOWN_TOPIC:
        return Topic(name, 0, None)
    if code:
        raise for_code(code)(name)
    bit = 1 << _OPERATIONS[permission]
    is_allowed = allowed == _OPERATIONS_UNKNOWN or bool(allowed & bit)
    return Topic(name, len(partitions), None if is_allowed else permission)
