"""The one decider: success, suspicion, own failure (architecture.md D7).

Rule 1: a failure is a call's own only when a write sent after it succeeded; until then it is a
suspicion, and three in a row without a success open the breaker and count against nobody.
Rule 2: an own failure isolates: several assets are halved, one asset uses its budget, three
assets in a row make their lane sick.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.core.group.asset_work import AssetWork
from service.core.limits import BREAKER_SUSPICIONS, LANE_FAILURES_MAX
from service.core.model import Asset, Now
from service.core.recover.backoff import Jitter, delay, delay_max
from service.core.recover.call import Call, Lane
from service.core.verdicts import Failure


@dataclass(slots=True)
class LaneState:
    """What is known of one lane that has, or had, trouble."""

    waiting: dict[int, Call] = field(default_factory=dict)
    """Calls to be sent again, in turn."""
    failing: dict[Asset, None] = field(default_factory=dict)
    """Different assets that failed alone since the lane's last success."""
    failure: Failure | None = None
    failing_since: float | None = None
    """By the patience clock."""
    outlasted: int = 0
    """Times in a row that another lane's success closed the breaker while this one failed."""
    probing: int | None = None
    probe_failures: int = 0
    probe_at: float = 0.0
    window_turn: bool = False
    """Whether the next probe is from the window, else from the waiting calls."""

    @property
    def is_failing(self) -> bool:
        """Only one probe at a time."""
        return self.failing_since is not None

    @property
    def is_blank(self) -> bool:
        """Whether nothing is known that a new state would not say."""
        has_trouble = self.waiting or self.failing or self.outlasted or self.is_failing
        return not has_trouble and self.probing is None


_BLANK = LaneState()
"""Of a lane without trouble; nobody writes into it."""


@dataclass(slots=True)
class Breaker:
    """Open: nothing but one probe at a time, and nothing counts against anybody."""

    is_open: bool = False
    accused: set[Lane] = field(default_factory=set)
    """Lanes whose suspicions opened it, and whose probes failed since."""
    probing: int | None = None
    probe_failures: int = 0
    probe_at: float = 0.0
    family_well: bool = False
    """Whether the last GET after a probe was answered by the PIM itself."""
    turns: dict[Lane, int] = field(default_factory=dict)
    """When each lane was probed last, by count: the longest ago is next."""

    @property
    def probe_seconds_max(self) -> float:
        """The longest time from the end of a probe to the next one; 0 while closed."""
        return delay_max(max(1, self.probe_failures)) if self.is_open else 0.0


@dataclass(slots=True)
class Decided:
    """What followed from the end of a call."""

    has_opened: bool = False
    """The breaker."""
    has_closed: bool = False
    failing: list[Lane] = field(default_factory=list)
    """Lanes from which only probes go from now on."""
    gave_up: list[tuple[AssetWork, Failure]] = field(default_factory=list)
    """Single assets whose budget is used up."""


class Lanes:
    """Calls that wait to be sent again, and whose failure each failure was."""

    def __init__(
        self,
        attempts_max: int,
        seconds_max: float,
        jitter: Jitter,
    ) -> None:
        self._attempts_max = attempts_max
        self._seconds_max = seconds_max
        self._jitter = jitter
        self._lanes: dict[Lane, LaneState] = {}
        """Of lanes that have trouble: thousands of families come and go without any."""
        self._failing: dict[Lane, LaneState] = {}
        self._waiting = 0
        """Calls that wait to be sent again, of all lanes."""
        self._retries: list[tuple[float, int, Call]] = []
        self._waits_made = 0
        self._suspected: dict[int, Call] = {}
        self._calls_made = 0
        self._sends_made = 0
        self._latest_success = 0
        self._suspicions_in_row: list[Lane] = []
        self.breaker = Breaker()

    # --- calls -------------------------------------------------------------------------------

    def new_call(self, lane: Lane, batch: list[AssetWork], *, is_half: bool = False) -> Call:
        """A call of these assets, with a number of its own."""
        assert batch
        return Call(self.new_call_id(), lane, batch, is_half=is_half)

    def new_call_id(self) -> int:
        """A number that no call of this process has had."""
        self._calls_made += 1
        return self._calls_made

    def drop(self, call: Call) -> None:
        """The call lost all its assets before it was sent."""
        self._suspected.pop(call.id, None)

    def sending(self, call: Call) -> None:
        """The call's write goes out: sends are numbered, so that later is later."""
        self._sends_made += 1
        call.sent = self._sends_made

    def wait(self, call: Call, retry_at: float) -> None:
        """The call waits to be sent again."""
        call.retry_at = retry_at
        waiting = self.lane(call.lane).waiting
        self._waiting += call.id not in waiting
        waiting[call.id] = call
        self._waits_made += 1
        heapq.heappush(self._retries, (retry_at, self._waits_made, call))

    def isolate(self, work: AssetWork, now: float, *, failures: int = 0) -> None:
        """The asset goes on alone, after the delay of so many failures."""
        call = self.new_call((work.asset.family, work.action), [work])
        call.failures_in_row = failures
        self.wait(call, now + (delay(failures, self._jitter) if failures else 0.0))

    def halve(self, call: Call, now: float) -> None:
        """The call goes on as two, split between its assets."""
        assert len(call.batch) > 1
        self._suspected.pop(call.id, None)
        middle = len(call.batch) // 2
        for batch in (call.batch[:middle], call.batch[middle:]):
            self.wait(self.new_call(call.lane, batch, is_half=True), now)

    def lane(self, lane: Lane) -> LaneState:
        """The lane's state, made where there is none."""
        state = self._lanes.get(lane)
        if state is None:
            state = self._lanes[lane] = LaneState()
        return state

    def is_failing(self, lane: Lane) -> bool:
        """Whether the lane takes only probes."""
        return lane in self._failing

    def failing_lanes(self) -> Iterator[tuple[Lane, LaneState]]:
        """The sick lanes."""
        return iter(list(self._failing.items()))

    @property
    def may_expire(self) -> bool:
        """Whether any lane is sick or has calls that wait to be sent again."""
        return bool(self._failing) or self._waiting > 0

    def waiting_calls(self) -> Iterator[Call]:
        """Every call that waits to be sent again."""
        for state in list(self._lanes.values()):
            yield from list(state.waiting.values())

    def waiting_lanes(self) -> Iterator[Lane]:
        """Lanes with calls that wait."""
        return (lane for lane, state in self._lanes.items() if state.waiting)

    # --- choosing ----------------------------------------------------------------------------

    def take_retry(self, now: float) -> Call | None:
        """The next call whose delay is over, outside sick lanes."""
        while self._retries and self._retries[0][0] <= now:
            retry_at, _, call = heapq.heappop(self._retries)
            state = self._lanes.get(call.lane, _BLANK)
            if call.id in state.waiting and call.retry_at == retry_at and not state.is_failing:
                self._take(call)
                return call
        return None

    def next_retry_at(self) -> float | None:
        """When the next call's delay is over."""
        return self._retries[0][0] if self._retries else None

    def is_windows_turn(self, lane: Lane) -> bool:
        """Whether the lane's next probe is from its window; else it is from its waiting calls."""
        state = self._lanes.get(lane)
        if state is None or not state.waiting:
            return True
        state.window_turn = not state.window_turn
        return state.window_turn

    def take_waiting_asset(self, lane: Lane) -> Call | None:
        """One asset of the lane's longest-waiting call, as a call of its own: a probe."""
        call = next(iter(self._lanes.get(lane, _BLANK).waiting.values()), None)
        if call is None:
            return None
        if call.is_alone:
            self._take(call)
            return call
        return self.new_call(lane, [call.batch.pop(0)])

    def take_out(self, call: Call, work: AssetWork) -> None:
        """The asset leaves a waiting call: its step has ended without it."""
        call.batch.remove(work)
        if not call.batch:
            self._take(call)
            self._suspected.pop(call.id, None)

    def forget_probe(self, call: Call) -> None:
        """A probe that was cut or throttled says nothing; the next one may go."""
        if self.breaker.probing == call.id:
            self.breaker.probing = None
        state = self._lanes.get(call.lane)
        if state is not None and state.probing == call.id:
            state.probing = None
            self._free(call.lane)

    def _take(self, call: Call) -> None:
        """The call waits no more."""
        del self._lanes[call.lane].waiting[call.id]
        self._waiting -= 1
        self._free(call.lane)

    def _free(self, lane: Lane) -> None:
        """Forget a lane of which nothing is left to know."""
        state = self._lanes.get(lane)
        if state is not None and state.is_blank:
            del self._lanes[lane]

    # --- deciding ----------------------------------------------------------------------------

    def succeeded(self, call: Call, now: Now) -> Decided:
        """The PIM judged the call."""
        decided = Decided()
        self._latest_success = max(self._latest_success, call.sent)
        self._suspected.pop(call.id, None)
        call.suspicions.clear()
        call.failures_in_row = 0
        self._suspicions_in_row.clear()
        self._mark_recovered(call.lane, now.seconds)
        if self.breaker.is_open:
            self._accuse(self.breaker.accused - {call.lane}, now, decided)
            self.close_breaker(now.seconds)
            decided.has_closed = True
            return decided
        for suspect in list(self._suspected.values()):
            self._convict(suspect, call.sent, now, decided)
        return decided

    def suspected(self, call: Call, failure: Failure, now: Now) -> Decided:
        """The call ended without a judgement."""
        decided = Decided()
        call.failure = failure
        call.failures_in_row += 1
        self.lane(call.lane).failure = failure
        self._after_probe(call, now.seconds)
        if self.breaker.is_open:
            self.wait(call, now.seconds)
            return decided
        if self._latest_success > call.sent:
            return self.own_failure(call, now)
        call.suspicions.append(call.sent)
        self._suspected[call.id] = call
        if self._is_spent(call, now):
            self._go_on(call, now, decided)
        else:
            self.wait(call, now.seconds + delay(call.failures_in_row, self._jitter))
        self._suspicions_in_row.append(call.lane)
        if len(self._suspicions_in_row) >= BREAKER_SUSPICIONS:
            self._open_breaker(now.seconds)
            decided.has_opened = True
        return decided

    def own_failure(self, call: Call, now: Now) -> Decided:
        """The failure is the call's own: count it, isolate, or give up. Not in flight."""
        decided = Decided()
        self._count_own_failure(call, now, decided)
        self._go_on(call, now, decided)
        return decided

    def close_breaker(self, now: float) -> None:
        """A success: every suspicion is erased; several assets under one go on as halves.

        What failed before goes again soon, and if it fails once more, waits as long as before:
        a bad asset must not open the breaker anew, three times as fast as others succeed.
        """
        self.breaker = Breaker()
        self._suspicions_in_row.clear()
        for call in list(self._suspected.values()):
            call.suspicions.clear()
            if not call.is_alone and self._is_waiting(call):
                self._take(call)
                self.halve(call, now)
        self._suspected.clear()
        for call in self.waiting_calls():
            failures = min(call.failures_in_row, BREAKER_SUSPICIONS)
            self.wait(call, now + (delay(failures, self._jitter) if failures else 0.0))

    def _accuse(self, lanes: set[Lane], now: Now, decided: Decided) -> None:
        """Another lane succeeds while these fail: a few times in a row is no outage (ADR 3)."""
        for lane in lanes:
            state = self.lane(lane)
            state.outlasted += 1
            if state.outlasted >= LANE_FAILURES_MAX:
                self._mark_failing(lane, state, now, decided)

    def _mark_failing(self, lane: Lane, state: LaneState, now: Now, decided: Decided) -> None:
        if not state.is_failing:
            state.failing_since = now.budget
            self._failing[lane] = state
            decided.failing.append(lane)

    def probe_failed(self, call: Call, now: float, *, family_well: bool) -> None:
        """The breaker's probe failed; the next one is another lane's or asset's."""
        breaker = self.breaker
        breaker.family_well = family_well
        breaker.accused.add(call.lane)
        self.lane(call.lane).failure = call.failure
        call.failures_in_row += 1
        breaker.probing = None
        self.delay_probe(now)
        self.wait(call, breaker.probe_at)

    def delay_probe(self, now: float) -> None:
        """The PIM does not answer: ask less and less often."""
        breaker = self.breaker
        breaker.probe_failures += 1
        breaker.probe_at = now + delay(breaker.probe_failures, self._jitter)

    def forget(self) -> None:
        """The assignment is over: calls, suspicions and sick lanes go with it."""
        self._lanes.clear()
        self._failing.clear()
        self._waiting = 0
        self._retries.clear()
        self._suspected.clear()
        self._suspicions_in_row.clear()
        self.breaker.probing = None

    def _convict(self, suspect: Call, success: int, now: Now, decided: Decided) -> None:
        """A write sent after the suspect's succeeded: those suspicions are its own failures."""
        guilty = [sent for sent in suspect.suspicions if sent < success]
        if not guilty:
            return
        suspect.suspicions = [sent for sent in suspect.suspicions if sent >= success]
        if not suspect.suspicions:
            del self._suspected[suspect.id]
        for _ in guilty:
            self._count_own_failure(suspect, now, decided)
        if self._is_waiting(suspect):
            self._take(suspect)
            self._go_on(suspect, now, decided)

    def _is_waiting(self, call: Call) -> bool:
        return call.id in self._lanes.get(call.lane, _BLANK).waiting

    def _count_own_failure(self, call: Call, now: Now, decided: Decided) -> None:
        assert call.failure is not None
        if not call.is_alone:
            call.own_failures += 1
            return
        work = call.batch[0]
        work.own_failures += 1
        work.last_failure = call.failure
        if work.failing_since is None:
            work.failing_since = now.budget
        state = self.lane(call.lane)
        if len(state.failing) < LANE_FAILURES_MAX:
            state.failing[work.asset] = None
        state.failure = call.failure
        if len(state.failing) >= LANE_FAILURES_MAX:
            self._mark_failing(call.lane, state, now, decided)

    def _go_on(self, call: Call, now: Now, decided: Decided) -> None:
        """After own failures: halves, the budget's end, or another try after its delay."""
        if not self._is_spent(call, now):
            failures = call.batch[0].own_failures if call.is_alone else call.own_failures
            self.wait(call, now.seconds + delay(max(1, failures), self._jitter))
        elif call.is_alone:
            work = call.batch[0]
            assert work.last_failure is not None
            self._suspected.pop(call.id, None)
            decided.gave_up.append((work, work.last_failure))
        else:
            self.halve(call, now.seconds)

    def _is_spent(self, call: Call, now: Now) -> bool:
        """Whether the call has failed by itself as often, or as long, as it may."""
        if not call.is_alone:
            return call.own_failures >= (1 if call.is_half else 2)
        work = call.batch[0]
        if work.own_failures >= self._attempts_max:
            return True
        since = work.failing_since
        return since is not None and now.budget - since >= self._seconds_max

    def _after_probe(self, call: Call, now: float) -> None:
        state = self._lanes.get(call.lane, _BLANK)
        if state.probing == call.id:
            state.probing = None
            state.probe_failures += 1
            state.probe_at = now + delay(state.probe_failures, self._jitter)

    def _mark_recovered(self, lane: Lane, now: float) -> None:
        state = self._lanes.get(lane)
        if state is None:
            return
        self._lanes[lane] = LaneState(waiting=state.waiting)
        self._free(lane)
        if self._failing.pop(lane, None) is not None:
            for call in list(state.waiting.values()):
                self.wait(call, now)

    def _open_breaker(self, now: float) -> None:
        self.breaker = Breaker(is_open=True, accused=set(self._suspicions_in_row))
        self.breaker.probe_at = now + delay(1, self._jitter)
