"""The findings of `asset-sync check` about permissions: one line for each that is missing."""

import asyncio
import uuid

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service.adapters.kafka.aiokafka_gaps.permissions import Needs, Topic, topics
from service.adapters.kafka.errors import describe, topic_problem
from service.adapters.kafka.options import connection
from service.ports import Finding, Grade
from service.settings import KafkaSettings

CHECK_SECONDS_MAX = 15.0


async def check_topics(
    admin: AIOKafkaAdminClient, needs: Needs, *, lacking: Grade = "failed"
) -> list[Finding]:
    """Return a finding for each topic: it exists, and the user has the permission on it.

    `lacking` is the grade of a missing permission; a missing topic is a failure in any case.

    Raises:
        KafkaError: the broker refuses to answer.
    """
    return [topic_finding(topic, lacking) for topic in await topics(admin, needs)]


def topic_finding(topic: Topic, lacking: Grade = "failed") -> Finding:
    """Return whether a topic may be used; `lacking` as in `check_topics`."""
    problem = topic_problem(topic)
    if problem is None:
        return Finding("ok", f"Topic {topic.name} ({topic.partitions} partitions): access granted.")
    remedy = "Create it (`asset-sync topics create`), or grant what is missing."
    grade: Grade = "failed" if topic.missing_permission is None else lacking
    return Finding(grade, problem, remedy)


async def check_transactions(kafka: KafkaSettings, *, lacking: Grade = "failed") -> Finding:
    """Check that a transactional id with the prefix of the group is allowed; write nothing."""
    prefix = f"{kafka.group_id}."
    refusal = await _refusal(kafka, transactional_id=f"{prefix}check-{uuid.uuid4().hex[:8]}")
    if refusal is None:
        return Finding("ok", f"Transactional IDs {prefix}* are allowed.")
    remedy = f'Grant Write and Describe on IDs with the prefix "{prefix}".'
    return Finding(lacking, f"Transactional IDs {prefix}* are refused: {refusal}", remedy)


async def check_idempotence(kafka: KafkaSettings, *, lacking: Grade = "failed") -> Finding:
    """Check that an idempotent producer is allowed; write nothing."""
    refusal = await _refusal(kafka, enable_idempotence=True)
    if refusal is None:
        return Finding("ok", "An idempotent producer is allowed.")
    remedy = "Grant IdempotentWrite on the cluster; brokers since 2.8 accept Write on a topic."
    return Finding(lacking, f"An idempotent producer is refused: {refusal}", remedy)


async def _refusal(kafka: KafkaSettings, **options: object) -> str | None:
    """Return why a producer with these options cannot start, or None if it can."""
    producer = AIOKafkaProducer(**connection(kafka), **options)
    try:
        await asyncio.wait_for(producer.start(), CHECK_SECONDS_MAX)
    except (KafkaError, TimeoutError) as error:
        return describe(error, kafka)
    finally:
        await producer.stop()
    return None
