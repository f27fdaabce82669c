"""A limit on how many requests are sent in any second, and how they are spread over it."""

from collections import deque


class Rate:
    """At most `requests_max` requests in any `seconds` (monotonic).

    The first half of them may be sent at once. What is left is spread evenly until the oldest
    request is `seconds` old: if all were sent at once, a time without requests would follow, and
    the same again and again.
    """

    def __init__(self, requests_max: int, seconds: float = 1.0) -> None:
        self.requests_max = requests_max
        self._seconds = seconds
        self._sent: deque[float] = deque()

    def allows(self, now: float) -> bool:
        """Return whether one more request may be sent now."""
        return self.requests_max > 0 and self.next_time(now) is None

    def count(self, now: float) -> None:
        """Count a request that is sent now."""
        self._sent.append(now)

    def next_time(self, now: float) -> float | None:
        """Return when time alone allows the next request; None if one is allowed now."""
        sent = self._sent
        # Written as the end is computed below: `now - sent >= 1` can be false at `sent + 1`.
        while sent and now >= sent[0] + self._seconds:
            sent.popleft()
        left = self.requests_max - len(sent)
        if len(sent) < left or not sent:
            return None
        allowed_at = sent[0] + self._seconds
        if left > 0:
            allowed_at = sent[-1] + (allowed_at - sent[-1]) / (left + 1)
        return allowed_at if now < allowed_at else None
