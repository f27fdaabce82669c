"""A DAM in virtual time, and a source that reads from it by the real plan."""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from service.core.facts import Fact
from service.core.model import Moment
from service.mapping.json_values import decode_fetched
from service.mapping.results import Change, Ended, Fetched, NotFound, Read, Resumed
from service.mapping.results import EventFacts as Event
from service.translation.host_reads import RetryLimits
from service.translation.read_answers import Found, ReadAnswer
from service.translation.reads import ReadPlan, StartRead, Wanted

HOST = "dam"
BEGINS_UTC_MS = 1_800_000_000_000
FOUND = Found(b'{"id": 1}')

Dam = Callable[[str, float], tuple[ReadAnswer, float]]
"""What the DAM answers to a URL that is asked for at this time, and after how many seconds."""


def always(answer: ReadAnswer, seconds: float = 0.1) -> Dam:
    """A DAM with one answer for everything."""
    return lambda _url, _now: (answer, seconds)


def read_of(url: str, delay_seconds: float = 0.0, part: int = 0) -> Read:
    """A part that resumes to an upsert or, if there is no such asset, to a skip."""
    event = Event(id=f"event of {url}")

    def resume(answer: Fetched) -> Resumed:
        if isinstance(answer, NotFound):
            gone = Ended(part, "skipped", "not_found", "It is gone.", rule="rule", event=event)
            return Resumed((gone,))
        return Resumed((Change(part, 0, "upsert", "packshots", "a", {}, None, None, event),))

    return Read(part, HOST, url, delay_seconds, "skip", resume, "rule", event)


@dataclass
class Reader:
    """Runs a plan against a DAM; a ticket is the number of an event."""

    dam: Dam
    at_once_max: int = 4
    limits: RetryLimits = field(default_factory=RetryLimits)
    seed: int = 0
    now: float = 0.0
    sent: list[tuple[float, str]] = field(default_factory=list)
    """When each read was sent, and its URL."""
    ends: dict[int, tuple[Change | Ended, ...]] = field(default_factory=dict)
    """What each event became."""
    asked_at: dict[int, float] = field(default_factory=dict)
    """When the read was sent that decided an event."""
    facts: list[Fact] = field(default_factory=list)
    in_flight: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    wanted: int = 0

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)
        self.plan: ReadPlan[int] = ReadPlan(
            {HOST: self.at_once_max}, self.limits, decode_fetched, chance.random
        )
        self._answers: list[tuple[float, int, StartRead, ReadAnswer, float]] = []

    def want(self, urls: Iterable[str], delay_seconds: float = 0.0, age: float = 0.0) -> list[int]:
        """Let a poll bring an event for each URL; return their numbers."""
        first = self.wanted
        utc_ms = BEGINS_UTC_MS + round(self.now * 1000)
        wanted = [
            Wanted(first + index, read_of(url, delay_seconds), utc_ms - round(age * 1000))
            for index, url in enumerate(urls)
        ]
        self.wanted += len(wanted)
        self.plan.want(wanted, Moment(self.now, utc_ms))
        return list(range(first, self.wanted))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while True:
            self._start()
            times = [answer[0] for answer in self._answers[:1]]
            if (wake := self.plan.next_time()) is not None:
                times.append(max(self.now, wake))
            if not times or min(times) > until:
                self.now = until
                return
            self.now = max(self.now, min(times))
            while self._answers and self._answers[0][0] <= self.now:
                self._end(*heapq.heappop(self._answers)[2:])

    def forget(self) -> None:
        """Lose the assignment; what is in flight is answered later all the same."""
        self.plan.forget()

    def statuses(self, tickets: Iterable[int] | None = None) -> Counter[str]:
        """How the events ended."""
        chosen = self.ends.keys() if tickets is None else tickets
        return Counter(self._status(ticket) for ticket in chosen)

    def _status(self, ticket: int) -> str:
        if ticket not in self.ends:
            return "waiting"
        (part,) = self.ends[ticket]
        return part.reason if isinstance(part, Ended) else part.action

    def _start(self) -> None:
        for read in self.plan.start(self.now):
            self.sent.append((self.now, read.url))
            self.in_flight[read.url] += 1
            assert self.in_flight[read.url] == 1, "one request a URL"
            self.at_once = max(self.at_once, self.in_flight.total())
            answer, seconds = self.dam(read.url, self.now)
            ends_at = self.now + seconds
            heapq.heappush(self._answers, (ends_at, read.number, read, answer, self.now))

    def _end(self, read: StartRead, answer: ReadAnswer, asked_at: float) -> None:
        self.in_flight[read.url] -= 1
        for decided in self.plan.ended(read.number, answer, self.now):
            assert decided.ticket not in self.ends, "an event is decided once"
            self.ends[decided.ticket] = decided.parts
            self.asked_at[decided.ticket] = asked_at
        self.facts += self.plan.take_facts()
