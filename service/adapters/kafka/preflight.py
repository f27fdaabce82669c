"""Check before the first join that the broker can be reached and the topics may be used."""

import asyncio
import time

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service.adapters.kafka.aiokafka_gaps.permissions import Needs, Topic, topics
from service.adapters.kafka.errors import describe, is_final, topic_problem
from service.adapters.kafka.options import (
    REQUEST_TIMEOUT_MS,
    RETRY_SECONDS,
    START_SECONDS_MAX,
    connection,
)
from service.ports import FatalError
from service.settings import KafkaSettings


async def require_topics(kafka: KafkaSettings, needs: Needs) -> None:
    """Wait for the broker, then check the topics that are needed.

    Raises:
        FatalError: the broker refuses the connection or cannot be reached in time, a topic does not
            exist, or a permission on it is missing.
    """
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            found = await _topics(kafka, needs)
            break
        except (KafkaError, OSError) as error:
            if is_final(error):
                raise FatalError(describe(error, kafka)) from error
            if time.monotonic() >= deadline:
                raise FatalError(
                    f"Kafka at {kafka.bootstrap_servers} cannot be reached: "
                    f"{describe(error, kafka)}. "
                    "Check ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS and the security settings."
                ) from error
            await asyncio.sleep(RETRY_SECONDS)
    problems = [problem for topic in found if (problem := topic_problem(topic))]
    if problems:
        raise FatalError(" ".join(problems))


async def _topics(kafka: KafkaSettings, needs: Needs) -> list[Topic]:
    admin = AIOKafkaAdminClient(**connection(kafka), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        return await topics(admin, needs)
    finally:
        await admin.close()
