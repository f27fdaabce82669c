"""Follow calls from their start to their end (architecture.md D6, D7).

Rule 1: a call starts only when a slot is free, the rate limit allows it, the lease is held and
commits are working.
Rule 2: a call that ended frees its slot first, so that the next call starts before the outcomes of
the last one are made.
"""

from collections.abc import Iterator

from service.contracts.outcome import DELETE
from service.core.facts import (
    CredentialsRefused,
    OptionCreated,
    OptionRefused,
    RetryCause,
    StructureRead,
    StructureUnreadable,
)
from service.core.group.asset_work import AssetWork
from service.core.group.shape import Structure
from service.core.group.window import Windows
from service.core.inputs import CANCELLED, Answer, CallFault, CallReply, FaultKind
from service.core.limits import CREDENTIALS_NOTE_SECONDS, Limits
from service.core.media.files import Files
from service.core.model import Change, Now
from service.core.news import News
from service.core.recover.attribution import Attribution
from service.core.recover.backoff import Jitter
from service.core.recover.call import Call
from service.core.recover.lanes import Lanes
from service.core.requests import Exchange, Steps
from service.core.send.busy_assets import BusyAssets
from service.core.send.conclusion import Conclusion
from service.core.send.exchange import Unreadable, upload, write, write_as_probe
from service.core.send.families import Families
from service.core.send.file_steps import FileSteps
from service.core.send.gate import Gate
from service.core.send.held_deletes import HeldDeletes
from service.core.send.scheduler import Scheduler
from service.core.send.slots import LOGIN_CALL_ID, Login, Slots, is_no_answer
from service.core.send.structure_cache import (
    Examined,
    OptionCreate,
    SideRequest,
    StructureCache,
    StructureFetch,
)
from service.core.send.verdict import is_written
from service.core.verdict_types import UnknownFamily, Verdict


class Dispatcher:
    """Starts calls and takes their answers, for one assignment after another."""

    def __init__(self, limits: Limits, jitter: Jitter) -> None:
        self._news: News = []
        self.gate = Gate(limits.calls_at_once_max, limits.calls_per_second_max, jitter)
        self.lanes = Lanes(jitter)
        self._attribution = Attribution(
            limits.retry_attempts_max, limits.retry_seconds_max, self.lanes, jitter
        )
        self.windows = Windows(
            limits.window_seconds_max,
            limits.window_assets_max,
            limits.window_bytes_max,
            limits.changes_per_asset_max,
        )
        self.families = Families()
        self.structure_cache = (
            StructureCache(limits.structure, jitter, self.families) if limits.structure else None
        )
        self.slots = Slots(self.gate, self._news)
        self.held = HeldDeletes(limits.deletes_per_hour_max, self._news)
        self.files = Files(limits, jitter, self.lanes, self._news)
        self.busy = BusyAssets(self.windows, self.lanes, self.files, self.held, self._news)
        self.file_steps = FileSteps(self.files, self.busy, self.structure_cache)
        self.conclusion = Conclusion(
            self.busy,
            self.lanes,
            self._attribution,
            self.families,
            self.structure_cache,
            self.files,
            self._news,
        )
        self._scheduler = Scheduler(self.windows, self.lanes, self.structure_cache, self.gate)
        self._wants_login = True
        self._credentials_noted_at = float("-inf")

    @property
    def has_news(self) -> bool:
        """Whether `take_news` would return anything."""
        return bool(self._news)

    def take_news(self) -> News:
        """Return what is to be done, and which changes ended since the last time, in order."""
        news = self._news[:]
        self._news.clear()
        return news

    # --- all that is open --------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits but held deletes, and nothing is in flight."""
        return not self.busy and self.windows.is_empty and not self.gate.in_flight

    def open_changes(self) -> Iterator[Change]:
        """Yield every change that waits or is in work."""
        yield from self.busy.open_changes()
        yield from self.windows.changes()

    def forget(self) -> None:
        """Cancel what is in flight and drop the rest: the assignment is over."""
        self._wants_login = self._wants_login or LOGIN_CALL_ID in self.slots.side_requests
        self.slots.forget()
        self.drop_waiting()
        self.busy.only_in_flight = False

    def drop_waiting(self) -> None:
        """Leave what was not sent to the next owner of its partition."""
        self.windows.clear()
        self.lanes.forget()
        self._attribution.forget()
        if self.structure_cache is not None:
            self.structure_cache.forget()
        self.slots.stop_side_requests()
        self.files.drop_waiting(self.slots.writes)
        self.busy.drop_except(self.slots.works())

    def cancel_between_requests(self, now: Now) -> None:
        """End calls that wait between two requests: no answer will come to end them."""
        for call_id in self.slots.take_between_requests():
            self.ended(call_id, CANCELLED, now)

    # --- starting ----------------------------------------------------------------------------

    def start_next(self, now: Now) -> bool:
        """Start one call, or end work that needs none; False where nothing may start now."""
        if not self.gate.may_start(now.seconds):
            return False
        if self._wants_login and LOGIN_CALL_ID not in self.gate.in_flight:
            self._wants_login = False
            self.slots.start_side_request(LOGIN_CALL_ID, Login(), now.seconds)
            return True
        is_out = self.slots.is_side_request_out
        chosen = self._scheduler.next(now.seconds, is_side_request_out=is_out)
        if chosen is None:
            return False
        if chosen.closed is not None:
            self._news.append(chosen.closed)
        if not isinstance(chosen.call, Call):
            call_id = self.lanes.new_call_id()
            self.slots.start_side_request(call_id, chosen.call, now.seconds)
            return True
        self.busy.hold(chosen.call.batch)
        if self._examine(chosen.call, now):
            self._start(chosen.call, now.seconds, repair=chosen.is_repair)
        return True

    def next_time(self, now: float) -> float | None:
        """Return when time alone could let a call start (monotonic seconds)."""
        times = [self.gate.next_time(now), self.windows.next_due_at]
        if self.structure_cache is not None:
            times.extend(self.structure_cache.next_times(now))
        times.append(self.files.downloads.next_time())
        if self.lanes.breaker.is_open:
            times.append(self.lanes.breaker.probe_at)
        else:
            times.append(self.lanes.next_retry_at())
            times.extend(
                state.probe_at for _, state in self.lanes.failing_lanes() if state.probing is None
            )
        # What is due already waits for something else: a slot, the rate, the gate.
        return min((time for time in times if time is not None and time > now), default=None)

    def _examine(self, call: Call, now: Now) -> bool:
        """Shape the values that go out; return False where no asset is left in the call.

        Every call passes here, also one that is sent again: the step of an asset may be another by
        now, and its family may have become unknown.
        """
        if (response := self.families.denial(call.family, now.seconds)) is not None:
            self._drop(call)
            self.conclusion.reject(call, "unknown_family", response, now)
            return False
        if call.action == DELETE or call.upload is not None:
            return True
        flawed = []
        if self.structure_cache is not None:
            flawed = self._set_aside(call, self.structure_cache, now.seconds)
        ended = self.file_steps.set_aside(call)
        if not call.batch:
            self._drop(call)
        for work in flawed:
            work.reject_flawed()
            self.busy.step_ended(work, now)
        self.busy.go_on(ended, now)
        return bool(call.batch)

    @staticmethod
    def _set_aside(call: Call, structures: StructureCache, now: float) -> list[AssetWork]:
        """Take out of the call what waits for a structure, and return what the PIM would refuse."""
        flawed = []
        for work in structures.unjudged(call.family, call.batch):
            found = structures.examine(work, now)
            if found is Examined.READY:
                continue
            call.batch.remove(work)
            if found is Examined.WAITING:
                structures.park(work)
            else:
                flawed.append(work)
        return flawed

    def _drop(self, call: Call) -> None:
        self.lanes.drop(call)
        self.lanes.forget_probe(call)

    def _start(self, call: Call, now: float, *, repair: bool) -> None:
        """Send the write; or the check that follows it, where that was throttled or cancelled."""
        if call.exchange is None:
            steps = self._steps_of(call)
            if self.lanes.breaker.probing == call.id:
                steps = write_as_probe(steps, call.family)
            call.exchange = Exchange(steps)
            self.lanes.sending(call)
            call.count_attempt()
        self.files.uploads.started(call, now)
        self.slots.start_write(call, now, repair=repair)

    def _steps_of(self, call: Call) -> Steps[Verdict]:
        if call.upload is not None:
            return upload(call.upload)
        codes = [asset.code for asset in call.assets]
        return write(call.request(), call.action, call.family, codes, self.families)

    # --- ending ------------------------------------------------------------------------------

    def ended(self, call_id: int, answer: Answer, now: Now) -> None:
        """Take the end of a call's request: conclude, or let the call send its next request."""
        self._note_refused_credentials(call_id, answer, now.seconds)
        if isinstance(answer, CallReply) and answer.families is not None:
            self.families.keep_list(answer.families, now.seconds)
        if isinstance(answer, CallReply) and answer.status == 429:
            self.slots.throttle(call_id, answer.retry_after_seconds, now.seconds)
        if (side := self.slots.side_requests.get(call_id)) is not None:
            self._side_request_answered(call_id, side, answer, now)
        elif (call := self.slots.writes.get(call_id)) is not None:
            self._write_answered(call, answer, now)
        else:  # of an assignment that is over
            self.slots.release(call_id, answer)

    def _write_answered(self, call: Call, answer: Answer, now: Now) -> None:
        assert call.exchange is not None
        if is_no_answer(answer):
            self._retry_later(call, answer, now)
            return
        verdict = call.exchange.take(answer, now.seconds)
        if verdict is None:
            self.slots.want_next(call.id)
            return
        call.exchange = None
        self.slots.release(call.id, answer)
        is_only_asset = len(self.busy) + self.windows.asset_count == 1
        self.conclusion.conclude(call, verdict, now, is_only_asset=is_only_asset)

    def _retry_later(self, call: Call, answer: Answer, now: Now) -> None:
        """Send the request again later; a write then carries what its assets need by that time."""
        if call.exchange is not None and not call.exchange.has_begun:
            call.exchange = None
        self.slots.release(call.id, answer)
        self.lanes.forget_probe(call)
        cause: RetryCause = "throttled" if isinstance(answer, CallReply) else "cancelled"
        self.conclusion.note_retry(call, cause)
        if self.busy.keeps(call.batch):
            self.lanes.wait(call, now.seconds)

    def _side_request_answered(
        self, call_id: int, side: SideRequest | Login, answer: Answer, now: Now
    ) -> None:
        """Take the answer to a call that carries no change; no asset's failures are counted."""
        resumed: list[AssetWork] = []
        if isinstance(side, Login):
            # A throttled one has shown that the PIM takes the credentials, or a write soon will.
            self._wants_login = answer == CANCELLED
        elif is_no_answer(answer) or self.busy.only_in_flight:
            assert self.structure_cache is not None
            self.structure_cache.retry_later(side, now.seconds)
        elif isinstance(side, OptionCreate):
            resumed = self._option_created(side, answer, now)
        else:
            found = side.exchange.take(answer, now.seconds)
            if found is None:
                self.slots.want_next(call_id)
                return
            resumed = self._structure_read(side, found, now)
        self.slots.release(call_id, answer)
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
                self.lanes.breaker.delay_probe(now.seconds)
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
