"""A limit on how much may be dead-lettered before a person looks (the blast radius).

Rule 1: when most of the last changes would be dead-lettered, over more than one family, it is not
the changes that are wrong: a mapping upstream is broken, or this deployment is. Then nothing more
is settled so until a person says so.
Rule 2: a family whose calls fail by themselves (a sick lane) is judged elsewhere and not counted.
"""

from collections import Counter, deque


class DeadLetterLimit:
    """The last changes that ended, and whether too many of them would be dead letters."""

    def __init__(self, share_max: float, changes: int) -> None:
        self._changes_max = changes
        self._dead_max = share_max * changes
        self._ended = 0
        self._last: deque[tuple[int, str | None]] = deque()
        """The dead of the last changes: the number of each, and its family."""
        self._dead: Counter[str | None] = Counter()
        self.is_reached = False

    @property
    def changes(self) -> int:
        """How many the last changes are that count: all since a release, up to the maximum."""
        return min(self._ended, self._changes_max)

    @property
    def dead(self) -> int:
        """How many of the last changes would be dead letters."""
        return self._dead.total()

    def count(self, family: str | None, *, is_dead: bool) -> None:
        """A change ended. `family` None: nobody knows whose it is."""
        self._ended += 1
        if self._last and self._last[0][0] <= self._ended - self._changes_max:
            _, gone = self._last.popleft()
            self._dead[gone] -= 1
            if not self._dead[gone]:
                del self._dead[gone]
        if is_dead:
            self._last.append((self._ended, family))
            self._dead[family] += 1
            if self.dead > self._dead_max and self._is_spread:
                self.is_reached = True

    def release(self) -> None:
        """A person looked: the count starts again at zero."""
        self._ended = 0
        self._last.clear()
        self._dead.clear()
        self.is_reached = False

    @property
    def _is_spread(self) -> bool:
        """Over at least two families; what is of no known family is of any."""
        return len(self._dead) > 1 or None in self._dead
