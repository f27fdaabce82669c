"""A source's place in its consumer group: the assignment and the drain (architecture.md D8).

Rule 1: a revocation leaves what is not ready to the next owner. A shutdown finishes all that it can
before its deadline, and is never forgotten.
"""

from service.core.inputs import DrainKind, DrainStarted
from service.core.limits import LAST_TRANSACTION_SECONDS
from service.core.model import Origin


class SourceMembership:
    """Knows whether records are ours, and until when open work is finished."""

    def __init__(self) -> None:
        self._epoch = -1
        self.is_assigned = False
        self.drain: DrainStarted | None = None
        self._is_drained = False
        self._shutdown: DrainStarted | None = None
        """A shutdown that began; it goes on after a revocation that comes in between."""

    def begin(self, epoch: int) -> None:
        """Begin an assignment."""
        assert epoch > self._epoch
        self._epoch = epoch
        self.is_assigned = True

    def end(self) -> bool:
        """End the assignment; return whether somebody still waits for the end of its drain."""
        self.is_assigned = False
        if self.drain is None or self.drain.kind is not DrainKind.REVOCATION:
            return False
        is_awaited = not self._is_drained
        self.drain = self._shutdown
        self._is_drained = False
        return is_awaited

    def admits(self, origin: Origin) -> bool:
        """Return whether a record of this origin may be taken in."""
        return self.is_assigned and origin.epoch == self._epoch and self.drain is None

    def start_drain(self, drain: DrainStarted) -> None:
        """Begin to finish; a revocation under way goes first."""
        if drain.kind is DrainKind.SHUTDOWN:
            self._shutdown = drain
        if self.drain is not None and self.drain.kind is DrainKind.REVOCATION:
            return
        self.drain = drain
        self._is_drained = False

    def may_read(self, now: float) -> bool:
        """Return whether reads may start, and records be mapped."""
        drain = self.drain
        if drain is None:
            return self.is_assigned
        return drain.kind is DrainKind.SHUTDOWN and now < drain.deadline

    def is_finished(self, now: float, *, is_quiet: bool, is_waiting: bool) -> bool:
        """Return whether the drain ends now; it ends once.

        Args:
            now: monotonic seconds.
            is_quiet: whether no transaction is under way or due.
            is_waiting: whether work is open that only time can finish.
        """
        drain = self.drain
        if drain is None or self._is_drained:
            return False
        has_time = drain.kind is DrainKind.SHUTDOWN and now < drain.deadline
        is_over = now >= drain.deadline + LAST_TRANSACTION_SECONDS
        self._is_drained = is_over or (is_quiet and not (is_waiting and has_time))
        return self._is_drained

    def next_times(self) -> list[float]:
        """Return when time alone changes something (monotonic seconds)."""
        if self.drain is None or self._is_drained:
            return []
        return [self.drain.deadline, self.drain.deadline + LAST_TRANSACTION_SECONDS]
