"""Whatever bytes a stranger sends to the webhook port: no answer is a 500, and the port goes on."""

import asyncio
import contextlib
import re

import aiohttp
from hypothesis import given, settings
from hypothesis import strategies as st

from service.webhooks.schemes import standard
from tests.unit.adapters.test_webhook_server import Bench, bench_of

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
PIECES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"POST /hook HTTP/1.1\r\n", b"GET /adobe?challenge=%ff HTTP/1.1\r\n", b"Host: x\r\n",
            b"PUT * HTTP/1.0\r\n", b"POST http://[::1/hook HTTP/1.1\r\n", b"\r\n", b"\r\n\r\n",
            b"Content-Length: 3\r\n", b"Content-Length: 99999999999999999999\r\n", b"{}", b"0\r\n",
            b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked, gzip\r\n",
            b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Upgrade: h2c\r\n", b"3\r\nabc\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"X-\xff: \xfe\r\n", b"X: \x00\r\n",
            b"CONNECT x:1 HTTP/1.1\r\n", b"POST /hook HTTP/9.9\r\n", b"POST //hook HTTP/1.1\r\n",
            b"POST /hook?%zz#frag HTTP/1.1\r\n", b"ffffffffffffffff\r\n", b" folded\r\n",
            f"{standard.SIGNATURE}: v1,\r\n".encode(),
        ]
    ),
)  # fmt: skip


async def until_taken(bench: Bench) -> None:
    """Post until it is taken: on a busy machine, a request may last longer than it is allowed."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                if (await bench.post()).status == 200:
                    return


async def statuses_of(parts: list[bytes]) -> list[int]:
    """Send the parts, and return every status that is answered; the port still works then."""
    async with bench_of(request_seconds_max=0.05) as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        answer = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            for part in parts:
                writer.write(part)
                await writer.drain()
            while part := await asyncio.wait_for(reader.read(4096), 0.2):
                answer += part
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await until_taken(bench)
        return [int(found) for found in STATUS.findall(answer)]


@settings(max_examples=60)
@given(parts=st.lists(PIECES, max_size=12))
def test_no_bytes_cause_a_500(parts: list[bytes]) -> None:
    assert not {status for status in asyncio.run(statuses_of(parts)) if status >= 500}
