"""One raw record on its way: read, mapped, read back, ready to be written.

Rule 1: a record is written whole. So its items wait for one another, and the records behind it in
its partition wait for it.
Rule 2: a change is kept as the record that is written, because its size counts.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, groupby

import msgspec

from service.contracts.outcome import DEAD_STATUSES, DELETE
from service.core.model import SourceRecord
from service.core.records import ChangeRecord, LogRecord
from service.mapping.json_values import decoded_bytes
from service.mapping.results import Action, Change, Ended, EventFacts, Part, Read
from service.translation.limits import CHANGES_BYTES_MAX, TranslationLimits
from service.translation.replay import Replay
from service.translation.report import SourceReporter


class BuiltChange(msgspec.Struct, frozen=True, gc=False):
    """The record of a change, and what an outcome would say of it if the record is refused."""

    record: ChangeRecord
    size: int
    """Bytes of the record."""
    action: Action
    part: int
    family: str
    code: str
    rule: str | None
    event: EventFacts

    def rejected(self, message: str) -> Ended:
        """Return the end of a change that is too large for its topic."""
        return Ended(
            self.part,
            "rejected",
            "too_large",
            message,
            self.family,
            self.code,
            self.rule,
            self.event,
        )


Built = BuiltChange | Ended


class Written(msgspec.Struct, frozen=True, gc=False):
    """The records that a transaction holds for one raw record."""

    count: int
    """How many changes and outcomes there are."""
    size: int
    """Bytes of all its records."""
    changes: tuple[ChangeRecord, ...]
    outcomes: tuple[LogRecord, ...] = ()
    dead_letter: LogRecord | None = None


class Waiting(msgspec.Struct, eq=False, gc=False):
    """The items of a record of which one at least waits for a read."""

    items: list[tuple[Built, ...] | None]
    """What each item became; None while it waits."""
    open_items: int
    """How many of them wait."""
    decoded_bytes: int
    """Memory of the record's decoded JSON, its key included, which is kept for them."""


class Work(msgspec.Struct, eq=False, gc=False):
    """A raw record that is pending: not mapped yet, waiting for reads, or decided."""

    record: SourceRecord
    replay: Replay
    received_utc_ms: int
    waiting: Waiting | None = None
    """Its items, from the mapping until the last of them is decided."""
    ends: tuple[Built, ...] = ()
    """What its items became, in order, as soon as all of them are decided; empty before."""
    items: int = 1
    """How many items it has; a record that is not mapped yet counts as one."""
    deletes: int = 0
    """How many items became deletes, of one family or of several; known with `ends`."""
    changes_bytes: int = 0
    counted: tuple[int, int] = (0, 0)
    """Bytes and items, as the backlog counts them at present."""
    times_mapped: int = 0
    """A read that was asked for at an earlier time decides nothing any more."""
    is_counted: bool = False
    """Whether the limit on dead letters has counted it."""
    _written: Written | None = None

    @property
    def size(self) -> int:
        """Memory that it takes, in bytes, approximately."""
        size = self.record.size + self.changes_bytes
        return size if self.waiting is None else size + self.waiting.decoded_bytes

    @property
    def dead(self) -> list[Ended]:
        """The items that died."""
        return [one for one in self.ends if isinstance(one, Ended) and one.status in DEAD_STATUSES]

    def take(
        self, parts: Sequence[Part], reporter: SourceReporter, limits: TranslationLimits
    ) -> Sequence[tuple[int, Read]]:
        """Take what the record was mapped to; return the reads that it waits for, by index."""
        self.times_mapped += 1
        if len(parts) == 1 and not isinstance(parts[0], Read):  # nearly every record
            self._end([(self._build(parts[0], reporter, limits),)])
            return ()
        by_item = [list(results) for _, results in groupby(parts, lambda part: part.part)]
        count = self.items = len(by_item)
        texts = self.record.value or b"", self.record.key or b""
        self.waiting = Waiting([None] * count, count, sum(map(decoded_bytes, texts)))
        reads: list[tuple[int, Read]] = []
        for index, results in enumerate(by_item):
            decided = [one for one in results if not isinstance(one, Read)]
            if decided:
                self.decide(index, decided, reporter, limits)
            else:
                reads += [(index, one) for one in results if isinstance(one, Read)]
        return () if self.ends else reads

    def forget(self) -> None:
        """Forget what it was mapped to."""
        self.waiting = self._written = None
        self.ends = ()
        self.items = 1
        self.deletes = self.changes_bytes = 0

    def decide(
        self,
        index: int,
        results: Iterable[Change | Ended],
        reporter: SourceReporter,
        limits: TranslationLimits,
    ) -> None:
        """Take what an item became, unless the record as a whole was rejected meanwhile."""
        waiting = self.waiting
        if waiting is None or waiting.items[index] is not None:
            return
        built = _one_end(tuple([self._build(one, reporter, limits) for one in results]))
        waiting.items[index] = built
        waiting.open_items -= 1
        self.changes_bytes += _size_of(built)
        if not waiting.open_items or self.changes_bytes > CHANGES_BYTES_MAX:
            self._end([item for item in waiting.items if item is not None])

    def refuse(self, refused: ChangeRecord, topic: str) -> Ended | None:
        """Reject a change whose record its topic refused as too large; return its end.

        There is none if its item was rejected for the delete from another family.
        """
        why = (
            f"The change has {refused.size} bytes: more than {topic} accepts "
            "(max.message.bytes of the topic)."
        )
        changes = (one for one in self.ends if isinstance(one, BuiltChange))
        change = next((one for one in changes if one.record is refused), None)
        if change is None:
            return None
        ended = change.rejected(why)
        ends = [ended if one is change else one for one in self.ends]
        by_item = groupby(ends, lambda one: one.part)
        self._end([_one_end(tuple(item)) for _, item in by_item])
        return ended

    def _end(self, items: Sequence[tuple[Built, ...]]) -> None:
        """Take what all items became, or reject the record, if its changes are too large together.

        Items that still wait for a read do not matter then.
        """
        self.waiting = self._written = None
        self.ends = items[0] if len(items) == 1 else tuple(chain.from_iterable(items))
        self.changes_bytes = _size_of(self.ends)
        self.deletes = 0
        for item in items:
            self.deletes += _is_delete(item)
        if self.changes_bytes > CHANGES_BYTES_MAX:
            message = (
                f"The changes of the record have more than {CHANGES_BYTES_MAX} bytes together."
            )
            event = self.ends[0].event
            self._end([(Ended(None, "rejected", "too_large", message, event=event),)])
            self.items = 1

    def written(self, reporter: SourceReporter, utc_ms: int) -> Written:
        """Return the records that a transaction writes for it."""
        assert self.ends, "decided"
        if self._written is None:
            changes = tuple([one.record for one in self.ends if isinstance(one, BuiltChange)])
            if len(changes) == len(self.ends):
                self._written = Written(len(changes), self.changes_bytes, changes)
            else:
                self._written = self._with_ended(changes, reporter, utc_ms)
        return self._written

    def _with_ended(
        self, changes: tuple[ChangeRecord, ...], reporter: SourceReporter, utc_ms: int
    ) -> Written:
        """Return its records, with the outcomes of the items that became no change."""
        outcomes = tuple(
            reporter.outcome(self.record, one, self.replay, self.received_utc_ms, utc_ms)
            for one in self.ends
            if isinstance(one, Ended)
        )
        size = self.changes_bytes + sum(one.size for one in outcomes)
        count = len(changes) + len(outcomes)
        if not (dead := self.dead):
            return Written(count, size, changes, outcomes)
        letter = reporter.dead_letter(self.record, dead, self.replay, utc_ms)
        return Written(count, size + letter.size, changes, outcomes, letter)

    def _build(
        self, result: Change | Ended, reporter: SourceReporter, limits: TranslationLimits
    ) -> Built:
        if isinstance(result, Ended):
            return result
        record = reporter.change(self.record, result, self.replay)
        size = record.size
        built = BuiltChange(
            record,
            size,
            result.action,
            result.part,
            result.family,
            result.code,
            result.rule,
            result.event,
        )
        if size <= limits.record_bytes_max:
            return built
        return built.rejected(
            f"The change has {size} bytes of key, value and headers; the limit is "
            f"{limits.record_bytes_max} (ASSET_SYNC_KAFKA__MAX_RECORD_BYTES)."
        )


def _one_end(built: tuple[Built, ...]) -> tuple[Built, ...]:
    """Return what an item became: its changes, or one end where one of them cannot be written.

    An item has one outcome, whatever number of families its asset is to be deleted from.
    """
    if len(built) == 1:
        return built
    return next(((one,) for one in built if isinstance(one, Ended)), built)


def _is_delete(built: tuple[Built, ...]) -> bool:
    """Return whether an item became a delete, of one family or of each of several."""
    return isinstance(built[0], BuiltChange) and built[0].action == DELETE


def _size_of(built: tuple[Built, ...]) -> int:
    """Return the bytes of the records of an item's changes."""
    size = 0
    for one in built:
        if isinstance(one, BuiltChange):
            size += one.size
    return size
