"""Calls from their start to their end, and what each end means (architecture.md D6, D7).

Rule 1: a call starts only with a slot, the rate, the lease and a hope to commit its outcome.
Rule 2: an asset is busy from its first call until its last change of that job has ended.
Rule 3: a call that was judged frees its slot first; its assets are worked through when the next
call is on its way.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from service.contracts.outcome import Result
from service.core.call import Call, Lane, Stage
from service.core.coalesce import Verb
from service.core.effects import (
    AllowRequest,
    CutCall,
    Effect,
    GetFamilies,
    Note,
    StartCall,
)
from service.core.families import Families
from service.core.gate import Gate, Jitter
from service.core.inputs import CUT, Answer, CallFault, CallReply, FaultKind
from service.core.job import Ended, Job, failed
from service.core.lanes import Lanes
from service.core.model import Asset, Change
from service.core.rules import CREDENTIALS_NOTE_SECONDS, Rules
from service.core.structures import Creation, Examined, Reading, Structures
from service.core.turns import Errand, Turns
from service.core.verdict import (
    Cut,
    Failure,
    Forbidden,
    ItemKind,
    ItemVerdict,
    Judged,
    Missing,
    Refused,
    Said,
    Suspicious,
    Throttled,
    is_unknown,
    is_well,
    is_written,
    judge,
)
from service.core.window import Windows

LOGIN_CALL_ID = 0
"""The one call that carries no change: it shows wrong credentials at once."""

RetryCause = Literal["throttled", "cut", "item", "refused", "forbidden"]
"""Why a call, or a part of it, goes again, suspicions aside."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the calls' news goes."""

    emit: Callable[[Effect], None]
    settle: Callable[[Ended], None]


class Calls:
    """Windows, lanes and gate at work for one assignment after another."""

    def __init__(self, rules: Rules, jitter: Jitter, desk: Desk) -> None:
        self._desk = desk
        self.gate = Gate(rules.calls_at_once_max, rules.calls_per_second_max, jitter)
        attempts_max, seconds_max = rules.retry_attempts_max, rules.retry_seconds_max
        self.lanes = Lanes(attempts_max, seconds_max, jitter, self._give_up, self._fall_sick)
        self.structures = Structures(rules.structure, jitter) if rules.structure else None
        self._errands: dict[int, Errand] = {}
        """Calls in flight that carry no change: structures read, options created."""
        self.windows = Windows(
            rules.window_seconds_max,
            rules.window_assets_max,
            rules.window_bytes_max,
            rules.changes_per_asset_max,
        )
        self.families = Families()
        self._turns = Turns(
            self.windows, self.lanes, self.structures, self.gate, self._put_to_work, desk.emit
        )
        self.busy: dict[Asset, Job] = {}
        """By the asset with its case folded."""
        self.in_flight: dict[int, Call] = {}
        self._judged: tuple[Call, tuple[ItemVerdict, ...]] | None = None
        """The call that ended last, while its assets wait to be worked through."""
        self._wanted: deque[tuple[int, bool]] = deque()
        """Calls in flight that want one more request, in order; True: for a token, under way."""
        self._login_wanted = True
        self._credentials_noted_at = float("-inf")
        self.only_in_flight = False
        """While a revocation drains: what was not sent is dropped."""
        self._patience = 0.0
        self._now = 0.0

    # --- work --------------------------------------------------------------------------------

    def add(self, change: Change, now: float) -> None:
        """An admitted change waits: behind its asset's job, else in its family's window."""
        job = self.busy.get(change.command.asset.folded)
        if job is not None:
            job.behind.append(change)
        else:
            self.windows.add(change, now)

    def forget(self) -> None:
        """The assignment is over: what waits is dropped, what is in flight is cut."""
        for call_id in self._between_requests():
            self.gate.end(call_id)
        self._wanted.clear()
        self.cut_requests()
        self.in_flight.clear()
        self._errands.clear()
        self.drop_waiting()
        self.only_in_flight = False

    def drop_waiting(self) -> None:
        """What was not sent is left to the next owner."""
        self.windows.clear()
        self.lanes.forget()
        if self.structures is not None:
            self.structures.forget()
        self._stop_errands()
        sent = {job.key: job for call in self.in_flight.values() for job in call.jobs}
        for job in sent.values():
            job.behind.clear()
        self.busy = sent

    def cut_requests(self) -> None:
        """Give up every request that is out; each ends as CUT."""
        for call_id in self.gate.in_flight.difference(self._between_requests()):
            self._desk.emit(CutCall(call_id))

    def cut_between_requests(self, now: float, patience: float) -> None:
        """Calls that wait for the rate with no request out end here: nothing else would tell."""
        for call_id in self._between_requests():
            self._wanted.remove((call_id, False))
            self.ended(call_id, CUT, now, patience)

    def _between_requests(self) -> list[int]:
        return [call_id for call_id, is_token in self._wanted if not is_token]

    def _stop_errands(self) -> None:
        """Errands between two requests end here; one whose request is out ends with its answer."""
        for call_id in self._between_requests():
            if call_id in self._errands:
                self._wanted.remove((call_id, False))
                del self._errands[call_id]
                self.gate.end(call_id)

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing is in flight."""
        return not self.busy and self.windows.is_empty and not self.gate.in_flight

    @property
    def asset_count(self) -> int:
        """Assets that wait or are in work."""
        return len(self.busy) + self.windows.asset_count

    def open_changes(self) -> Iterator[Change]:
        """Every change that waits or is in work."""
        for job in self.busy.values():
            yield from job.open_changes
            yield from job.behind
        yield from self.windows.changes()

    # --- starting ----------------------------------------------------------------------------

    def dispatch(self, now: float, patience: float, may_start: Callable[[], bool]) -> bool:
        """Send what may be sent now; True where a write is on its way."""
        self._now, self._patience = now, patience
        has_started = False
        while self._wanted and self.gate.may_send(now):
            self._continue(*self._wanted.popleft(), now)
        while may_start() and self.gate.may_start(now):
            if self._login_wanted:
                self._log_in(now)
                continue
            chosen = self._turns.next(now, is_errand_out=bool(self._errands))
            if chosen is None:
                break
            call, repair = chosen
            if not isinstance(call, Call):
                self._start_errand(call, now)
            elif self._examine(call, now):
                self._start(call, now, repair=repair)
                has_started = True
        return has_started

    def want_request(self, call_id: int) -> None:
        """A call in flight needs one more request in its slot."""
        if call_id in self.gate.in_flight:
            self._wanted.append((call_id, True))

    def next_time(self, now: float) -> float | None:
        """When time alone could let a call start."""
        times = [self.gate.next_time(now), self.windows.next_due_at]
        if self.structures is not None:
            times.extend(self.structures.next_time())
        if self.lanes.breaker.is_open:
            times.append(self.lanes.breaker.probe_at)
        else:
            times.append(self.lanes.next_retry_at())
            times.extend(
                state.probe_at for _, state in self.lanes.sick_lanes() if state.probing is None
            )
        # What is due already waits for something else: a slot, the rate, the gate.
        return min((time for time in times if time is not None and time > now), default=None)

    def _log_in(self, now: float) -> None:
        self._login_wanted = False
        self.gate.start(LOGIN_CALL_ID, now, repair=False)
        self._desk.emit(StartCall(LOGIN_CALL_ID, GetFamilies()))

    def _continue(self, call_id: int, is_token: bool, now: float) -> None:  # noqa: FBT001 - a pair
        if call_id not in self.gate.in_flight:
            return
        self.gate.send(now)
        if is_token:
            self._desk.emit(AllowRequest(call_id))
            return
        if call_id in self._errands:
            self._desk.emit(StartCall(call_id, self._errands[call_id].request))
            return
        self._desk.emit(StartCall(call_id, self.in_flight[call_id].check()))

    def _put_to_work(self, lane: Lane, jobs: list[Job]) -> Call:
        for job in jobs:
            assert self.busy.setdefault(job.key, job) is job, "one asset, one job"
        return self.lanes.new_call(lane, jobs)

    def _start_errand(self, errand: Errand, now: float) -> None:
        call_id = self.lanes.new_call_id()
        self._errands[call_id] = errand
        self.gate.start(call_id, now, repair=False)
        self._desk.emit(StartCall(call_id, errand.request))

    def _examine(self, call: Call, now: float) -> bool:
        """Shape the values that go out; what is flawed or in doubt stays. False: nothing is left.

        Every call passes here, fresh or repaired: a step may have come to the front since.
        """
        if (said := self.families.denial(call.family, now)) is not None:
            self.lanes.drop(call)
            self.lanes.forget_probe(call)
            self._reject_unknown(call, said)
            return False
        if self.structures is None or call.verb is Verb.DELETE:
            return True
        flawed = []
        for job in list(call.jobs):
            found = self.structures.examine(job, now)
            if found is Examined.READY:
                continue
            call.jobs.remove(job)
            if found is Examined.DOUBTFUL:
                self.structures.park(job)
            else:
                flawed.append(job)
        if not call.jobs:
            self.lanes.drop(call)
            self.lanes.forget_probe(call)
        for job in flawed:
            job.reject_flawed()
            self._after_step(job)
        return bool(call.jobs)

    def _start(self, call: Call, now: float, *, repair: bool) -> None:
        """Send the write; or the check after it, where that was throttled or cut."""
        self.gate.start(call.id, now, repair=repair)
        self.in_flight[call.id] = call
        if call.stage is not Stage.WRITE:
            self._desk.emit(StartCall(call.id, call.check()))
            return
        self.lanes.sending(call)
        call.count_attempt()
        self._desk.emit(StartCall(call.id, call.request(), call.origins()))

    # --- ending ------------------------------------------------------------------------------

    def ended(self, call_id: int, answer: Answer, now: float, patience: float) -> None:
        """A request of a call ended: decide, or send the next one in the same slot."""
        self._now, self._patience = now, patience
        self._note_answer(call_id, answer)
        if isinstance(answer, CallReply) and answer.families is not None:
            self.families.see_list(answer.families, now)
        call = self.in_flight.get(call_id)
        if call_id in self._errands:
            self._errand_ended(call_id, answer)
        elif call is None:
            if call_id == LOGIN_CALL_ID and isinstance(answer, CallReply) and answer.status == 429:
                self._throttle(call_id, answer.retry_after_seconds)
            self._release(call_id, answer)
        elif call.stage is Stage.WRITE:
            self._write_ended(call, answer)
        elif call.stage is Stage.PROBED_FAMILY:
            self._probe_checked(call, answer)
        else:
            self._missing_checked(call, answer)

    def _errand_ended(self, call_id: int, answer: Answer) -> None:
        """A structure was read on, or an option created; neither is anybody's failure."""
        assert self.structures is not None
        errand = self._errands[call_id]
        is_throttled = isinstance(answer, CallReply) and answer.status == 429
        is_cut = isinstance(answer, CallFault) and answer.kind is FaultKind.CUT
        jobs: list[Job] = []
        if is_throttled or is_cut or self.only_in_flight:
            if isinstance(answer, CallReply) and is_throttled:
                self._throttle(call_id, answer.retry_after_seconds)
            self.structures.put_off(errand, self._now)
        elif isinstance(errand, Creation):
            jobs = self.structures.created(errand, answer, self._now)
            self._note_creation(errand, answer)
        elif not errand.take(answer):
            jobs = self.structures.could_not_read(errand)
            if self.lanes.breaker.is_open:
                self.lanes.put_off_probe(self._now)
            self._desk.emit(Note("structure.unreadable", {"family": errand.family}))
        elif not self._is_read(errand):
            self._wanted.append((call_id, False))
            return
        elif errand.is_unknown:
            assert errand.denial is not None
            self.families.miss(errand.family, errand.denial, self._now)
            jobs = self.structures.could_not_read(errand)
        else:
            jobs = self.structures.read(errand)
            self._desk.emit(Note("structure.read", {"family": errand.family}))
        del self._errands[call_id]
        self._release(call_id, answer)
        for job in jobs:
            self.windows.resume(job)

    def _is_read(self, reading: Reading) -> bool:
        """Whether nothing is left to ask; a recent list may tell already that it is unknown."""
        if reading.denial is not None and self.families.lacks(reading.family, self._now):
            reading.is_unknown = True
        return reading.is_done

    def _note_creation(self, creation: Creation, answer: Answer) -> None:
        attribute, code = creation.option
        fields = {"family": creation.family, "attribute": attribute, "option": code}
        self._desk.emit(Note("option.created" if is_written(answer) else "option.refused", fields))

    def _note_answer(self, call_id: int, answer: Answer) -> None:
        refused = isinstance(answer, CallFault) and answer.kind is FaultKind.CREDENTIALS
        if not refused or self._now < self._credentials_noted_at + CREDENTIALS_NOTE_SECONDS:
            return
        assert isinstance(answer, CallFault)
        self._credentials_noted_at = self._now
        self._desk.emit(Note("credentials.refused", {"call": call_id, "message": answer.message}))

    def _release(self, call_id: int, answer: Answer) -> None:
        """The call gives its slot back."""
        self.in_flight.pop(call_id, None)
        is_cut = isinstance(answer, CallFault) and answer.kind is FaultKind.CUT
        is_throttled = isinstance(answer, CallReply) and answer.status == 429
        if not is_cut and not is_throttled and self.gate.answered(call_id):
            self._desk.emit(Note("gate.opened"))
        self.gate.end(call_id)

    def _write_ended(self, call: Call, answer: Answer) -> None:
        verdict = judge(call.verb, [asset.code for asset in call.assets], answer)
        match verdict:
            case Missing(said):
                self._check_missing(call, said)
            case Throttled(retry_after_seconds):
                self._put_off(call, answer, retry_after_seconds)
            case Suspicious(failure):
                self._suspect(call, failure, answer)
            case Forbidden(failure) if call.is_alone:
                self._suspect(call, failure, answer)
            case Forbidden(_):
                self._release(call.id, answer)
                self._note_put_off(call, "forbidden")
                self._unless_dropped(call.jobs, lambda: self.lanes.halve(call, self._now))
            case Cut():
                self._release(call.id, answer)
                self.lanes.forget_probe(call)
                self._note_put_off(call, "cut")
                self._unless_dropped(call.jobs, lambda: self.lanes.wait(call, self._now))
            case Judged(items):
                self._succeed(call, answer)
                assert self._judged is None
                self._judged = call, items
            case Refused(reason, said, is_from_pim):
                self._succeed(call, answer, is_proof=is_from_pim)
                if call.is_alone:
                    job = call.jobs[0]
                    if not self._is_doubted(job):
                        job.refuse(reason, said)
                        self._after_step(job)
                else:
                    self._note_put_off(call, "refused")
                    self._unless_dropped(call.jobs, lambda: self.lanes.halve(call, self._now))

    @property
    def has_judged(self) -> bool:
        """Whether assets of a call that ended are still to be worked through."""
        return self._judged is not None

    def work_through(self, now: float, patience: float) -> None:
        """End the assets of the call that was judged, each as the PIM said."""
        if self._judged is None:
            return
        (call, items), self._judged = self._judged, None
        self._now, self._patience = now, patience
        for job, item in zip(list(call.jobs), items, strict=True):
            self._end_item(call, job, item.kind, item.said)

    def _note_put_off(self, call: Call, cause: RetryCause) -> None:
        """The call, or a part of it, goes again."""
        fields = {"family": call.family, "verb": call.verb.value, "cause": cause}
        self._desk.emit(Note("call.put_off", fields))

    def _succeed(self, call: Call, answer: Answer, *, is_proof: bool = True) -> None:
        self._release(call.id, answer)
        if not is_proof:
            self.lanes.forget_probe(call)
            return
        self.families.see(call.family, self._now)
        was_sick = self.lanes.is_sick(call.lane)
        if self.lanes.succeeded(call, self._now, self._patience):
            self._desk.emit(Note("breaker.closed", {"family": call.family}))
        if was_sick:
            fields = {"family": call.family, "verb": call.verb.value}
            self._desk.emit(Note("family.healed", fields))

    def _end_item(self, call: Call, job: Job, kind: ItemKind, said: Said) -> None:
        if kind is ItemKind.RETRY:
            self._retry_item(call, job, said)
            return
        if kind is ItemKind.APPLIED:
            result = _result(call.verb, said)
            if (ended := job.apply_alone(said, result)) is not None:
                self._desk.settle(ended)
                self._free(job)
                return
            job.apply(said, result)
        elif self._is_doubted(job):
            return
        else:
            job.refuse("refused_by_pim", said)
        self._after_step(job, refused=kind is ItemKind.REFUSED)

    def _retry_item(self, call: Call, job: Job, said: Said) -> None:
        job.last_failure = Failure("pim_error", said)
        self._note_put_off(call, "item")
        self._unless_dropped([job], lambda: self.lanes.isolate(job, self._now, failures=1))

    def _is_doubted(self, job: Job) -> bool:
        """Whether the refusal may be due to values that went unshaped: then it is tried again."""
        if self.structures is None or job.verb is Verb.DELETE or self.only_in_flight:
            return False
        is_doubted = self.structures.doubt(job, self._now)
        if is_doubted:
            self.structures.park(job)
        return is_doubted

    def _after_step(self, job: Job, *, refused: bool = True) -> None:
        """A step ended: settle what is released, go on with the next."""
        for ended in job.take_ended():
            self._desk.settle(ended)
        if job.is_over:
            self._free(job)
        elif self.only_in_flight:
            del self.busy[job.key]
        elif refused or job.verb is Verb.DELETE:
            self.lanes.isolate(job, self._now)
        else:
            self.windows.resume(job)

    def _free(self, job: Job) -> None:
        """The asset is no longer busy: what waited behind enters its window."""
        del self.busy[job.key]
        for change in job.behind:
            self.windows.add(change, self._now)

    def _put_off(self, call: Call, answer: Answer, retry_after_seconds: float | None) -> None:
        self._throttle(call.id, retry_after_seconds)
        self._release(call.id, answer)
        self.lanes.forget_probe(call)
        self._note_put_off(call, "throttled")
        self._unless_dropped(call.jobs, lambda: self.lanes.wait(call, self._now))

    def _throttle(self, call_id: int, retry_after_seconds: float | None) -> None:
        if self.gate.throttle(call_id, self._now, retry_after_seconds):
            seconds = (self.gate.closed_until or self._now) - self._now
            self._desk.emit(Note("gate.closed", {"seconds": round(seconds, 3)}))

    def _suspect(self, call: Call, failure: Failure, answer: Answer) -> None:
        fields = {
            "family": call.family,
            "verb": call.verb.value,
            "assets": len(call.jobs),
            "status": failure.said.status,
            "reason": failure.reason,
            "message": failure.said.message,
        }
        self._desk.emit(Note("call.suspected", fields))
        is_probe = self.lanes.breaker.is_open and self.lanes.breaker.probing == call.id
        if is_probe and not self.only_in_flight:
            call.failure = failure
            self._check(call, Stage.PROBED_FAMILY)
            return
        call.stage = Stage.WRITE
        self._release(call.id, answer)
        self._unless_dropped(call.jobs, lambda: self._hold_against(call, failure))

    def _hold_against(self, call: Call, failure: Failure) -> None:
        if self.lanes.suspected(call, failure, self._now, self._patience):
            self._desk.emit(Note("breaker.opened", {"message": failure.said.message}))

    def _fall_sick(self, lane: Lane) -> None:
        failure = self.lanes.lane(lane).failure
        fields = {
            "family": lane[0],
            "verb": lane[1].value,
            "reason": failure.reason if failure else None,
            "status": failure.said.status if failure else None,
            "message": failure.said.message if failure else None,
        }
        self._desk.emit(Note("family.sick", fields))

    # --- checks ------------------------------------------------------------------------------

    def _check(self, call: Call, stage: Stage) -> None:
        """One more request in the same slot, as soon as the rate allows it."""
        call.stage = stage
        self._wanted.append((call.id, False))

    def _check_missing(self, call: Call, said: Said) -> None:
        call.missing = said
        if self.families.lacks(call.family, self._now):
            self._end_unknown_family(call, CallReply(404, own_json=True), said)
        elif call.verb is Verb.DELETE and self.families.is_seen(call.family, self._now):
            self._end_absent(call, CallReply(404, own_json=True))
        else:
            self._check(call, Stage.FAMILY)

    def _missing_checked(self, call: Call, answer: Answer) -> None:
        said = call.missing
        assert said is not None
        if isinstance(answer, CallFault) and answer.kind is FaultKind.CUT:
            self._write_ended(call, answer)
        elif isinstance(answer, CallReply) and answer.status == 429:
            self._put_off(call, answer, answer.retry_after_seconds)
        elif call.stage is Stage.FAMILY and is_well(answer) and call.verb is Verb.DELETE:
            self._end_absent(call, answer)
        elif call.stage is Stage.FAMILY and is_unknown(answer):
            self._check(call, Stage.FAMILIES)
        elif call.stage is Stage.FAMILIES and is_well(answer):
            self._end_unknown_family(call, answer, said)
        else:
            self._suspect(call, Failure("pim_error", said), answer)

    def _end_absent(self, call: Call, answer: Answer) -> None:
        assert call.missing is not None
        self._succeed(call, answer)
        job = call.jobs[0]
        job.apply(call.missing, "absent")
        self._after_step(job, refused=False)

    def _end_unknown_family(self, call: Call, answer: Answer, said: Said) -> None:
        self.families.miss(call.family, said, self._now)
        self._release(call.id, answer)
        self.lanes.forget_probe(call)
        self._reject_unknown(call, said)

    def _reject_unknown(self, call: Call, said: Said) -> None:
        for job in list(call.jobs):
            job.reject_step("unknown_family", said)
            self._after_step(job)

    def _probe_checked(self, call: Call, answer: Answer) -> None:
        """After a failed probe: is the PIM well otherwise? A single asset takes that as proof."""
        assert call.failure is not None
        failure = call.failure
        if isinstance(answer, CallFault) and answer.kind is FaultKind.CUT:
            self._write_ended(call, answer)
            return
        if isinstance(answer, CallReply) and answer.status == 429:
            self._put_off(call, answer, answer.retry_after_seconds)
            return
        call.stage = Stage.WRITE
        self._release(call.id, answer)
        if self.only_in_flight:
            return
        if not self.lanes.breaker.is_open or self.lanes.breaker.probing != call.id:
            self._hold_against(call, failure)
        elif is_well(answer) and self.asset_count == 1:
            self.lanes.close_breaker(self._now)
            self._desk.emit(Note("breaker.closed", {"family": call.family}))
            self.lanes.own_failure(call, self._now, self._patience)
        else:
            self.lanes.probe_failed(call, self._now, family_well=is_well(answer))

    # --- small -------------------------------------------------------------------------------

    def _give_up(self, job: Job, failure: Failure) -> None:
        """A single asset's budget is used up: an upsert's later changes fail with it."""
        message = f"Given up after {job.own_failures} failures of its own."
        self.fail_job(job, failure, message)

    def fail_job(self, job: Job, failure: Failure, message: str) -> None:
        """The job's step fails; of an upsert, every change of the asset then waiting too."""
        asset, is_upsert = job.asset, job.verb is Verb.UPSERT
        job.fail(failure, message)
        behind = [change for change in job.behind if is_upsert and change.asset == asset]
        if behind:
            job.behind = [change for change in job.behind if change.asset != asset]
        self._after_step(job)
        self.fail_waiting(behind, failure, message)

    def fail_step(self, job: Job, failure: Failure, message: str) -> None:
        """The job's step fails; its other steps and what waits behind go on."""
        job.fail_step(failure, message)
        self._after_step(job)

    def fail_waiting(self, changes: list[Change], failure: Failure, message: str) -> None:
        """Changes that waited uncalled fail where they are, in order."""
        for change in changes:
            self._desk.settle(((change, failed(failure, message)),))

    def take_up(self, job: Job) -> None:
        """An asset taken out of its window without a call."""
        assert self.busy.setdefault(job.key, job) is job

    def _unless_dropped(self, jobs: list[Job], go_on: Callable[[], None]) -> None:
        """Go on with these, unless what was not settled is left to the next owner."""
        if not self.only_in_flight:
            go_on()
            return
        for job in jobs:
            self.busy.pop(job.key, None)


def _result(verb: Verb, said: Said) -> Result:
    if verb is Verb.DELETE:
        return "deleted"
    return "created" if said.status == 201 else "updated"
