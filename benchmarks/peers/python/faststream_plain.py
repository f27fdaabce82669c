"""A plain FastStream consumer: one PATCH per event, acknowledged afterwards."""

import asyncio
import json
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from pim import BOOTSTRAP, EVENTS, GROUP, OUTCOMES, SESSION_TIMEOUT_MS, AsyncPim, read

broker = KafkaBroker(BOOTSTRAP)
app = FastStream(broker)
outcomes = broker.publisher(OUTCOMES)
pim: list[AsyncPim] = []


async def decode(message: KafkaMessage) -> Any:  # noqa: ANN401 - JSON
    """Decode structured CloudEvents too: FastStream does not know their media type as JSON."""
    return json.loads(message.body)


@broker.subscriber(
    EVENTS,
    decoder=decode,
    group_id=GROUP,
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.ACK,
    session_timeout_ms=SESSION_TIMEOUT_MS,
)
async def handle(event: dict[str, Any], message: KafkaMessage) -> None:
    """Handle one event."""
    record = message.raw_message
    change = read(record.topic, record.partition, record.offset, event)
    if not pim:
        pim.append(AsyncPim())
    (result,) = await pim[0].upsert([change])
    await outcomes.publish(result.value, key=result.key)


asyncio.run(app.run())
