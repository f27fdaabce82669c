"""Send raw events as their DAMs do: as signed webhooks, or straight to the raw topics."""

import asyncio
import time
from collections.abc import Sequence
from http import HTTPStatus

import aiohttp
from aiokafka import AIOKafkaProducer

from service.playground.local_system import LocalSystem, LoggedProcess, address
from service.playground.three_dams import SECRET, TOPICS, WEBHOOK_PATH, RawEvent, by_source
from service.webhooks.schemes.cloudinary import signed

TRIES_MAX = 20
"""How often a webhook that is answered with 503 is sent; a DAM does so too, but less hastily."""
RETRY_SECONDS = 0.5


async def send_raw_events(
    system: LocalSystem, ingress: LoggedProcess, events: list[RawEvent]
) -> None:
    """Send all events, those of each source in order.

    Raises:
        RuntimeError: ingress does not accept a webhook.
    """
    for source, own in by_source(events):
        if source == "cloudinary":
            url = await address(ingress, "webhooks.listening")
            await send_webhooks(url + WEBHOOK_PATH, own)
        else:
            await publish(system.bootstrap, TOPICS[source], own)


async def send_webhooks(url: str, events: Sequence[RawEvent]) -> None:
    """Send the events to this URL of ingress, in order, as Cloudinary signs them.

    Raises:
        RuntimeError: ingress does not accept a webhook.
    """
    async with aiohttp.ClientSession(trust_env=False) as session:
        for event in events:
            await _send_webhook(session, url, event.value)


async def _send_webhook(session: aiohttp.ClientSession, url: str, body: bytes) -> None:
    for _ in range(TRIES_MAX):
        headers = signed(body, SECRET, int(time.time()))
        async with session.post(url, data=body, headers=headers) as answer:
            if answer.status == HTTPStatus.OK:
                return
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise RuntimeError(f"Ingress answered a webhook with {answer.status}.")
        await asyncio.sleep(RETRY_SECONDS)
    raise RuntimeError(f"Ingress answered a webhook {TRIES_MAX} times with 503.")


async def publish(bootstrap: str, topic: str, events: Sequence[RawEvent]) -> None:
    """Write the events to a raw topic, in order."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for event in events:
            await producer.send_and_wait(topic, event.value, key=event.key)
