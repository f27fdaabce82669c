"""The one owner of state: `step(input, moment) → effects`.

Rule 1: every record that is admitted is owed exactly one outcome, committed together with its
offset.
Rule 2: whatever belongs to an assignment that is over is dropped: the next owner of the partition
reads those records again.
"""

from collections.abc import Collection, Sequence

from service.core.effects import DropAssignment, Effect
from service.core.group.asset_work import AppliedAlike, Ended
from service.core.inputs import (
    Arrived,
    Assigned,
    CallEnded,
    CommitRefusal,
    CommitRefused,
    Committed,
    DownloadEnded,
    DrainStarted,
    Forgotten,
    Input,
    LeaseRenewed,
    Released,
    RequestWanted,
    TimePassed,
)
from service.core.intake import Intake
from service.core.limits import Limits
from service.core.membership import Membership
from service.core.model import (
    AssetChange,
    Change,
    Command,
    Moment,
    Now,
    Partition,
    Rejection,
    SourceRecord,
    partitions_of,
)
from service.core.read.convert import convert
from service.core.read.decode import decode
from service.core.read.memory_estimate import occupied
from service.core.recover.backoff import Jitter
from service.core.recover.call import lane_of
from service.core.send.dispatcher import Dispatcher
from service.core.send.expiry import BudgetClock, Expiry
from service.core.settle.ledger import Ledger
from service.core.settle.outbox import Outbox
from service.core.status import (
    HeldBack,
    LastProgress,
    PipelineStatus,
    WaitsFor,
    held_back,
    status_of,
)


class Pipeline:
    """Takes inputs through the rooms: read, group, send, recover, settle."""

    def __init__(self, limits: Limits, jitter: Jitter) -> None:
        self._limits = limits
        self._effects: list[Effect] = []
        """What the step under way asks for, in order; the parts below append to it too."""
        self._clock = BudgetClock()
        self.dispatcher = parts = Dispatcher(limits, jitter)
        self._expiry = Expiry(limits, parts.windows, parts.lanes, parts.busy, parts.files)
        self._outbox = Outbox(limits, self._effects)
        self._membership = Membership(self.dispatcher, self._outbox, self._effects)
        self._intake = Intake(limits, self._effects)
        self._progress = LastProgress()
        self._moment = Moment(float("-inf"), 0)

    @property
    def ledger(self) -> Ledger:
        """The offsets of the present assignment."""
        return self._outbox.ledger

    @property
    def pending_changes(self) -> int:
        """Changes that are admitted and not yet committed."""
        return self.ledger.pending_changes

    # --- the one way in ----------------------------------------------------------------------

    def step(self, happened: Input, moment: Moment) -> list[Effect]:
        """Take what happened, and return what is to be done, in order."""
        assert moment.seconds >= self._moment.seconds, "the clock is monotonic"
        self._moment = moment
        self._clock.advance(moment.seconds, running=self._can_succeed)
        self.dispatcher.conclusion.work_through(self._now)
        self._take_news()
        self._take(happened)
        self._pass_time()
        assert not self.dispatcher.has_news, "what the calls ask for is asked for in the same step"
        effects = self._effects[:]
        self._effects.clear()
        return effects

    def next_time(self) -> float | None:
        """Return when `TimePassed` is due at the latest, in monotonic seconds."""
        now = self._moment.seconds
        if self.dispatcher.conclusion.has_judged:
            return now
        times = [self._expiry.next_time]
        if self._may_call():
            times.append(self.dispatcher.next_time(now))
        elif self._membership.may_continue(now):  # calls in flight may want one more request
            times.append(self.dispatcher.gate.next_time(now))
        times += self._membership.next_times()
        times += self._outbox.next_times(is_draining=self._membership.drain is not None)
        return min((time for time in times if time is not None and time > now), default=None)

    def status(self, now: float) -> PipelineStatus:
        """Return what is open at this moment (monotonic seconds), for people and metrics."""
        return status_of(
            self.dispatcher,
            self._outbox,
            self._progress,
            now=now,
            waits_for=self._waits_for(),
            paused=self._intake.paused,
        )

    def held_back(self) -> HeldBack:
        return held_back(self.dispatcher, self._outbox)

    def _take(self, happened: Input) -> None:
        if isinstance(happened, Arrived | Assigned | CallEnded | DownloadEnded | Committed):
            self._progress.seconds = self._moment.seconds
        match happened:
            case Arrived(records):
                self._read(records)
                self._note_progress(partitions_of(records))
            case CallEnded(call_id, answer):
                self.dispatcher.ended(call_id, answer, self._now)
                self._take_news()
            case DownloadEnded(file_id, end):
                self.dispatcher.file_steps.download_ended(file_id, end, self._now)
            case RequestWanted(call_id):
                self.dispatcher.slots.want_token(call_id)
            case Committed(number):
                completed = self._outbox.committed(number, self._moment)
                self.dispatcher.held.released.follow(self.ledger)
                self._note_progress({one.partition for one in completed})
            case CommitRefused(number, why):
                assert isinstance(why, CommitRefusal), "the pipeline writes no changes"
                self._commit_refused(number, why)
            case Released(ends):
                self._outbox.release(ends)
                self.dispatcher.busy.release(self.ledger, ends, self._now)
            case LeaseRenewed() | Assigned() | DrainStarted() | Forgotten():
                self._follow_group(happened)
            case TimePassed():
                pass

    def _pass_time(self) -> None:
        """Do what follows from the new state, and from time alone."""
        now = self._moment.seconds
        self._membership.maybe_cancel(now)
        self.dispatcher.windows.pass_time(now)
        if self._membership.is_shut_down:
            self.dispatcher.windows.flush(now)
        if self._can_succeed and not self._membership.is_revoked and self._expiry.is_due(now):
            self._expiry.look(self._now, self._blocking_changes())
            self._take_news()
        self._dispatch()
        if self.dispatcher.files.downloads and self._may_call():
            self.dispatcher.file_steps.fetch(self._now, may_end=self._can_succeed)
            self._take_news()
        self._outbox.maybe_commit(now, is_draining=self._membership.drain is not None)
        self._take_news()
        self._membership.maybe_finish(now)
        self._set_intake()

    @property
    def _now(self) -> Now:
        return Now(self._moment.seconds, self._clock.seconds)

    def _take_news(self) -> None:
        """Pass on what the dispatcher asks for, and complete the changes that ended, in order."""
        while all_news := self.dispatcher.take_news():
            for news in all_news:
                if isinstance(news, tuple | AppliedAlike):
                    self._complete(news)
                else:
                    self._effects.append(news)
            self.dispatcher.busy.let_go(self._now)

    def _complete(self, ended: Ended | AppliedAlike) -> None:
        utc_ms, lanes = self._moment.utc_ms, self.dispatcher.lanes
        if isinstance(ended, AppliedAlike):
            is_counted = not lanes.is_failing(lane_of(ended.changes[0]))
            self._outbox.complete_alike(ended, utc_ms, is_counted=is_counted)
        else:
            is_counted = not lanes.is_failing(lane_of(ended[0][0]))
            self._outbox.complete(ended, utc_ms, is_counted=is_counted)
            self.dispatcher.held.ended(ended, self._moment.seconds)

    def _note_progress(self, partitions: Collection[Partition]) -> None:
        self._progress.note(partitions, self._moment.utc_ms)
        self.ledger.note_arrivals(partitions, self._moment.seconds)

    # --- records -----------------------------------------------------------------------------

    def _read(self, records: Sequence[SourceRecord]) -> None:
        """Read records, one step for all of them after another, which the processor does faster."""
        admitted = [record for record in records if self._admits(record)]
        changes = [decode(record, self._limits.decode) for record in admitted]
        commands = [self._convert(change) for change in changes]
        for record, change, command in zip(admitted, changes, commands, strict=True):
            if isinstance(command, Rejection):
                self._occupy(record, None)
                self._outbox.reject(record, command, self._moment.utc_ms)
            else:
                assert not isinstance(change, Rejection)
                self._occupy(record, command)
                self._enter(record, change, command)

    def _admits(self, record: SourceRecord) -> bool:
        origin = record.origin
        return self._membership.admits(origin) and self.ledger.admit(
            origin.partition, origin.offset, record.size
        )

    def _convert(self, change: AssetChange | Rejection) -> Command | Rejection:
        if isinstance(change, Rejection):
            return change
        structures = self.dispatcher.structure_cache
        long_form = structures.long_form(change.asset.family) if structures is not None else None
        return convert(change, self._limits.deletes, long_form)

    def _enter(self, record: SourceRecord, change: AssetChange, command: Command) -> None:
        """Let a change wait for a call."""
        seconds, utc_ms = self._clock.seconds, self._moment.utc_ms
        event, extensions = change.event, change.extensions
        admitted = Change(record, record.size, command, event, extensions, seconds, utc_ms)
        self.dispatcher.busy.add(admitted, self._moment.seconds)

    def _occupy(self, record: SourceRecord, command: Command | None) -> None:
        if size := occupied(record, command):
            self.ledger.occupy(record.origin.partition, record.origin.offset, size)

    # --- calls -------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Start calls; then work through the call that ended, unless the next step can do it."""
        if not self._membership.may_continue(self._moment.seconds):
            self.dispatcher.cancel_between_requests(self._now)
        has_started = self._start_calls()
        is_draining = self._membership.drain is not None
        if self.dispatcher.conclusion.has_judged and (not has_started or is_draining):
            self.dispatcher.conclusion.work_through(self._now)
            self._start_calls()

    def _start_calls(self) -> bool:
        """Start calls as long as any may start; return whether a write is on its way."""
        writes = len(self.dispatcher.slots.writes)
        self.dispatcher.slots.send_waiting(self._moment.seconds)
        self._take_news()
        while self._may_call() and self.dispatcher.start_next(self._now):
            self._take_news()
        return len(self.dispatcher.slots.writes) > writes

    def _may_call(self) -> bool:
        """Return whether a call may start; the last one may have reached the dead-letter limit."""
        now = self._moment.seconds
        if self._outbox.is_halted(now) or self._outbox.limit.is_reached:
            return False
        return not self._membership.is_revoked and self._membership.may_continue(now)

    @property
    def _can_succeed(self) -> bool:
        """Whether a call could succeed now. While none could, no retry budget is consumed."""
        is_well = not self.dispatcher.lanes.breaker.is_open and not self.dispatcher.gate.is_closed
        has_lease = self._membership.has_lease(self._moment.seconds)
        return is_well and has_lease and not self._outbox.limit.is_reached

    def _blocking_changes(self) -> list[Change]:
        """Return the oldest pending change of each partition at its span limit, if it is open."""
        full = {
            (partition, self.ledger.oldest(partition))
            for partition in self.ledger.partitions
            if self.ledger.span(partition) >= self._limits.span_pause_offsets
        }
        if not full:
            return []
        origins = ((change, change.record.origin) for change in self.dispatcher.open_changes())
        return [change for change, at in origins if (at.partition, at.offset) in full]

    def _waits_for(self) -> WaitsFor | None:
        """Return why nothing is sent, if that is on purpose."""
        now = self._moment.seconds
        reasons: dict[WaitsFor, bool] = {
            "assignment": not self._membership.is_assigned,
            "drain": self._membership.drain is not None,
            "release": self._outbox.limit.is_reached,
            "lease": not self._membership.has_lease(now),
            "commit": self._outbox.is_halted(now),
            "pim": self.dispatcher.lanes.breaker.is_open,
            "throttling": self.dispatcher.gate.is_closed,
            "deletes": bool(self.dispatcher.held) and self.dispatcher.is_idle,
        }
        return next((reason for reason, is_so in reasons.items() if is_so), None)

    # --- the group ---------------------------------------------------------------------------

    def _follow_group(self, happened: LeaseRenewed | Assigned | DrainStarted | Forgotten) -> None:
        match happened:
            case LeaseRenewed(until):
                self._membership.renew_lease(until, self._moment.seconds)
            case Assigned():
                self._assign(happened)
            case DrainStarted():
                self._membership.start_drain(happened)
            case Forgotten():
                self._forget()

    def _assign(self, assigned: Assigned) -> None:
        self._forget()
        self._membership.begin(assigned.epoch)
        self._outbox.begin(assigned.partitions)
        self.dispatcher.held.released.follow(self.ledger)
        self._progress.begin(assigned.partitions, self._moment.utc_ms)
        self.dispatcher.gate.share(len(assigned.partitions), assigned.partitions_total)
        self._set_intake(is_new_assignment=True)

    def _forget(self) -> None:
        self._outbox.forget()
        self._progress.begin((), self._moment.utc_ms)
        self.dispatcher.forget()
        self._take_news()
        self.dispatcher.gate.share(0, 0)
        self._intake.begin()
        self._membership.end()

    def _commit_refused(self, number: int, why: CommitRefusal) -> None:
        if not self._outbox.is_under_way(number):
            return
        self._outbox.refused(why)
        if why is CommitRefusal.FENCED:
            self._effects.append(DropAssignment())
            self._membership.fenced()
            self._forget()

    def _set_intake(self, *, is_new_assignment: bool = False) -> None:
        is_stopped = self._membership.drain is not None or self._outbox.limit.is_reached
        breaker = self.dispatcher.lanes.breaker
        self._intake.set(
            self.ledger, breaker, is_stopped=is_stopped, is_new_assignment=is_new_assignment
        )
