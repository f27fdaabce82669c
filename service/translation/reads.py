"""Plan the reads of a source's thin events: which asset is read when, and what an answer decides.

Rule 1: events with the same URL share one request, sent when the delay of the newest is over.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from service.core.model import Moment
from service.mapping.results import Change, Ended, Read
from service.translation.read_answers import ReadAnswer

Ticket = TypeVar("Ticket")
"""Whatever the caller knows a waiting part by; it comes back with the decision."""


@dataclass(frozen=True, slots=True)
class Wanted(Generic[Ticket]):
    """A part that waits for its asset to be read.

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
    """What a waiting part has become."""

    ticket: Ticket
    parts: tuple[Change | Ended, ...]


class ReadPlan(Protocol[Ticket]):
    """The reads of one source. Times are in seconds of a monotonic clock."""

    def want(self, wanted: Iterable[Wanted[Ticket]], moment: Moment) -> None:
        """Let these parts wait for their assets to be read: those of one poll, in order."""
        ...

    def start(self, now: float) -> list[StartRead]:
        """Return the reads to send now; each is in flight until `ended` is told of it."""
        ...

    def ended(self, number: int, answer: ReadAnswer, now: float) -> list[Decided[Ticket]]:
        """Take the answer to a read, and return all parts that are decided by it, in order."""
        ...

    def next_time(self) -> float | None:
        """Return when `start` is to be asked again at the latest; None if only an answer counts."""
        ...

    def failing_hosts(self) -> dict[str, str]:
        """Return the hosts whose every read fails at present, with a sentence on why.

        While there is any, the source reads ahead: another event's read may show that the host
        works. No part is decided by its failures.
        """
        ...

    def forget(self) -> None:
        """Drop what waits: the assignment is over. Answers to reads in flight are ignored."""
        ...
