"""The one owner of state: `step(input, moment) -> effects`.

Rule 1: every record admitted is owed exactly one outcome; it leaves with its position.
Rule 2: whatever belongs to an assignment that is over is dropped; its new owner reads it again.
"""

from collections.abc import Iterable, Mapping

from service.contracts.outcome import Reason
from service.contracts.outcome import Status as EndStatus
from service.core.effects import Commit, Drained, DropAssignment, Effect, SetIntake
from service.core.facts import (
    ChangeCompleted,
    DeadLetterLimitReached,
    DeadLettersReleased,
    IntakePaused,
    IntakeResumed,
    TransactionCommitted,
    TransactionRefused,
)
from service.core.group.asset_work import Ended
from service.core.inputs import (
    Arrived,
    Assigned,
    CallEnded,
    CommitRefusal,
    CommitRefused,
    Committed,
    DrainKind,
    DrainStarted,
    Forgotten,
    Input,
    LeaseRenewed,
    Released,
    RequestWanted,
    TimePassed,
)
from service.core.limits import (
    COMMIT_SILENCE_SECONDS,
    LAST_TRANSACTION_SECONDS,
    OCCUPIED_PER_PENDING_BYTE,
    Limits,
)
from service.core.model import (
    Asset,
    Change,
    Command,
    Moment,
    Now,
    Origin,
    Partition,
    Rejection,
    SourceRecord,
)
from service.core.read.convert import convert
from service.core.read.decode import decode
from service.core.read.memory_estimate import occupied
from service.core.recover.backoff import Jitter
from service.core.send.dispatcher import Dispatcher
from service.core.send.expiry import BudgetClock, Expiry
from service.core.settle.dead_letter_limit import DeadLetterLimit
from service.core.settle.ledger import Group, Ledger
from service.core.settle.report import Reporter, why
from service.core.status import PartitionStatus, Status, WaitsFor


class Pipeline:
    """Decode, convert, window, coalesce, verdict, report, ledger: the rooms, in order."""

    def __init__(self, limits: Limits, jitter: Jitter) -> None:
        self._limits = limits
        self._effects: list[Effect] = []
        self._reporter = Reporter(limits.outcome_source)
        self._clock = BudgetClock()
        self.dispatcher = Dispatcher(limits, jitter)
        self._expiry = Expiry(
            limits, self.dispatcher.windows, self.dispatcher.lanes, self.dispatcher.busy
        )
        self.ledger = Ledger({}, limits)
        self._epoch = -1
        self._is_assigned = False
        self._lease_until = float("-inf")
        self._is_cancelled = False
        self._drain: DrainStarted | None = None
        self._is_drained = False
        self._shutdown: DrainStarted | None = None
        """It goes on where a revocation came in between."""
        self._left = 0
        """Changes that the last fencing left to their next owner."""
        self._paused: frozenset[Partition] = frozenset()
        self._is_full = False
        self._committed_at = float("-inf")
        self._transactions_made = 0
        self._silent_since: float | None = None
        self._limit = DeadLetterLimit(
            limits.dead_letter_share_max, limits.dead_letter_share_changes
        )
        self._withheld: list[Group] = []
        """Dead letters that wait for a person, and what may not overtake them, in order."""
        self._withheld_assets: set[Asset] = set()
        self._uncounted: dict[Partition, int] = {}
        """Below these offsets a person has released what comes."""
        self._progressed_at = float("-inf")
        self._progressed_utc_ms: dict[Partition, int] = {}
        self._moment = Moment(float("-inf"), 0)

    # --- the one way in ----------------------------------------------------------------------

    def step(self, happened: Input, moment: Moment) -> list[Effect]:
        """Take what happened, and answer with what is to be done, in order."""
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
        """When `TimePassed` is due at the latest, in seconds of the monotonic clock."""
        now = self._moment.seconds
        if self.dispatcher.conclusion.has_judged:
            return now
        times = [self._expiry.next_time]
        if self._may_call():
            times.append(self.dispatcher.next_time(now))
        elif self._may_continue:  # what is in flight may want one more request
            times.append(self.dispatcher.gate.next_time(now))
        if self.dispatcher.gate.in_flight and not self._is_cancelled:
            times.append(self._lease_until)
        if self._silent_since is not None:
            times.append(self._silent_since + COMMIT_SILENCE_SECONDS)
        if self.ledger.can_commit:
            times.append(self._committed_at + self._limits.commit_interval_seconds)
        if self._drain is not None and not self._is_drained:
            times += [self._drain.deadline, self._drain.deadline + LAST_TRANSACTION_SECONDS]
        return min((time for time in times if time is not None and time > now), default=None)

    @property
    def pending_changes(self) -> int:
        """Changes admitted and not yet committed."""
        return self.ledger.pending_changes

    def status(self, now: float) -> Status:
        """What is open at this moment (seconds), for people and meters."""
        dispatcher, gate = self.dispatcher, self.dispatcher.gate
        return Status(
            waits_for=self._waits_for(),
            pending_changes=self.ledger.pending_changes,
            pending_bytes=self.ledger.pending_bytes,
            withheld_changes=sum(map(len, self._withheld)),
            is_limit_reached=self._limit.is_reached,
            dead_of_last=self._limit.dead,
            last_changes=self._limit.changes,
            calls_in_flight=len(gate.in_flight),
            calls_limit=gate.cap,
            rate_limit=gate.rate,
            gate_seconds=max(0.0, (gate.closed_until or now) - now),
            is_gate_closed=gate.is_closed,
            is_breaker_open=dispatcher.lanes.breaker.is_open,
            probe_seconds_max=dispatcher.lanes.breaker.probe_seconds_max,
            failing_lanes=sum(1 for _ in dispatcher.lanes.failing_lanes()),
            calls_in_repair=sum(1 for _ in dispatcher.lanes.waiting_calls()),
            window_wait_seconds=dispatcher.windows.longest_wait(now),
            silent_seconds=now - self._progressed_at,
            partitions=tuple(map(self._partition_status, sorted(self.ledger.partitions))),
        )

    def _partition_status(self, partition: Partition) -> PartitionStatus:
        return PartitionStatus(
            partition,
            watermark=self.ledger.watermark(partition),
            position=self.ledger.position(partition),
            pending=self.ledger.pending_in(partition),
            span=self.ledger.span(partition),
            is_paused=partition in self._paused,
            progressed_utc_ms=self._progressed_utc_ms[partition],
        )

    def _waits_for(self) -> WaitsFor | None:
        """Why nothing is sent, on purpose."""
        reasons: dict[WaitsFor, bool] = {
            "assignment": not self._is_assigned,
            "drain": self._drain is not None,
            "release": self._limit.is_reached,
            "lease": not self._has_lease,
            "commit": self._is_halted,
            "pim": self.dispatcher.lanes.breaker.is_open,
            "throttling": self.dispatcher.gate.is_closed,
        }
        return next((reason for reason, is_so in reasons.items() if is_so), None)

    def _take(self, happened: Input) -> None:
        now = self._moment.seconds
        if isinstance(happened, Arrived | Assigned | CallEnded | Committed):
            self._progressed_at = now
        match happened:
            case Arrived(records):
                for record in records:
                    self._admit(record)
                self._note_progress({record.origin.partition for record in records})
            case CallEnded(call_id, answer):
                self.dispatcher.ended(call_id, answer, self._now)
                self._take_news()
            case RequestWanted(call_id):
                self.dispatcher.slots.want_token(call_id)
            case Committed(number):
                self._committed(number)
            case CommitRefused(number, why):
                self._commit_refused(number, why)
            case Released(ends):
                self._release(ends)
            case LeaseRenewed() | Assigned() | DrainStarted() | Forgotten():
                self._follow_group(happened)
            case TimePassed():
                pass

    def _follow_group(self, happened: LeaseRenewed | Assigned | DrainStarted | Forgotten) -> None:
        match happened:
            case LeaseRenewed(until):
                self._lease_until = max(self._lease_until, until)
                self._is_cancelled = (
                    self._is_cancelled and self._moment.seconds >= self._lease_until
                )
            case Assigned():
                self._assign(happened)
            case DrainStarted():
                self._start_drain(happened)
            case Forgotten():
                self._forget()

    def _pass_time(self) -> None:
        """What follows from the new state and from time alone."""
        now = self._moment.seconds
        self._cancel_late_calls(now)
        self.dispatcher.windows.pass_time(now)
        if self._drain is not None and self._drain.kind is DrainKind.SHUTDOWN:
            self.dispatcher.windows.flush(now)
        if self._can_succeed and not self._drops_unsent:
            self._maybe_expire()
        self._dispatch()
        self._maybe_commit(now)
        self._maybe_finish_drain(now)
        self._set_intake()

    @property
    def _now(self) -> Now:
        return Now(self._moment.seconds, self._clock.seconds)

    def _take_news(self) -> None:
        """Pass on what the calls ask for, and settle what ended, in order."""
        for news in self.dispatcher.take_news():
            if isinstance(news, tuple):
                self._complete(news)
            else:
                self._effects.append(news)

    def _maybe_expire(self) -> None:
        if self._expiry.is_due(self._moment.seconds):
            self._expiry.look(self._now, self._stuck())
            self._take_news()

    def _dispatch(self) -> None:
        """Send what may be sent; only while the next call is on its way the last one can wait."""
        if not self._may_continue:
            self.dispatcher.cancel_between_requests(self._now)
        has_started = self._start_calls()
        if self.dispatcher.conclusion.has_judged and (not has_started or self._drain is not None):
            self.dispatcher.conclusion.work_through(self._now)
            self._start_calls()

    def _start_calls(self) -> bool:
        """Start calls as long as any may; True where a write is on its way."""
        writes = len(self.dispatcher.slots.writes)
        self.dispatcher.slots.send_waiting(self._moment.seconds)
        self._take_news()
        while self._may_call() and self.dispatcher.start_next(self._now):
            self._take_news()
        return len(self.dispatcher.slots.writes) > writes

    # --- records -----------------------------------------------------------------------------

    def _admit(self, record: SourceRecord) -> None:
        origin = record.origin
        if not self._is_assigned or origin.epoch != self._epoch or self._drain is not None:
            return
        size = record.size
        if not self.ledger.admit(origin.partition, origin.offset, size):
            return
        change = decode(record, self._limits.decode)
        command = change if isinstance(change, Rejection) else convert(change, self._limits.deletes)
        if isinstance(command, Rejection):
            self._occupy(record, None, None)
            self._reject(record, command)
            return
        assert not isinstance(change, Rejection)
        self._occupy(record, command, change.values)
        admitted = Change(
            record=record,
            size=size,
            command=command,
            event=change.event,
            extensions=change.extensions,
            admitted_at=self._clock.seconds,
            received_utc_ms=self._moment.utc_ms,
        )
        self.dispatcher.busy.add(admitted, self._moment.seconds)

    def _occupy(self, record: SourceRecord, command: Command | None, values: bytes | None) -> None:
        if size := occupied(record, command, values):
            self.ledger.occupy(record.origin.partition, record.origin.offset, size)

    def _reject(self, record: SourceRecord, rejection: Rejection) -> None:
        completed = self._reporter.of_rejection(record, rejection, self._moment.utc_ms)
        self._leave((completed,))
        self._note_anomaly(
            record.origin, rejection.asset, rejection.status, rejection.reason, rejection.message
        )

    def _complete(self, ended: Ended) -> None:
        """Changes that ended together leave together."""
        utc_ms = self._moment.utc_ms
        command = ended[0][0].command
        asset = command.asset
        lane = (asset.family, command.action)
        is_counted = not self.dispatcher.lanes.is_failing(lane)
        group = [self._reporter.of_change(change, ending, utc_ms) for change, ending in ended]
        self._leave(tuple(group), asset, is_counted=is_counted)
        for change, ending in ended:
            if ending.reason is not None:
                origin = change.record.origin
                self._note_anomaly(origin, asset, ending.status, ending.reason, why(ending))

    def _leave(self, group: Group, asset: Asset | None = None, *, is_counted: bool = True) -> None:
        """Outcomes are ready to leave, unless the limit on dead letters holds them back."""
        was_reached = self._limit.is_reached
        is_dead = False
        for completed in group:
            dies = completed.dead_letter is not None
            is_dead = is_dead or dies
            is_released = completed.offset < self._uncounted.get(completed.partition, 0)
            if is_counted and not was_reached and not is_released:
                self._limit.count(completed.family, is_dead=dies)
        if self._limit.is_reached and not was_reached:
            reached = DeadLetterLimitReached(self._limit.dead, self._limit.changes)
            self._effects.append(reached)
        if self._limit.is_reached and (is_dead or asset in self._withheld_assets):
            self._withheld.append(group)
            if asset is not None:
                self._withheld_assets.add(asset)
        else:
            self.ledger.complete(group)

    def _release(self, ends: Mapping[Partition, int]) -> None:
        """A person looked: what was held back leaves, and work goes on.

        What was there by then is released with it: the rest of the same events counts no more.
        """
        if not self._limit.is_reached:
            return
        self._limit.release()
        self._uncounted = {
            partition: max(self.ledger.position(partition), ends.get(partition, 0))
            for partition in self.ledger.partitions
        }
        self._effects.append(DeadLettersReleased(sum(map(len, self._withheld))))
        for group in self._withheld:
            self.ledger.complete(group)
        self._withheld.clear()
        self._withheld_assets.clear()

    def _note_anomaly(
        self,
        origin: Origin,
        asset: Asset | None,
        status: EndStatus,
        reason: Reason,
        message: str,
    ) -> None:
        """One line for a change that was not applied."""
        path = asset.path if asset else None
        completed = ChangeCompleted(origin.outcome_id, path, status, reason, message)
        self._effects.append(completed)

    def _note_progress(self, partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            if partition in self._progressed_utc_ms:
                self._progressed_utc_ms[partition] = self._moment.utc_ms

    # --- settlements -------------------------------------------------------------------------

    def _maybe_commit(self, now: float) -> None:
        is_early = now < self._committed_at + self._limits.commit_interval_seconds
        if is_early or not self.ledger.can_commit:
            return
        transaction = self.ledger.take_transaction()
        if transaction is None:  # the watermark must move first: only a call can do that
            self._silent_since = None
            return
        if self._silent_since is None:
            self._silent_since = now
        self._committed_at = now
        self._transactions_made += 1
        self._effects.append(Commit(self._transactions_made, transaction))

    def _committed(self, number: int) -> None:
        if not self._is_of_this_assignment(number):
            return
        completed = self.ledger.committed()
        self._silent_since = None
        self._note_progress({one.partition for one in completed})
        seconds = self._moment.seconds - self._committed_at
        committed = TransactionCommitted(len(completed), round(seconds, 4), completed)
        self._effects.append(committed)

    def _commit_refused(self, number: int, why: CommitRefusal) -> None:
        if not self._is_of_this_assignment(number):
            return
        self._effects.append(TransactionRefused(why.value))
        if why is CommitRefusal.FENCED:
            self._effects.append(DropAssignment())
            self._left = self.ledger.pending_changes
            self._forget()
            return
        self.ledger.refused(map_too_large=why is CommitRefusal.METADATA_TOO_LARGE)

    def _is_of_this_assignment(self, number: int) -> bool:
        """An answer may come when its assignment is over: it is nobody's then."""
        return self.ledger.is_committing and number == self._transactions_made

    # --- assignments and drains --------------------------------------------------------------

    def _assign(self, assigned: Assigned) -> None:
        assert assigned.epoch > self._epoch
        self._forget()
        self._epoch = assigned.epoch
        self._is_assigned = True
        self._left = 0
        self.ledger = Ledger(assigned.partitions, self._limits)
        self._progressed_utc_ms = dict.fromkeys(assigned.partitions, self._moment.utc_ms)
        self.dispatcher.gate.share(len(assigned.partitions), assigned.partitions_total)
        self._set_intake(anew=True)

    def _forget(self) -> None:
        self._is_assigned = False
        self.ledger = Ledger({}, self._limits)
        self._progressed_utc_ms = {}
        self._withheld.clear()
        self._withheld_assets.clear()
        self.dispatcher.forget()
        self._take_news()
        self.dispatcher.gate.share(0, 0)
        self._silent_since = None
        self._is_full = False
        if self._drain is not None and self._drain.kind is DrainKind.REVOCATION:
            if not self._is_drained:  # the group fenced us meanwhile: somebody waits for the end
                self._effects.append(Drained(self._left))
            self._drain = self._shutdown
            self._is_drained = False

    def _start_drain(self, drain: DrainStarted) -> None:
        """A revocation drops what was not sent, a shutdown's too; a shutdown is never forgotten."""
        if drain.kind is DrainKind.SHUTDOWN:
            self._shutdown = drain
        if self._drain is not None and self._drain.kind is DrainKind.REVOCATION:
            return
        self._drain = drain
        self._is_drained = False
        if drain.kind is DrainKind.REVOCATION:
            self.dispatcher.busy.only_in_flight = True
            self.dispatcher.drop_waiting()

    def _maybe_finish_drain(self, now: float) -> None:
        drain = self._drain
        if drain is None or self._is_drained:
            return
        if now >= drain.deadline and self.dispatcher.gate.in_flight and not self._is_cancelled:
            self._is_cancelled = True
            self.dispatcher.slots.cancel_requests()
            self._take_news()
        is_quiet = not self.dispatcher.gate.in_flight and not self.ledger.can_commit
        is_quiet = is_quiet and not self.ledger.is_committing
        if self._waits_for_all(drain, now):
            is_quiet = is_quiet and self.dispatcher.is_idle
        if is_quiet or now >= drain.deadline + LAST_TRANSACTION_SECONDS:
            self._is_drained = True
            self._effects.append(Drained(self.ledger.pending_changes or self._left))

    def _waits_for_all(self, drain: DrainStarted, now: float) -> bool:
        """Whether the drain finishes what was not sent too, not only the calls in flight."""
        if drain.kind is DrainKind.REVOCATION or now >= drain.deadline:
            return False
        closed_until = self.dispatcher.gate.closed_until
        gate_opens = closed_until is None or closed_until < drain.deadline
        is_held_up = self._is_halted or self._limit.is_reached
        return gate_opens and not self.dispatcher.lanes.breaker.is_open and not is_held_up

    # --- may we? -----------------------------------------------------------------------------

    @property
    def _has_lease(self) -> bool:
        return self._moment.seconds < self._lease_until

    @property
    def _is_halted(self) -> bool:
        """Outcomes wait and nothing could be committed for too long."""
        since = self._silent_since
        return since is not None and self._moment.seconds - since >= COMMIT_SILENCE_SECONDS

    @property
    def _can_succeed(self) -> bool:
        """Whether a call could succeed now: else nobody's patience runs."""
        is_well = not self.dispatcher.lanes.breaker.is_open and not self.dispatcher.gate.is_closed
        return is_well and self._has_lease and not self._limit.is_reached

    @property
    def _drops_unsent(self) -> bool:
        return self._drain is not None and self._drain.kind is DrainKind.REVOCATION

    def _may_call(self) -> bool:
        """Asked before each call: the one before may have reached the limit on dead letters."""
        if self._is_halted or self._limit.is_reached or self._drops_unsent:
            return False
        return self._may_continue

    @property
    def _may_continue(self) -> bool:
        """Whether a call that was started may send one more request."""
        now = self._moment.seconds
        return self._has_lease and (self._drain is None or now < self._drain.deadline)

    def _cancel_late_calls(self, now: float) -> None:
        """No call outlives the lease."""
        if now >= self._lease_until and self.dispatcher.gate.in_flight and not self._is_cancelled:
            self._is_cancelled = True
            self.dispatcher.slots.cancel_requests()

    def _stuck(self) -> list[Change]:
        """The changes at the watermarks of partitions that are full."""
        full = {
            (partition, self.ledger.oldest(partition))
            for partition in self.ledger.partitions
            if self.ledger.span(partition) >= self._limits.span_pause_offsets
        }
        if not full:
            return []
        origins = ((change, change.record.origin) for change in self.dispatcher.open_changes())
        return [change for change, at in origins if (at.partition, at.offset) in full]

    # --- intake ------------------------------------------------------------------------------

    def _set_intake(self, *, anew: bool = False) -> None:
        """Pause what must wait, resume at half: the core says, the shell does."""
        paused = self._partitions_to_pause()
        if paused == self._paused and not anew:
            return
        if bool(paused) != bool(self._paused):
            fact = IntakePaused if paused else IntakeResumed
            self._effects.append(fact(len(paused), self.ledger.pending_changes))
        self._paused = paused
        self._effects.append(SetIntake(paused))

    def _partitions_to_pause(self) -> frozenset[Partition]:
        everything = self.ledger.partitions
        if self._drain is not None or self._limit.is_reached:
            return everything
        share = 0.5 if self._is_full else 1.0
        changes_max = self._limits.pending_changes_max
        if self.dispatcher.lanes.breaker.is_open and not self.dispatcher.lanes.breaker.family_well:
            changes_max = min(changes_max, self._limits.breaker_pending_changes)
        self._is_full = (
            self.ledger.pending_changes >= changes_max * share
            or self.ledger.pending_bytes >= self._limits.pending_bytes_max * share
            or self.ledger.occupied_bytes
            >= self._limits.pending_bytes_max * OCCUPIED_PER_PENDING_BYTE * share
        )
        if self._is_full:
            return everything
        return frozenset(partition for partition in everything if self._is_spanned(partition))

    def _is_spanned(self, partition: Partition) -> bool:
        limit = self._limits.span_pause_offsets
        if partition in self._paused:
            limit //= 2
        return self.ledger.span(partition) >= limit
