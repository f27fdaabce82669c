"""Choose the call that is sent next (architecture.md D5, D6).

Rule 1: uploads and writes take turns, and so do fresh work and repair, upserts and deletes, and
families. So each of them delays another by no more than one call at a time.
Rule 2: while the breaker is open, only one probe at a time is sent.
"""

from dataclasses import dataclass

from service.contracts.outcome import ACTIONS, DELETE, UPSERT, Action
from service.core.facts import WindowClosed
from service.core.group.window import Windows
from service.core.recover.call import Call, Lane
from service.core.recover.lanes import Lanes
from service.core.send.gate import Gate
from service.core.send.structure_cache import SideRequest, StructureCache


@dataclass(frozen=True, slots=True)
class Chosen:
    """The call that is sent next."""

    call: Call | SideRequest
    is_repair: bool = False
    """Whether it is a retry, an isolated asset or a probe."""
    closed: WindowClosed | None = None
    """The fact to report about the window that the call was taken from."""


class Scheduler:
    """Chooses among windows, calls that wait to be sent again, and structures to be read."""

    def __init__(
        self, windows: Windows, lanes: Lanes, structure_cache: StructureCache | None, gate: Gate
    ) -> None:
        self._windows = windows
        self._lanes = lanes
        self._structure_cache = structure_cache
        self._gate = gate
        self._action_turn: Action = UPSERT
        self._upload_turn = False
        self._repair_turn = False
        self._probe_turn = False

    def next(self, now: float, *, is_side_request_out: bool) -> Chosen | None:
        """Return the next call, or None if none may be sent now."""
        if self._lanes.breaker.is_open:
            probe = None if is_side_request_out else self._breaker_probe(now)
            return Chosen(probe, is_repair=True) if probe else None
        if self._structure_cache is not None and (
            side := self._structure_cache.next_side_request(now)
        ):
            return Chosen(side)
        for uploads in (self._upload_turn, not self._upload_turn):
            chosen = self._next_upload(now) if uploads else self._next_write(now)
            if chosen is not None:
                self._upload_turn = not uploads
                return chosen
        return None

    def _next_upload(self, now: float) -> Chosen | None:
        call = self._lanes.take_upload(now) if self._gate.may_upload else None
        return Chosen(call) if call is not None else None

    def _next_write(self, now: float) -> Chosen | None:
        for repair in (self._repair_turn, not self._repair_turn):
            chosen = self._next_repair(now) if repair else self._next_fresh(now)
            if chosen is not None:
                self._repair_turn = not repair
                return chosen
        return None

    def _next_fresh(self, now: float) -> Chosen | None:
        other: Action = DELETE if self._action_turn == UPSERT else UPSERT
        for action in (self._action_turn, other):
            for family in self._windows.due_families(action):
                if self._lanes.is_failing((family, action)):
                    continue
                if action == UPSERT and self._structure_cache is not None:
                    if self._structure_cache.needs_fetch(family, now):
                        return Chosen(self._structure_cache.begin_fetch(family, now))
                    if not self._structure_cache.may_send(family):
                        continue
                self._action_turn = DELETE if action == UPSERT else UPSERT
                return self._take_batch((family, action), now)
        return None

    def _take_batch(self, lane: Lane, now: float) -> Chosen:
        """Make a call of what waits in a due window."""
        family, action = lane
        by = self._windows.closed_by(family)
        waited_seconds = round(self._windows.due_for(family, now), 3)
        batch = self._windows.take_batch(family, action)
        closed = WindowClosed(family, action, by, waited_seconds, assets=len(batch))
        return Chosen(self._lanes.new_call(lane, batch), closed=closed)

    def _next_repair(self, now: float) -> Chosen | None:
        if not self._gate.may_repair:
            return None
        self._probe_turn = not self._probe_turn
        if self._probe_turn:
            call = self._lanes.take_retry(now) or self._lane_probe(now)
        else:
            call = self._lane_probe(now) or self._lanes.take_retry(now)
        return Chosen(call, is_repair=True) if call else None

    def _lane_probe(self, now: float) -> Call | None:
        for lane, state in self._lanes.failing_lanes():
            if state.probing is None and state.probe_at <= now:
                call = self._probe_of(lane, may_upload=False)
                if call is not None:
                    state.probing = call.id
                    return call
        return None

    def _breaker_probe(self, now: float) -> Call | SideRequest | None:
        breaker = self._lanes.breaker
        if breaker.probing is not None or breaker.probe_at > now:
            return None
        # What waits for its structure may be the call that shows that the PIM works.
        if self._structure_cache is not None and (
            side := self._structure_cache.next_side_request(now)
        ):
            return side
        lanes = set(self._lanes.waiting_lanes())
        for family in self._windows.families():
            lanes.update(
                (family, action) for action in ACTIONS if self._windows.waits(family, action)
            )
        for lane in sorted(lanes, key=lambda lane: (breaker.turns.get(lane, 0), lane[0], lane[1])):
            call = self._probe_of(lane, may_upload=self._gate.may_upload)
            if call is not None:  # else it has only uploads, and too many are in flight already
                breaker.turns[lane] = max(breaker.turns.values(), default=0) + 1
                breaker.probing = call.id
                return call
        return None

    def _probe_of(self, lane: Lane, *, may_upload: bool) -> Call | None:
        """Return a call of one asset of the lane, from waiting calls and the window in turn."""
        in_window = self._windows.waits(*lane)
        if not in_window or not self._lanes.is_windows_turn(lane):
            call = self._lanes.take_waiting_asset(lane, may_upload=may_upload)
            if call is not None or not in_window:
                return call
        return self._lanes.new_call(lane, [self._windows.take_asset(*lane)])
