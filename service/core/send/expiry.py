"""End retry budgets: a failing asset or lane may wait only for a limited time (architecture.md D7).

Rule 1: the budget clock stands still while no call could succeed: the breaker is open, the gate
is closed, the lease is lost or the limit on dead letters is reached. An outage uses up no budget.
Rule 2: a budget ends early only where waiting would stop other assets: a partition is at its span
limit, or failing assets and lanes hold more than their share of what may be pending.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from service.contracts.outcome import ACTIONS, DELETE, UPSERT, Action
from service.core.group.asset_work import AssetWork
from service.core.group.window import Entry, Windows
from service.core.limits import REPAIR_SHARE_MAX, Limits
from service.core.media.files import Files
from service.core.model import Change, Now
from service.core.recover.call import Call, Lane
from service.core.recover.lanes import Lanes, LaneState
from service.core.send.busy_assets import BusyAssets
from service.core.verdict_types import Failure, PimResponse

CHECK_SECONDS = 0.5
"""Seconds between two looks for changes that have waited too long."""


@dataclass(slots=True)
class BudgetClock:
    """Counts the seconds in which a call could have succeeded."""

    seconds: float = 0.0
    _looked_at: float | None = None

    def advance(self, now: float, *, running: bool) -> None:
        """Count the time since the last step if a call could have succeeded in it."""
        if running and self._looked_at is not None:
            self.seconds += max(0.0, now - self._looked_at)
        self._looked_at = now


@dataclass(frozen=True, slots=True)
class _WaitingWork:
    """An asset of a call that waits to be sent again."""

    call: Call
    work: AssetWork

    @property
    def changes(self) -> list[Change]:
        """The changes that wait with this asset, in order."""
        return [*self.work.open_changes, *self.work.behind]


@dataclass(frozen=True, slots=True)
class _WaitingFiles:
    """An asset that waits for files which could not be fetched so far."""

    work: AssetWork

    @property
    def changes(self) -> list[Change]:
        """The changes that wait with this asset, in order."""
        return [*self.work.open_changes, *self.work.behind]


@dataclass(frozen=True, slots=True)
class _WaitingEntry:
    """An asset in the window of a failing lane."""

    lane: Lane
    entry: Entry

    @property
    def changes(self) -> list[Change]:
        """The changes that wait with this asset, in order."""
        return self.entry.changes


class Expiry:
    """Fails changes whose retry budget is used up. Looks only while the budget clock runs."""

    def __init__(
        self, limits: Limits, windows: Windows, lanes: Lanes, busy: BusyAssets, files: Files
    ) -> None:
        self._limits = limits
        self._files = files
        self._windows = windows
        self._lanes = lanes
        self._busy = busy
        self._next_look_at = 0.0

    @property
    def next_time(self) -> float | None:
        """When to look again (monotonic seconds), None while no call or file waits."""
        may_expire = self._lanes.may_expire or self._files.downloads
        return self._next_look_at if may_expire else None

    def is_due(self, now: float) -> bool:
        """Return whether it is time to look again."""
        return now >= self._next_look_at

    def look(self, now: Now, blocking: Iterable[Change]) -> None:
        """Fail what waited too long, and the changes that block partitions at their span limit."""
        self._next_look_at = now.seconds + CHECK_SECONDS
        for lane, state in self._lanes.failing_lanes():
            self._expire(lane, state, now)
        for change in blocking:
            self._unblock(change, now)
        self._keep_share(now)

    # --- a failing lane's changes ------------------------------------------------------------

    def _expire(self, lane: Lane, state: LaneState, now: Now) -> None:
        assert state.failing_since is not None
        failure = state.failure
        assert failure is not None
        horizon = now.budget - self._limits.retry_seconds_max
        if state.failing_since > horizon:
            return
        message = _lane_message(lane)
        for call in list(state.waiting.values()):
            for work in list(call.batch):
                if work.step.changes[0].admitted_at <= horizon:
                    self._end_waiting(call, work, message, now)
        for work in self._windows.resumed(lane[0]) if lane[1] == UPSERT else ():
            if work.step.changes[0].admitted_at <= horizon:
                self._end_resumed(work, failure, message, now)
        for entry in self._windows.entries(*lane):
            self._expire_entry(entry, lane[1], horizon, message, now)

    def _expire_entry(
        self, entry: Entry, action: Action, horizon: float, message: str, now: Now
    ) -> None:
        failure = self._failure_of((entry.key.family, action))
        first = self._windows.first_run(entry)
        if action == DELETE:
            last_delete = next(change for change in reversed(first) if change.action == DELETE)
            if last_delete.admitted_at <= horizon:
                self._end_delete(entry, failure, message, now)
            return
        count = sum(1 for change in first if change.admitted_at <= horizon)
        if count:
            taken = self._windows.take_first(entry, action, count)
            self._busy.fail_waiting(taken, _uncalled(failure), message)

    # --- ending early ------------------------------------------------------------------------

    def _unblock(self, change: Change, now: Now) -> None:
        """Give up the work of this change if it is in repair, so that its partition can go on."""
        work = self._busy.get(change.asset)
        message = "Given up early: its partition could not go on without it."
        if work is None:
            self._unblock_window(change, message, now)
            return
        for call in self._lanes.waiting_calls():
            if work in call.batch:
                if self._is_in_repair(call, work):
                    self._give_up(_WaitingWork(call, work), message, now)
                return
        self._give_up(_WaitingFiles(work), message, now)

    def _unblock_window(self, change: Change, message: str, now: Now) -> None:
        for action in ACTIONS:
            lane = (change.asset.family, action)
            if not self._lanes.is_failing(lane):
                continue
            for entry in self._windows.entries(*lane):
                if change in entry.changes:
                    self._give_up(_WaitingEntry(lane, entry), message, now)
                    return

    def _keep_share(self, now: Now) -> None:
        """Give up the oldest work in repair until the rest takes no more than its share."""
        waiting = [(one, one.changes) for one in self._waiting()]
        waiting.sort(key=lambda pair: min(change.admitted_at for change in pair[1]))
        count = sum(len(changes) for _, changes in waiting)
        size = sum(change.size for _, changes in waiting for change in changes)
        for one, changes in waiting:
            if (
                count <= self._limits.pending_changes_max * REPAIR_SHARE_MAX
                and size <= self._limits.pending_bytes_max * REPAIR_SHARE_MAX
            ):
                return
            self._give_up(one, "Given up early: too many changes wait for repair.", now)
            count -= len(changes)
            size -= sum(change.size for change in changes)

    def _waiting(self) -> Iterator[_WaitingWork | _WaitingFiles | _WaitingEntry]:
        for work in self._files.failing_works():
            yield _WaitingFiles(work)
        for call in self._lanes.waiting_calls():
            for work in call.batch:
                if self._is_in_repair(call, work):
                    yield _WaitingWork(call, work)
        for lane, _ in self._lanes.failing_lanes():
            for entry in self._windows.entries(*lane):
                yield _WaitingEntry(lane, entry)

    def _is_in_repair(self, call: Call, work: AssetWork) -> bool:
        """Return whether the asset uses up its budget, or its lane fails.

        What a single success showed to be the asset's own does not count: the failures before it
        may be left over from an outage that ended with it.
        """
        return work.successes_beside > 1 or self._lanes.is_failing(call.lane)

    def _give_up(
        self, one: _WaitingWork | _WaitingFiles | _WaitingEntry, message: str, now: Now
    ) -> None:
        match one:
            case _WaitingFiles(work):
                self._busy.go_on(self._files.give_up(work, message), now)
            case _WaitingWork(call, work):
                failure = work.last_failure or self._failure_of(call.lane)
                self._lanes.take_out(call, work)
                self._busy.fail_work(work, _failure_for(work, failure), message, now)
            case _WaitingEntry((_, "delete") as lane, entry):
                self._end_delete(entry, self._failure_of(lane), message, now)
            case _WaitingEntry((_, action) as lane, entry):
                count = len(self._windows.first_run(entry))
                taken = self._windows.take_first(entry, action, count)
                self._busy.fail_waiting(taken, _uncalled(self._failure_of(lane)), message)

    # --- ending ------------------------------------------------------------------------------

    def _end_waiting(self, call: Call, work: AssetWork, message: str, now: Now) -> None:
        failure = _failure_for(work, self._failure_of(call.lane))
        self._lanes.take_out(call, work)
        self._busy.fail_step(work, failure, message, now)

    def _end_resumed(self, work: AssetWork, failure: Failure, message: str, now: Now) -> None:
        self._windows.take_resumed(work)
        self._busy.fail_step(work, _uncalled(failure), message, now)

    def _end_delete(self, entry: Entry, failure: Failure, message: str, now: Now) -> None:
        """Fail the delete without a call; the upserts around it go on."""
        work = self._windows.take_entry(entry, DELETE)
        self._busy.hold((work,))
        self._busy.fail_step(work, _uncalled(failure), message, now)

    def _failure_of(self, lane: Lane) -> Failure:
        failure = self._lanes.lane(lane).failure
        assert failure is not None, "a failing lane has failed"
        return failure


def _failure_for(work: AssetWork, failure: Failure) -> Failure:
    """Return the failure of this asset; of another asset's failure only the reason is taken."""
    return work.last_failure or _uncalled(failure)


def _uncalled(failure: Failure) -> Failure:
    return Failure(failure.reason, PimResponse(None))


def _lane_message(lane: Lane) -> str:
    family, action = lane
    return f"Waited too long: every {action} in the family {family} fails at present."
