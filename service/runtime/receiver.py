"""Takes a complete request of a DAM: verify it, write its record, and say what to answer.

Rule 1: 200 means that the record is on the log. Whatever is in doubt is answered with 503, so that
the sender sends it again.
Rule 2: 401 is for senders that cannot be verified. Our own trouble, such as a secret that cannot be
read, is 503: senders give up after 4xx.
Rule 3: a source that cannot be served, since its topic is gone or the host of its keys is silent,
holds at most as many requests as it leaves for the others.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

from service.core.facts import Fact
from service.ports import PublishedKeys, RawTopics
from service.webhooks.delivery import (
    Delivery,
    Handshake,
    KeyWanted,
    ReadSecret,
    Refused,
    Unjudged,
    Verified,
)
from service.webhooks.endpoint import Endpoint
from service.webhooks.facts import (
    RequestRefused,
    RequestTurnedAway,
    RequestUnjudged,
    SubscriptionConfirmed,
    SubscriptionNotConfirmed,
    WhyBusy,
)

FAILING_SECONDS = 30.0
"""How long a source counts as failing after it was answered with 503."""


class Receiver:
    """Handles complete requests, of which a limited number is in flight."""

    def __init__(
        self,
        topics: RawTopics,
        keys: PublishedKeys,
        read_secret: ReadSecret,
        in_flight_max: int,
        note: Callable[[Fact], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = topics
        self._keys = keys
        self._read_secret = read_secret
        self._in_flight_max = in_flight_max
        self._note = note
        self._now = now
        self._open: Counter[str] = Counter()
        """The requests of each source that are not answered yet."""
        self._failed_at: dict[str, float] = {}
        """When a request of a source was last answered with 503, although there was room for it."""

    @property
    def in_flight(self) -> int:
        """The requests that are not answered yet, and the records that may still be written."""
        return self._open.total() + self._topics.unsettled

    async def receive(self, endpoint: Endpoint, delivery: Delivery) -> HTTPStatus:
        """Return the status to answer with: 200, 401 or 503."""
        source = endpoint.source
        if not self._has_room(source):
            return self._turn_away(endpoint, "in_flight")
        self._open[source] += 1
        try:
            status = await self._answer(endpoint, delivery)
        finally:
            self._open[source] -= 1
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self._failed_at[source] = self._now()
        return status

    def _has_room(self, source: str) -> bool:
        free = self._in_flight_max - self.in_flight
        return free > (self._open[source] if self._is_failing(source) else 0)

    def _is_failing(self, source: str) -> bool:
        return self._now() - self._failed_at.get(source, -math.inf) < FAILING_SECONDS

    async def _answer(self, endpoint: Endpoint, delivery: Delivery) -> HTTPStatus:
        verdict = endpoint.scheme.judge(delivery, self._read_secret)
        while isinstance(verdict, KeyWanted):
            verdict = verdict.judge(await self._keys.get(verdict.url))
        if not isinstance(verdict, Verified):
            return await self._answer_without_record(endpoint, verdict)
        if await self._topics.write(endpoint.record_for(delivery)):
            return HTTPStatus.OK
        return self._turn_away(endpoint, "kafka")

    async def _answer_without_record(
        self, endpoint: Endpoint, verdict: Refused | Unjudged | Handshake
    ) -> HTTPStatus:
        match verdict:
            case Refused(why):
                self._note(RequestRefused(endpoint.source, why))
                return HTTPStatus.UNAUTHORIZED
            case Unjudged(why):
                self._note(RequestUnjudged(endpoint.source, why))
                return HTTPStatus.SERVICE_UNAVAILABLE
            case Handshake(url):
                return await self._confirm(endpoint, url)

    async def _confirm(self, endpoint: Endpoint, url: str | None) -> HTTPStatus:
        if url is None:
            return HTTPStatus.OK
        if not await self._keys.confirm(url):
            self._note(SubscriptionNotConfirmed(endpoint.source))
            return HTTPStatus.SERVICE_UNAVAILABLE
        self._note(SubscriptionConfirmed(endpoint.source))
        return HTTPStatus.OK

    def _turn_away(self, endpoint: Endpoint, why: WhyBusy) -> HTTPStatus:
        self._note(RequestTurnedAway(endpoint.source, why))
        return HTTPStatus.SERVICE_UNAVAILABLE
