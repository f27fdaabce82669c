"""The least that takes webhooks into Kafka safely, for comparison: `python -m … BOOTSTRAP TOPIC`.

It checks the same HMAC and waits for the same acknowledgement as ingress, and has none of its
limits: `benchmarks.ingress` measures both in one run.
"""

import asyncio
import hashlib
import hmac
import json
import sys

from aiohttp import web
from aiokafka import AIOKafkaProducer

from tests.support.ingress import SECRET

KEY = SECRET.encode()
BATCH_BYTES = 256 * 1024


async def main(bootstrap: str, topic: str) -> None:
    """Serve until killed."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, max_batch_size=BATCH_BYTES
    )
    await producer.start()

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        wanted = "sha256=" + hmac.new(KEY, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, request.headers.get("x-signature", "")):
            return web.Response(status=401)
        key = str(json.loads(body)["id"]).encode()
        await producer.send_and_wait(topic, body, key=key)
        return web.Response()

    application = web.Application()
    application.router.add_post("/hooks", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"event": "webhooks.listening", "port": runner.addresses[0][1]}), flush=True)  # noqa: T201 - read by the bench
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
