"""When the next transaction is due, which one is under way, and whether commits have stalled."""

from service.core.limits import COMMIT_SILENCE_SECONDS, WAIT_FOR_MORE_SECONDS


class CommitPace:
    """Knows the transactions of an outbox by number and time (seconds of a monotonic clock)."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._number = 0
        self._asked_at = float("-inf")
        self._silent_since: float | None = None
        """Since when a transaction has been outstanding or refused."""

    def is_due(self, now: float, *, may_wait: bool = False) -> bool:
        """Return whether it is time for the next transaction, which may wait for more outcomes."""
        return now >= self._due_at(may_wait=may_wait)

    def _due_at(self, *, may_wait: bool) -> float:
        seconds = max(self._interval_seconds, WAIT_FOR_MORE_SECONDS if may_wait else 0.0)
        return self._asked_at + seconds

    def begin(self, now: float) -> int:
        """Take note that a transaction is asked for; return its number."""
        if self._silent_since is None:
            self._silent_since = now
        self._asked_at = now
        self._number += 1
        return self._number

    def is_last(self, number: int) -> bool:
        """Return whether the transaction that was asked for last has this number."""
        return number == self._number

    def seconds(self, now: float) -> float:
        """Return how long ago the last transaction was asked for, as facts show it."""
        return round(now - self._asked_at, 4)

    def rest(self) -> None:
        """Take note that no transaction is outstanding or refused any more."""
        self._silent_since = None

    def is_halted(self, now: float) -> bool:
        """Return whether something waits and nothing could be committed for too long."""
        since = self._silent_since
        return since is not None and now >= since + COMMIT_SILENCE_SECONDS

    def next_times(self, *, can_commit: bool, may_wait: bool = False) -> list[float]:
        """Return when time alone changes something.

        Args:
            can_commit: whether something waits for a transaction.
            may_wait: whether this transaction may wait for more outcomes.
        """
        times = []
        if self._silent_since is not None:
            times.append(self._silent_since + COMMIT_SILENCE_SECONDS)
        if can_commit:
            times.append(self._due_at(may_wait=may_wait))
        return times
