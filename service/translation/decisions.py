"""What the answers of hosts decide, taken one item at a time.

Rule 1: an answer is given to the plan when everything is decided that those before it decide. The
plan asks its host for another asset only then, so no more answers pile up in memory than there are
reads at once, and no more than one of them is decoded.
"""

from collections import deque
from typing import TYPE_CHECKING, Generic

from service.translation.messages import ReadAnswered
from service.translation.read_target import Ticket
from service.translation.reads import Decided, ReadPlan

if TYPE_CHECKING:
    from collections.abc import Iterator


class Decisions(Generic[Ticket]):
    """The answers that came, until all that they decide was taken."""

    def __init__(self, reads: ReadPlan[Ticket]) -> None:
        self._reads = reads
        self._answers = deque[ReadAnswered]()
        self._decided: Iterator[Decided[Ticket]] = iter(())
        """The rest of what the last answer decides."""
        self.may_have_more = False
        """Whether `take` may return something."""

    def add(self, answered: ReadAnswered) -> None:
        """Let an answer wait until those before it are dealt with."""
        self._answers.append(answered)
        self.may_have_more = True

    def take(self, now: float) -> Decided[Ticket] | None:
        """Return the next item that is decided, or None (monotonic seconds)."""
        while (decided := next(self._decided, None)) is None:
            if not self._answers:
                self.may_have_more = False
                return None
            answered = self._answers.popleft()
            self._decided = self._reads.ended(answered.number, answered.answer, now)
        return decided

    def forget(self) -> None:
        """Drop everything: the assignment is over."""
        self._answers.clear()
        self._decided = iter(())
        self.may_have_more = False
