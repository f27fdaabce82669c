"""The status page of `ingress`: its webhooks, what they were answered, and who was refused."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from service.adapters.telemetry.overview import Cell, Overview, Table, Tile, clock
from service.core.facts import Fact
from service.webhooks.facts import (
    KeyNotFetched,
    RecordNotWritten,
    RequestAnswered,
    RequestRefused,
    RequestTurnedAway,
    RequestUnjudged,
)

REFUSALS_KEPT = 50
ANSWERS = ("200", "401", "503")
"""The answers with a column of their own; the others are counted together."""


class Webhook(NamedTuple):
    """One webhook of the sources file."""

    source: str
    path: str
    topic: str
    scheme: str


class IngressTotals:
    """An `Observer` that counts the answers, and keeps what was refused or went wrong last."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.refusals: deque[tuple[Cell, ...]] = deque(maxlen=REFUSALS_KEPT)

    def note(self, fact: Fact) -> None:
        match fact:
            case RequestAnswered():
                self.answers[fact.source, fact.answer] += 1
            case RequestRefused(source, why):
                self._keep(source, "401", why)
            case RequestUnjudged(source, unjudged):
                self._keep(source, "503", unjudged)
            case RequestTurnedAway(source, busy):
                self._keep(source, "503", busy)
            case RecordNotWritten(topic, message):
                self._keep(topic, "not written", message)
            case KeyNotFetched(url, message):
                self._keep(url, "key not fetched", message)
            case _:
                pass

    def _keep(self, where: str, what: str, why: str) -> None:
        self.refusals.appendleft((clock(time.time()), where, what, why))


class IngressOverview:
    """Reads the state of a replica of ingress whenever the page asks."""

    def __init__(
        self,
        version: str,
        webhooks: Sequence[Webhook],
        totals: IngressTotals,
        gauges: Callable[[], Mapping[str, float]],
        problem: Callable[[], str | None],
    ) -> None:
        """Show these webhooks; `problem` returns why Kafka cannot be reached, if it cannot."""
        self._version = version
        self._webhooks = webhooks
        self._totals = totals
        self._gauges = gauges
        self._problem = problem
        self._began_at = time.monotonic()

    def read(self) -> Overview:
        """Return the page as it is now."""
        problem = self._problem()
        return Overview(
            program="ingress",
            about=self._version,
            uptime_seconds=round(time.monotonic() - self._began_at, 3),
            trouble="" if problem is None else f"Kafka cannot be reached: {problem}",
            tiles=self._tiles(),
            tables=(
                Table(
                    "webhooks",
                    "Webhooks",
                    ("source", "path", "topic", "scheme", *ANSWERS, "other"),
                    [self._row(webhook) for webhook in self._webhooks],
                ),
                Table(
                    "refusals",
                    "Recent refusals and failures",
                    ("time", "source or place", "what", "why"),
                    list(self._totals.refusals),
                ),
            ),
        )

    def _tiles(self) -> tuple[Tile, ...]:
        gauges, answers = self._gauges(), self._totals.answers
        taken = sum(count for (_, answer), count in answers.items() if answer == "200")
        limit = gauges["ingress_in_flight_limit"]
        return (
            Tile("webhooks taken", taken, is_rate=True),
            Tile("requests in total", answers.total()),
            Tile("in flight", gauges["ingress_in_flight"], limit),
            Tile("connections", gauges["ingress_connections"]),
            Tile("MiB being read", round(gauges["ingress_reading_bytes"] / 1024**2, 1)),
            Tile("no webhook has this path", answers["", "404"]),
        )

    def _row(self, webhook: Webhook) -> tuple[Cell, ...]:
        answers = {
            answer: count
            for (source, answer), count in self._totals.answers.items()
            if source == webhook.source
        }
        other = sum(count for answer, count in answers.items() if answer not in ANSWERS)
        return (*webhook, *(answers.get(answer, 0) for answer in ANSWERS), other)
