"""The reads of one host: which is sent next, and whose failure a failure is.

Rule 1: a failure is a target's own if the next answer to another target, asked for after it, is a
success. If that fails too, the failure was the host's and does not count. Where no other target
waits, one that was read before is read again for this.
Rule 2: three failures in a row without a success, or one 429, make the host failing: then one
request at a time is sent, to one target after the other, until one succeeds. Throttling is never
a target's own: whose request the limit hits is chance. It is not over because a request succeeds
that was sent before the 429 came.
Rule 3: a target gives up only after two failures of its own at least, because a single
failure may be left over from an outage. Its time runs only while the host does not fail.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Generic

from service.core.limits import RETRY_AFTER_SECONDS_MAX
from service.core.recover.backoff import Jitter, delay
from service.translation.read_answers import HostTrouble
from service.translation.read_target import Target, Ticket, Waiter

FAILURES_IN_ROW_MAX = 3
"""So many failures in a row without a success make the host failing."""

OWN_FAILURES_MIN = 2


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How often, and for how many seconds, an asset is read again whose failures are its own."""

    attempts_max: int = 8
    seconds_max: float = 300.0


class HostReads(Generic[Ticket]):
    """The targets of one host. Times are in seconds of a monotonic clock."""

    def __init__(self, at_once_max: int, limits: RetryLimits, jitter: Jitter) -> None:
        self._at_once_max = at_once_max
        self._limits = limits
        self._jitter = jitter
        self._targets: dict[str, Target[Ticket]] = {}
        self._due: list[tuple[float, int, Target[Ticket]]] = []
        """When targets are due, as a heap; an entry is valid while its time is the target's."""
        self._entries_made = 0
        self._sends_made = 0
        self._in_flight = 0
        self._suspected: dict[str, Target[Ticket]] = {}
        """Targets whose last failure is not attributed yet."""
        self._spent: list[Target[Ticket]] = []
        """Targets whose retries are used up."""
        self._witness: Target[Ticket] | None = None
        """A target without waiters that was read before: to read it again shows how the host is."""
        self._failures_in_row = 0
        self._probe_at = 0.0
        self.trouble: HostTrouble | None = None
        """The last failure, while the host is failing."""
        self._throttled_after = 0
        """The number of the last request when the last 429 came."""
        self._budget = 0.0
        self._budget_at = 0.0

    def add(self, url: str, waiter: Waiter[Ticket]) -> None:
        """Let an item wait for the read of this URL."""
        if (target := self._targets.get(url)) is None:
            witness = self._witness
            target = witness if witness is not None and witness.url == url else Target(url)
            self._targets[url] = target
        target.add(waiter)
        self._schedule(target)

    @property
    def is_waited_for(self) -> bool:
        """Whether any item waits for a read of this host."""
        return bool(self._targets)

    def forget(self) -> None:
        """Drop all that waits, and what is in flight; what is known of the host stays."""
        self._targets.clear()
        self._suspected.clear()
        self._spent.clear()
        self._due.clear()
        self._in_flight = 0
        if self._witness is not None:  # which items may wait for, too
            self._witness = Target(self._witness.url, tried_at=self._witness.tried_at)

    # --- sending -----------------------------------------------------------------------------

    def start(self, now: float) -> Iterator[Target[Ticket]]:
        """Yield the targets to ask for now; each is in flight from then on."""
        self._run_budget(now)
        if self.trouble is not None:
            if self._targets and not self._in_flight and now >= self._probe_at:
                yield from self._send(self._next_probe(now), now)
            return
        while self._in_flight < self._at_once_max:
            target = self._pop_due(now) or self._check()
            if target is None:
                return
            yield from self._send(target, now)

    def next_time(self) -> float | None:
        """Return when `start` may yield something; None if only an answer changes that."""
        if self.trouble is not None:
            if self._in_flight or not self._targets:
                return None
            return max(self._probe_at, min(one.ready_at for one in self._targets.values()))
        if self._in_flight >= self._at_once_max:
            return None
        self._drop_outdated()
        return self._due[0][0] if self._due else None

    def _send(self, target: Target[Ticket] | None, now: float) -> Iterator[Target[Ticket]]:
        if target is not None:
            target.is_in_flight = True
            target.tried_at = now
            self._sends_made += 1
            target.sent = self._sends_made
            self._in_flight += 1
            yield target

    def _pop_due(self, now: float) -> Target[Ticket] | None:
        self._drop_outdated()
        if not self._due or self._due[0][0] > now:
            return None
        return heapq.heappop(self._due)[2]

    def _check(self) -> Target[Ticket] | None:
        """Return the witness, if a failure waits for another answer and none is on its way."""
        witness = self._witness
        if witness is None or self._in_flight or witness.url in self._targets:
            return None
        return witness if self._suspected else None

    def _next_probe(self, now: float) -> Target[Ticket] | None:
        """Return the target that was not asked for the longest, the witness among them."""
        ready = [one for one in self._targets.values() if one.ready_at <= now]
        if ready and self._witness is not None and self._witness.url not in self._targets:
            ready.insert(0, self._witness)
        return min(ready, key=lambda one: one.tried_at, default=None)

    def _schedule(self, target: Target[Ticket]) -> None:
        if target.waiters and not target.is_in_flight:
            self._entries_made += 1
            heapq.heappush(self._due, (target.due_at, self._entries_made, target))

    def _drop_outdated(self) -> None:
        while self._due:
            time, _, target = self._due[0]
            is_there = self._targets.get(target.url) is target
            if is_there and not target.is_in_flight and target.due_at == time:
                return
            heapq.heappop(self._due)

    # --- answers -----------------------------------------------------------------------------

    def answered(self, target: Target[Ticket], now: float) -> list[Waiter[Ticket]]:
        """Take an answer that decides; return the items that it is for.

        It shows nothing about the host: a proxy may have refused the request.
        """
        self._landed(target, now)
        answered = target.take_answered()
        self._suspected.pop(target.url, None)
        target.mark_well()
        if target is self._witness:
            self._witness = None
        if self._targets.get(target.url) is target and not target.waiters:
            del self._targets[target.url]
        self._schedule(target)
        return answered

    def succeeded(self, target: Target[Ticket], now: float) -> bool:
        """Take note that the host works; return whether it was failing."""
        self._failures_in_row = 0
        if self._witness is None or not self._witness.is_in_flight:
            self._witness = Target(target.url, tried_at=target.tried_at)
        for suspect in self._suspects_before(target):
            self._count_own(suspect)
        has_recovered = self.trouble is not None and target.sent > self._throttled_after
        if has_recovered:
            self._recover(now)
        return has_recovered

    def failed(self, target: Target[Ticket], trouble: HostTrouble, now: float) -> bool:
        """Take note of a failure; return whether the host is failing from now on."""
        self._landed(target, now)
        self._failures_in_row += 1
        target.failures_in_row += 1
        target.trouble = trouble
        asked = min(trouble.retry_after_seconds or 0.0, RETRY_AFTER_SECONDS_MAX)
        target.retry_at = now + max(asked, delay(target.failures_in_row, self._jitter))
        self._schedule(target)
        if not target.own_failures:  # else it is no evidence against the host
            for suspect in self._suspects_before(target):
                del self._suspected[suspect.url]
        is_throttled = trouble.status == HTTPStatus.TOO_MANY_REQUESTS
        if target.waiters and not is_throttled:
            target.failed_after = self._sends_made
            self._suspected[target.url] = target
        return self._maybe_fail(trouble, asked, now, is_throttled=is_throttled)

    def take_spent(self) -> list[Target[Ticket]]:
        """Take out the targets whose retries are used up; their items still wait in them."""
        spent, self._spent = self._spent, []
        for target in spent:
            del self._targets[target.url]
        return spent

    def _landed(self, target: Target[Ticket], now: float) -> None:
        self._run_budget(now)
        assert target.is_in_flight
        target.is_in_flight = False
        self._in_flight -= 1

    def _suspects_before(self, target: Target[Ticket]) -> list[Target[Ticket]]:
        """Return the other targets that had failed when this one was asked for."""
        return [
            suspect
            for suspect in self._suspected.values()
            if suspect.failed_after is not None and target.sent > suspect.failed_after
        ]

    def _count_own(self, suspect: Target[Ticket]) -> None:
        del self._suspected[suspect.url]
        suspect.own_failures += 1
        if suspect.failing_since is None:
            suspect.failing_since = self._budget
        if not suspect.is_in_flight and self._is_spent(suspect, suspect.failing_since):
            self._spent.append(suspect)

    def _is_spent(self, target: Target[Ticket], failing_since: float) -> bool:
        is_over = self._budget - failing_since >= self._limits.seconds_max
        has_tried = target.own_failures >= self._limits.attempts_max
        return target.own_failures >= OWN_FAILURES_MIN and (is_over or has_tried)

    def _maybe_fail(
        self, trouble: HostTrouble, asked: float, now: float, *, is_throttled: bool
    ) -> bool:
        was_failing = self.trouble is not None
        if was_failing or is_throttled or self._failures_in_row >= FAILURES_IN_ROW_MAX:
            self.trouble = trouble
            if is_throttled:
                self._throttled_after = self._sends_made
            failures = max(1, self._failures_in_row - FAILURES_IN_ROW_MAX + 1)
            self._probe_at = now + max(asked, delay(failures, self._jitter))
            if not was_failing and self._witness is not None:
                self._witness.tried_at = float("-inf")  # it is the first to be asked for
        return self.trouble is not None and not was_failing

    def _recover(self, now: float) -> None:
        """Let what failed be asked for again soon, but not all of it at the same moment."""
        self.trouble = None
        self._due.clear()
        for target in self._targets.values():
            if target.retry_at > now:
                failures = min(max(1, target.failures_in_row), FAILURES_IN_ROW_MAX)
                target.retry_at = now + delay(failures, self._jitter)
            self._schedule(target)

    def _run_budget(self, now: float) -> None:
        if self.trouble is None:
            self._budget += now - self._budget_at
        self._budget_at = now
