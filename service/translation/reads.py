"""Plan the reads of a source's thin events: which asset is read when, and what an answer decides.

Rule 1: events with the same URL share one request, sent when the delay of the newest is over. An
answer decides only the events that had waited long enough when it was asked for.
Rule 2: no event fails because its host is down. `host_reads.py` tells a host's failures from an
asset's own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

from service.core.facts import Fact
from service.core.model import Moment
from service.core.recover.backoff import Jitter
from service.mapping.endings import RecordEndedError
from service.mapping.results import Change, Ended, NotFound, Read
from service.translation.facts import HostFailing, HostRecovered
from service.translation.host_reads import HostReads, RetryLimits
from service.translation.read_answers import Found, HostTrouble, ReadAnswer, TooLarge
from service.translation.read_endings import Answered, decided, gave_up
from service.translation.read_target import Target, Waiter

CLOCK_SKEW_SECONDS_MAX = 60.0
"""An event this much older than its delay is not delayed, even if the clock that gave the record
its timestamp is slow by as much."""

Ticket = TypeVar("Ticket")
"""Whatever the caller knows a waiting item by; it comes back with the decision."""

Decode = Callable[[bytes], Mapping[str, object]]
"""Decodes the body of an answer; raises `RecordEndedError` if it is not a JSON object."""


@dataclass(frozen=True, slots=True)
class Wanted(Generic[Ticket]):
    """An item that waits for its asset to be read.

    `timestamp_ms` is that of its record; -1 means unknown.
    """

    ticket: Ticket
    read: Read
    timestamp_ms: int = -1


@dataclass(frozen=True, slots=True)
class StartRead:
    """Send one GET to this host, and report its answer with this number."""

    number: int
    host: str
    url: str


@dataclass(frozen=True, slots=True)
class Decided(Generic[Ticket]):
    """What a waiting item has become, and the steps of work that this took."""

    ticket: Ticket
    parts: tuple[Change | Ended, ...]
    steps: int = 0


class ReadPlan(Generic[Ticket]):
    """The reads of one source. Times are in seconds of a monotonic clock."""

    def __init__(
        self, at_once_max: Mapping[str, int], limits: RetryLimits, decode: Decode, jitter: Jitter
    ) -> None:
        """Plan for these hosts, each with its largest number of requests at once."""
        self._decode = decode
        self._hosts: dict[str, HostReads[Ticket]] = {
            host: HostReads(most, limits, jitter) for host, most in at_once_max.items()
        }
        self._in_flight: dict[int, tuple[str, Target[Ticket]]] = {}
        self._reads_made = 0
        self._facts: list[Fact] = []

    def want(self, wanted: Iterable[Wanted[Ticket]], moment: Moment) -> None:
        """Let these items wait for their assets to be read: those of one poll, in order."""
        for one in wanted:
            not_before = moment.seconds + _delay(one, moment.utc_ms)
            waiter = Waiter(one.ticket, one.read, not_before)
            self._hosts[one.read.host].add(one.read.url, waiter)

    def start(self, now: float) -> list[StartRead]:
        """Return the reads to send now; each is in flight until `ended` is called for it."""
        started = []
        for host, reads in self._hosts.items():
            for target in reads.start(now):
                self._reads_made += 1
                self._in_flight[self._reads_made] = (host, target)
                started.append(StartRead(self._reads_made, host, target.url))
        return started

    def ended(self, number: int, answer: ReadAnswer, now: float) -> Iterator[Decided[Ticket]]:
        """Take the answer to a read, and return all items that are decided by it, in order.

        Each is decided when it is taken from the iterator, so that the changes of all need not be
        in memory together.
        """
        if number not in self._in_flight:  # of an assignment that is over
            return iter(())
        host, target = self._in_flight.pop(number)
        reads, read = self._hosts[host], self._read(answer)
        if isinstance(read, HostTrouble):
            if reads.failed(target, read, now):
                self._facts.append(HostFailing(host, read.sentence(host)))
            return iter(())
        waiters = reads.answered(target, now)
        if isinstance(read, Mapping | NotFound | TooLarge) and reads.succeeded(target, now):
            self._facts.append(HostRecovered(host))
        ended = (_decided(one, read) for one in waiters)
        return chain(ended, *map(_given_up, reads.take_spent()))

    def next_time(self) -> float | None:
        """Return when to call `start` again; None if only an answer makes a difference.

        It may lie in the past.
        """
        times = [reads.next_time() for reads in self._hosts.values()]
        return min((time for time in times if time is not None), default=None)

    def failing_hosts(self) -> dict[str, str]:
        """Return the hosts that items wait for in vain at present, with a sentence on why.

        What is known of a host outlives an assignment. It is not told while no item waits for the
        host: then nobody asks it, and nobody would see that it works again.

        While there is any, the source reads ahead: another event's read may show that the host
        works. No item is decided by its failures.
        """
        return {
            host: reads.trouble.sentence(host)
            for host, reads in self._hosts.items()
            if reads.trouble is not None and reads.is_waited_for
        }

    def take_facts(self) -> list[Fact]:
        """Return what happened since the last time, for logs and metrics."""
        facts, self._facts = self._facts, []
        return facts

    def forget(self) -> None:
        """Drop what waits: the assignment is over. Answers to reads in flight are ignored."""
        self._in_flight.clear()
        for reads in self._hosts.values():
            reads.forget()

    def _read(self, answer: ReadAnswer) -> Answered | HostTrouble:
        """Decode the asset; a page instead of one may come from a proxy or a login."""
        if not isinstance(answer, Found):
            return answer
        try:
            return self._decode(answer.body)
        except RecordEndedError as error:
            message = f"answered HTTP 200, but not with a JSON object: {error.message}"
            return HostTrouble(message, 200)


def _delay(wanted: Wanted[Ticket], utc_ms: int) -> float:
    """Return for how many seconds the item must wait: an event that is old enough need not."""
    delay = wanted.read.delay_seconds
    if wanted.timestamp_ms < 0:
        return delay
    age = (utc_ms - wanted.timestamp_ms) / 1000
    return min(delay, max(0.0, delay + CLOCK_SKEW_SECONDS_MAX - age))


def _decided(waiter: Waiter[Ticket], answer: Answered) -> Decided[Ticket]:
    resumed = decided(waiter.read, answer)
    return Decided(waiter.ticket, resumed.parts, resumed.steps)


def _given_up(target: Target[Ticket]) -> list[Decided[Ticket]]:
    assert target.trouble is not None
    message, failures = target.trouble.message, target.own_failures
    return [
        Decided(waiter.ticket, gave_up(waiter.read, message, failures))
        for waiter in target.take_all()
    ]
