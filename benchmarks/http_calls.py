"""Measures what a call over HTTP costs, compared with httpx2's own client in the same run.

`python -m benchmarks.http_calls` is the server: it gives every request the same cheap answer.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import httpx2

from service.adapters.akeneo.client import PimClient
from service.adapters.akeneo.wire import HttpRequest
from service.settings import PimSettings

ASSETS = 100
AT_ONCE = 8
TURNS = 3
AKENEO_CALLS_PER_SECOND = 100

BODY = b"x" * 30_000
"""As many bytes as the JSON of a hundred small assets."""

ANSWER = b"[" + b",".join([b'{"code":"sku_54628_picture1","status_code":204}'] * ASSETS) + b"]"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


async def cost(calls: int) -> tuple[float, float]:
    """Return microseconds of CPU a call, of the service's client and of httpx2's; best of turns."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.http_calls"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}"
    ours = PimClient(PimSettings.model_validate({"base_url": url, "app_token": "bench"}))
    request = HttpRequest("PATCH", "/a", BODY)
    headers = {"authorization": "Bearer bench", "content-type": "application/json"}
    async with httpx2.AsyncClient(trust_env=False) as bare:

        async def by_ours() -> None:
            await ours.exchange(request, "Bearer bench")

        async def by_httpx2() -> None:
            await bare.patch(f"{url}/a", content=BODY, headers=headers)

        turns = [(await _cpu(by_ours, calls), await _cpu(by_httpx2, calls)) for _ in range(TURNS)]
    await ours.close()
    server.terminate()
    server.communicate()
    return min(ours for ours, _ in turns), min(bare for _, bare in turns)


async def _cpu(call: Callable[[], Awaitable[None]], calls: int) -> float:
    async def some() -> None:
        for _ in range(calls // AT_ONCE):
            await call()

    await call()
    began = time.process_time()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return (time.process_time() - began) / calls * 1e6


class _Server(asyncio.Protocol):
    """Answers each request when its body has arrived."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, _, rest = self._read.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length:")
        if length and len(rest) >= int(length.split(b"\r\n")[0]):
            assert self._transport is not None
            self._read = b""
            self._transport.write(HEAD % len(ANSWER) + ANSWER)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
