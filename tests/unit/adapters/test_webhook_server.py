"""The port for webhooks: every answer of the contract, its limits, slow senders, the drain."""

import asyncio
import contextlib
import io
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
import pytest
import trustme

from service.adapters.http.webhook_server import WebhookServer
from service.core.facts import Fact
from service.webhooks.delivery import Delivery
from service.webhooks.endpoint import Endpoint, by_path
from service.webhooks.facts import RequestAnswered, RequestTurnedAway
from service.webhooks.schemes.adobe import Adobe
from service.webhooks.schemes.unverified import Unverified
from tests.support.waiting import until

BODY_BYTES_MAX = 100_000
OTHER_HOST_WAITS = 30.0
"""A sender that is not slow is answered within this time, in seconds."""
POST = b"POST /hook HTTP/1.1\r\nHost: x\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


@dataclass
class Bench:
    """A port on loopback, and the receiver behind it."""

    received: list[Delivery] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    status: HTTPStatus = HTTPStatus.OK
    held: asyncio.Event | None = None
    has_received: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    server: WebhookServer = field(init=False)

    async def receive(self, _: Endpoint, delivery: Delivery) -> HTTPStatus:
        """Keep the delivery, and wait where the test holds it."""
        self.received.append(delivery)
        self.has_received.set()
        if self.held is not None:
            await self.held.wait()
        if delivery.body == b"bug":
            raise AssertionError("a bug")
        return self.status

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def answers(self) -> list[tuple[str, str]]:
        """The source and the status of each answer that was noted."""
        return [(f.source, f.answer) for f in self.facts if isinstance(f, RequestAnswered)]

    @property
    def turned_away(self) -> list[str]:
        return [fact.why for fact in self.facts if isinstance(fact, RequestTurnedAway)]

    async def has_answered(self, count: int) -> None:
        """Wait until this many requests are answered."""
        await until(lambda: len(self.answers) == count)

    async def has_answered_or_closed(self, count: int) -> None:
        """Wait until this many requests are answered, or no connection is open."""
        await until(lambda: len(self.answers) == count or not self.server.connections)

    async def post(
        self,
        path: str = "/hook",
        body: bytes = b"{}",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request by aiohttp's client and read the answer."""
        async with aiohttp.ClientSession() as session:
            answer = await session.request(method, self.url + path, data=body, headers=headers)
            await answer.read()
            return answer

    async def raw(self, *parts: bytes, pause: float = 0.0) -> bytes:
        """Send bytes in parts and return all that is answered until the port closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        reading = asyncio.create_task(read_all(reader))
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
        except ConnectionError:
            pass  # the port has answered and closed
        finally:
            answer = await reading
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return answer


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Return what arrives until the port closes, also where it resets the connection."""
    answer = b""
    async with asyncio.timeout(OTHER_HOST_WAITS):
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(1000):
                answer += part
    return answer


@contextlib.asynccontextmanager
async def bench_of(
    tls: ssl.SSLContext | None = None,
    connections_max: int = 100,
    reading_bytes_max: int = 1_000_000,
    request_seconds_max: float = 0.5,
) -> AsyncIterator[Bench]:
    """Give a port with these limits."""
    made = Bench()
    endpoints = [
        Endpoint("adobe", "/adobe", "dam.adobe", Adobe("c"), frozenset()),
        Endpoint("any", "/hook", "dam.any", Unverified(), frozenset()),
    ]
    made.server = WebhookServer(
        by_path(endpoints),
        made.receive,
        made.facts.append,
        BODY_BYTES_MAX,
        connections_max,
        reading_bytes_max,
        request_seconds_max,
    )
    made.port = await made.server.open("127.0.0.1", 0, tls)
    try:
        yield made
    finally:
        await made.server.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Yield a port with small limits."""
    async with bench_of() as made:
        yield made


@pytest.mark.parametrize(
    "status", [HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE]
)
async def test_the_receiver_decides_on_a_complete_request(bench: Bench, status: HTTPStatus) -> None:
    bench.status = status
    answer = await bench.post(body=b'{"a": 1}', headers={"X-Token": "t"})

    assert (answer.status, await answer.read()) == (status, b"")
    assert answer.headers.get("Retry-After") == ("5" if status == 503 else None)
    assert answer.headers["Server"] == "asset-sync"
    (delivery,) = bench.received
    assert (delivery.body, delivery.headers.first("x-token")) == (b'{"a": 1}', b"t")
    assert bench.answers == [("any", str(status.value))]


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("POST", "/", 404, None),
        ("POST", "/hook/", 404, None),
        ("GET", "/metrics", 404, None),
        ("GET", "/livez", 404, None),
        ("GET", "/hook", 405, "POST"),
        ("PUT", "/hook", 405, "POST"),
        ("GET", "/hook?challenge=x", 405, "POST"),
        ("GET", "/adobe", 405, "GET, POST"),
        ("HEAD", "/adobe?challenge=x", 405, "GET, POST"),
    ],
)
async def test_paths_and_methods(
    bench: Bench, method: str, path: str, status: int, allow: str | None
) -> None:
    """Health checks and metrics are not on this port."""
    answer = await bench.post(path, method=method)
    assert (answer.status, answer.headers.get("Allow")) == (status, allow)
    assert not bench.received


async def test_the_challenge_of_adobe_is_answered(bench: Bench) -> None:
    answer = await bench.post("/adobe?challenge=8ec8%22", b"", "GET")
    assert (answer.status, await answer.json()) == (200, {"challenge": '8ec8"'})
    assert answer.headers["Content-Type"] == "application/json"
    assert bench.answers == [("adobe", "200")]


@pytest.mark.parametrize(
    ("size", "chunked", "status"),
    [
        (BODY_BYTES_MAX, False, 200),
        (BODY_BYTES_MAX, True, 200),
        (BODY_BYTES_MAX + 1, False, 413),
        (BODY_BYTES_MAX + 1, True, 413),
        (50 * BODY_BYTES_MAX, False, 413),
        (50 * BODY_BYTES_MAX, True, 413),
    ],
)
async def test_a_body_is_limited(bench: Bench, size: int, chunked: object, status: int) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for at in range(0, size, 1000):
            yield b"x" * min(1000, size - at)

    async with aiohttp.ClientSession() as session:
        data = parts() if chunked else io.BytesIO(b"x" * size)
        try:
            async with session.post(bench.url + "/hook", data=data) as answer:
                assert answer.status == status
        except aiohttp.ClientError:  # it was still sending when the port closed
            assert status == 413
    assert [status for _, status in bench.answers] == [str(status)]
    assert bench.server.reading_bytes == 0


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x", "identity, gzip"])
async def test_a_compressed_body_is_refused(bench: Bench, coding: str) -> None:
    assert (await bench.post(headers={"Content-Encoding": coding})).status == 400
    assert (await bench.post(headers={"Content-Encoding": "identity"})).status == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"hello\r\n\r\n", 400),
        (POST + b"Content-Length: x\r\n\r\n", 400),
        (POST + b"Content-Length: -1\r\n\r\n", 400),
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\n\x1f\r\n0\r\n\r\n", 400),
        (POST + b"A\x00B: 1\r\n\r\n", 400),
        (POST + b"No colon\r\n\r\n", 400),
        (POST + b"X: " + b"x" * 16_384 + b"\r\n\r\n", 431),
        (POST + b"X: y\r\n" * 4_000 + b"\r\n", 431),
        (POST + b"X: 0123456789\r\n" * 2_000, 431),
        (b"POST /" + b"x" * 20_000, 431),
    ],
)
async def test_broken_http_is_refused(bench: Bench, request_bytes: bytes, status: int) -> None:
    answer = await bench.raw(request_bytes)
    assert answer[:13] in {f"HTTP/1.{minor} {status} ".encode() for minor in (0, 1)}
    assert bench.answers[-1][1] == str(status)
    assert not bench.received


async def test_a_length_may_have_many_zeros(bench: Bench) -> None:
    """Python refuses to read so many digits."""
    answer = await bench.raw(
        POST + b"Connection: close\r\nContent-Length: " + b"0" * 5_000 + b"2\r\n\r\n{}"
    )
    assert answer.startswith(OK)
    assert bench.received[0].body == b"{}"


@pytest.mark.parametrize("rest", [b"zz\r\n", b"2\r\n34xx", b"0\r\nNo colon\r\n\r\n"])
async def test_a_body_that_breaks_is_refused_at_once(rest: bytes) -> None:
    """In a later packet than its head, so that somebody waits for it by then."""
    async with bench_of(request_seconds_max=OTHER_HOST_WAITS) as bench:
        async with asyncio.timeout(OTHER_HOST_WAITS / 2):
            answer = await bench.raw(
                POST + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\n12\r\n", rest, pause=0.05
            )
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert bench.answers == [("any", "400")]
        assert not bench.received


@pytest.mark.parametrize(("path", "status"), [(b"/hook", 400), (b"/none", 404)])
@pytest.mark.parametrize("packets", [1, 2])
@pytest.mark.parametrize(
    "bare",
    [b"0\r\n" + b"X-T: 0123456789\r\n" * 3_000, b"2;x=" + b"y" * 40_000],
    ids=["trailers", "extension of a chunk"],
)
async def test_what_comes_beside_a_body_is_limited(
    bench: Bench, path: bytes, status: int, packets: int, bare: bytes
) -> None:
    """In one packet with the head or in another, and where nobody reads the body."""
    head = POST.replace(b"/hook", path) + b"Transfer-Encoding: chunked\r\n\r\n2\r\n12\r\n"
    answer = await bench.raw(*([head + bare] if packets == 1 else [head, bare]), pause=0.05)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 %d " % status)
    assert [answer for _, answer in bench.answers] == [str(status)]
    assert not bench.received


async def test_trailers_are_left_out(bench: Bench) -> None:
    body = b"2\r\n12\r\n0\r\nX-Signature: t\r\n" + b"X-T: 0123456789\r\n" * 500 + b"\r\n"
    head = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await bench.raw(head, body, pause=0.05)
    assert answer.startswith(OK)
    (received,) = bench.received
    assert received.body == b"12"
    assert received.headers.first("x-signature") is None


async def test_a_large_head_is_accepted_up_to_its_limit(bench: Bench) -> None:
    answer = await bench.post(headers={f"X-{number}": "y" * 1_000 for number in range(15)})
    assert answer.status == 200


@pytest.mark.parametrize(
    "parts",
    [
        (POST,),
        (b"P",),
        (POST + b"Content-Length: 5\r\n\r\n", b"12"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\n12\r\n"),
        (POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",),
    ],
    ids=["head", "one byte", "body", "chunks", "expect"],
)
async def test_a_request_that_stays_incomplete_is_ended(
    bench: Bench, parts: tuple[bytes, ...]
) -> None:
    answer = await bench.raw(*parts)
    assert b"HTTP/1.1 408 " in answer
    assert [status for _, status in bench.answers] == ["408"]
    assert not bench.received


async def test_a_trickle_does_not_prolong_the_time(bench: Bench) -> None:
    """The time counts from the first byte, not from the last."""
    started = asyncio.get_running_loop().time()
    body = await bench.raw(POST + b"Content-Length: 99\r\n\r\n", *[b"x"] * 40, pause=0.05)
    head = await bench.raw(*[b"X-: y\r\n" for _ in range(40)], pause=0.05)

    assert b" 408 " in body
    assert head == b"" or b" 408 " in head or b" 400 " in head
    assert asyncio.get_running_loop().time() - started < 2 * 2 + OTHER_HOST_WAITS


async def test_a_connection_that_sends_nothing_is_closed(bench: Bench) -> None:
    assert await bench.raw() == b""
    assert bench.answers == []


async def test_the_time_of_a_head_counts_from_its_first_byte() -> None:
    """Not from the connection, which a proxy may open before it needs it."""
    async with bench_of(request_seconds_max=2.0) as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        await asyncio.sleep(1.5)
        writer.write(POST)
        await asyncio.sleep(1.0)
        writer.write(b"Content-Length: 2\r\n\r\n{}")
        assert await reader.readline() == OK
        writer.close()


async def test_a_blank_line_begins_no_request(bench: Bench) -> None:
    """Some senders write one behind a body, and then use the connection again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    for _ in range(2):
        writer.write(POST + b"Content-Length: 2\r\n\r\n{}")
        assert await reader.readline() == OK
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\r\n")
        await asyncio.sleep(1.0)  # longer than a request may take
    writer.close()
    assert [status for _, status in bench.answers] == ["200", "200"]


async def test_a_sender_that_reads_no_answer_is_disconnected(bench: Bench) -> None:
    """Else it keeps one of the connections for ever."""
    _, writer = await asyncio.open_connection("127.0.0.1", bench.port, limit=1_000)
    request = b"GET /adobe?challenge=" + b"x" * 15_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    await until(lambda: bench.server.connections)
    async with asyncio.timeout(OTHER_HOST_WAITS):
        while bench.server.connections:
            writer.write(request)
            await bench.has_answered_or_closed(len(bench.answers) + 1)
    writer.close()
    assert (await bench.post()).status == 200


async def test_slow_senders_do_not_stop_others(bench: Bench) -> None:
    """Half of them are slow with the head, half with the body."""
    slow = [
        asyncio.create_task(bench.raw(POST if number % 2 else POST + b"Content-Length: 9\r\n\r\n1"))
        for number in range(90)
    ]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(OTHER_HOST_WAITS):
        answers = [await bench.post() for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert all(b" 408 " in answer for answer in await asyncio.gather(*slow))


async def test_above_its_connections_the_port_is_busy() -> None:
    async with bench_of(connections_max=10, request_seconds_max=2.0) as bench:
        slow = [asyncio.create_task(bench.raw(POST)) for _ in range(10)]
        await until(lambda: bench.server.connections == 10)
        answer = await bench.raw()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5" in answer
        assert bench.turned_away == ["connections"]
        await asyncio.gather(*slow)
        assert (await bench.post()).status == 200


async def test_an_idle_connection_makes_room() -> None:
    async with bench_of(connections_max=10) as bench:
        writers = []
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
            writer.write(POST + b"Content-Length: 2\r\n\r\n{}")
            assert (await reader.readline()) == OK
            writers.append(writer)
        assert (await bench.post()).status == 200
        assert not bench.turned_away
        for writer in writers:
            writer.close()


async def test_many_connections_at_once_each_take_another_ones_room() -> None:
    """They are accepted in one go, before a connection that makes room has ended."""
    async with bench_of(connections_max=10) as bench:
        with contextlib.ExitStack() as senders:
            for _ in range(3):
                burst = [socket.create_connection(("127.0.0.1", bench.port)) for _ in range(10)]
                for sender in burst:
                    senders.enter_context(sender)
                    sender.sendall(POST + b"Content-Length: 2\r\n\r\n{}")
                await bench.has_answered(len(bench.answers) + len(burst))
            await until(lambda: bench.server.connections == 10)
        assert not bench.turned_away


async def test_incomplete_bodies_share_a_limit() -> None:
    async with bench_of(reading_bytes_max=1_000, request_seconds_max=2.0) as bench:
        head = POST + b"Content-Length: 1000\r\n\r\n"
        slow = asyncio.create_task(bench.raw(head, b"x" * 900))
        await until(lambda: bench.server.reading_bytes == 900)
        answer = await bench.raw(head, b"x" * 200, pause=0.05)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert bench.turned_away == ["reading"]
        assert (await bench.post(body=b"y" * 500)).status == 200  # complete with its head
        assert b" 408 " in await slow
        assert bench.server.reading_bytes == 0


async def test_several_requests_share_a_connection(bench: Bench) -> None:
    async with aiohttp.ClientSession() as session:
        for number in range(5):
            body = f"{number}".encode()
            async with session.post(bench.url + "/hook", data=body) as answer:
                assert answer.status == 200
        assert bench.server.connections == 1
    assert [one.body for one in bench.received] == [b"0", b"1", b"2", b"3", b"4"]


async def test_pipelined_requests_take_no_memory(bench: Bench) -> None:
    """What comes while a request is being answered is not read; the connection closes."""
    bench.held = asyncio.Event()
    request = POST + b"Content-Length: 2\r\n\r\n{}"
    sending = asyncio.create_task(bench.raw(request, *[request * 100] * 20, pause=0.01))
    await asyncio.sleep(0.3)
    bench.held.set()
    answer = await sending
    assert answer.startswith(OK)
    assert len(bench.received) == 1


@pytest.mark.parametrize("pieces", [1, 2, 7, 100])
async def test_pipelined_requests_are_answered_once(bench: Bench, pieces: int) -> None:
    """In one packet with the first, or cut anywhere: the rest is for another connection."""
    request = POST + b"Content-Length: 2\r\n\r\n{}"
    given = request * 2 + request.replace(b"Host", b"Connection: close\r\nHost")
    size = -(-len(given) // pieces)
    parts = [given[at : at + size] for at in range(0, len(given), size)]
    answer = await bench.raw(*parts, pause=0.001)
    assert answer.count(OK) >= 1
    assert len(bench.received) == answer.count(OK)
    assert {status for _, status in bench.answers} <= {"200", "408"}


async def test_what_follows_a_refusal_is_not_answered(bench: Bench) -> None:
    answer = await bench.raw(POST, *[b"X: 0123456789\r\n" * 1_000] * 6, pause=0.01)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert bench.answers == [("", "431")]


async def test_a_body_that_comes_later_is_waited_for(bench: Bench) -> None:
    answer = await bench.raw(
        POST + b"Content-Length: 4\r\nConnection: close\r\n\r\n", b"12", b"34", pause=0.05
    )
    assert answer.startswith(OK)
    assert bench.received[0].body == b"1234"


async def test_expect_is_answered_before_the_body(bench: Bench) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")
    writer.write(b"{}")
    await reader.readline()
    assert (await reader.readline()).startswith(OK)
    writer.close()


async def test_expect_is_for_newer_senders(bench: Bench) -> None:
    """HTTP/1.0 has no interim answers: its sender would take one for the answer."""
    head = POST.replace(b"/1.1", b"/1.0") + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    answer = await bench.raw(head, b"{}", pause=0.1)
    assert answer.startswith(b"HTTP/1.0 200 ")


async def test_what_may_follow_an_early_answer_is_not_another_request(bench: Bench) -> None:
    """A sender that waits for a leave may send the body, or its next request."""
    head = POST.replace(b"/hook", b"/none") + b"Content-Length: 99\r\n"
    early = await bench.raw(head + b"Expect: 100-continue\r\n\r\n")
    assert early.startswith(b"HTTP/1.1 404 ")
    assert b"connection: close" in early.lower()


async def test_an_upgrade_is_not_followed(bench: Bench) -> None:
    """Java's client asks for HTTP/2 this way."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
    writer.write(POST + upgrade + b"Content-Length: 2\r\n\r\n{}")
    assert await reader.readline() == OK
    writer.close()
    assert bench.received[0].body == b"{}"


async def test_a_sender_that_goes_away_leaves_nothing_behind(bench: Bench) -> None:
    for sent in (POST, POST + b"Content-Length: 9\r\n\r\n12", b""):
        _, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(sent)
        await writer.drain()
        writer.close()
    assert (await bench.post(body=b"later")).status == 200  # they were accepted before it
    server = bench.server
    await until(lambda: not (server.connections or server.open_requests or server.reading_bytes))
    assert [one.body for one in bench.received] == [b"later"]


async def test_a_bug_is_answered_without_a_word(bench: Bench) -> None:
    answer = await bench.post(body=b"bug")
    assert (answer.status, await answer.read()) == (500, b"")
    assert bench.answers == [("", "500")]
    assert (await bench.post()).status == 200


async def test_the_drain_lets_open_requests_finish(bench: Bench) -> None:
    bench.held = asyncio.Event()
    working = asyncio.create_task(bench.post(body=b"open"))
    await bench.has_received.wait()
    draining = asyncio.create_task(bench.server.drain(5.0))
    await asyncio.sleep(0.05)

    late = await bench.post(body=b"late")
    assert (late.status, late.headers["Retry-After"]) == (503, "5")
    assert not draining.done()

    bench.held.set()
    assert (await working).status == 200
    await draining
    await bench.server.close()
    assert [one.body for one in bench.received] == [b"open"]
    assert bench.turned_away == ["draining"]
    with pytest.raises(aiohttp.ClientConnectorError):
        await bench.post()


async def test_the_drain_ends_in_time(bench: Bench) -> None:
    bench.held = asyncio.Event()
    working = asyncio.create_task(bench.post())
    await bench.has_received.wait()
    async with asyncio.timeout(OTHER_HOST_WAITS):
        await bench.server.drain(0.1)
        await bench.server.close()
    with pytest.raises(aiohttp.ClientError):
        await working


async def test_tls_is_served() -> None:
    ca = trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(served)
    trusted = ssl.create_default_context()
    ca.configure_trust(trusted)
    async with bench_of(served) as bench, aiohttp.ClientSession() as session:
        url = bench.url.replace("http:", "https:") + "/hook"
        async with session.post(url, data=b"{}", ssl=trusted) as answer:
            assert answer.status == 200
        assert await bench.raw(POST + b"\r\n") == b""  # plain HTTP is no TLS
        silent = asyncio.create_task(bench.raw())
        async with session.post(url, data=b"{}", ssl=trusted) as answer:
            assert answer.status == 200
        await bench.server.close()
        await silent
