"""Attribute each failure to the PIM or to the call itself (architecture.md D7).

Rule 1: a failure is a call's own only when a write that was sent after it succeeded; for a probe
of the only open asset, a GET that succeeds is enough. Until then it is a suspicion. Three
suspicions in a row without a success open the breaker, and count against no asset, because the
PIM may be down.
Rule 2: an own failure isolates: several assets are halved, one asset uses its retry budget, three
assets in a row make their lane failing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from service.core.group.asset_work import AssetWork
from service.core.limits import BREAKER_SUSPICIONS, LANE_FAILURES_MAX
from service.core.model import Now
from service.core.recover.backoff import Jitter, delay
from service.core.recover.call import Call, Lane
from service.core.recover.lanes import Lanes
from service.core.verdict_types import Failure


@dataclass(slots=True)
class Decided:
    """The consequences of the end of a call."""

    has_opened: bool = False
    """Whether the breaker opened."""
    outage_seconds: float | None = None
    """How long the breaker was open, if it has closed."""
    failing: list[Lane] = field(default_factory=list)
    """Lanes from which only probes are sent from now on."""
    gave_up: list[tuple[AssetWork, Failure]] = field(default_factory=list)
    """Single assets whose retry budget is used up."""


class Attribution:
    """Attributes failures, and lets calls wait, be halved or give up accordingly."""

    def __init__(self, attempts_max: int, seconds_max: float, lanes: Lanes, jitter: Jitter) -> None:
        self._attempts_max = attempts_max
        self._seconds_max = seconds_max
        self._lanes = lanes
        self._jitter = jitter
        self._latest_success = 0
        """The number of the latest send that succeeded."""
        self._erased_up_to = 0
        """The number of the last send before the breaker closed: failures of these are erased."""
        self._suspicions_in_row: list[Lane] = []

    def forget(self) -> None:
        """Drop what the assignment left: it is over."""
        self._suspicions_in_row.clear()

    # --- ends of calls -----------------------------------------------------------------------

    def succeeded(self, call: Call, now: Now) -> Decided:
        """The PIM judged the call: earlier suspicions become own failures."""
        decided = Decided()
        breaker = self._lanes.breaker
        self._latest_success = max(self._latest_success, call.sent)
        self._lanes.suspected.pop(call.id, None)
        call.suspicions.clear()
        call.failures_in_row = 0
        self._suspicions_in_row.clear()
        if call.upload is None:
            self._lanes.mark_recovered(call.lane, now.seconds)
        else:  # the PIM works, and nothing is known about writes of this family
            self._lanes.forget_probe(call)
        if breaker.is_open:
            # An upload is not a write: where it succeeds, even its own family's writes may fail.
            itself = {call.lane} if call.upload is None else set()
            self._attribute_outage(breaker.suspects - itself, now, decided)
            decided.outage_seconds = self.close_breaker(now.seconds)
            return decided
        for suspect in list(self._lanes.suspected.values()):
            self._attribute(suspect, call.sent, now, decided)
        return decided

    def suspected(self, call: Call, failure: Failure, now: Now) -> Decided:
        """The call ended without a judgement of the PIM."""
        decided = Decided()
        call.failure = failure
        call.failures_in_row += 1
        self._lanes.lane(call.lane).failure = failure
        self._after_probe(call, now.seconds)
        if self._lanes.breaker.is_open:
            self._lanes.wait(call, now.seconds)
            return decided
        if call.sent <= self._erased_up_to:
            # It may have failed in the outage, and be known only now: its check was throttled.
            self._lanes.wait(call, now.seconds + delay(call.failures_in_row, self._jitter))
            return decided
        if self._latest_success > call.sent:
            return self.own_failure(call, now)
        call.suspicions.append(call.sent)
        self._lanes.suspected[call.id] = call
        if self._is_spent(call, now):
            self._go_on(call, now, decided)
        else:
            self._lanes.wait(call, now.seconds + delay(call.failures_in_row, self._jitter))
        self._suspicions_in_row.append(call.lane)
        if len(self._suspicions_in_row) >= BREAKER_SUSPICIONS:
            self._lanes.breaker.open(self._suspicions_in_row, failure, now.seconds)
            decided.has_opened = True
        return decided

    def own_failure(self, call: Call, now: Now) -> Decided:
        """The failure is the call's own: count it, then isolate or give up. It is not in flight."""
        decided = Decided()
        self._count_own_failures(call, 1, now, decided)
        self._go_on(call, now, decided)
        return decided

    def probe_failed(self, call: Call, now: float, *, family_well: bool) -> None:
        """The breaker's probe got no judgement either."""
        assert call.failure is not None
        self._lanes.lane(call.lane).failure = call.failure
        call.failures_in_row += 1
        self._lanes.breaker.probe_failed(call.lane, call.failure, now, family_well=family_well)
        self._lanes.wait(call, self._lanes.breaker.probe_at)

    def close_breaker(self, now: float) -> float:
        """Erase every suspicion; calls of several assets that were under one go on as halves.

        Return for how many seconds the breaker was open.

        What failed before is sent again soon, and if it fails once more, waits as long as before:
        else a bad asset would open the breaker again three times as fast as others succeed.
        """
        seconds = now - self._lanes.breaker.opened_at
        self._lanes.breaker.close()
        self._erased_up_to = self._lanes.sends_made
        self._suspicions_in_row.clear()
        for call in list(self._lanes.suspected.values()):
            call.suspicions.clear()
            if not call.is_alone and self._lanes.is_waiting(call):
                self._lanes.take(call)
                self._lanes.halve(call, now)
        self._lanes.suspected.clear()
        for call in self._lanes.waiting_calls():
            failures = min(call.failures_in_row, BREAKER_SUSPICIONS)
            self._lanes.wait(call, now + (delay(failures, self._jitter) if failures else 0.0))
        return seconds

    # --- attributing -------------------------------------------------------------------------

    def _attribute(self, suspect: Call, success: int, now: Now, decided: Decided) -> None:
        """A write sent after the suspect's succeeded: its suspicions are its own failures."""
        own = [sent for sent in suspect.suspicions if sent < success]
        if not own:
            return
        suspect.suspicions = [sent for sent in suspect.suspicions if sent >= success]
        if not suspect.suspicions:
            del self._lanes.suspected[suspect.id]
        self._count_own_failures(suspect, len(own), now, decided)
        if self._lanes.is_waiting(suspect):
            self._lanes.take(suspect)
            self._go_on(suspect, now, decided)

    def _attribute_outage(self, lanes: Iterable[Lane], now: Now, decided: Decided) -> None:
        """Another lane succeeded while these failed: a few times in a row is no outage (ADR 3)."""
        for lane in lanes:
            state = self._lanes.lane(lane)
            state.outages_survived_by_others += 1
            if state.outages_survived_by_others >= LANE_FAILURES_MAX:
                self._mark_failing(lane, now, decided)

    def _mark_failing(self, lane: Lane, now: Now, decided: Decided) -> None:
        if self._lanes.mark_failing(lane, now):
            decided.failing.append(lane)

    def _count_own_failures(self, call: Call, count: int, now: Now, decided: Decided) -> None:
        """Count failures that one success showed to be the call's own."""
        assert call.failure is not None
        if not call.is_alone:
            call.own_failures += count
            return
        work = call.batch[0]
        work.own_failures += count
        work.successes_beside += 1
        work.last_failure = call.failure
        if work.failing_since is None:
            work.failing_since = now.budget
        if call.upload is not None:
            return  # what fails is not a write of this family
        state = self._lanes.lane(call.lane)
        if len(state.failing) < LANE_FAILURES_MAX:
            state.failing[work.asset] = None
        state.failure = call.failure
        if len(state.failing) >= LANE_FAILURES_MAX:
            self._mark_failing(call.lane, now, decided)

    # --- what follows ------------------------------------------------------------------------

    def _go_on(self, call: Call, now: Now, decided: Decided) -> None:
        """After own failures: try again after a delay, halve the call, or give up."""
        if not self._is_spent(call, now):
            failures = call.batch[0].own_failures if call.is_alone else call.own_failures
            self._lanes.wait(call, now.seconds + delay(max(1, failures), self._jitter))
        elif call.is_alone:
            work = call.batch[0]
            assert work.last_failure is not None
            self._lanes.suspected.pop(call.id, None)
            decided.gave_up.append((work, work.last_failure))
        else:
            self._lanes.halve(call, now.seconds)

    def _is_spent(self, call: Call, now: Now) -> bool:
        """Return whether the call has failed by itself as often, or as long, as it may."""
        if not call.is_alone:
            return call.own_failures >= (1 if call.is_half else 2)
        work = call.batch[0]
        if work.own_failures >= self._attempts_max:
            return True
        since = work.failing_since
        return since is not None and now.budget - since >= self._seconds_max

    def _after_probe(self, call: Call, now: float) -> None:
        """Delay the next probe of a failing lane whose probe failed."""
        state = self._lanes.peek(call.lane)
        if state.probing == call.id:
            state.probing = None
            state.probe_failures += 1
            state.probe_at = now + delay(state.probe_failures, self._jitter)
