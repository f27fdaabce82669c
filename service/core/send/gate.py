"""The gate that every call to the PIM passes: concurrency, rate, and 429s (architecture.md D6).

Rule 1: a call holds one slot from its first request to its end; each of its requests counts
against the rate.
Rule 2: after a 429 the gate closes, then lets one call try; only the answer to it opens the gate.
"""

from service.core.limits import RETRY_AFTER_SECONDS_MAX
from service.core.rate import Rate
from service.core.recover.backoff import Jitter, delay


class Gate:
    """The slots and the rate of one replica, and whether the PIM throttles it."""

    def __init__(self, calls_at_once_max: int, calls_per_second_max: int, jitter: Jitter) -> None:
        self._calls_at_once_max = calls_at_once_max
        self._calls_per_second_max = calls_per_second_max
        self._jitter = jitter
        self._throttled_in_row = 0
        self._closed_until: float | None = None
        self._trial: int | None = None
        self.cap = 0
        self.rate = Rate(0)
        self.in_flight: set[int] = set()
        self.repairs_in_flight: set[int] = set()
        self.uploads_in_flight: set[int] = set()

    def share(self, owned: int, total: int) -> None:
        """Set this replica's share of the deployment's limits, by the partitions that it owns."""
        assert 0 <= owned <= total
        self.cap = self._part(self._calls_at_once_max, owned, total)
        self.rate.requests_max = self._part(self._calls_per_second_max, owned, total)

    @property
    def is_closed(self) -> bool:
        """Whether a 429 closed the gate, and no trial call was answered since."""
        return self._closed_until is not None

    @property
    def closed_until(self) -> float | None:
        """When the gate lets one call try; None while the gate is open."""
        return self._closed_until

    def may_start(self, now: float) -> bool:
        """Return whether a call may take a slot now."""
        if len(self.in_flight) >= self.cap or not self.may_send(now):
            return False
        if self._closed_until is None:
            return True
        return self._trial is None and now >= self._closed_until

    @property
    def may_repair(self) -> bool:
        """Whether a retry, an isolated asset or a probe may start: at most half of the slots."""
        return len(self.repairs_in_flight) < max(1, self.cap // 2)

    @property
    def may_upload(self) -> bool:
        """Whether the upload of a file may start: at most half of the slots, beside repairs."""
        return len(self.uploads_in_flight) < max(1, self.cap // 2)

    def may_send(self, now: float) -> bool:
        """Return whether the rate allows one more request now."""
        return self.rate.allows(now)

    def next_time(self, now: float) -> float | None:
        """Return when time alone lets the gate allow more; None if a call must end first."""
        if (allowed_at := self.rate.next_time(now)) is not None:
            return allowed_at
        if self._closed_until is not None and self._trial is None and now < self._closed_until:
            return self._closed_until
        return None

    def start(self, call_id: int, now: float, *, repair: bool, upload: bool = False) -> None:
        """Give the call a slot, and count its first request against the rate."""
        assert self.may_start(now)
        self.in_flight.add(call_id)
        if repair:
            self.repairs_in_flight.add(call_id)
        if upload:
            self.uploads_in_flight.add(call_id)
        if self._closed_until is not None:
            self._trial = call_id
        self.send(now)

    def send(self, now: float) -> None:
        """Count a request against the rate."""
        self.rate.count(now)

    def end(self, call_id: int) -> None:
        """Free the call's slot; if it was a trial without an answer, another call may try."""
        self.in_flight.discard(call_id)
        self.repairs_in_flight.discard(call_id)
        self.uploads_in_flight.discard(call_id)
        if self._trial == call_id:
            self._trial = None

    def throttle(self, call_id: int, now: float, retry_after_seconds: float | None) -> bool:
        """Close the gate after a 429; return whether it was open before.

        A `Retry-After` of 0 says nothing: where clocks differ, its date may have passed already.
        """
        was_open = self._closed_until is None
        is_news = was_open or self._trial == call_id
        if is_news:
            self._throttled_in_row += 1
        if retry_after_seconds:
            wait = min(retry_after_seconds, RETRY_AFTER_SECONDS_MAX)
        else:
            wait = delay(self._throttled_in_row, self._jitter)
        self._closed_until = max(self._closed_until or now, now + wait)
        return was_open

    def answered(self, call_id: int) -> bool:
        """Note an answer other than 429; return whether it opens the gate: the trial's does."""
        if self._closed_until is None or self._trial != call_id:
            return False
        self._closed_until = None
        self._throttled_in_row = 0
        return True

    def _part(self, limit: int, owned: int, total: int) -> int:
        return max(1, limit * owned // total) if owned else 0
