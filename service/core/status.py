"""A report of the open work, for people and metrics. It decides nothing."""

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from service.contracts.outcome import DELETE, Action, Reason
from service.core.model import Partition
from service.core.recover.breaker import Breaker
from service.core.recover.call import Call
from service.core.recover.lanes import Lanes
from service.core.send.dispatcher import Dispatcher
from service.core.settle.outbox import Outbox

FAMILIES_SHOWN_MAX = 50
CODES_SHOWN_MAX = 5
"""How many of a family's held deletes are named."""

WaitsFor = Literal[
    "assignment", "drain", "release", "lease", "commit", "pim", "throttling", "deletes"
]
"""Why nothing is sent, on purpose, strongest first."""


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One assigned partition."""

    partition: Partition
    watermark: int
    position: int
    """The offset that is read next."""
    pending: int
    """Changes admitted whose outcome is not yet committed."""
    span: int
    """Offsets from the oldest pending change to the position."""
    is_paused: bool
    progressed_utc_ms: int
    """When a record of it was admitted or committed last, or it was assigned."""
    oldest_offset: int | None = None
    """The oldest pending change; None if there is none."""
    oldest_seconds: float = 0.0
    """For how long the oldest pending change has been open in this replica."""


@dataclass(frozen=True, slots=True)
class FailureStatus:
    """Why one kind of call of a family fails while calls of other families succeed."""

    action: Action
    reason: Reason
    status: int | None
    message: str | None
    seconds: float
    """How long they have failed."""
    probe_in_seconds: float | None
    """Until the next probe may be sent; None while one is under way."""


@dataclass(frozen=True, slots=True)
class OutageStatus:
    """Why the PIM is taken to be unavailable."""

    families: tuple[str, ...]
    """Some of those whose calls failed."""
    reason: Reason
    status: int | None
    message: str | None
    """Of the call or probe that failed last."""
    seconds: float
    """How long it has been unavailable."""
    probe_in_seconds: float | None
    """Until the next probe may be sent; None while one is under way."""


@dataclass(frozen=True, slots=True)
class FamilyStatus:
    """One family with open work, or one that fails; numbers of assets."""

    family: str
    waiting: int
    in_flight: int
    in_repair: int
    is_failing: bool
    failures: tuple[FailureStatus, ...] = ()
    """Of its upserts, of its deletes: why they fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStatus:
    """The open work of one replica, or of one source that it translates."""

    waits_for: str | None
    """Why nothing is sent or written, if that is on purpose."""
    pending_changes: int
    pending_bytes: int
    withheld_changes: int
    """Of them, those that the limit on dead letters holds back."""
    is_limit_reached: bool
    dead_of_last: int
    """Of the last changes, those that became dead letters or would."""
    last_changes: int
    """How many those last changes are: all since the start or a release, up to 1,000."""
    silent_seconds: float
    """Since anything arrived, ended or was committed."""
    partitions: tuple[PartitionStatus, ...]
    held_changes: int = 0
    """Of the pending changes, deletes beyond the ceiling and what waits behind them."""
    over_ceiling: tuple[str, ...] = ()
    """The families (in the service) or the source (in translate) whose deletes wait for an
    operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStatus(WorkStatus):
    """The open work of one replica of `run`."""

    waits_for: WaitsFor | None
    calls_in_flight: int
    calls_limit: int
    rate_limit: int
    gate_seconds: float
    """Until the gate tries again; 0 where it is open."""
    is_gate_closed: bool
    outage: OutageStatus | None
    """None while the circuit breaker is closed."""
    failing_lanes: int
    calls_in_repair: int
    window_wait_seconds: float
    """How long the window that is due longest has waited for a call."""
    assets_waiting_for_files: int = 0
    downloads_in_flight: int = 0
    files_disk_bytes: int = 0
    """What files take on disk, and what downloads in flight may bring."""


@dataclass(frozen=True, slots=True)
class HeldFamily:
    """The deletes of one family that the ceiling holds back."""

    family: str
    deletes: int
    codes: tuple[str, ...]
    """Of the first assets to be deleted, at most `CODES_SHOWN_MAX`."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What a release lets go."""

    deletes: tuple[HeldFamily, ...]
    """The families with most held deletes first, at most `FAMILIES_SHOWN_MAX`."""
    further_families: int
    """Families with held deletes that are not shown."""
    dead_letters: Mapping[Reason, int]
    others: int
    """Changes that wait behind these, because they must not overtake them."""


@dataclass(slots=True)
class LastProgress:
    """The time of the last progress: in the replica, and in each assigned partition."""

    seconds: float = float("-inf")
    """When records arrived, a call ended or a transaction was committed (monotonic seconds)."""
    utc_ms: dict[Partition, int] = field(default_factory=dict)

    def begin(self, partitions: Iterable[Partition], utc_ms: int) -> None:
        """Count from now for these partitions, and for no others."""
        self.utc_ms = dict.fromkeys(partitions, utc_ms)

    def note(self, partitions: Iterable[Partition], utc_ms: int) -> None:
        """Take note that a record of these partitions was admitted or committed."""
        for partition in partitions:
            if partition in self.utc_ms:
                self.utc_ms[partition] = utc_ms


def status_of(
    dispatcher: Dispatcher,
    outbox: Outbox,
    progress: LastProgress,
    *,
    now: float,
    waits_for: WaitsFor | None,
    paused: Collection[Partition],
) -> PipelineStatus:
    """Return what is open at this moment (monotonic seconds)."""
    gate, lanes, ledger = dispatcher.gate, dispatcher.lanes, outbox.ledger
    return PipelineStatus(
        waits_for=waits_for,
        pending_changes=ledger.pending_changes,
        pending_bytes=ledger.pending_bytes,
        withheld_changes=outbox.withheld_changes,
        is_limit_reached=outbox.limit.is_reached,
        dead_of_last=outbox.limit.dead,
        last_changes=outbox.limit.changes,
        held_changes=len(dispatcher.held),
        over_ceiling=dispatcher.held.reached,
        calls_in_flight=len(gate.in_flight),
        calls_limit=gate.cap,
        rate_limit=gate.rate.requests_max,
        gate_seconds=max(0.0, (gate.closed_until or now) - now),
        is_gate_closed=gate.is_closed,
        outage=_outage(lanes.breaker, now),
        failing_lanes=sum(1 for _ in lanes.failing_lanes()),
        calls_in_repair=sum(1 for _ in _in_repair(lanes)),
        window_wait_seconds=dispatcher.windows.longest_wait(now),
        assets_waiting_for_files=len(dispatcher.files.waiting),
        downloads_in_flight=dispatcher.files.downloads.in_flight,
        files_disk_bytes=dispatcher.files.downloads.disk_bytes,
        silent_seconds=now - progress.seconds,
        partitions=tuple(
            PartitionStatus(
                partition,
                watermark=ledger.watermark(partition),
                position=ledger.position(partition),
                pending=ledger.pending_in(partition),
                span=ledger.span(partition),
                is_paused=partition in paused,
                progressed_utc_ms=progress.utc_ms[partition],
                oldest_offset=ledger.oldest(partition),
                oldest_seconds=ledger.oldest_seconds(partition, now),
            )
            for partition in sorted(ledger.partitions)
        ),
    )


def held_back(dispatcher: Dispatcher, outbox: Outbox) -> HeldBack:
    """Return what the ceiling on deletes and the limit on dead letters hold back."""
    deletes, others = Counter[str](), 0
    codes: dict[str, list[str]] = {}
    for change in dispatcher.held.changes():
        if change.action != DELETE:
            others += 1
            continue
        note_delete(change.asset.family, change.asset.code, deletes, codes)
    reasons = Counter[Reason]()
    for completed in outbox.withheld():
        if completed.dead_letter is None or completed.reason is None:
            others += 1
        else:
            reasons[completed.reason] += 1
    return summed_up(deletes, codes, reasons, others)


def note_delete(family: str, code: str, deletes: Counter[str], codes: dict[str, list[str]]) -> None:
    """Count a held delete, and keep its code if it is one of the first of its family."""
    deletes[family] += 1
    first = codes.setdefault(family, [])
    if len(first) < CODES_SHOWN_MAX:
        first.append(code)


def summed_up(
    deletes: Counter[str],
    codes: Mapping[str, Sequence[str]],
    reasons: Mapping[Reason, int],
    others: int,
) -> HeldBack:
    """Return what is held back, from the counts of deletes by family and of dead letters."""
    shown = deletes.most_common(FAMILIES_SHOWN_MAX)
    return HeldBack(
        tuple(HeldFamily(family, count, tuple(codes[family])) for family, count in shown),
        len(deletes) - len(shown),
        dict(reasons),
        others,
    )


def _outage(breaker: Breaker, now: float) -> OutageStatus | None:
    if breaker.failure is None:
        return None
    return OutageStatus(
        families=breaker.suspected_families,
        reason=breaker.failure.reason,
        status=breaker.failure.response.status,
        message=breaker.failure.response.message,
        seconds=now - breaker.opened_at,
        probe_in_seconds=_probe_in(breaker.probing, breaker.probe_at, now),
    )


def _probe_in(probing: int | None, probe_at: float, now: float) -> float | None:
    """Return in how many seconds the next probe may be sent; None while one is under way."""
    return max(0.0, probe_at - now) if probing is None else None


def _in_repair(lanes: Lanes) -> Iterator[Call]:
    """Yield the writes that wait to be sent again; an asset that is to be uploaded waits for it."""
    return (call for call in lanes.waiting_calls() if call.upload is None)


def families(dispatcher: Dispatcher, now: float) -> list[FamilyStatus]:
    """Failing families first, then those with most open work, at most `FAMILIES_SHOWN_MAX`."""
    failing = {family for (family, _), _ in dispatcher.lanes.failing_lanes()}
    waiting = Counter(dict(dispatcher.windows.waiting_by_family()))
    waiting.update(dispatcher.held.waiting_by_family())
    waiting.update(asset.family for asset in dispatcher.files.waiting)
    in_flight: Counter[str] = Counter()
    for call in dispatcher.slots.writes.values():
        in_flight[call.family] += len(call.batch) if call.upload is None else 0
    in_repair: Counter[str] = Counter()
    for call in _in_repair(dispatcher.lanes):
        in_repair[call.family] += len(call.batch)
    total = waiting + in_flight + in_repair
    shown = heapq.nlargest(
        FAMILIES_SHOWN_MAX,
        failing | total.keys(),
        key=lambda family: (family in failing, total[family]),
    )
    return [
        FamilyStatus(
            family,
            waiting[family],
            in_flight[family],
            in_repair[family],
            family in failing,
            tuple(_failures(dispatcher, family, now)) if family in failing else (),
        )
        for family in shown
    ]


def _failures(dispatcher: Dispatcher, family: str, now: float) -> Iterator[FailureStatus]:
    for (of_family, action), state in dispatcher.lanes.failing_lanes():
        if of_family == family and state.failure is not None:
            response = state.failure.response
            yield FailureStatus(
                action,
                state.failure.reason,
                response.status,
                response.message,
                seconds=now - state.began_failing_at,
                probe_in_seconds=_probe_in(state.probing, state.probe_at, now),
            )
