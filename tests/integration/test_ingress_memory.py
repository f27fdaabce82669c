"""The memory of `asset-sync ingress`: the sum of docs/webhooks.md holds while Kafka is away."""

import asyncio
import contextlib
import resource
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from service.playground.embedded_kafka import EmbeddedKafka
from tests.support.ingress import IngressUnderTest, connections, signed
from tests.support.large import peak_bytes

pytestmark = [
    pytest.mark.usefixtures("real_starts"),
    pytest.mark.kafka,
    pytest.mark.processes,
    pytest.mark.xdist_group("broker of ingress"),
]

MIB = 1024 * 1024
BODY_BYTES = MIB - 32 * 1024
IN_FLIGHT = 100
LIMIT_BYTES = (96 + 64 + 3 * IN_FLIGHT) * MIB
"""The sum of docs/webhooks.md, Limits, for bodies of 1 MiB."""
SENDERS, SLOW_SENDERS = 200, 100
PAUSE_SECONDS = 0.5
AWAY_SECONDS = 15.0


def large_body() -> bytes:
    """Return an event of the largest size that takes much memory where it is parsed."""
    start = b'{"id":"1","lists":[[]'
    return start + b",[]" * ((BODY_BYTES - 2 - len(start)) // 3) + b"]}"


BODY = large_body()


async def send(session: aiohttp.ClientSession, url: str, answers: Counter[int]) -> None:
    """Send a large event for ever, after a pause if it was not accepted."""
    headers = signed(BODY)
    while True:
        status = 0
        with contextlib.suppress(aiohttp.ClientError):  # ended as a slow sender, on a busy machine
            async with session.post(url, data=BODY, headers=headers) as answer:
                status = answer.status
                answers[status] += 1
        if status != HTTPStatus.OK:
            await asyncio.sleep(PAUSE_SECONDS)


async def send_half(url: str) -> None:
    """Send the first half of a large event for ever, and wait each time to be ended."""
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    while True:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(head + BODY[: len(BODY) // 2])
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
        await asyncio.sleep(PAUSE_SECONDS)


async def test_large_bodies_and_slow_senders_stay_within_the_sum(
    own_broker: EmbeddedKafka, tmp_path: Path
) -> None:
    """More senders than may wait, with the largest bodies, while nothing can be written."""
    ingress = IngressUnderTest(own_broker.bootstrap_servers, tmp_path)
    await ingress.create_topics(**{"max.message.bytes": str(2 * MIB)})
    process = ingress.start(INGRESS__MAX_IN_FLIGHT=str(IN_FLIGHT))
    answers: Counter[int] = Counter()
    try:
        url = await ingress.url() + "/hooks"
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
        async with connections() as session, asyncio.TaskGroup() as group:
            sending = [group.create_task(send(session, url, answers)) for _ in range(SENDERS)]
            sending += [group.create_task(send_half(url)) for _ in range(SLOW_SENDERS)]
            await until_answered(answers, 200)
            own_broker.kill()
            await asyncio.sleep(AWAY_SECONDS)
            await asyncio.to_thread(own_broker.start)
            before = answers[200]
            await until_answered(answers, before + 1)
            for task in sending:
                task.cancel()
        assert answers.keys() == {200, 503}
        assert peak_bytes(process.pid) < LIMIT_BYTES
        assert process.stop(20) == 0, ingress.logs()
        assert "Traceback" not in ingress.logs()
    finally:
        ingress.end()


async def until_answered(answers: Counter[int], accepted: int) -> None:
    """Wait until so many events were answered with 200."""
    try:
        async with asyncio.timeout(180):
            while answers[HTTPStatus.OK] < accepted:  # noqa: ASYNC110 - the senders know no event
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(answers) from None
