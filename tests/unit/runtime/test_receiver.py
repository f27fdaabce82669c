"""From a complete request to the status of its answer: limits, keys, handshakes, Kafka."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest

from service.core.facts import Fact
from service.runtime.receiver import FAILING_SECONDS, Receiver
from service.runtime.secret_cache import REMEMBER_SECONDS, SecretCache
from service.webhooks.delivery import Delivery
from service.webhooks.endpoint import Endpoint
from service.webhooks.facts import (
    RequestRefused,
    RequestTurnedAway,
    RequestUnjudged,
    SubscriptionConfirmed,
    SubscriptionNotConfirmed,
)
from service.webhooks.record import IngressRecord, RecordHeaders
from service.webhooks.schemes.scheme import Scheme
from service.webhooks.schemes.sns import Sns
from service.webhooks.schemes.token import Token
from service.webhooks.schemes.unverified import Unverified
from tests.support.webhooks import (
    CERTIFICATE_URL,
    SUBSCRIBE_URL,
    TOPIC_ARN,
    delivery,
    private_key,
    public_pem,
    sns_message,
)

OK, UNAUTHORIZED, BUSY = (
    HTTPStatus.OK,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
SNS = Sns(frozenset({TOPIC_ARN}), confirms=True)
NOTIFICATION = delivery({}, sns_message(private_key()))
CONFIRMATION = delivery({}, sns_message(private_key(), Type="SubscriptionConfirmation"))


@dataclass
class Neighbours:
    """Kafka, and the hosts of Amazon and Adobe, as the test sets them."""

    is_writing: bool = True
    is_confirming: bool = True
    unsettled: int = 0
    published: Mapping[str, bytes] = field(default_factory=dict)
    held: asyncio.Event | None = None
    written: list[IngressRecord] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=lambda: {"s": "t"})
    now: float = 0.0

    async def write(self, record: IngressRecord) -> bool:
        if self.held is not None:
            await self.held.wait()
        self.written.append(record)
        return self.is_writing

    async def get(self, url: str) -> bytes | None:
        return self.published.get(url)

    async def confirm(self, url: str) -> bool:
        self.confirmed.append(url)
        return self.is_confirming

    async def close(self) -> None:
        """Close nothing."""

    def receiver(self, in_flight_max: int = 10) -> Receiver:
        secrets, note = self.secrets.get, self.facts.append
        return Receiver(self, self, secrets, in_flight_max, note, lambda: self.now)


def endpoint(scheme: Scheme, source: str = "bynder") -> Endpoint:
    """Return an endpoint whose assets are named by the body."""

    def identity(value: bytes, _: RecordHeaders) -> str | None:
        return value.decode() or None

    return Endpoint(source, f"/{source}", f"dam.{source}", scheme, frozenset(), identity)


TOKEN = endpoint(Token("x-token", ("s",)))
OTHER = endpoint(Token("x-token", ("s",)), "other")
GENUINE = delivery({"x-token": "t"}, b"a1")


async def test_a_genuine_request_is_written_and_then_answered() -> None:
    neighbours = Neighbours()
    assert await neighbours.receiver().receive(TOKEN, GENUINE) is OK
    (record,) = neighbours.written
    assert (record.topic, record.key, record.value) == ("dam.bynder", b"a1", b"a1")
    assert not neighbours.facts


@pytest.mark.parametrize(
    ("given", "neighbours", "status", "fact"),
    [
        (
            delivery({"x-token": "x"}, b""),
            Neighbours(),
            UNAUTHORIZED,
            RequestRefused("bynder", "mismatch"),
        ),
        (delivery({}, b""), Neighbours(), UNAUTHORIZED, RequestRefused("bynder", "missing")),
        (GENUINE, Neighbours(secrets={}), BUSY, RequestUnjudged("bynder", "secret")),
        (GENUINE, Neighbours(is_writing=False), BUSY, RequestTurnedAway("bynder", "kafka")),
        (GENUINE, Neighbours(unsettled=10), BUSY, RequestTurnedAway("bynder", "in_flight")),
    ],
)
async def test_whatever_fails_is_never_acknowledged(
    given: Delivery, neighbours: Neighbours, status: HTTPStatus, fact: Fact
) -> None:
    assert await neighbours.receiver().receive(TOKEN, given) is status
    assert neighbours.facts == [fact]


async def test_only_so_many_requests_are_in_flight() -> None:
    """The limit counts those that wait for Kafka, and what Kafka has not settled."""
    neighbours = Neighbours(held=asyncio.Event(), unsettled=1)
    receiver = neighbours.receiver(in_flight_max=3)
    waiting = [asyncio.create_task(receiver.receive(TOKEN, GENUINE)) for _ in range(2)]
    await asyncio.sleep(0)
    assert receiver.in_flight == 3
    assert await receiver.receive(TOKEN, GENUINE) is BUSY
    assert neighbours.held is not None
    neighbours.held.set()
    assert await asyncio.gather(*waiting) == [OK, OK]
    assert receiver.in_flight == 1
    assert await receiver.receive(TOKEN, GENUINE) is OK


async def test_a_failing_source_leaves_room_for_the_others() -> None:
    """As when its topic is gone: its requests wait for long, and it sends many of them."""
    neighbours = Neighbours(is_writing=False)
    receiver = neighbours.receiver(in_flight_max=10)
    assert await receiver.receive(TOKEN, GENUINE) is BUSY
    neighbours.held, neighbours.is_writing = asyncio.Event(), True
    failing = [asyncio.create_task(receiver.receive(TOKEN, GENUINE)) for _ in range(10)]
    await asyncio.sleep(0)
    assert receiver.in_flight == 5
    others = [asyncio.create_task(receiver.receive(OTHER, GENUINE)) for _ in range(5)]
    await asyncio.sleep(0)
    neighbours.held.set()
    assert await asyncio.gather(*others) == [OK] * 5
    assert Counter(await asyncio.gather(*failing)) == {OK: 5, BUSY: 5}


@pytest.mark.parametrize(("seconds", "count"), [(FAILING_SECONDS - 1, 5), (FAILING_SECONDS, 10)])
async def test_a_source_fails_for_a_while(seconds: float, count: int) -> None:
    """So a topic of which one partition in three is gone counts as failing all the time."""
    neighbours = Neighbours(is_writing=False)
    receiver = neighbours.receiver(in_flight_max=10)
    assert await receiver.receive(TOKEN, GENUINE) is BUSY
    neighbours.is_writing = True
    assert await receiver.receive(TOKEN, GENUINE) is OK
    neighbours.held, neighbours.now = asyncio.Event(), seconds
    waiting = [asyncio.create_task(receiver.receive(TOKEN, GENUINE)) for _ in range(10)]
    await asyncio.sleep(0)
    assert receiver.in_flight == count
    neighbours.held.set()
    await asyncio.gather(*waiting)


async def test_a_source_that_is_turned_away_does_not_fail() -> None:
    """It would leave its room to the source that took all of it."""
    neighbours = Neighbours(unsettled=10)
    receiver = neighbours.receiver(in_flight_max=10)
    assert await receiver.receive(TOKEN, GENUINE) is BUSY
    neighbours.held, neighbours.unsettled = asyncio.Event(), 0
    waiting = [asyncio.create_task(receiver.receive(TOKEN, GENUINE)) for _ in range(10)]
    await asyncio.sleep(0)
    assert receiver.in_flight == 10
    neighbours.held.set()
    assert await asyncio.gather(*waiting) == [OK] * 10


async def test_a_key_is_fetched_before_the_verdict() -> None:
    published = {CERTIFICATE_URL: public_pem(private_key())}
    neighbours = Neighbours(published=published)
    assert await neighbours.receiver().receive(endpoint(SNS), NOTIFICATION) is OK
    assert len(neighbours.written) == 1

    without = Neighbours()
    assert await without.receiver().receive(endpoint(SNS), NOTIFICATION) is BUSY
    assert without.facts == [RequestUnjudged("bynder", "key")]
    assert not without.written


@pytest.mark.parametrize(
    ("is_confirming", "status", "fact"),
    [
        (True, OK, SubscriptionConfirmed("bynder")),
        (False, BUSY, SubscriptionNotConfirmed("bynder")),
    ],
)
async def test_a_subscription_is_confirmed_without_a_record(
    is_confirming: object, status: HTTPStatus, fact: Fact
) -> None:
    published = {CERTIFICATE_URL: public_pem(private_key())}
    neighbours = Neighbours(published=published, is_confirming=bool(is_confirming))
    assert await neighbours.receiver().receive(endpoint(SNS), CONFIRMATION) is status
    assert neighbours.confirmed == [SUBSCRIBE_URL]
    assert neighbours.facts == [fact]
    assert not neighbours.written


async def test_an_unconfirmed_end_is_acknowledged_without_a_record() -> None:
    published = {CERTIFICATE_URL: public_pem(private_key())}
    neighbours = Neighbours(published=published)
    body = sns_message(private_key(), Type="UnsubscribeConfirmation")
    assert await neighbours.receiver().receive(endpoint(SNS), delivery({}, body)) is OK
    assert not neighbours.written
    assert not neighbours.confirmed


async def test_a_slot_is_free_again_after_a_bug() -> None:
    class Broken(Unverified):
        """A scheme that breaks the rule never to raise."""

        def judge(self, *_: object) -> object:  # type: ignore[override]
            raise AssertionError("a bug")

    receiver = Neighbours().receiver()
    with pytest.raises(AssertionError):
        await receiver.receive(endpoint(Broken()), GENUINE)
    assert receiver.in_flight == 0


def test_a_secret_is_read_again_after_a_while() -> None:
    """A rotated secret is noticed without a restart, and one that vanished too."""
    now = 0.0
    stored: dict[str, str] = {"s": "old"}
    cache = SecretCache(stored.get, lambda: now)
    assert cache("s") == "old"
    stored["s"] = "new"
    assert cache("s") == "old"
    now += REMEMBER_SECONDS
    assert cache("s") == "new"
    del stored["s"]
    now += REMEMBER_SECONDS
    assert cache("s") is None
    assert "new" not in repr(cache)
