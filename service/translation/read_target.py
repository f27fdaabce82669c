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

    @property
    def due_at(self) -> float:
        """When the next request may be sent, as far as this target is concerned."""
        return max(self.ready_at, self.retry_at)

    def add(self, waiter: Waiter[Ticket]) -> None:
        """Let one more item wait; one request, sent late enough for it, is for all of them."""
        self.waiters.append(waiter)
        self._set_ready()

    def take_answered(self) -> list[Waiter[Ticket]]:
        """Take out the items for which the last request was sent late enough, in order."""
        answered = [waiter for waiter in self.waiters if waiter.not_before <= self.tried_at]
        self.waiters = [waiter for waiter in self.waiters if waiter.not_before > self.tried_at]
        self._set_ready()
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

    def _set_ready(self) -> None:
        times = [waiter.not_before for waiter in self.waiters]
        self.ready_at = min(max(times), min(times) + HOLD_SECONDS_MAX) if times else 0.0
