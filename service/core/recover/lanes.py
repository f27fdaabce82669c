"""Keep the calls that wait to be sent again, by lane, and choose the next of them.

A lane is a family and an action: the unit that fails and recovers. attribution.py decides whose
failure a failure was.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.core.group.asset_work import AssetWork
from service.core.model import Asset, Now
from service.core.recover.backoff import Jitter, delay
from service.core.recover.breaker import Breaker
from service.core.recover.call import Call, Lane
from service.core.verdict_types import Failure


@dataclass(slots=True)
class LaneState:
    """The state of a lane with calls that wait to be sent again or failed."""

    waiting: dict[int, Call] = field(default_factory=dict)
    """Calls to be sent again, in turn."""
    failing: dict[Asset, None] = field(default_factory=dict)
    """Different assets that failed alone since the lane's last success."""
    failure: Failure | None = None
    failing_since: float | None = None
    """By the budget clock."""
    began_failing_at: float = 0.0
    """Likewise, in monotonic seconds."""
    outages_survived_by_others: int = 0
    """How often in a row another lane's success closed the breaker while this lane failed."""
    probing: int | None = None
    probe_failures: int = 0
    probe_at: float = 0.0
    window_turn: bool = False
    """Whether the next probe is from the window, else from the waiting calls."""

    @property
    def is_failing(self) -> bool:
        """Whether only single probes are sent."""
        return self.failing_since is not None

    @property
    def is_blank(self) -> bool:
        """Whether a new state would say the same."""
        has_trouble = (
            self.waiting or self.failing or self.outages_survived_by_others or self.is_failing
        )
        return not has_trouble and self.probing is None


_BLANK = LaneState()
"""The state of a lane without trouble; it is never written to."""


class Lanes:
    """Calls that wait to be sent again, by lane."""

    def __init__(self, jitter: Jitter) -> None:
        self._jitter = jitter
        self._lanes: dict[Lane, LaneState] = {}
        """Only lanes that have trouble: thousands of families come and go without any."""
        self._failing: dict[Lane, LaneState] = {}
        self._waiting = 0
        """Calls that wait to be sent again, of all lanes."""
        self._retries: list[tuple[float, int, Call]] = []
        self._uploads: list[tuple[float, int, Call]] = []
        """Likewise, the calls that upload a file: they take turns with all others."""
        self._waits_made = 0
        self._calls_made = 0
        self.sends_made = 0
        """Writes sent so far: the number of the last one."""
        self.suspected: dict[int, Call] = {}
        """Calls under suspicion, by id."""
        self.breaker = Breaker(jitter)

    # --- calls -------------------------------------------------------------------------------

    def new_call(self, lane: Lane, batch: list[AssetWork], *, is_half: bool = False) -> Call:
        """Return a new call of these assets."""
        assert batch
        return Call(self.new_call_id(), lane, batch, is_half=is_half)

    def new_call_id(self) -> int:
        """Return a number that no call of this process has had."""
        self._calls_made += 1
        return self._calls_made

    def drop(self, call: Call) -> None:
        """Forget a call that is not sent again, because it has lost its assets or its file."""
        self.suspected.pop(call.id, None)

    def sending(self, call: Call) -> None:
        """Number the send of a call: later sends have higher numbers."""
        self.sends_made += 1
        call.sent = self.sends_made

    def wait(self, call: Call, retry_at: float) -> None:
        """Let the call wait to be sent again, until then at least (monotonic seconds)."""
        call.retry_at = retry_at
        waiting = self.lane(call.lane).waiting
        self._waiting += call.id not in waiting
        waiting[call.id] = call
        self._waits_made += 1
        heapq.heappush(self._heap_of(call), (retry_at, self._waits_made, call))

    def isolate(self, work: AssetWork, now: float, *, failures: int = 0) -> None:
        """Let the asset wait in a call of its own, as long as after so many failures in a row."""
        call = self.new_call((work.asset.family, work.action), [work])
        call.failures_in_row = failures
        self.wait(call, now + (delay(failures, self._jitter) if failures else 0.0))

    def halve(self, call: Call, now: float) -> None:
        """Let the call wait as two, each with half of its assets."""
        assert len(call.batch) > 1
        self.suspected.pop(call.id, None)
        middle = len(call.batch) // 2
        for batch in (call.batch[:middle], call.batch[middle:]):
            self.wait(self.new_call(call.lane, batch, is_half=True), now)

    def forget(self) -> None:
        """Drop calls, suspicions and failing lanes: the assignment is over."""
        self._lanes.clear()
        self._failing.clear()
        self._waiting = 0
        self._retries.clear()
        self._uploads.clear()
        self.suspected.clear()
        self.breaker.probing = None

    # --- states ------------------------------------------------------------------------------

    def lane(self, lane: Lane) -> LaneState:
        """Return the state of the lane, made where there is none."""
        state = self._lanes.get(lane)
        if state is None:
            state = self._lanes[lane] = LaneState()
        return state

    def is_failing(self, lane: Lane) -> bool:
        """Return whether only probes of the lane are sent."""
        return lane in self._failing

    def failing_lanes(self) -> Iterator[tuple[Lane, LaneState]]:
        """Iterate over the failing lanes."""
        return iter(list(self._failing.items()))

    @property
    def may_expire(self) -> bool:
        """Whether any lane is failing or has calls that wait to be sent again."""
        return bool(self._failing) or self._waiting > 0

    def waiting_calls(self) -> Iterator[Call]:
        """Yield every call that waits to be sent again."""
        for state in list(self._lanes.values()):
            yield from list(state.waiting.values())

    def waiting_lanes(self) -> Iterator[Lane]:
        """Return the lanes with calls that wait to be sent again."""
        return (lane for lane, state in self._lanes.items() if state.waiting)

    def is_waiting(self, call: Call) -> bool:
        """Return whether the call waits to be sent again."""
        return call.id in self.peek(call.lane).waiting

    def peek(self, lane: Lane) -> LaneState:
        """Return the lane's state to read; a blank one where the lane has no trouble."""
        return self._lanes.get(lane, _BLANK)

    def mark_failing(self, lane: Lane, now: Now) -> bool:
        """Send only probes from now on; return whether that is new."""
        state = self.lane(lane)
        if state.is_failing:
            return False
        state.failing_since = now.budget
        state.began_failing_at = now.seconds
        self._failing[lane] = state
        return True

    def mark_recovered(self, lane: Lane, now: float) -> None:
        """Forget the lane's failures; if it was failing, its calls are sent again at once."""
        state = self._lanes.get(lane)
        if state is None:
            return
        self._lanes[lane] = LaneState(waiting=state.waiting)
        self._free(lane)
        if self._failing.pop(lane, None) is not None:
            for call in list(state.waiting.values()):
                self.wait(call, now)

    # --- choosing ----------------------------------------------------------------------------

    def take_retry(self, now: float) -> Call | None:
        """Take the next write whose delay is over, in lanes that are not failing."""
        return self._take_next(self._retries, now)

    def take_upload(self, now: float) -> Call | None:
        """Take the next upload whose delay is over, in any lane: it is not a write of it."""
        return self._take_next(self._uploads, now)

    def _take_next(self, heap: list[tuple[float, int, Call]], now: float) -> Call | None:
        while heap and heap[0][0] <= now:
            retry_at, _, call = heapq.heappop(heap)
            state = self.peek(call.lane)
            may_go = not state.is_failing or heap is self._uploads
            if call.id in state.waiting and call.retry_at == retry_at and may_go:
                self.take(call)
                return call
        return None

    def next_retry_at(self) -> float | None:
        """Return when the delay of the next call is over (monotonic seconds)."""
        heaps = (self._retries, self._uploads)
        return min((heap[0][0] for heap in heaps if heap), default=None)

    def is_windows_turn(self, lane: Lane) -> bool:
        """Return whether the next probe of the lane comes from its window, not from its calls."""
        state = self._lanes.get(lane)
        if state is None or not state.waiting:
            return True
        state.window_turn = not state.window_turn
        return state.window_turn

    def take_waiting_asset(self, lane: Lane, *, may_upload: bool) -> Call | None:
        """Take one asset of the call that waits longest, as a call of its own: a probe."""
        waiting = self.peek(lane).waiting.values()
        call = next((one for one in waiting if may_upload or one.upload is None), None)
        if call is None:
            return None
        if call.is_alone:
            self.take(call)
            return call
        return self.new_call(lane, [call.batch.pop(0)])

    def take_out(self, call: Call, work: AssetWork) -> None:
        """Take the asset out of a waiting call, because its step ended without the call."""
        call.batch.remove(work)
        if not call.batch:
            self.take(call)
            self.suspected.pop(call.id, None)

    def forget_probe(self, call: Call) -> None:
        """Let the next probe go: this one was cancelled or throttled, and showed nothing."""
        if self.breaker.probing == call.id:
            self.breaker.probing = None
        state = self._lanes.get(call.lane)
        if state is not None and state.probing == call.id:
            state.probing = None
            self._free(call.lane)

    def _heap_of(self, call: Call) -> list[tuple[float, int, Call]]:
        return self._retries if call.upload is None else self._uploads

    def _free(self, lane: Lane) -> None:
        """Forget the lane if nothing is known about it any longer."""
        state = self._lanes.get(lane)
        if state is not None and state.is_blank:
            del self._lanes[lane]

    def take(self, call: Call) -> None:
        """Take the call out of those that wait."""
        del self._lanes[call.lane].waiting[call.id]
        self._waiting -= 1
        self._free(call.lane)
