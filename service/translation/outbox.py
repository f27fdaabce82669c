"""Choose the records that are ready, and write them, one transaction at a time.

Rule 1: a transaction takes whole raw records, in the order of their partitions. It holds their
changes, outcomes and dead letters, and the positions behind them.
Rule 2: when too many of the last items would be dead-lettered, nothing more of the source is
written until an operator releases it: the mapping is probably wrong, or the DAM changed its events.
The same holds if too many items became deletes in an hour, because a delete cannot be undone.
Rule 3: no more than one transaction is under way.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from typing import get_args

from service.contracts.outcome import DEAD_STATUSES, DELETE, Action, Reason
from service.core.delete_ceiling import DeleteCeiling
from service.core.effects import Commit
from service.core.facts import (
    ChangeCompleted,
    DeadLetterLimitReached,
    DeadLettersReleased,
    DeletesReleased,
    TransactionRefused,
)
from service.core.inputs import ChangesRefused, CommitRefusal, Refusal
from service.core.limits import TRANSACTION_BYTES_MIN
from service.core.model import Moment, Partition
from service.core.records import Transaction
from service.core.settle.commit_pace import CommitPace
from service.core.settle.dead_letter_limit import DeadLetterLimit
from service.core.settle.released import ReleasedRecords
from service.core.settle.report import part_id
from service.core.settle.transaction_size import TransactionSize
from service.core.status import HeldBack, note_delete, summed_up
from service.mapping.results import Ended
from service.translation.backlog import Backlog
from service.translation.facts import DeletesHeld, PartResult, RecordsTranslated, TranslatedRecord
from service.translation.limits import (
    TRANSACTION_BYTES_MAX,
    TRANSACTION_RECORDS_MAX,
    TranslationLimits,
)
from service.translation.messages import SourceEffect
from service.translation.report import SourceReporter
from service.translation.work import Built, BuiltChange, Work, Written

_SOURCE = "source"
"""The key of the ceiling on deletes, which counts those of the source together."""


class SourceOutbox:
    """Asks for the transactions of one source, and knows which is under way."""

    def __init__(
        self, limits: TranslationLimits, reporter: SourceReporter, effects: list[SourceEffect]
    ) -> None:
        self._limits = limits
        self._reporter = reporter
        self._effects = effects
        self.limit = DeadLetterLimit(limits.dead_letter_share_max, limits.dead_letter_share_items)
        self.ceiling = DeleteCeiling(limits.deletes_per_hour_max)
        self.backlog = Backlog({})
        self._chosen: list[tuple[Work, Written]] = []
        """The records of the transaction under way, and what it holds for each."""
        self._released = ReleasedRecords()
        """Neither the limit nor the ceiling counts their items."""
        self._pace = CommitPace(limits.commit_interval_seconds)
        self._size = TransactionSize(TRANSACTION_BYTES_MAX, TRANSACTION_BYTES_MIN)

    def begin(self, backlog: Backlog) -> None:
        """Write the records of this backlog from now on, and nothing of an earlier one."""
        self.backlog = backlog
        self._released.follow(backlog)
        self._chosen = []
        self._pace.rest()

    @property
    def is_committing(self) -> bool:
        return bool(self._chosen)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing is written until an operator releases the source."""
        return self.limit.is_reached or bool(self.ceiling.reached)

    @property
    def can_commit(self) -> bool:
        """Whether a transaction could take records now."""
        return not self.is_committing and not self.is_stopped and self.backlog.has_ready

    @property
    def withheld(self) -> int:
        """The items that would become dead letters and that the limit holds back."""
        if not self.limit.is_reached:
            return 0
        return sum(len(work.dead) for work in self.backlog.ready())

    @property
    def held_deletes(self) -> int:
        """The items that became deletes and that the ceiling holds back."""
        return sum(work.deletes for work in self.backlog.ready()) if self.ceiling.reached else 0

    def held_back(self) -> HeldBack:
        """Return what a release lets go: all that could be written now."""
        deletes, others = Counter[str](), 0
        codes: dict[str, list[str]] = {}
        reasons = Counter[Reason]()
        for built in chain.from_iterable(work.ends for work in self.backlog.ready()):
            if isinstance(built, BuiltChange) and built.action == DELETE:
                note_delete(built.family, built.code, deletes, codes)
            elif isinstance(built, Ended) and built.status in DEAD_STATUSES:
                reasons[built.reason] += 1
            else:
                others += 1
        return summed_up(deletes, codes, reasons, others)

    def put_back(self) -> bool:
        """Put the newest mapped record back, unless a transaction under way writes it."""
        return self.backlog.put_back([work for work, _ in self._chosen])

    def is_halted(self, now: float) -> bool:
        """Return whether records are ready and nothing could be committed for too long."""
        return self._pace.is_halted(now)

    def next_times(self) -> list[float]:
        """Return when time alone changes something (monotonic seconds)."""
        return self._pace.next_times(can_commit=self.can_commit)

    def release(self, ends: Mapping[Partition, int]) -> None:
        """Let go what the limit or the ceiling holds back: a person looked at it.

        The records that the partitions have by then, up to `ends`, are not counted any more.
        """
        if not self.is_stopped:
            return
        if self.limit.is_reached:
            self._effects.append(DeadLettersReleased(self.withheld))
        if self.ceiling.reached:
            self._effects.append(DeletesReleased(self.held_deletes))
        self.limit.release()
        self.ceiling.release()
        self._released.cover(self.backlog, ends)

    def maybe_commit(self, moment: Moment) -> None:
        """Ask for the next transaction, once the commit interval is over."""
        if not self._pace.is_due(moment.seconds) or not self.can_commit:
            return
        if chosen := self._choose(moment):
            self._chosen = chosen
            number = self._pace.begin(moment.seconds)
            self._effects.append(Commit(number, self._transaction()))

    def committed(self, number: int, now: float) -> frozenset[Partition]:
        """Take note that the transaction is on the log; return the partitions of its records."""
        assert self.is_under_way(number)
        works = [work for work, _ in self._chosen]
        changes = sum([len(written.changes) for _, written in self._chosen])
        self._chosen = []
        self._pace.rest()
        self.backlog.committed(works)
        counted = [work.deletes for work in works if work.deletes and not self._is_released(work)]
        for _ in range(sum(counted)):
            self.ceiling.count(_SOURCE, now)
        self._released.follow(self.backlog)
        translated = tuple([_translated(work) for work in works])
        seconds = self._pace.seconds(now)
        self._size.committed(seconds)
        self._effects.append(RecordsTranslated(len(works), changes, seconds, translated))
        return frozenset({work.record.origin.partition for work in works})

    def refused(self, number: int, why: Refusal, topic: str) -> bool:
        """Take note that the transaction was aborted; return whether the group fenced this replica.

        Its records go again, but changes that their `topic` refuses become rejections.
        """
        if not self.is_under_way(number):
            return False
        self._effects.append(TransactionRefused(why.value))
        chosen, self._chosen = self._chosen, []
        if why is CommitRefusal.NOT_IN_TIME:
            self._size.not_in_time(sum(written.size for _, written in chosen))
        if isinstance(why, ChangesRefused):
            changes = [(work, change) for work, written in chosen for change in written.changes]
            for refused in sorted(why.numbers):
                work, change = changes[refused]
                if (ended := work.refuse(change, topic)) is not None:
                    self.backlog.measure(work)
                    self._count_refused(work, ended)
        return why is CommitRefusal.FENCED

    def is_under_way(self, number: int) -> bool:
        """Return whether this is the transaction under way, and not one of an ended assignment."""
        return self.is_committing and self._pace.is_last(number)

    def _choose(self, moment: Moment) -> list[tuple[Work, Written]]:
        """Return the records of the next transaction: at least one, if it may pass."""
        chosen: list[tuple[Work, Written]] = []
        records = size = deletes = 0
        for work in self.backlog.ready():
            if not work.is_counted:
                self._count(work)
            if self.limit.is_reached:
                break
            if work.deletes and not self._admits(work, deletes, moment.seconds):
                break
            written = work.written(self._reporter, moment.utc_ms)
            records += written.count
            size += written.size
            deletes += work.deletes
            is_full = records > TRANSACTION_RECORDS_MAX or size > self._size.bytes_max
            if chosen and is_full:
                break
            chosen.append((work, written))
        return chosen

    def _admits(self, work: Work, under_way: int, now: float) -> bool:
        """Return whether the ceiling lets the deletes of a record pass, beside those chosen."""
        if self._is_released(work):
            return True
        is_admitted = self.ceiling.admits(_SOURCE, now, under_way)
        if self.ceiling.reached:
            self._effects.append(DeletesHeld(self._limits.deletes_per_hour_max))
        return is_admitted

    def _is_released(self, work: Work) -> bool:
        """Return whether an operator released the record, with all that there was by then."""
        origin = work.record.origin
        return self._released.has(origin.partition, origin.offset)

    def _count(self, work: Work) -> None:
        """Count the items of a record once by the limit, and report those that ended."""
        work.is_counted = True
        is_released = self._is_released(work)
        counted: int | None = -1
        for built in work.ends:
            if isinstance(built, Ended):
                self._note_ended(work, built)
            if built.part != counted and not is_released and not self.limit.is_reached:
                self._count_item(built)
            counted = built.part

    def _count_item(self, built: Built) -> None:
        """Count one item by the limit; those that were skipped on purpose do not count."""
        if isinstance(built, BuiltChange):
            self.limit.count(None, is_dead=False)
        elif built.status != "skipped":
            self.limit.count(None, is_dead=built.status in DEAD_STATUSES)
            self._note_limit()

    def _count_refused(self, work: Work, ended: Ended) -> None:
        """Report an item whose change its topic refused, and count it as a dead letter."""
        self._note_ended(work, ended)
        if not self._is_released(work) and not self.limit.is_reached:
            self.limit.count_as_dead(None)
            self._note_limit()

    def _note_limit(self) -> None:
        if self.limit.is_reached:
            reached = DeadLetterLimitReached(self.limit.dead, self.limit.changes)
            self._effects.append(reached)

    def _note_ended(self, work: Work, ended: Ended) -> None:
        outcome_id = part_id(work.record.origin, ended.part)
        has_asset = ended.family is not None and ended.code is not None
        path = f"{ended.family}/{ended.code}" if has_asset else None
        completed = ChangeCompleted(outcome_id, path, ended.status, ended.reason, ended.message)
        self._effects.append(completed)

    def _transaction(self) -> Transaction:
        works, written = zip(*self._chosen, strict=True)
        return Transaction(
            outcomes=tuple(chain.from_iterable([one.outcomes for one in written])),
            dead_letters=tuple([one.dead_letter for one in written if one.dead_letter]),
            positions=self.backlog.positions_after(works),
            changes=tuple(chain.from_iterable([one.changes for one in written])),
        )


def _translated(work: Work) -> TranslatedRecord:
    record = work.record
    return TranslatedRecord(
        record.origin.partition,
        record.origin.offset,
        tuple([_result(built) for built in work.ends]),
        record.timestamp_ms,
        work.received_utc_ms,
    )


_CHANGED = {action: PartResult(action) for action in get_args(Action)}


def _result(built: Built) -> PartResult:
    if isinstance(built, BuiltChange):
        return _CHANGED[built.action]
    return PartResult(built.status, built.reason)
