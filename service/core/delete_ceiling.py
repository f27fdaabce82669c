"""The ceiling on deletes, above which an operator must look at them.

Rule 1: a DAM rarely deletes many assets in an hour; a broken export or mapping does. Beyond the
ceiling, deletes of a family (in the service) or of a source (in translate) wait until an operator
releases them, because nothing brings back what the PIM has deleted.
Rule 2: only deletes that were carried out count, and each replica counts for itself.
"""

from collections import Counter, deque

HOUR_SECONDS = 3600.0


class DeleteCeiling:
    """Counts the deletes of the last hour by key. Times are in seconds of a monotonic clock."""

    def __init__(self, per_hour_max: int) -> None:
        """Allow so many deletes in an hour for each key; 0 means any number."""
        self._per_hour_max = per_hour_max
        self._deletes: deque[tuple[float, str]] = deque()
        """The deletes of the last hour in order: when, and of which key."""
        self._counts: Counter[str] = Counter()
        self._reached: dict[str, None] = {}

    @property
    def reached(self) -> tuple[str, ...]:
        """The keys whose further deletes wait for an operator."""
        return tuple(self._reached)

    def admits(self, key: str, now: float, under_way: int = 0) -> bool:
        """Return whether one more delete may go.

        `under_way` are deletes that were admitted and have not ended yet. If those that were
        counted fill the ceiling by themselves, the key waits for an operator from now on.
        """
        if not self._per_hour_max:
            return True
        if key in self._reached:
            return False
        self._drop_outdated(now)
        count = self._counts[key]
        if count >= self._per_hour_max:
            self._reached[key] = None
        return count + under_way < self._per_hour_max

    def count(self, key: str, now: float) -> None:
        """Count a delete that was carried out."""
        if self._per_hour_max:
            self._drop_outdated(now)
            self._deletes.append((now, key))
            self._counts[key] += 1

    def release(self) -> None:
        """Start again at zero, because an operator released the deletes."""
        self._deletes.clear()
        self._counts.clear()
        self._reached.clear()

    def _drop_outdated(self, now: float) -> None:
        while self._deletes and self._deletes[0][0] <= now - HOUR_SECONDS:
            _, key = self._deletes.popleft()
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
