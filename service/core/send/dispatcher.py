"""Calls from their start to their end, and what each end means (architecture.md D6, D7).

Rule 1: a call starts only with a slot, the rate, the lease and a hope to commit its outcome.
Rule 2: an asset is busy from its first call until its last change of that job has ended.
Rule 3: a call that was judged frees its slot first; its assets are worked through when the next
call is on its way.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.contracts.outcome import DELETE, UPSERT, Action, Result
from service.core.effects import AllowRequest, CancelCall, Effect, StartCall
from service.core.facts import (
    BreakerClosed,
    BreakerOpened,
    CallFailed,
    CallRetried,
    CredentialsRefused,
    FamilyFailing,
    FamilyRecovered,
    OptionCreated,
    OptionRefused,
    PimThrottled,
    PimThrottlingEnded,
    RetryCause,
    StructureRead,
    StructureUnreadable,
)
from service.core.group.asset_work import AssetWork, Ended, failed
from service.core.group.shape import Structure
from service.core.group.window import Windows
from service.core.inputs import CANCELLED, Answer, CallFault, CallReply, FaultKind
from service.core.limits import CREDENTIALS_NOTE_SECONDS, Limits
from service.core.model import Asset, Change, Now
from service.core.recover.backoff import Jitter
from service.core.recover.call import Call, Lane
from service.core.recover.lanes import Decided, Lanes
from service.core.requests import Exchange
from service.core.send.exchange import Unreadable, log_in, write, write_as_probe
from service.core.send.families import Families
from service.core.send.gate import Gate
from service.core.send.scheduler import Scheduler
from service.core.send.structure_cache import (
    Examined,
    OptionCreate,
    SideRequest,
    StructureCache,
    StructureFetch,
)
from service.core.send.verdict import is_written
from service.core.verdicts import (
    Absent,
    Failure,
    Forbidden,
    ItemKind,
    ItemVerdict,
    Judged,
    PimResponse,
    Refused,
    Suspicious,
    UnknownFamily,
    Verdict,
)

LOGIN_CALL_ID = 0
"""The one call that carries no change: it shows wrong credentials at once. Cut, it goes again."""


@dataclass(slots=True)
class Login:
    """The one call that carries no change and waits for nothing."""

    exchange: Exchange[Answer] = field(default_factory=lambda: Exchange(log_in()))


class Dispatcher:
    """Windows, lanes and gate at work for one assignment after another."""

    def __init__(self, limits: Limits, jitter: Jitter) -> None:
        self._news: list[Effect | Ended] = []
        """What is to be done, and which changes ended, in order."""
        self.gate = Gate(limits.calls_at_once_max, limits.calls_per_second_max, jitter)
        attempts_max, seconds_max = limits.retry_attempts_max, limits.retry_seconds_max
        self.lanes = Lanes(attempts_max, seconds_max, jitter)
        self.families = Families()
        self.structure_cache = (
            StructureCache(limits.structure, jitter, self.families) if limits.structure else None
        )
        self.windows = Windows(
            limits.window_seconds_max,
            limits.window_assets_max,
            limits.window_bytes_max,
            limits.changes_per_asset_max,
        )
        self._scheduler = Scheduler(self.windows, self.lanes, self.structure_cache, self.gate)
        self.busy: dict[Asset, AssetWork] = {}
        """By the asset with its case folded."""
        self.in_flight: dict[int, Call] = {}
        """The writes."""
        self._side_requests: dict[int, SideRequest | Login] = {}
        """Calls in flight that carry no change."""
        self._judged: tuple[Call, tuple[ItemVerdict, ...]] | None = None
        """The call that ended last, while its assets wait to be worked through."""
        self._wanted: deque[tuple[int, bool]] = deque()
        """Calls in flight that want one more request, in order; True: for a token, under way."""
        self._login_wanted = True
        self._credentials_noted_at = float("-inf")
        self.only_in_flight = False
        """While a revocation drains: what was not sent is dropped."""

    @property
    def has_news(self) -> bool:
        """Whether `take_news` would return anything."""
        return bool(self._news)

    def take_news(self) -> list[Effect | Ended]:
        """What is to be done, and which changes ended since the last time, in order."""
        news, self._news = self._news, []
        return news

    # --- work --------------------------------------------------------------------------------

    def add(self, change: Change, now: float) -> None:
        """An admitted change waits: behind its asset's job, else in its family's window."""
        work = self.busy.get(change.command.asset.folded)
        if work is not None:
            work.behind.append(change)
        else:
            self.windows.add(change, now)

    def forget(self) -> None:
        """The assignment is over: what waits is dropped, what is in flight is cut."""
        for call_id in self._between_requests():
            self.gate.end(call_id)
        self._wanted.clear()
        self._login_wanted = self._login_wanted or LOGIN_CALL_ID in self._side_requests
        self.cancel_requests()
        self.in_flight.clear()
        self._side_requests.clear()
        self.drop_waiting()
        self.only_in_flight = False

    def drop_waiting(self) -> None:
        """What was not sent is left to the next owner."""
        self.windows.clear()
        self.lanes.forget()
        if self.structure_cache is not None:
            self.structure_cache.forget()
        self._stop_side_requests()
        sent = {work.key: work for call in self.in_flight.values() for work in call.batch}
        for work in sent.values():
            work.behind.clear()
        self.busy = sent

    def cancel_requests(self) -> None:
        """Give up every request that is out; each ends as CUT."""
        for call_id in self.gate.in_flight.difference(self._between_requests()):
            self._news.append(CancelCall(call_id))

    def cancel_between_requests(self, now: Now) -> None:
        """Calls that wait for the rate with no request out end here: nothing else would tell."""
        for call_id in self._between_requests():
            self._wanted.remove((call_id, False))
            self.ended(call_id, CANCELLED, now)

    def _between_requests(self) -> list[int]:
        return [call_id for call_id, is_token in self._wanted if not is_token]

    def _stop_side_requests(self) -> None:
        """One between two requests ends here; one whose request is out ends with its answer."""
        for call_id in self._between_requests():
            if call_id in self._side_requests:
                self._wanted.remove((call_id, False))
                del self._side_requests[call_id]
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
        for work in self.busy.values():
            yield from work.open_changes
            yield from work.behind
        yield from self.windows.changes()

    # --- starting ----------------------------------------------------------------------------

    def send_waiting(self, now: float) -> None:
        """Calls in flight send their next request, as far as the rate allows it."""
        while self._wanted and self.gate.may_send(now):
            call_id, is_token = self._wanted.popleft()
            if call_id not in self.gate.in_flight:
                continue
            self.gate.send(now)
            self._news.append(AllowRequest(call_id) if is_token else self._request_of(call_id))

    def start_next(self, now: Now) -> bool:
        """Start one call, or end what needs none; False where nothing may go now."""
        if not self.gate.may_start(now.seconds):
            return False
        if self._login_wanted and LOGIN_CALL_ID not in self.gate.in_flight:
            self._login_wanted = False
            self._start_side_request(LOGIN_CALL_ID, Login(), now.seconds)
            return True
        is_out = self._side_requests.keys() != {LOGIN_CALL_ID} and bool(self._side_requests)
        chosen = self._scheduler.next(now.seconds, is_side_request_out=is_out)
        if chosen is None:
            return False
        if chosen.closed is not None:
            self._news.append(chosen.closed)
        if not isinstance(chosen.call, Call):
            self._start_side_request(self.lanes.new_call_id(), chosen.call, now.seconds)
            return True
        for work in chosen.call.batch:
            assert self.busy.setdefault(work.key, work) is work, "one asset, one job"
        if self._examine(chosen.call, now):
            self._start(chosen.call, now.seconds, repair=chosen.is_repair)
        return True

    def want_request(self, call_id: int) -> None:
        """A call in flight needs one more request in its slot."""
        if call_id in self.gate.in_flight:
            self._wanted.append((call_id, True))

    def next_time(self, now: float) -> float | None:
        """When time alone could let a call start."""
        times = [self.gate.next_time(now), self.windows.next_due_at]
        if self.structure_cache is not None:
            times.extend(self.structure_cache.next_time())
        if self.lanes.breaker.is_open:
            times.append(self.lanes.breaker.probe_at)
        else:
            times.append(self.lanes.next_retry_at())
            times.extend(
                state.probe_at for _, state in self.lanes.failing_lanes() if state.probing is None
            )
        # What is due already waits for something else: a slot, the rate, the gate.
        return min((time for time in times if time is not None and time > now), default=None)

    def _request_of(self, call_id: int) -> StartCall:
        """The next request of a call in flight."""
        if call_id in self._side_requests:
            return StartCall(call_id, self._side_requests[call_id].exchange.request)
        exchange = self.in_flight[call_id].exchange
        assert exchange is not None
        return StartCall(call_id, exchange.request)

    def _start_side_request(self, call_id: int, side: SideRequest | Login, now: float) -> None:
        self._side_requests[call_id] = side
        self.gate.start(call_id, now, repair=False)
        self._news.append(self._request_of(call_id))

    def _examine(self, call: Call, now: Now) -> bool:
        """Shape the values that go out; what is flawed or in doubt stays. False: nothing is left.

        Every call passes here, fresh or repaired: a step may have come to the front since.
        """
        if (response := self.families.denial(call.family, now.seconds)) is not None:
            self.lanes.drop(call)
            self.lanes.forget_probe(call)
            self._reject_unknown(call, response, now)
            return False
        if self.structure_cache is None or call.action == DELETE:
            return True
        flawed = []
        for work in list(call.batch):
            found = self.structure_cache.examine(work, now.seconds)
            if found is Examined.READY:
                continue
            call.batch.remove(work)
            if found is Examined.WAITING:
                self.structure_cache.park(work)
            else:
                flawed.append(work)
        if not call.batch:
            self.lanes.drop(call)
            self.lanes.forget_probe(call)
        for work in flawed:
            work.reject_flawed()
            self._after_step(work, now)
        return bool(call.batch)

    def _start(self, call: Call, now: float, *, repair: bool) -> None:
        """Send the write; or the check after it, where that was throttled or cut."""
        self.gate.start(call.id, now, repair=repair)
        self.in_flight[call.id] = call
        if call.exchange is not None:
            self._news.append(self._request_of(call.id))
            return
        codes = [asset.code for asset in call.assets]
        steps = write(call.request(), call.action, call.family, codes, self.families)
        if self.lanes.breaker.probing == call.id:
            steps = write_as_probe(steps, call.family)
        call.exchange = Exchange(steps)
        self.lanes.sending(call)
        call.count_attempt()
        self._news.append(StartCall(call.id, call.exchange.request, call.origins()))

    # --- ending ------------------------------------------------------------------------------

    def ended(self, call_id: int, answer: Answer, now: Now) -> None:
        """A request of a call ended: decide, or send the next one in the same slot."""
        self._note_refused_credentials(call_id, answer, now.seconds)
        if isinstance(answer, CallReply) and answer.families is not None:
            self.families.keep_list(answer.families, now.seconds)
        if isinstance(answer, CallReply) and answer.status == 429:
            self._throttle(call_id, answer.retry_after_seconds, now.seconds)
        if (side := self._side_requests.get(call_id)) is not None:
            self._side_request_answered(call_id, side, answer, now)
        elif (call := self.in_flight.get(call_id)) is not None:
            self._write_answered(call, answer, now)
        else:  # of an assignment that is over
            self._release(call_id, answer)

    def _write_answered(self, call: Call, answer: Answer, now: Now) -> None:
        assert call.exchange is not None
        if _is_no_answer(answer):
            self._retry_later(call, answer, now)
            return
        verdict = call.exchange.take(answer, now.seconds)
        if verdict is None:
            self._wanted.append((call.id, False))
            return
        call.exchange = None
        self._release(call.id, answer)
        self._conclude(call, verdict, now)

    def _retry_later(self, call: Call, answer: Answer, now: Now) -> None:
        """The same request goes again; a write is made up anew, of what it still carries then."""
        if call.exchange is not None and not call.exchange.has_begun:
            call.exchange = None
        self._release(call.id, answer)
        self.lanes.forget_probe(call)
        self._note_retry(call, "throttled" if isinstance(answer, CallReply) else "cancelled")
        if self._is_kept(call.batch):
            self.lanes.wait(call, now.seconds)

    def _side_request_answered(
        self, call_id: int, side: SideRequest | Login, answer: Answer, now: Now
    ) -> None:
        """A structure was read on, or an option created; neither is anybody's failure."""
        if isinstance(side, Login):
            # A throttled one has shown that the PIM takes the credentials, or a write soon will.
            self._login_wanted = answer == CANCELLED
            resumed: list[AssetWork] = []
        elif _is_no_answer(answer) or self.only_in_flight:
            assert self.structure_cache is not None
            self.structure_cache.retry_later(side, now.seconds)
            resumed = []
        elif isinstance(side, OptionCreate):
            resumed = self._option_created(side, answer, now)
        else:
            found = side.exchange.take(answer, now.seconds)
            if found is None:
                self._wanted.append((call_id, False))
                return
            resumed = self._structure_read(side, found, now)
        del self._side_requests[call_id]
        self._release(call_id, answer)
        for work in resumed:
            self.windows.resume(work)

    def _structure_read(
        self, side: StructureFetch, found: Structure | UnknownFamily | Unreadable, now: Now
    ) -> list[AssetWork]:
        assert self.structure_cache is not None
        if isinstance(found, Structure):
            self._news.append(StructureRead(side.family))
        elif isinstance(found, Unreadable):
            self._news.append(StructureUnreadable(side.family))
            if self.lanes.breaker.is_open:
                self.lanes.delay_probe(now.seconds)
        return self.structure_cache.fetched(side.family, found, now.seconds)

    def _option_created(self, side: OptionCreate, answer: Answer, now: Now) -> list[AssetWork]:
        assert self.structure_cache is not None
        attribute, code = side.option
        fact = OptionCreated if is_written(answer) else OptionRefused
        self._news.append(fact(side.family, attribute, code))
        return self.structure_cache.created(side, answer, now.seconds)

    def _note_refused_credentials(self, call_id: int, answer: Answer, now: float) -> None:
        if not isinstance(answer, CallFault) or answer.kind is not FaultKind.CREDENTIALS:
            return
        if now >= self._credentials_noted_at + CREDENTIALS_NOTE_SECONDS:
            self._credentials_noted_at = now
            self._news.append(CredentialsRefused(call_id, answer.message))

    def _release(self, call_id: int, answer: Answer) -> None:
        """The call gives its slot back."""
        self.in_flight.pop(call_id, None)
        if not _is_no_answer(answer) and self.gate.answered(call_id):
            self._news.append(PimThrottlingEnded())
        self.gate.end(call_id)

    def _throttle(self, call_id: int, retry_after_seconds: float | None, now: float) -> None:
        if self.gate.throttle(call_id, now, retry_after_seconds):
            seconds = (self.gate.closed_until or now) - now
            self._news.append(PimThrottled(round(seconds, 3)))

    # --- what the PIM said -------------------------------------------------------------------

    def _conclude(self, call: Call, verdict: Verdict, now: Now) -> None:
        match verdict:
            case Judged(items):
                self._succeed(call, now)
                assert self._judged is None
                self._judged = call, items
            case Absent(response):
                self._succeed(call, now)
                call.batch[0].apply(response, "absent")
                self._after_step(call.batch[0], now, refused=False)
            case UnknownFamily(response):
                self.families.mark_unknown(call.family, response, now.seconds)
                self.lanes.forget_probe(call)
                self._reject_unknown(call, response, now)
            case Refused():
                self._refuse(call, verdict, now)
            case Forbidden():
                self._halve(call, "forbidden", now)
            case Suspicious():
                self._suspect(call, verdict, now)
            case _:
                raise AssertionError("an exchange ends with an answer")

    def _refuse(self, call: Call, refused: Refused, now: Now) -> None:
        if refused.is_from_pim:
            self._succeed(call, now)
        else:
            self.lanes.forget_probe(call)
        if not call.is_alone:
            self._halve(call, "refused", now)
        elif not self._waits_for_structure(call.batch[0], now.seconds):
            call.batch[0].refuse(refused.reason, refused.response)
            self._after_step(call.batch[0], now)

    def _reject_unknown(self, call: Call, response: PimResponse, now: Now) -> None:
        for work in list(call.batch):
            work.reject_step("unknown_family", response)
            self._after_step(work, now)

    def _halve(self, call: Call, cause: RetryCause, now: Now) -> None:
        self._note_retry(call, cause)
        if self._is_kept(call.batch):
            self.lanes.halve(call, now.seconds)

    def _suspect(self, call: Call, verdict: Suspicious, now: Now) -> None:
        failure = verdict.failure
        failed_call = CallFailed(
            family=call.family,
            action=call.action,
            assets=len(call.batch),
            status=failure.response.status,
            reason=failure.reason,
            message=failure.response.message,
        )
        self._news.append(failed_call)
        if not self._is_kept(call.batch):
            return
        if not self.lanes.breaker.is_open or self.lanes.breaker.probing != call.id:
            self._follow(call.lane, self.lanes.suspected(call, failure, now), failure, now)
            return
        call.failure = failure
        if verdict.is_pim_well and self.asset_count == 1:
            # A single asset takes that as the proof: no other could prove the PIM well.
            self.lanes.close_breaker(now.seconds)
            self._news.append(BreakerClosed(call.family))
            self._follow(call.lane, self.lanes.own_failure(call, now), failure, now)
        else:
            is_well = bool(verdict.is_pim_well)
            self.lanes.probe_failed(call, now.seconds, family_well=is_well)

    def _succeed(self, call: Call, now: Now) -> None:
        self.families.mark_seen(call.family, now.seconds)
        was_failing = self.lanes.is_failing(call.lane)
        self._follow(call.lane, self.lanes.succeeded(call, now), None, now)
        if was_failing:
            self._news.append(FamilyRecovered(call.family, call.action))

    def _follow(self, lane: Lane, decided: Decided, failure: Failure | None, now: Now) -> None:
        """Do what follows from a call's end."""
        for failing in decided.failing:
            self._note_failing(failing)
        for work, last in decided.gave_up:
            message = f"Given up after {work.own_failures} failures of its own."
            self.fail_work(work, last, message, now)
        if decided.has_closed:
            self._news.append(BreakerClosed(lane[0]))
        if decided.has_opened:
            assert failure is not None
            self._news.append(BreakerOpened(failure.response.message))

    def _note_failing(self, lane: Lane) -> None:
        failure = self.lanes.lane(lane).failure
        response = failure.response if failure else None
        failing = FamilyFailing(
            family=lane[0],
            action=lane[1],
            reason=failure.reason if failure else None,
            status=response.status if response else None,
            message=response.message if response else None,
        )
        self._news.append(failing)

    def _note_retry(self, call: Call, cause: RetryCause) -> None:
        """The call, or a part of it, goes again."""
        self._news.append(CallRetried(call.family, call.action, cause))

    # --- asset by asset ----------------------------------------------------------------------

    @property
    def has_judged(self) -> bool:
        """Whether assets of a call that ended are still to be worked through."""
        return self._judged is not None

    def work_through(self, now: Now) -> None:
        """End the assets of the call that was judged, each as the PIM said."""
        if self._judged is None:
            return
        (call, items), self._judged = self._judged, None
        for work, item in zip(list(call.batch), items, strict=True):
            self._end_item(call, work, item, now)

    def _end_item(self, call: Call, work: AssetWork, item: ItemVerdict, now: Now) -> None:
        kind, response = item.kind, item.response
        if kind is ItemKind.RETRY:
            work.last_failure = Failure("pim_error", response)
            self._note_retry(call, "item")
            if self._is_kept([work]):
                self.lanes.isolate(work, now.seconds, failures=1)
            return
        if kind is ItemKind.APPLIED:
            result = _result(call.action, response)
            if (ended := work.apply_alone(response, result)) is not None:
                self._news.append(ended)
                self._free(work, now.seconds)
                return
            work.apply(response, result)
        elif self._waits_for_structure(work, now.seconds):
            return
        else:
            work.refuse("refused_by_pim", response)
        self._after_step(work, now, refused=kind is ItemKind.REFUSED)

    def _waits_for_structure(self, work: AssetWork, now: float) -> bool:
        """Whether the refusal may be due to values that went unshaped: then it is tried again."""
        if self.structure_cache is None or work.action == DELETE or self.only_in_flight:
            return False
        is_stale = self.structure_cache.mark_stale(work, now)
        if is_stale:
            self.structure_cache.park(work)
        return is_stale

    def _after_step(self, work: AssetWork, now: Now, *, refused: bool = True) -> None:
        """A step ended: settle what is released, go on with the next."""
        self._news += work.take_ended()
        if work.is_over:
            self._free(work, now.seconds)
        elif self.only_in_flight:
            del self.busy[work.key]
        elif refused or work.action == DELETE:
            self.lanes.isolate(work, now.seconds)
        else:
            self.windows.resume(work)

    def _free(self, work: AssetWork, now: float) -> None:
        """The asset is no longer busy: what waited behind enters its window."""
        del self.busy[work.key]
        for change in work.behind:
            self.windows.add(change, now)

    def fail_work(self, work: AssetWork, failure: Failure, message: str, now: Now) -> None:
        """The job's step fails; of an upsert, every change of the asset then waiting too."""
        asset, is_upsert = work.asset, work.action == UPSERT
        work.fail(failure, message)
        behind = [change for change in work.behind if is_upsert and change.asset == asset]
        if behind:
            work.behind = [change for change in work.behind if change.asset != asset]
        self._after_step(work, now)
        self.fail_waiting(behind, failure, message)

    def fail_step(self, work: AssetWork, failure: Failure, message: str, now: Now) -> None:
        """The job's step fails; its other steps and what waits behind go on."""
        work.fail_step(failure, message)
        self._after_step(work, now)

    def fail_waiting(self, changes: list[Change], failure: Failure, message: str) -> None:
        """Changes that waited uncalled fail where they are, in order."""
        for change in changes:
            self._news.append(((change, failed(failure, message)),))

    def take_up(self, work: AssetWork) -> None:
        """An asset taken out of its window without a call."""
        assert self.busy.setdefault(work.key, work) is work

    def _is_kept(self, batch: list[AssetWork]) -> bool:
        """Whether these go on: while a revocation drains they are left to the next owner."""
        if not self.only_in_flight:
            return True
        for work in batch:
            self.busy.pop(work.key, None)
        return False


def _is_no_answer(answer: Answer) -> bool:
    """Whether the request was throttled or cut: it goes again, and nobody failed."""
    if isinstance(answer, CallReply):
        return answer.status == 429
    return answer.kind is FaultKind.CANCELLED


def _result(action: Action, response: PimResponse) -> Result:
    if action == DELETE:
        return "deleted"
    return "created" if response.status == 201 else "updated"
