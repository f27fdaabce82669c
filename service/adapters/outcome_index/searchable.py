"""An index that can be searched: its segments, and what they have together."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from service.adapters.outcome_index.segment import Segment
from service.console.query import DAY_MS

NS_PER_MS = 1_000_000


def utc_ms() -> int:
    """Return the present time (UTC, in milliseconds)."""
    return time.time_ns() // NS_PER_MS


class Searchable(ABC):
    """The segments in ascending order, and the days for which outcomes can be found."""

    def __init__(self, days: int, now_ms: Callable[[], int]) -> None:
        self._days = days
        self._now_ms = now_ms
        self._segments: tuple[Segment, ...] = ()

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments in ascending order; searches may read them at any time."""
        return self._segments

    @property
    def oldest_wanted_ms(self) -> int:
        """Outcomes written before this are too old to be found (UTC, in milliseconds)."""
        return self._now_ms() - self._days * DAY_MS

    @property
    def outcomes(self) -> int:
        return sum(segment.outcomes for segment in self._segments)

    @property
    def size_bytes(self) -> int:
        return sum(segment.size_bytes for segment in self._segments)

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest outcome that can be found was written, or None if there is none."""
        found = [one.oldest_ms for one in self._segments if one.oldest_ms is not None]
        return max(min(found), self.oldest_wanted_ms) if found else None

    @abstractmethod
    def report_damage(self) -> None:
        """Have the index built again: a search met a damaged file."""
