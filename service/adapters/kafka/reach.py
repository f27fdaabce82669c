"""Does Kafka answer now? Asked over a connection of its own, while nothing else is heard."""

import asyncio

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError

from service.adapters.kafka.options import connection
from service.settings import KafkaSettings, SettingsError

ANSWER_SECONDS_MAX = 5.0


async def refusal(kafka: KafkaSettings) -> Exception | None:
    """Why Kafka does not answer; None where it names the coordinator of the group."""
    try:
        client = AIOKafkaClient(
            **connection(kafka), request_timeout_ms=round(ANSWER_SECONDS_MAX * 1000)
        )
    except SettingsError as error:  # a certificate that is being replaced
        return error
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await client.bootstrap()
            await client.coordinator_lookup(CoordinationType.GROUP, kafka.group_id)
    except (KafkaError, OSError, TimeoutError) as error:
        return error
    finally:
        await client.close()
    return None
