"""Collect the outcomes that are known, and write them, one transaction at a time.

Rule 1: while the limit on dead letters is reached, dead letters are withheld until an operator
releases them. The outcomes of later changes of their assets must not overtake them, so these are
withheld too; a record that was rejected before it became a change holds back no other.
Rule 2: in a backlog, where intake pauses again and again, every change waits for seconds. So a
transaction waits for more outcomes: few large ones cost less than many small ones.
Rule 3: no more than one transaction is under way. If Kafka takes none for `COMMIT_SILENCE_SECONDS`,
the outbox is halted: calls whose outcomes could not be committed must not start.
"""

from collections.abc import Iterator, Mapping
from itertools import chain

from service.contracts.outcome import Reason, Status
from service.core.effects import Commit, Effect
from service.core.facts import (
    ChangeCompleted,
    DeadLetterLimitReached,
    DeadLettersReleased,
    TransactionCommitted,
    TransactionRefused,
)
from service.core.group.asset_work import AppliedAlike, Ended
from service.core.inputs import CommitRefusal, Start
from service.core.limits import FULL_TRANSACTION_SHARE, RESUMED_SHARE, Limits
from service.core.model import Asset, Moment, Origin, Partition, Rejection, SourceRecord
from service.core.records import CompletedChange
from service.core.settle.commit_pace import CommitPace
from service.core.settle.dead_letter_limit import DeadLetterLimit
from service.core.settle.ledger import Group, Ledger
from service.core.settle.released import ReleasedRecords
from service.core.settle.report import why
from service.core.settle.transaction_size import TransactionSize
from service.core.settle.usual_report import UsualReporter


class Outbox:
    """Turns ends of changes into outcomes, and asks for the transactions that write them."""

    def __init__(self, limits: Limits, effects: list[Effect]) -> None:
        self._limits = limits
        self._effects = effects
        self._reporter = UsualReporter(limits.outcome_source)
        self.limit = DeadLetterLimit(limits.dead_letter_share_max, limits.dead_letter_share_changes)
        self.ledger = Ledger({}, limits)
        self._withheld: list[Group] = []
        """Dead letters that wait for a person, and what may not overtake them, in order."""
        self._withheld_assets: set[Asset] = set()
        self._released = ReleasedRecords()
        """The limit does not count their changes."""
        self._pace = CommitPace(limits.commit_interval_seconds)
        self._size = TransactionSize(limits.transaction_bytes_max, limits.transaction_bytes_min)

    def begin(self, starts: Mapping[Partition, Start]) -> None:
        """Keep a new ledger: an assignment begins."""
        self.ledger = Ledger(starts, self._limits)
        self._released.follow(self.ledger)

    def forget(self) -> None:
        """Drop everything: the assignment is over, and the next owner reads it again."""
        self.ledger = Ledger({}, self._limits)
        self._withheld.clear()
        self._withheld_assets.clear()
        self._pace.rest()

    @property
    def withheld_changes(self) -> int:
        """Changes that the limit on dead letters holds back."""
        return sum(map(len, self._withheld))

    def withheld(self) -> Iterator[CompletedChange]:
        """Yield what the limit on dead letters holds back, in order."""
        return chain.from_iterable(self._withheld)

    # --- outcomes ----------------------------------------------------------------------------

    def reject(self, record: SourceRecord, rejection: Rejection, utc_ms: int) -> None:
        """Complete a record that becomes no command."""
        self._leave((self._reporter.of_rejection(record, rejection, utc_ms),))
        self._note_completed(
            record.origin, rejection.asset, rejection.status, rejection.reason, rejection.message
        )

    def complete(self, ended: Ended, utc_ms: int, *, is_counted: bool) -> None:
        """Complete changes that ended together; `is_counted` by the limit on dead letters."""
        asset = ended[0][0].command.asset
        group = []
        for change, ending in ended:
            group.append(self._reporter.of_change(change, ending, utc_ms))
        self._leave(tuple(group), asset, is_counted=is_counted)
        for change, ending in ended:
            if ending.reason is not None:
                origin = change.record.origin
                self._note_completed(origin, asset, ending.status, ending.reason, why(ending))

    def complete_alike(self, applied: AppliedAlike, utc_ms: int, *, is_counted: bool) -> None:
        """Complete upserts of several assets that were applied alike."""
        all_completed = self._reporter.of_changes(applied.changes, applied.ending, utc_ms)
        if self.limit.is_reached or self._released:
            for change, completed in zip(applied.changes, all_completed, strict=True):
                self._leave((completed,), change.command.asset, is_counted=is_counted)
            return
        if is_counted:
            self.limit.count_alive(len(all_completed))
        self.ledger.complete(zip(all_completed))

    def release(self, ends: Mapping[Partition, int]) -> None:
        """Let withheld outcomes leave: a person looked at them.

        The records that the partitions have by then, up to `ends`, are not counted any more.
        """
        if not self.limit.is_reached:
            return
        self.limit.release()
        self._released.cover(self.ledger, ends)
        self._effects.append(DeadLettersReleased(self.withheld_changes))
        self.ledger.complete(self._withheld)
        self._withheld.clear()
        self._withheld_assets.clear()

    def _leave(self, group: Group, asset: Asset | None = None, *, is_counted: bool = True) -> None:
        was_reached = self.limit.is_reached
        is_dead = False
        for completed in group:
            dies = completed.dead_letter is not None
            is_dead = is_dead or dies
            is_released = self._released.has(completed.partition, completed.offset)
            if is_counted and not was_reached and not is_released:
                self.limit.count(completed.family, is_dead=dies)
        if self.limit.is_reached and not was_reached:
            reached = DeadLetterLimitReached(self.limit.dead, self.limit.changes)
            self._effects.append(reached)
        if self.limit.is_reached and (is_dead or asset in self._withheld_assets):
            self._withheld.append(group)
            if asset is not None:
                self._withheld_assets.add(asset)
        else:
            self.ledger.complete((group,))

    def _note_completed(
        self, origin: Origin, asset: Asset | None, status: Status, reason: Reason, message: str
    ) -> None:
        path = asset.path if asset else None
        completed = ChangeCompleted(origin.outcome_id, path, status, reason, message)
        self._effects.append(completed)

    # --- transactions ------------------------------------------------------------------------

    def maybe_commit(self, now: float, *, is_draining: bool) -> None:
        """Ask for the next transaction, once it is time."""
        may_wait = self._may_wait(is_draining=is_draining)
        if not self.ledger.can_commit or not self._pace.is_due(now, may_wait=may_wait):
            return
        transaction = self.ledger.take_transaction(self._size.bytes_max)
        if transaction is None:  # the watermark must move first: only a call can do that
            self._pace.rest()
            return
        self._effects.append(Commit(self._pace.begin(now), transaction))

    def _may_wait(self, *, is_draining: bool) -> bool:
        """Return whether the next transaction may wait for more outcomes (rule 2)."""
        pending_max = self._limits.pending_changes_max
        has_backlog = self.ledger.pending_changes >= pending_max * RESUMED_SHARE
        is_full = self.ledger.ready_groups >= pending_max * FULL_TRANSACTION_SHARE
        return has_backlog and not is_full and not is_draining

    def committed(self, number: int, moment: Moment) -> Group:
        """Take note that the transaction is on the log; return the changes that it completed."""
        if not self.is_under_way(number):
            return ()
        completed = self.ledger.committed()
        self._released.follow(self.ledger)
        self._pace.rest()
        seconds = self._pace.seconds(moment.seconds)
        self._size.committed(seconds)
        committed = TransactionCommitted(len(completed), seconds, completed)
        self._effects.append(committed)
        return completed

    def refused(self, why_refused: CommitRefusal) -> None:
        """Take note that the transaction under way was aborted; its outcomes go again."""
        self._effects.append(TransactionRefused(why_refused.value))
        if why_refused is CommitRefusal.NOT_IN_TIME:
            self._size.not_in_time(self.ledger.bytes_under_way)
        if why_refused is not CommitRefusal.FENCED:
            is_map_too_large = why_refused is CommitRefusal.METADATA_TOO_LARGE
            self.ledger.refused(map_too_large=is_map_too_large)

    def is_under_way(self, number: int) -> bool:
        """Return whether this is the transaction under way.

        The answer to a transaction may come when its assignment is over; it is ignored then.
        """
        return self.ledger.is_committing and self._pace.is_last(number)

    def is_halted(self, now: float) -> bool:
        """Return whether outcomes wait and nothing could be committed for too long."""
        return self._pace.is_halted(now)

    def next_times(self, *, is_draining: bool) -> list[float]:
        """Return when time alone changes something (monotonic seconds)."""
        may_wait = self._may_wait(is_draining=is_draining)
        return self._pace.next_times(can_commit=self.ledger.can_commit, may_wait=may_wait)
