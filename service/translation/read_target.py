"""One asset of a DAM that is to be read, and the items that wait for it."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from service.mapping.results import Read
from service.translation.read_answers import HostTrouble

HOLD_SECONDS_MAX = 60.0
"""Newer events of an asset put its read off by no more than this: else it might never be read."""

Ticket = TypeVar("Ticket")
"""Whatever the caller knows a waiting item by; it comes back with the decision."""


@dataclass(frozen=True, slots=True)
class Waiter(Generic[Ticket]):
    """An item that waits for an answer to a request that was sent at `not_before` or later."""

    ticket: Ticket
    read: Read
    not_before: float


@dataclass(slots=True, eq=False)
class Target(Generic[Ticket]):
    """The reads of one URL. Times are in seconds of a monotonic clock."""

    url: str
    waiters: list[Waiter[Ticket]] = field(default_factory=list)
    ready_at: float = 0.0
    """When one request may be sent for all that wait."""
    retry_at: float = float("-inf")
    """After a failure: when it may be sent again."""
    tried_at: float = float("-inf")
    """When the last request was sent."""
    sent: int = 0
    """The number of that request among all of its host's: later ones have higher numbers."""
    is_in_flight: bool = False
    failures_in_row: int = 0
    failed_after: int | None = None
    """The number of the host's last request when it failed, while nobody knows whose failure that
    was."""
    own_failures: int = 0
    """Failures that were its own: other assets of the host could be read right after."""
    failing_since: float | None = None
    """When the first of these was found, by the host's budget clock."""
    trouble: HostTrouble | None = None
    """Its last failure."""
    _earliest: float = float("inf")
    """The first `not_before` of all that wait."""
    _latest: float = float("-inf")
    """The last one."""

    @property
    def due_at(self) -> float:
        """When the next request may be sent, as far as this target is concerned."""
        return max(self.ready_at, self.retry_at)

    def add(self, waiter: Waiter[Ticket]) -> None:
        """Let one more item wait; one request, sent late enough for it, is for all of them."""
        self.waiters.append(waiter)
        self._note_time(waiter.not_before)

    def take_answered(self) -> list[Waiter[Ticket]]:
        """Take out the items for which the last request was sent late enough, in order."""
        answered = [waiter for waiter in self.waiters if waiter.not_before <= self.tried_at]
        self.waiters = [waiter for waiter in self.waiters if waiter.not_before > self.tried_at]
        self.ready_at = 0.0
        self._earliest, self._latest = float("inf"), float("-inf")
        for waiter in self.waiters:
            self._note_time(waiter.not_before)
        return answered

    def take_all(self) -> list[Waiter[Ticket]]:
        """Take out every item that waits, in order."""
        waiters, self.waiters = self.waiters, []
        return waiters

    def mark_well(self) -> None:
        """Forget its failures, because it was answered."""
        self.failures_in_row = self.own_failures = 0
        self.retry_at = float("-inf")
        self.failed_after = self.failing_since = self.trouble = None

    def _note_time(self, not_before: float) -> None:
        """Plan the request for one more waiter; there may be many thousands."""
        self._earliest = min(self._earliest, not_before)
        self._latest = max(self._latest, not_before)
        self.ready_at = min(self._latest, self._earliest + HOLD_SECONDS_MAX)
