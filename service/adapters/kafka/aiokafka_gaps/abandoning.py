"""Close a producer without waiting until everything is sent and answered.

aiokafka's own `stop` waits for that, for as long as the broker is unreachable.

Seams: `AIOKafkaProducer._closed`, `._sender`, `._txn_manager._transaction_waiter`.
"""

import asyncio

from aiokafka import AIOKafkaProducer

CANCEL_SECONDS = 0.05
CANCELS_MAX = 40
CLOSE_SECONDS_MAX = 2.0


async def abandon(producer: AIOKafkaProducer) -> None:
    """Close the producer; what it has not sent yet is lost, and its futures stay pending."""
    producer._closed = True  # noqa: SLF001 - no public way closes without waiting
    sending = producer._sender.sender_task  # noqa: SLF001 - likewise
    for _ in range(CANCELS_MAX):  # each cancels one of the tasks that the sender waits for
        if sending is None or sending.done():
            break
        sending.cancel()
        await asyncio.wait({sending}, timeout=CANCEL_SECONDS)
    ending = producer._txn_manager._transaction_waiter  # noqa: SLF001 - likewise
    if ending is not None and ending.done():
        ending.exception()  # otherwise asyncio logs that it was never retrieved
    closing = asyncio.ensure_future(producer.client.close())
    await asyncio.wait({closing}, timeout=CLOSE_SECONDS_MAX)
    closing.cancel()
