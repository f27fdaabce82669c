"""The owner of a source's state: `step(input, moment) → effects`, as the pipeline of `run`.

Rule 1: every raw record is owed what the mapping makes of it: changes, outcomes, or both. They are
committed together with the position behind the record.
Rule 2: what belongs to an assignment that is over is dropped: the next owner of the partition reads
those records again, and gives their items the same ids.
Rule 3: a step maps no more than a turn allows (`turn.py`); the next one goes on at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from service.core.effects import Drained, DropAssignment
from service.core.inputs import (
    Arrived,
    Assigned,
    CommitRefused,
    Committed,
    DrainStarted,
    Forgotten,
    LeaseRenewed,
    Refusal,
    Released,
    TimePassed,
)
from service.core.model import Moment, Partition, SourceRecord, partitions_of
from service.core.status import HeldBack, LastProgress, PartitionStatus
from service.mapping.results import Ended, EndReason, MappedRecord, MappedSource, RawRecord
from service.translation.backlog import Backlog
from service.translation.decisions import Decisions
from service.translation.intake import SourceIntake
from service.translation.limits import TranslationLimits
from service.translation.membership import SourceMembership
from service.translation.messages import ReadAnswered, SourceEffect, SourceInput
from service.translation.outbox import SourceOutbox
from service.translation.reads import Decided, ReadPlan, Wanted
from service.translation.report import SourceNames, SourceReporter
from service.translation.status import SourceStatus, SourceWaitsFor
from service.translation.turn import COST_MAX, cost_of
from service.translation.work import Work


@dataclass(frozen=True, slots=True)
class Ticket:
    """An item that waits for a read: the record as mapped then, and the index among its items."""

    work: Work
    times_mapped: int
    index: int

    @property
    def is_outdated(self) -> bool:
        """Whether the record was put back since, or decided without this read."""
        return self.times_mapped != self.work.times_mapped or self.work.waiting is None


@dataclass(frozen=True, slots=True)
class TranslatedSource:
    """A source, and what its translator writes."""

    mapping: MappedSource
    names: SourceNames
    changes_topic: str


class Translator:
    """Takes raw records through mapping and reading back, to the transactions that write them."""

    def __init__(
        self, source: TranslatedSource, reads: ReadPlan[Ticket], limits: TranslationLimits
    ) -> None:
        self._source = source
        self._reads = reads
        self._decisions = Decisions(reads)
        self._limits = limits
        self._effects: list[SourceEffect] = []
        """What the step under way asks for, in order; the parts below append to it too."""
        self._reporter = SourceReporter(source.names)
        self._outbox = SourceOutbox(limits, self._reporter, self._effects)
        self._intake = SourceIntake(limits, self._effects)
        self._membership = SourceMembership()
        self._progress = LastProgress()
        self._is_crowded = False
        """Whether records were put back since half of the room for mapped ones was free."""
        self._moment = Moment(float("-inf"), 0)

    @property
    def pending_records(self) -> int:
        """Raw records that are admitted and not yet committed."""
        return self._backlog.pending_records

    @property
    def _backlog(self) -> Backlog:
        return self._outbox.backlog

    # --- the one way in ----------------------------------------------------------------------

    def step(self, happened: SourceInput, moment: Moment) -> list[SourceEffect]:
        """Take what happened, and return what is to be done, in order."""
        assert moment.seconds >= self._moment.seconds, "the clock is monotonic"
        self._moment = moment
        self._take(happened)
        self._pass_time()
        effects = self._effects[:]
        self._effects.clear()
        return effects

    def next_time(self) -> float | None:
        """Return when `TimePassed` is due at the latest, in monotonic seconds."""
        now = self._moment.seconds
        if self._membership.may_read(now) and self._has_more:
            return now
        times = [*self._outbox.next_times(), *self._membership.next_times()]
        if self._membership.may_read(now) and (at := self._reads.next_time()) is not None:
            times.append(at)
        return min((time for time in times if time > now), default=None)

    def held_back(self) -> HeldBack:
        """Return what a release of the source lets go."""
        return self._outbox.held_back()

    def status(self, now: float) -> SourceStatus:
        """Return what is open at this moment (monotonic seconds), for people and metrics."""
        backlog, limit = self._backlog, self._outbox.limit
        return SourceStatus(
            source=self._source.names.source,
            waits_for=self._waits_for(now),
            pending_records=backlog.pending_records,
            pending_changes=backlog.pending_items,
            pending_bytes=backlog.pending_bytes,
            withheld_changes=self._outbox.withheld,
            is_limit_reached=limit.is_reached,
            dead_of_last=limit.dead,
            last_changes=limit.changes,
            silent_seconds=self._silent_seconds(now),
            held_changes=self._outbox.held_deletes,
            over_ceiling=(self._source.names.source,) if self._outbox.ceiling.reached else (),
            failing_hosts=self._reads.failing_hosts(),
            partitions=tuple(map(self._partition_status, sorted(backlog.partitions))),
        )

    def _take(self, happened: SourceInput) -> None:
        if isinstance(happened, Arrived | Assigned | ReadAnswered | Committed):
            self._progress.seconds = self._moment.seconds
        match happened:
            case Arrived(records):
                self._admit(records)
            case ReadAnswered():
                self._decisions.add(happened)
            case Committed(number):
                self._committed(number)
            case CommitRefused(number, why):
                self._commit_refused(number, why)
            case Released(ends):
                self._outbox.release(ends)
            case Assigned():
                self._assign(happened)
            case DrainStarted():
                self._membership.start_drain(happened)
            case Forgotten():
                self._forget()
            case LeaseRenewed() | TimePassed():
                pass  # a read changes nothing, so it may outlive the lease

    def _pass_time(self) -> None:
        """Do what follows from the new state, and from time alone."""
        now = self._moment.seconds
        if self._membership.may_read(now):
            self._decide_by_answers()
            self._map_ahead()
            self._start_reads(now)
        self._effects += self._reads.take_facts()
        self._outbox.maybe_commit(self._moment)
        self._maybe_finish_drain(now)
        self._set_intake()

    # --- records -----------------------------------------------------------------------------

    def _admit(self, records: Iterable[SourceRecord]) -> None:
        utc_ms, backlog, admits = self._moment.utc_ms, self._backlog, self._membership.admits
        for record in records:
            if admits(record.origin):
                backlog.admit(record, utc_ms)
        self._progress.note(partitions_of(records), utc_ms)

    def _map_ahead(self) -> None:
        """Map the records that arrived, as far as memory and a turn allow."""
        backlog, cost = self._backlog, 0
        self._is_crowded = self._is_crowded and not backlog.has_half(self._limits.pending_bytes_max)
        wanted: list[Wanted[Ticket]] = []
        while cost < COST_MAX and self._has_room:
            work = backlog.take_unmapped()
            if work is None:
                break
            cost += self._map(work, wanted)
        if cost:
            self._progress.seconds = self._moment.seconds
        if wanted:
            self._reads.want(wanted, self._moment)

    @property
    def _has_room(self) -> bool:
        """Whether memory allows that a record is mapped: a mapping may make much of little.

        One record is always mapped, so that full memory never stops everything.
        """
        backlog = self._backlog
        is_below = backlog.pending_bytes < self._limits.pending_bytes_max
        return (is_below and not self._is_crowded) or not backlog.mapped_records

    @property
    def _has_more(self) -> bool:
        """Whether the last turn was over before everything was mapped."""
        has_unmapped = bool(self._backlog.unmapped_records)
        return self._decisions.may_have_more or (has_unmapped and self._has_room)

    def _start_reads(self, now: float) -> None:
        if started := self._reads.start(now):
            self._progress.seconds = now
            self._effects += started

    def _map(self, work: Work, wanted: list[Wanted[Ticket]]) -> int:
        """Map one record, and add the reads that it waits for; return what it cost."""
        mapped = self._mapped(work)
        reads = work.take(mapped.parts, self._reporter, self._limits)
        self._backlog.measure(work)
        if reads:
            timestamp_ms = work.record.timestamp_ms
            wanted += [
                Wanted(Ticket(work, work.times_mapped, index), read, timestamp_ms)
                for index, read in reads
            ]
        return cost_of(mapped.steps, work.counted[0])

    def _mapped(self, work: Work) -> MappedRecord:
        record, bytes_max = work.record, self._limits.record_bytes_max
        if (omission := record.omission) is not None:
            return _rejected(omission.reason, omission.message)
        if record.size > bytes_max:
            message = (
                f"The record has {record.size} bytes of key, value and headers; "
                f"the limit is {bytes_max}."
            )
            return _rejected("too_large", message)
        return self._source.mapping.map(_raw(record), work.replay.parts)

    def _decide_by_answers(self) -> None:
        """Decide items by the answers that came, as far as a turn allows."""
        now, cost = self._moment.seconds, 0
        while cost < COST_MAX and (decided := self._decisions.take(now)) is not None:
            cost += self._decide(decided)
        if cost:
            self._progress.seconds = now

    def _decide(self, decided: Decided[Ticket]) -> int:
        """Take what an item became by a read; return what it cost."""
        work, size = decided.ticket.work, 0
        if not decided.ticket.is_outdated:
            assert self._backlog.is_mapped(work), "the plan forgets the reads of an assignment"
            bytes_before = work.changes_bytes
            work.decide(decided.ticket.index, decided.parts, self._reporter, self._limits)
            size = max(0, work.changes_bytes - bytes_before)
            self._backlog.measure(work)
            self._put_back()
        return cost_of(decided.steps, size)

    def _put_back(self) -> None:
        """Put the newest records back while memory is full: what is read may make much of little.

        They are mapped and read again once half of the room for mapped records is free.
        """
        while self._backlog.pending_bytes >= self._limits.pending_bytes_max:
            if not self._outbox.put_back():
                return
            self._is_crowded = True

    # --- transactions ------------------------------------------------------------------------

    def _committed(self, number: int) -> None:
        if self._outbox.is_under_way(number):
            partitions = self._outbox.committed(number, self._moment.seconds)
            self._progress.note(partitions, self._moment.utc_ms)

    def _commit_refused(self, number: int, why: Refusal) -> None:
        if self._outbox.refused(number, why, self._source.changes_topic):
            self._effects.append(DropAssignment())
            self._forget()

    # --- the group ---------------------------------------------------------------------------

    def _assign(self, assigned: Assigned) -> None:
        self._forget()
        self._membership.begin(assigned.epoch)
        self._outbox.begin(Backlog(assigned.partitions))
        self._progress.begin(assigned.partitions, self._moment.utc_ms)
        self._set_intake(is_new_assignment=True)

    def _forget(self) -> None:
        left = self._backlog.pending_items
        self._outbox.begin(Backlog({}))
        self._reads.forget()
        self._decisions.forget()
        self._progress.begin((), self._moment.utc_ms)
        self._intake.begin()
        if self._membership.end():
            self._effects.append(Drained(left))

    def _maybe_finish_drain(self, now: float) -> None:
        is_down = bool(self._reads.failing_hosts())
        is_held_up = self._outbox.is_halted(now) or self._outbox.is_stopped or is_down
        is_over = self._membership.is_finished(
            now,
            is_quiet=not self._outbox.is_committing and not self._outbox.can_commit,
            is_waiting=bool(self._backlog.pending_records) and not is_held_up,
        )
        if is_over:
            self._effects.append(Drained(self._backlog.pending_items))

    def _set_intake(self, *, is_new_assignment: bool = False) -> None:
        is_stopped = self._membership.drain is not None or self._outbox.is_stopped
        self._intake.set(self._backlog, is_stopped=is_stopped, is_new_assignment=is_new_assignment)

    # --- the report --------------------------------------------------------------------------

    def _waits_for(self, now: float) -> SourceWaitsFor | None:
        """Return why nothing is written, if that is on purpose."""
        reasons: dict[SourceWaitsFor, bool] = {
            "assignment": not self._membership.is_assigned,
            "drain": self._membership.drain is not None,
            "release": self._outbox.limit.is_reached,
            "deletes": bool(self._outbox.ceiling.reached),
            "commit": self._outbox.is_halted(now),
            "host": bool(self._reads.failing_hosts()),
        }
        return next((reason for reason, is_so in reasons.items() if is_so), None)

    def _silent_seconds(self, now: float) -> float:
        """Return for how long nothing has happened that was due.

        A read is not due before its delay is over, or the time that its host asked for.
        """
        last, planned = self._progress.seconds, self._reads.next_time()
        return max(0.0, now - (last if planned is None else max(last, planned)))

    def _partition_status(self, partition: Partition) -> PartitionStatus:
        backlog = self._backlog
        watermark, position = backlog.watermark(partition), backlog.position(partition)
        return PartitionStatus(
            partition,
            watermark=watermark,
            position=position,
            pending=backlog.pending_in(partition),
            span=position - watermark,
            is_paused=partition in self._intake.paused,
            progressed_utc_ms=self._progress.utc_ms[partition],
        )


def _rejected(reason: EndReason, message: str) -> MappedRecord:
    """Return the end of a record that is not mapped."""
    return MappedRecord((Ended(None, "rejected", reason, message),))


def _raw(record: SourceRecord) -> RawRecord:
    """Return the record as the mapping takes it."""
    topic, partition = record.origin.partition
    return RawRecord(
        topic,
        partition,
        record.origin.offset,
        record.key,
        record.value,
        record.headers,
        record.timestamp_ms,
    )
