"""A tuned FastStream batch consumer: calls by family, a hundred assets each, four at once."""

import asyncio
import json
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from pim import (
    BATCH_EVENTS,
    BOOTSTRAP,
    EVENTS,
    GROUP,
    OUTCOMES,
    SESSION_TIMEOUT_MS,
    AsyncPim,
    calls,
    read,
)

broker = KafkaBroker(BOOTSTRAP)
app = FastStream(broker)
pim: list[AsyncPim] = []


async def decode(message: KafkaMessage) -> list[Any]:
    """Decode structured CloudEvents too: FastStream does not know their media type as JSON."""
    return [json.loads(value) for value in message.body]


@broker.subscriber(
    EVENTS,
    decoder=decode,
    group_id=GROUP,
    auto_offset_reset="earliest",
    batch=True,
    max_records=BATCH_EVENTS,
    batch_timeout_ms=200,
    ack_policy=AckPolicy.ACK,
    session_timeout_ms=SESSION_TIMEOUT_MS,
)
async def handle(events: list[dict[str, Any]], message: KafkaMessage) -> None:
    """Handle one batch."""
    if not pim:
        pim.append(AsyncPim())
    changes = [
        read(record.topic, record.partition, record.offset, event)
        for record, event in zip(message.raw_message, events, strict=True)
    ]
    results = await asyncio.gather(*(pim[0].upsert(call) for call in calls(changes)))
    await asyncio.gather(
        *(
            broker.publish(one.value, OUTCOMES, key=one.key, no_confirm=True)
            for several in results
            for one in several
        )
    )


asyncio.run(app.run())
