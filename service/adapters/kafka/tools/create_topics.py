"""Create the topics of the settings, with the policies that the service needs (contract.md §5)."""

import asyncio
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from service.adapters.kafka.errors import describe
from service.adapters.kafka.options import REQUEST_TIMEOUT_MS, connection
from service.adapters.kafka.tools.check_kafka import DEAD_LETTER_ROOM_BYTES
from service.settings import KafkaSettings

BROKER_DEFAULT = -1
"""As a number of partitions or replicas: what the brokers are configured to use."""
DEAD_LETTER_DAYS = 30
"""How long dead letters stay: a person must find the time to look at them."""
BROKER_LARGEST_BYTES = 1_048_588
"""The default of `max.message.bytes`, which the events topics have unless somebody sets it."""
NOT_ALLOWED = (
    "The Kafka user may not create it: grant Create on the topic or on the cluster, or let "
    "somebody else create it."
)
MORE_PARTITIONS = (
    "`kafka-topics.sh --alter --topic {name} --partitions {wanted}` adds some. Before that, stop "
    "its writers and wait until everything on it is read: keys move to other partitions."
)
FEWER_PARTITIONS = "Kafka cannot remove any: only a new topic can have fewer."
OTHER_REPLICAS = "`kafka-reassign-partitions.sh` changes that."
KNOWN_SECONDS_MAX = 10.0
LOOK_SECONDS = 0.02
_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class CreatedTopic:
    """What became of a topic; `message` says why it was refused, or how one that exists differs."""

    name: str
    end: Literal["created", "exists", "refused"]
    message: str = ""


async def create_topics(
    kafka: KafkaSettings,
    raw_topics: Iterable[str],
    partitions: int,
    replicas: int,
    *,
    dry_run: bool,
) -> list[CreatedTopic]:
    """Create each topic that does not exist, or with `dry_run` let the brokers only check it.

    These are the topics of the settings and the raw topics.

    Raises:
        KafkaError: the brokers cannot be reached, or do not answer.
    """
    admin = AIOKafkaAdminClient(**connection(kafka), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        # aiokafka takes the default of the brokers only beside an assignment, which may be empty.
        assignments: dict[int, list[int]] | None = (
            {} if BROKER_DEFAULT in {partitions, replicas} else None
        )
        new = [
            NewTopic(name, partitions, replicas, assignments, configs)
            for name, configs in configs_of(kafka, raw_topics).items()
        ]
        ends = [await _create(admin, kafka, topic, dry_run=dry_run) for topic in new]
        if not dry_run:
            await until_known(admin, [topic.name for topic in ends if topic.end == "created"])
        return [await _compared(admin, topic, partitions, replicas) for topic in ends]
    finally:
        await admin.close()


async def until_known(admin: AIOKafkaAdminClient, names: Collection[str]) -> None:
    """Wait until the brokers know these topics, so that a program which starts now finds them.

    The controller creates a topic; the brokers learn of it a moment later, and say until then that
    it does not exist. After `KNOWN_SECONDS_MAX` this returns anyway: the topics are created.
    """
    deadline = time.monotonic() + KNOWN_SECONDS_MAX
    while names and time.monotonic() < deadline:
        if all(_is_known(topic) for topic in await admin.describe_topics(list(names))):
            return
        await asyncio.sleep(LOOK_SECONDS)


def _is_known(topic: dict[str, Any]) -> bool:
    """Return whether the broker knows the topic and a leader for each partition."""
    return not topic["error_code"] and not any(one["error_code"] for one in topic["partitions"])


async def _compared(
    admin: AIOKafkaAdminClient, topic: CreatedTopic, partitions: int, replicas: int
) -> CreatedTopic:
    """Return the topic; one that exists with what it has, beside what was asked for."""
    if topic.end != "exists":
        return topic
    (found,) = await admin.describe_topics([topic.name])
    if found["error_code"]:  # such as a user who may create topics and not describe them
        return topic
    has = len(found["partitions"])
    copies = min((len(one["replicas"]) for one in found["partitions"]), default=0)
    message = f"It has {has} partition{'' if has == 1 else 's'}"
    if partitions not in {BROKER_DEFAULT, has}:
        what_to_do = FEWER_PARTITIONS if partitions < has else MORE_PARTITIONS
        message += f", not {partitions}. {what_to_do.format(name=topic.name, wanted=partitions)}"
    else:
        message += "."
    if replicas not in {BROKER_DEFAULT, copies}:
        message += f" Its replication factor is {copies}, not {replicas}. {OTHER_REPLICAS}"
    return replace(topic, message=message)


def configs_of(kafka: KafkaSettings, raw_topics: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the topics by name, with the settings that differ from those of the brokers."""
    read: dict[str, dict[str, str]] = {
        name: {} for name in (*raw_topics, *kafka.events_topic_names)
    }
    largest = kafka.max_record_bytes + DEAD_LETTER_ROOM_BYTES
    dead_letters = {
        "cleanup.policy": "delete",
        "retention.ms": str(DEAD_LETTER_DAYS * _DAY_MS),
        "max.message.bytes": str(max(largest, BROKER_LARGEST_BYTES + DEAD_LETTER_ROOM_BYTES)),
    }
    return {
        **read,
        kafka.outcomes_topic: {"cleanup.policy": "delete"},
        kafka.dead_letters_topic: dead_letters,
    }


async def _create(
    admin: AIOKafkaAdminClient, kafka: KafkaSettings, topic: NewTopic, *, dry_run: bool
) -> CreatedTopic:
    response = await admin.create_topics([topic], validate_only=dry_run)
    _, code, *rest = response.topic_errors[0]
    if not code:
        return CreatedTopic(topic.name, "created")
    error = for_code(code)
    if error is TopicAlreadyExistsError:
        return CreatedTopic(topic.name, "exists")
    if error in {TopicAuthorizationFailedError, ClusterAuthorizationFailedError}:
        return CreatedTopic(topic.name, "refused", NOT_ALLOWED)
    message = rest[0] if rest and rest[0] else describe(error(), kafka)
    return CreatedTopic(topic.name, "refused", message)
