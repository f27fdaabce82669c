"""Before the first join: is the broker there, and are the topics?"""

import asyncio
import time

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service.adapters.kafka.options import REQUEST_TIMEOUT_MS, connection
from service.ports import FatalError
from service.settings import KafkaSettings

START_SECONDS_MAX = 60.0
RETRY_SECONDS = 1.0


async def require_topics(kafka: KafkaSettings, seconds_max: float = START_SECONDS_MAX) -> None:
    """Wait for the broker, then look for the topics.

    Raises:
        FatalError: the broker cannot be reached in time, or a topic is missing.
    """
    deadline = time.monotonic() + seconds_max
    while True:
        try:
            present = await _topics(kafka)
            break
        except (KafkaError, OSError) as error:
            if time.monotonic() >= deadline:
                raise FatalError(
                    f"Kafka at {kafka.bootstrap_servers} cannot be reached: {error}. "
                    "Check ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS and the security settings."
                ) from error
            await asyncio.sleep(RETRY_SECONDS)
    wanted = [*kafka.events_topic_names, kafka.outcomes_topic, kafka.dead_letters_topic]
    missing = [topic for topic in wanted if topic not in present]
    if missing:
        raise FatalError(
            f"Kafka has no topic {', '.join(missing)} (or hides it from us); "
            "asset-sync creates none."
        )


async def _topics(kafka: KafkaSettings) -> set[str]:
    admin = AIOKafkaAdminClient(**connection(kafka), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        return set(await admin.list_topics())
    finally:
        await admin.close()
