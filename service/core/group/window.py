"""Collect the changes of each family in a window, to send them together (architecture.md D5).

Rule 1: a window becomes due by time, count or bytes, and keeps filling until a batch is taken.
Rule 2: an asset has one entry in its family's window, with all its changes in order. The entry
stands under the action that the asset's next batch begins with.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from service.contracts.outcome import ACTIONS, DELETE, UPSERT, Action
from service.core.facts import ClosedBy
from service.core.group.asset_work import AssetWork
from service.core.group.coalesce import first_run
from service.core.model import Asset, Change


class Entry(msgspec.Struct, eq=False, gc=False):
    """A waiting asset with its changes in order, however they spell the asset's code."""

    key: Asset
    changes: list[Change]
    number: int
    """Its place among all assets that entered the window."""
    size: int = 0


@dataclass(slots=True)
class FamilyWindow:
    """The waiting assets of one family, by the action that their next batch begins with."""

    # Not a plain dict: finding its first key takes longer the more keys were removed before.
    upserts: OrderedDict[str, Entry] = field(default_factory=OrderedDict)
    deletes: OrderedDict[str, Entry] = field(default_factory=OrderedDict)
    resumed: deque[AssetWork] = field(default_factory=deque)
    """Assets in work whose next step is an upsert that may be sent at once."""
    entered: int = 0
    """How many assets have entered."""
    due_to: int = 0
    """Assets with a number up to this one are due."""
    due_since: float = float("-inf")
    """When they became due."""
    early: int = 0
    """Waiting assets that are not due yet."""
    size: int = 0
    """Bytes of the waiting assets that are not due yet."""
    opened_at: float | None = None
    """When the first change entered that is not due yet; None if there is none."""
    closed_by: ClosedBy = "time"

    def note_taken(self, entry: Entry) -> None:
        """Take note that the asset waits no more."""
        if entry.number > self.due_to:
            self.early -= 1
            self.size -= entry.size
            if not self.early:
                self.opened_at = None

    def entries(self, action: Action) -> OrderedDict[str, Entry]:
        return self.deletes if action == DELETE else self.upserts

    def is_due(self, action: Action) -> bool:
        """Return whether a batch with this action could be taken now."""
        if action == UPSERT and self.resumed:
            return True
        first = next(iter(self.entries(action).values()), None)
        return first is not None and first.number <= self.due_to

    @property
    def is_empty(self) -> bool:
        return not (self.upserts or self.deletes or self.resumed)


class Windows:
    """The windows of all families, and the order in which they take turns."""

    def __init__(
        self, seconds_max: float, assets_max: int, bytes_max: int, changes_max: int
    ) -> None:
        self._seconds_max = seconds_max
        self._assets_max = assets_max
        self._bytes_max = bytes_max
        self._changes_max = changes_max
        """Most changes of one asset in one batch."""
        self._families: dict[str, FamilyWindow] = {}
        self._timers: deque[tuple[float, str]] = deque()
        """When each family's window is due by time: in order, since all wait equally long."""
        self._turns: dict[Action, OrderedDict[str, None]] = {
            action: OrderedDict() for action in ACTIONS
        }
        """Families with due assets, in the order of their turns."""

    def clear(self) -> None:
        """Drop everything that waits."""
        self._families.clear()
        self._timers.clear()
        for turns in self._turns.values():
            turns.clear()

    @property
    def is_empty(self) -> bool:
        return not self._families

    @property
    def next_due_at(self) -> float | None:
        return self._timers[0][0] if self._timers else None

    def add(self, key: Asset, change: Change, now: float) -> None:
        """Put the change into its family's window; `key` is its asset with the case folded."""
        family, code = key
        window = self._families.get(family)
        if window is None:
            window = self._families[family] = FamilyWindow()
        entry = window.upserts.get(code) or window.deletes.get(code)
        if entry is None:
            window.entered += 1
            window.early += 1
            entry = Entry(key, [], window.entered)
            window.upserts[code] = entry
        command = change.command
        entry.changes.append(change)
        entry.size += command.size
        if command.action == DELETE and code in window.upserts:
            self._refile(window, entry)
        if entry.number <= window.due_to:
            if code in window.upserts:
                self._turns[UPSERT].setdefault(family, None)
            return
        window.size += command.size
        # Those that are due already do not count: a call of what they leave would be small.
        if window.early >= self._assets_max:
            self._close(family, window, now, "assets")
        elif window.size >= self._bytes_max:
            self._close(family, window, now, "bytes")
        elif window.opened_at is None:
            window.opened_at = now
            self._timers.append((now + self._seconds_max, family))

    def resume(self, work: AssetWork) -> None:
        """Let the asset's upsert go with the family's next batch: its step before is done."""
        assert work.action == UPSERT
        window = self._families.setdefault(work.key.family, FamilyWindow())
        window.resumed.append(work)
        self._note_turns(work.key.family, window)

    def pass_time(self, now: float) -> None:
        """Make the windows due whose time has come."""
        while self._timers and self._timers[0][0] <= now:
            _, family = self._timers.popleft()
            window = self._families.get(family)
            if window is None or window.opened_at is None:
                continue
            if window.opened_at + self._seconds_max <= now:
                self._close(family, window, now, "time")

    def flush(self, now: float) -> None:
        """Make everything that waits due."""
        for family, window in self._families.items():
            self._close(family, window, now, "drain")

    def due_families(self, action: Action) -> Iterator[str]:
        """Return the families with due assets for the action, in the order of their turns."""
        return iter(self._turns[action])

    def waits(self, family: str, action: Action) -> bool:
        """Return whether anything waits for this family and action, due or not."""
        window = self._families.get(family)
        return window is not None and bool(
            window.entries(action) or (action == UPSERT and window.resumed)
        )

    def families(self) -> Iterator[str]:
        return iter(self._families)

    def resumed(self, family: str) -> Iterator[AssetWork]:
        window = self._families.get(family)
        return iter(list(window.resumed) if window else [])

    def take_resumed(self, work: AssetWork) -> None:
        """Take out a resumed asset whose step has ended without a call."""
        window = self._families[work.key.family]
        window.resumed.remove(work)
        self._after_taking(work.key.family, window, UPSERT)

    def waiting_by_family(self) -> Iterator[tuple[str, int]]:
        """Return each family with the number of its waiting assets."""
        for family, window in self._families.items():
            yield family, len(window.upserts) + len(window.deletes) + len(window.resumed)

    def longest_wait(self, now: float) -> float:
        """Return for how many seconds the family whose turn is next has been due; 0 if none is."""
        turns = (next(iter(turns), None) for turns in self._turns.values())
        return max((self.due_for(family, now) for family in turns if family), default=0.0)

    def due_for(self, family: str, now: float) -> float:
        """Return the seconds since the family's window last became due."""
        since = self._families[family].due_since
        return max(0.0, now - since) if since > float("-inf") else 0.0

    def closed_by(self, family: str) -> ClosedBy:
        return self._families[family].closed_by

    @property
    def asset_count(self) -> int:
        """Assets that wait in any window, without the resumed ones."""
        return sum(len(window.upserts) + len(window.deletes) for window in self._families.values())

    def take_batch(self, family: str, action: Action) -> list[AssetWork]:
        """Take the assets of the next call from a due window: several upserts, or one delete."""
        window = self._families[family]
        batch: list[AssetWork] = []
        size = 0
        assets_max = 1 if action == DELETE else self._assets_max
        while action == UPSERT and window.resumed and len(batch) < assets_max:
            if batch and size + window.resumed[0].step.size > self._bytes_max:
                break
            batch.append(window.resumed.popleft())
            size += batch[-1].step.size
        entries = window.entries(action)
        while entries and len(batch) < assets_max:
            code, entry = entries.popitem(last=False)
            size += entry.size
            if batch and size > self._bytes_max:
                entries[code] = entry
                entries.move_to_end(code, last=False)
                break
            window.note_taken(entry)
            batch.append(self._work(entry, action))
        self._after_taking(family, window, action)
        return batch

    def take_asset(self, family: str, action: Action) -> AssetWork:
        """Take the first asset for a probe, whether it is due or not."""
        window = self._families[family]
        if action == UPSERT and window.resumed:
            work = window.resumed.popleft()
        else:
            work = self._take(window, next(iter(window.entries(action).values())), action)
        self._after_taking(family, window, action)
        return work

    def take_first(self, entry: Entry, action: Action, count: int) -> list[Change]:
        """Take the first changes out of an entry: they end without a call."""
        window = self._families[entry.key.family]
        taken, entry.changes = entry.changes[:count], entry.changes[count:]
        size = sum(change.command.size for change in taken)
        entry.size -= size
        if entry.number > window.due_to:
            window.size -= size
        if not entry.changes:
            self._remove(window, entry, action)
        elif action == UPSERT:
            self._refile(window, entry)
        self._after_taking(entry.key.family, window, action)
        return taken

    def take_entry(self, entry: Entry, action: Action) -> AssetWork:
        """Take a waiting asset whose first step ends without a call."""
        window = self._families[entry.key.family]
        work = self._take(window, entry, action)
        self._after_taking(entry.key.family, window, action)
        return work

    def entries(self, family: str, action: Action) -> Iterator[Entry]:
        """Return the waiting assets of this family and action, the longest-waiting first."""
        window = self._families.get(family)
        return iter(list(window.entries(action).values()) if window else [])

    def changes(self) -> Iterator[Change]:
        """Return every change that waits in any window, without those of resumed assets."""
        for window in self._families.values():
            for entry in (*window.upserts.values(), *window.deletes.values()):
                yield from entry.changes

    def _take(self, window: FamilyWindow, entry: Entry, action: Action) -> AssetWork:
        """Take an asset with the changes of one batch; further changes wait behind it."""
        self._remove(window, entry, action)
        return self._work(entry, action)

    def _work(self, entry: Entry, action: Action) -> AssetWork:
        changes, behind = entry.changes, []
        if len(changes) > self._changes_max:
            changes, behind = changes[: self._changes_max], changes[self._changes_max :]
        work = AssetWork.of(entry.key, changes, self._bytes_max)
        work.behind = behind
        assert work.action == action, "an entry stands under the action that its batch begins with"
        return work

    @staticmethod
    def _remove(window: FamilyWindow, entry: Entry, action: Action) -> None:
        del window.entries(action)[entry.key.code]
        window.note_taken(entry)

    def first_run(self, entry: Entry) -> list[Change]:
        """Return the first changes of the asset's next batch that all spell its code alike."""
        return first_run(entry.changes[: self._changes_max])

    def _refile(self, window: FamilyWindow, entry: Entry) -> None:
        """Move the entry to the deletes if its next batch begins with one; it never moves back."""
        if any(change.action == DELETE for change in self.first_run(entry)):
            code = entry.key.code
            window.deletes[code] = window.upserts.pop(code)
            self._note_turns(entry.key.family, window)

    def _close(self, family: str, window: FamilyWindow, now: float, by: ClosedBy) -> None:
        window.due_to = window.entered
        window.due_since = now
        window.early = window.size = 0
        window.opened_at = None
        window.closed_by = by
        self._note_turns(family, window)

    def _after_taking(self, family: str, window: FamilyWindow, action: Action) -> None:
        self._turns[action].pop(family, None)
        if window.is_empty:
            del self._families[family]
        else:
            self._note_turns(family, window)

    def _note_turns(self, family: str, window: FamilyWindow) -> None:
        for action, turns in self._turns.items():
            if window.is_due(action):
                turns.setdefault(family, None)
            else:
                turns.pop(family, None)
