"""Carry out the verdict on a write (architecture.md D7).

Rule 1: the assets of a call that succeeded are worked through after the next call has started, or
when none can start. So the slot is in use while the outcomes of a hundred assets are made.
"""

from service.contracts.outcome import DELETE, UPSERT, Action, Reason, Result
from service.core.facts import (
    BreakerClosed,
    BreakerOpened,
    CallFailed,
    CallRetried,
    FamilyFailing,
    FamilyRecovered,
    RetryCause,
)
from service.core.group.asset_work import AppliedAlike, AssetWork, Ending
from service.core.media.files import Files
from service.core.model import Now
from service.core.news import News
from service.core.recover.attribution import Attribution, Decided
from service.core.recover.call import Call, Lane
from service.core.recover.lanes import Lanes
from service.core.send.busy_assets import BusyAssets
from service.core.send.families import Families
from service.core.send.structure_cache import StructureCache
from service.core.verdict_types import (
    Absent,
    Failure,
    FileLost,
    Forbidden,
    ItemKind,
    ItemVerdict,
    Judged,
    PimResponse,
    Refused,
    Suspicious,
    UnknownFamily,
    Unsendable,
    Uploaded,
    Verdict,
)


class Conclusion:
    """Carries a verdict out: on the call's assets, its lane and its family."""

    def __init__(
        self,
        busy: BusyAssets,
        lanes: Lanes,
        attribution: Attribution,
        families: Families,
        structure_cache: StructureCache | None,
        files: Files,
        news: News,
    ) -> None:
        self._busy = busy
        self._files = files
        self._lanes = lanes
        self._attribution = attribution
        self._families = families
        self._structure_cache = structure_cache
        self._news = news
        self._judged: tuple[Call, tuple[ItemVerdict, ...]] | None = None
        """The last call that succeeded, while its assets wait to be worked through."""

    def conclude(self, call: Call, verdict: Verdict, now: Now, *, is_only_asset: bool) -> None:
        """Do what follows from the verdict; `is_only_asset` if no other asset has open changes."""
        match verdict:
            case Judged(items):
                self._succeed(call, now)
                assert self._judged is None
                self._judged = call, items
            case Uploaded(code):
                self._succeed(call, now)
                self._busy.go_on(self._files.uploaded(call, code, now.seconds), now)
            case Absent(response):
                self._succeed(call, now)
                call.batch[0].apply(response, "absent")
                self._busy.step_ended(call.batch[0], now, refused=False)
            case UnknownFamily(response):
                self._families.mark_unknown(call.family, response, now.seconds)
                self._lanes.forget_probe(call)
                self.reject(call, "unknown_family", response, now)
            case Unsendable(response):
                self._lanes.forget_probe(call)
                self.reject(call, "refused_by_pim", response, now)
            case FileLost(message):
                self._lanes.forget_probe(call)
                self._fetch_again(call, message, now)
            case Refused():
                self._refuse(call, verdict, now)
            case Forbidden():
                self._halve(call, "forbidden", now)
            case Suspicious():
                self._suspect(call, verdict, now, is_only_asset=is_only_asset)
            case _:
                raise AssertionError("an exchange ends with an answer")

    def reject(self, call: Call, reason: Reason, response: PimResponse, now: Now) -> None:
        """Reject the step of every asset of the call, for a reason that they share."""
        for work in list(call.batch):
            work.reject_step(reason, response)
            self._busy.step_ended(work, now)

    def note_retry(self, call: Call, cause: RetryCause) -> None:
        """Tell that the call, or a part of it, will be sent again."""
        self._news.append(CallRetried(call.family, call.action, cause))

    # --- the call as a whole -----------------------------------------------------------------

    def _refuse(self, call: Call, refused: Refused, now: Now) -> None:
        if refused.is_from_pim:
            self._succeed(call, now)
        else:
            self._lanes.forget_probe(call)
        if call.upload is not None:
            freed = self._files.upload_refused(call, refused.response, now.seconds)
            self._busy.go_on(freed, now)
        elif not call.is_alone:
            self._halve(call, "refused", now)
        elif not self._is_tried_again(call.batch[0], now.seconds):
            call.batch[0].refuse(refused.reason, refused.response)
            self._busy.step_ended(call.batch[0], now)

    def _fetch_again(self, call: Call, message: str, now: Now) -> None:
        """Fetch the file of an upload again; end its assets if that was tried too often."""
        self._lanes.drop(call)
        if self._busy.keeps(call.batch):
            self._busy.go_on(self._files.upload_lost(call, message, now), now)

    def _halve(self, call: Call, cause: RetryCause, now: Now) -> None:
        self.note_retry(call, cause)
        if self._busy.keeps(call.batch):
            self._lanes.halve(call, now.seconds)

    def _suspect(self, call: Call, verdict: Suspicious, now: Now, *, is_only_asset: bool) -> None:
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
        self._files.uploads.failed(call, now.seconds)
        if not self._busy.keeps(call.batch):
            return
        if not self._lanes.breaker.is_open or self._lanes.breaker.probing != call.id:
            self._follow(call.lane, self._attribution.suspected(call, failure, now), now)
            return
        call.failure = failure
        if verdict.is_pim_well and is_only_asset:
            # A GET that succeeds has to do as proof: no other asset could show that the PIM works.
            seconds = self._attribution.close_breaker(now.seconds)
            self._news.append(BreakerClosed(call.family, round(seconds, 3)))
            self._follow(call.lane, self._attribution.own_failure(call, now), now)
        else:
            is_well = bool(verdict.is_pim_well)
            self._attribution.probe_failed(call, now.seconds, family_well=is_well)

    def _succeed(self, call: Call, now: Now) -> None:
        if call.upload is None:  # an upload names no family
            self._families.mark_seen(call.family, now.seconds)
        before = self._lanes.peek(call.lane)
        self._follow(call.lane, self._attribution.succeeded(call, now), now)
        if before.is_failing and not self._lanes.is_failing(call.lane):
            seconds = round(now.seconds - before.began_failing_at, 3)
            self._news.append(FamilyRecovered(call.family, call.action, seconds))

    def _follow(self, lane: Lane, decided: Decided, now: Now) -> None:
        """Do what the lanes decided after a call."""
        for failing in decided.failing:
            self._note_failing(failing)
        for work, last in decided.gave_up:
            message = f"Given up after {work.own_failures} failures of its own."
            self._busy.fail_work(work, last, message, now)
        if decided.outage_seconds is not None:
            self._news.append(BreakerClosed(lane[0], round(decided.outage_seconds, 3)))
        if decided.has_opened:
            self._note_opened(now.seconds)

    def _note_opened(self, now: float) -> None:
        breaker = self._lanes.breaker
        assert breaker.failure is not None
        opened = BreakerOpened(
            families=breaker.suspected_families,
            reason=breaker.failure.reason,
            status=breaker.failure.response.status,
            message=breaker.failure.response.message,
            probe_in_seconds=round(breaker.probe_at - now, 3),
        )
        self._news.append(opened)

    def _note_failing(self, lane: Lane) -> None:
        failure = self._lanes.lane(lane).failure
        response = failure.response if failure else None
        failing = FamilyFailing(
            family=lane[0],
            action=lane[1],
            reason=failure.reason if failure else None,
            status=response.status if response else None,
            message=response.message if response else None,
        )
        self._news.append(failing)

    # --- asset by asset ----------------------------------------------------------------------

    @property
    def has_judged(self) -> bool:
        """Whether assets of a call that succeeded are still to be worked through."""
        return self._judged is not None

    def work_through(self, now: Now) -> None:
        """End the step of each asset of the last call that succeeded, as the PIM judged it."""
        if self._judged is None:
            return
        (call, items), self._judged = self._judged, None
        alike: dict[int, AppliedAlike] = {}
        is_upsert = call.action == UPSERT
        for work, item in zip(list(call.batch), items, strict=True):
            is_applied = is_upsert and item.kind is ItemKind.APPLIED
            if not is_applied or (change := work.end_alone()) is None:
                self._end_item(call, work, item, now)
                continue
            self._busy.free(work, now.seconds)
            if id(item) not in alike:  # results of the same status alone share a verdict
                result = _result(UPSERT, item.response)
                ending = Ending("applied", result, response=item.response)
                alike[id(item)] = AppliedAlike([], ending)
            alike[id(item)].changes.append(change)
        self._news += alike.values()

    def _end_item(self, call: Call, work: AssetWork, item: ItemVerdict, now: Now) -> None:
        kind, response = item.kind, item.response
        if kind is ItemKind.RETRY:
            work.last_failure = Failure("pim_error", response)
            self.note_retry(call, "item")
            if self._busy.keeps([work]):
                self._lanes.isolate(work, now.seconds, failures=1)
            return
        if kind is ItemKind.APPLIED:
            work.apply(response, _result(call.action, response))
        elif self._is_tried_again(work, now.seconds):
            return
        else:
            work.refuse("refused_by_pim", response)
        self._busy.step_ended(work, now, refused=kind is ItemKind.REFUSED)

    def _is_tried_again(self, work: AssetWork, now: float) -> bool:
        """Return whether refused values are tried again: shaped, or with files uploaded anew."""
        if self._waits_for_structure(work, now):
            return True
        if self._busy.only_in_flight or not self._files.forget_codes(work):
            return False
        self._lanes.isolate(work, now)
        return True

    def _waits_for_structure(self, work: AssetWork, now: float) -> bool:
        """Return whether refused values are tried again, shaped by a structure yet to be read."""
        if self._structure_cache is None or work.action == DELETE or self._busy.only_in_flight:
            return False
        is_stale = self._structure_cache.mark_stale(work, now)
        if is_stale:
            self._structure_cache.park(work)
        return is_stale


def _result(action: Action, response: PimResponse) -> Result:
    if action == DELETE:
        return "deleted"
    return "created" if response.status == 201 else "updated"
