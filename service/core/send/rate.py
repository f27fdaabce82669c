"""A limit on how many requests are sent in any second."""

from collections import deque

SECONDS = 1.0


class Rate:
    """At most `requests_max` requests in any second (monotonic seconds)."""

    def __init__(self, requests_max: int) -> None:
        self.requests_max = requests_max
        self._sent: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Return whether one more request may be sent now."""
        # Written as `next_time` computes it: `now - sent >= 1` can be false at `sent + 1`.
        while self._sent and now >= self._sent[0] + SECONDS:
            self._sent.popleft()
        return len(self._sent) < self.requests_max

    def count(self, now: float) -> None:
        """Count a request that is sent now."""
        self._sent.append(now)

    def next_time(self, now: float) -> float | None:
        """Return when time alone allows the next request; None if one is allowed now."""
        if self.allows(now) or not self._sent:
            return None
        return self._sent[0] + SECONDS
