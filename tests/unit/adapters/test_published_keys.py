"""Keys of Amazon and Adobe are fetched over verified TLS, once, and kept for a day."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpcore2
import pytest
import trustme
from aiohttp import web

from service.adapters import published_keys
from service.adapters.network import Network
from service.adapters.published_keys import (
    FETCHES_AT_ONCE_MAX,
    KEY_BYTES_MAX,
    KEY_SECONDS_MAX,
    KEYS_MAX,
    HttpPublishedKeys,
)
from service.core.facts import Fact
from service.webhooks.facts import KeyFetched, KeyNotFetched
from tests.support.webhooks import private_key, public_pem

HOST = "sns.eu-west-1.amazonaws.com"
KEY = public_pem(private_key())
"""A key, which may have text around it."""


class Loopback(Network):
    """Connects to a port of this machine, whatever the host is called."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def connect_tcp(
        self, host: str, port: int, *rest: object, **named: object
    ) -> httpcore2.AsyncNetworkStream:
        del host, port
        return await super().connect_tcp("127.0.0.1", self._port, *rest, **named)


@dataclass
class Publisher:
    """A host that publishes keys, and the client of it."""

    keys: HttpPublishedKeys = field(init=False)
    now: float = 0.0
    status: int = 200
    body: bytes = KEY
    held: asyncio.Event | None = None
    asked: list[str] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.held is not None:
            await self.held.wait()
        headers = {"location": "/elsewhere"} if self.status == 302 else None
        return web.Response(
            status=self.status, body=self.body + request.path.encode(), headers=headers
        )

    async def get(self, path: str = "/a.pem") -> bytes | None:
        return await self.keys.get(f"https://{HOST}{path}")

    @property
    def messages(self) -> list[str]:
        return [fact.message for fact in self.facts if isinstance(fact, KeyNotFetched)]


@contextlib.asynccontextmanager
async def publishing(certified_host: str = HOST) -> AsyncIterator[Publisher]:
    """Give a host on loopback with a certificate for this name."""
    ca = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(certified_host).configure_cert(serving)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    publisher = Publisher()
    application = web.Application()
    application.router.add_get("/{path:.*}", publisher.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=serving).start()
    network = Loopback(runner.addresses[0][1])
    publisher.keys = HttpPublishedKeys(
        publisher.facts.append, trusting, network, lambda: publisher.now
    )
    yield publisher
    await publisher.keys.close()
    await runner.cleanup()


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    """Yield a host with a certificate for its name."""
    async with publishing() as made:
        yield made


async def test_a_key_is_fetched_once_a_day(publisher: Publisher) -> None:
    assert await publisher.get() == KEY + b"/a.pem"
    publisher.now += KEY_SECONDS_MAX
    assert await publisher.get() == KEY + b"/a.pem"
    assert publisher.asked == ["/a.pem"]
    publisher.now += 1
    assert await publisher.get() == KEY + b"/a.pem"
    assert publisher.asked == ["/a.pem"] * 2
    assert publisher.facts == [KeyFetched(f"https://{HOST}/a.pem")] * 2


async def test_the_keys_used_last_are_kept(publisher: Publisher) -> None:
    for number in range(KEYS_MAX):
        await publisher.get(f"/{number}")
    await publisher.get("/0")
    await publisher.get("/new")
    publisher.asked.clear()
    await publisher.get("/0")
    assert not publisher.asked
    await publisher.get("/1")
    assert publisher.asked == ["/1"]


async def test_requests_at_the_same_time_share_a_fetch(publisher: Publisher) -> None:
    """The sender that asked first may go away meanwhile."""
    publisher.held = asyncio.Event()
    first, *others = [asyncio.create_task(publisher.get()) for _ in range(20)]
    await asyncio.sleep(0.2)
    first.cancel()
    publisher.held.set()
    assert set(await asyncio.gather(*others)) == {KEY + b"/a.pem"}
    assert publisher.asked == ["/a.pem"]


async def test_strangers_cannot_cause_many_fetches(publisher: Publisher) -> None:
    publisher.held = asyncio.Event()
    running = [asyncio.create_task(publisher.get(f"/{n}")) for n in range(FETCHES_AT_ONCE_MAX)]
    await asyncio.sleep(0.2)
    assert await publisher.get("/more") is None
    assert publisher.messages == [f"{FETCHES_AT_ONCE_MAX} other fetches are running."]
    publisher.held.set()
    assert all(await asyncio.gather(*running))
    assert await publisher.get("/more")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, b"", "The answer was 404."),
        (302, b"", "The answer was 302."),
        (500, b"", "The answer was 500."),
        (200, b"", "The answer is neither a certificate nor a key."),
        (200, b"<html>", "The answer is neither a certificate nor a key."),
        (
            200,
            b"-----BEGIN PUBLIC KEY-----\nMIIB",
            "The answer is neither a certificate nor a key.",
        ),
        (200, b"x" * KEY_BYTES_MAX, f"The answer has more than {KEY_BYTES_MAX} bytes."),
    ],
)
async def test_another_answer_is_no_key(
    publisher: Publisher, status: int, body: bytes, message: str
) -> None:
    """Redirects are not followed, and nothing but a key is kept."""
    publisher.status, publisher.body = status, body
    assert await publisher.get() is None
    assert publisher.messages == [message]
    assert publisher.asked == ["/a.pem"]
    publisher.status, publisher.body = 200, KEY
    assert await publisher.get() == KEY + b"/a.pem"


async def test_an_answer_in_time_is_needed(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_keys, "FETCH_SECONDS_MAX", 0.2)
    publisher.held = asyncio.Event()
    assert await publisher.get() is None
    assert publisher.messages == ["There was no answer within 0.2 s."]


async def test_a_certificate_of_another_host_is_refused() -> None:
    async with publishing("sns.evil.example") as publisher:
        assert await publisher.get() is None
        assert "certificate" in publisher.messages[0].lower()
        assert not publisher.asked


async def test_an_address_that_is_not_public_is_refused() -> None:
    """Whatever the name service says, nothing inside the network is asked."""
    facts: list[Fact] = []
    keys = HttpPublishedKeys(facts.append)
    assert await keys.get("https://localhost/a.pem") is None
    (fact,) = facts
    assert isinstance(fact, KeyNotFetched)
    assert "not public" in fact.message
    await keys.close()


async def test_a_subscription_is_confirmed_each_time(publisher: Publisher) -> None:
    """Its token stays out of the log."""
    url = f"https://{HOST}/?Action=ConfirmSubscription&Token=secret"
    assert await publisher.keys.confirm(url)
    assert await publisher.keys.confirm(url)
    assert len(publisher.asked) == 2
    publisher.status = 403
    assert not await publisher.keys.confirm(url)
    assert "secret" not in str(publisher.facts)
