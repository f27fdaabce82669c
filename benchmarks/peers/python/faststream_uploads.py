"""A tuned FastStream batch consumer: each upload of a batch is published as a change."""

import asyncio
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from uploads import (
    BATCH_EVENTS,
    BOOTSTRAP,
    CHANGES,
    CONTENT_TYPE,
    GROUP,
    RAW,
    SESSION_TIMEOUT_MS,
    change,
    encode,
)

broker = KafkaBroker(BOOTSTRAP)
app = FastStream(broker)


@broker.subscriber(
    RAW,
    group_id=GROUP,
    auto_offset_reset="earliest",
    batch=True,
    max_records=BATCH_EVENTS,
    batch_timeout_ms=100,
    ack_policy=AckPolicy.ACK,
    session_timeout_ms=SESSION_TIMEOUT_MS,
)
async def handle(uploads: list[dict[str, Any]], message: KafkaMessage) -> None:
    """Handle one batch: the positions are committed when all its changes were acknowledged."""
    changes = [
        change(record.topic, record.partition, record.offset, upload)
        for record, upload in zip(message.raw_message, uploads, strict=True)
    ]
    sent = [
        await broker.publish(
            encode(one),
            CHANGES,
            key=one["subject"].encode(),
            headers={"content-type": CONTENT_TYPE.decode()},
            no_confirm=True,
        )
        for one in changes
    ]
    await asyncio.gather(*sent)


asyncio.run(app.run())
