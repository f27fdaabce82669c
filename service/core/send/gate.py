"""The one gate to the PIM: calls at once, calls a second, and closing on 429 (architecture.md D6).

Rule 1: a slot is held from a call's first request to its end, whatever it sends in between;
each request takes from the rate.
Rule 2: after a 429 one call tries; only its answer opens the gate.
"""

from collections import deque

from service.core.limits import RETRY_AFTER_SECONDS_MAX
from service.core.recover.backoff import Jitter, delay

RATE_SECONDS = 1.0


class Gate:
    """Slots, rate and closing of one replica."""

    def __init__(self, calls_at_once_max: int, calls_per_second_max: int, jitter: Jitter) -> None:
        self._calls_at_once_max = calls_at_once_max
        self._calls_per_second_max = calls_per_second_max
        self._jitter = jitter
        self._sent: deque[float] = deque()
        self._throttled_in_row = 0
        self._closed_until: float | None = None
        self._trial: int | None = None
        self.cap = 0
        self.rate = 0
        self.in_flight: set[int] = set()
        self.repairs_in_flight: set[int] = set()

    def share(self, owned: int, total: int) -> None:
        """This replica's part of the deployment's limits, by the partitions it owns."""
        assert 0 <= owned <= total
        self.cap = self._part(self._calls_at_once_max, owned, total)
        self.rate = self._part(self._calls_per_second_max, owned, total)

    @property
    def is_closed(self) -> bool:
        """Closed by a 429, or trying one call after it."""
        return self._closed_until is not None

    @property
    def closed_until(self) -> float | None:
        """When the gate tries again, None where it is open."""
        return self._closed_until

    def may_start(self, now: float) -> bool:
        """Whether a call may take a slot now."""
        if len(self.in_flight) >= self.cap or not self.may_send(now):
            return False
        if self._closed_until is None:
            return True
        return self._trial is None and now >= self._closed_until

    @property
    def may_repair(self) -> bool:
        """Whether retries, isolation and probes hold less than half of the calls (at least one)."""
        return len(self.repairs_in_flight) < max(1, self.cap // 2)

    def may_send(self, now: float) -> bool:
        """Whether the rate allows one more request now."""
        while self._sent and now - self._sent[0] >= RATE_SECONDS:
            self._sent.popleft()
        return len(self._sent) < self.rate

    def next_time(self, now: float) -> float | None:
        """When the gate could allow more than now, None where only an ending call can."""
        if not self.may_send(now) and self._sent:
            return self._sent[0] + RATE_SECONDS
        if self._closed_until is not None and self._trial is None and now < self._closed_until:
            return self._closed_until
        return None

    def start(self, call_id: int, now: float, *, repair: bool) -> None:
        """A call takes a slot and its first request from the rate."""
        assert self.may_start(now)
        self.in_flight.add(call_id)
        if repair:
            self.repairs_in_flight.add(call_id)
        if self._closed_until is not None:
            self._trial = call_id
        self.send(now)

    def send(self, now: float) -> None:
        """A request goes out."""
        self._sent.append(now)

    def end(self, call_id: int) -> None:
        """A call gives its slot back; a trial that did not answer is given out again."""
        self.in_flight.discard(call_id)
        self.repairs_in_flight.discard(call_id)
        if self._trial == call_id:
            self._trial = None

    def throttle(self, call_id: int, now: float, retry_after_seconds: float | None) -> bool:
        """A 429: close. True where the gate was open before."""
        was_open = self._closed_until is None
        is_news = was_open or self._trial == call_id
        if is_news:
            self._throttled_in_row += 1
        if retry_after_seconds is None:
            wait = delay(self._throttled_in_row, self._jitter)
        else:
            wait = min(max(retry_after_seconds, 0.0), RETRY_AFTER_SECONDS_MAX)
        self._closed_until = max(self._closed_until or now, now + wait)
        return was_open

    def answered(self, call_id: int) -> bool:
        """Any answer but a 429; True where it opens the gate, being the trial's."""
        if self._closed_until is None or self._trial != call_id:
            return False
        self._closed_until = None
        self._throttled_in_row = 0
        return True

    def _part(self, limit: int, owned: int, total: int) -> int:
        return max(1, limit * owned // total) if owned else 0
