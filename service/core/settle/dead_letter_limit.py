"""The limit on dead letters, above which an operator must look at them.

Rule 1: if more than a share of the last changes would become dead letters, in several families,
the cause is probably a broken mapping upstream or a wrong deployment, not the changes. Then no more
changes are dead-lettered until an operator releases them.
Rule 2: changes of a failing family are not counted: `recover/lanes.py` handles those.
"""

from collections import Counter, deque


class DeadLetterLimit:
    """Counts dead letters among the last changes, and tells whether there are too many."""

    def __init__(self, share_max: float, changes: int) -> None:
        self._changes_max = changes
        self._dead_max = share_max * changes
        self._ended = 0
        self._last: deque[tuple[int, str | None]] = deque()
        """The dead letters among the last changes: the number of each change, and its family."""
        self._dead: Counter[str | None] = Counter()
        self.is_reached = False

    @property
    def changes(self) -> int:
        """How many last changes count: all since the last release, up to the maximum."""
        return min(self._ended, self._changes_max)

    @property
    def dead(self) -> int:
        """How many of the last changes are dead letters or would be."""
        return self._dead.total()

    def count(self, family: str | None, *, is_dead: bool) -> None:
        """Count a change that ended; `family` is None if it is not known."""
        self.count_alive(1)
        if is_dead:
            self.count_as_dead(family)

    def count_alive(self, changes: int) -> None:
        """Count changes that ended without a dead letter."""
        self._ended += changes
        while self._last and self._last[0][0] <= self._ended - self._changes_max:
            _, gone = self._last.popleft()
            self._dead[gone] -= 1
            if not self._dead[gone]:
                del self._dead[gone]

    def count_as_dead(self, family: str | None) -> None:
        """Count a change as a dead letter after all: one of the last that were counted."""
        self._last.append((self._ended, family))
        self._dead[family] += 1
        if self.dead > self._dead_max and self._is_spread:
            self.is_reached = True

    def release(self) -> None:
        """Start again at zero, because an operator released the changes."""
        self._ended = 0
        self._last.clear()
        self._dead.clear()
        self.is_reached = False

    @property
    def _is_spread(self) -> bool:
        """Whether at least two families are affected; an unknown family could be any."""
        return len(self._dead) > 1 or None in self._dead
