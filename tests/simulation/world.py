"""A world from one seed: Kafka, its group, the PIM, replicas that crash and freeze.

The replicas run the real `Pipeline`; everything else is made of a heap of moments.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from unittest.mock import patch

from service.core import long_form
from service.core.effects import (
    AllowRequest,
    CancelCall,
    CancelDownload,
    Commit,
    Drained,
    DropAssignment,
    DropFile,
    Effect,
    MediaEffect,
    SetIntake,
    StartCall,
    StartDownload,
)
from service.core.facts import DeadLetterLimitReached, DeleteCeilingReached
from service.core.inputs import (
    Answer,
    Arrived,
    Assigned,
    CallEnded,
    CallFault,
    CallReply,
    CommitRefusal,
    CommitRefused,
    Committed,
    DownloadEnded,
    DrainKind,
    DrainStarted,
    FaultKind,
    Forgotten,
    Input,
    LeaseRenewed,
    Released,
    RequestWanted,
    Start,
    TimePassed,
)
from service.core.limits import DecodeLimits, Limits, MediaOptions, StructureOptions
from service.core.model import Moment, Origin, Partition, SourceRecord
from service.core.pipeline import Pipeline
from service.core.records import PositionCommit, Transaction
from service.core.requests import DeleteOne, UploadFile, UpsertAssets
from service.core.settle import offset_map
from tests.simulation.auditor import Auditor
from tests.simulation.bounds import bounds
from tests.simulation.disk import ReplicaDisk
from tests.simulation.media import CHANGES, DISK, FILES, SLOW_SECONDS, MediaPlan
from tests.simulation.pim import SimPim
from tests.simulation.plan import (
    DRAIN_SECONDS,
    LATER,
    LIMITS,
    MENDED_SECONDS,
    NOT_IN_TIME_SECONDS,
    POLL_RECORDS_MAX,
    SESSION_SECONDS,
    TRANSACTION_BYTES_MIN,
    Plan,
    PlannedRecord,
)
from tests.support.file_source import CANCELLED as CUT

HEARTBEAT_SECONDS = 1.0
CALL_TIMEOUT_SECONDS = 5.0
FILE_LOST = CallFault(FaultKind.FILE_LOST, "gone")
SILENT_SECONDS = 4_000.0
"""After the last fault, how long a world may settle nothing before it ends as it is. The slowest of
hundreds settled something every 450 s."""

PipelineFactory = Callable[[Limits, Callable[[], float]], Pipeline]


@dataclass(eq=False)
class SimCall:
    """A request on its way: when it is applied, and whether somebody still wants the answer."""

    request: StartCall
    owner: "Owner"
    epoch: int
    is_given_up: bool = False
    reply: Answer | None = None
    """What the PIM answered, once it applied the request; or why it could not be sent whole."""


@dataclass(eq=False)
class Owner:
    """A replica: the real pipeline in a simulated shell."""

    number: int
    pipeline: Pipeline
    is_alive: bool = True
    frozen_until: float = 0.0
    generation: int = -1
    epoch: int = -1
    reading: dict[int, int] = field(default_factory=dict)
    """Partition → index of the next record to read."""
    paused: frozenset[Partition] = frozenset()
    calls: dict[int, SimCall] = field(default_factory=dict)
    disk: ReplicaDisk = field(default_factory=ReplicaDisk)
    mailbox: list[Input] = field(default_factory=list)
    wake_up: int = 0
    last_heartbeat: float = 0.0
    is_leaving: bool = False
    has_rejoined: bool = True
    is_released: bool = False
    """Whether a person has let deletes go that the ceiling held back."""


class World:
    """Runs one plan to its end."""

    def __init__(self, plan: Plan, pipeline: PipelineFactory = Pipeline) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed ^ 0x5EED)
        self.later = random.Random(plan.seed ^ LATER)
        self.limiting = random.Random(plan.seed ^ LIMITS ^ 0x5EED)
        self.media = plan.limits.media
        self.fetching = random.Random(plan.seed ^ FILES ^ 0x5EED)
        self.contents = self.media.contents if self.media is not None else {}
        self.slowing = random.Random(plan.seed ^ CHANGES ^ 0x5EED)
        self.damaging = random.Random(plan.seed ^ DISK ^ 0x5EED)
        self.pim = SimPim(plan.limits.options, folds_case=plan.limits.odd_case_share > 0)
        self._asked: deque[float] = deque()
        """When the PIM was asked in the last second."""
        self.bound: set[str] = set()
        """Limits that held something back."""
        self.auditor = Auditor(plan)
        self.now = 0.0
        self._make_pipeline = pipeline
        self._moments: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._logs: list[list[tuple[int, PlannedRecord]]] = [[] for _ in range(plan.partitions)]
        self._next_offset = [0] * plan.partitions
        self._committed: dict[int, PositionCommit] = {}
        self._owners: list[Owner] = []
        self._members: list[Owner] = []
        self._generation = 0
        self._rebalance_ends_at: float | None = None
        self.steps = 0

    # --- the run -----------------------------------------------------------------------------

    def run(self) -> list[str]:
        """Everything that is wrong with the world, once it rests."""
        events = self.plan.judged_from_event
        with patch.object(long_form, "COMPILED_AFTER_EVENTS", events):
            return self._run()

    def _run(self) -> list[str]:
        for record in self.plan.records:
            self._at(record.time, partial(self._write, record))
        for _ in range(self.plan.owners):
            self._spawn()
        self._plan_troubles()
        self._at(0.0, self._beat)
        while self._moments and not self._rests:
            time, _, happen = heapq.heappop(self._moments)
            if time > self._silent_from + SILENT_SECONDS:
                break
            self.now = time
            happen()
        self.bound.update(self.auditor.bounds())
        for owner in self._owners:
            if owner.is_alive and owner.frozen_until <= self.now and owner.disk.on_disk:
                self.auditor.files.flaws.add((owner.number, "files are left on disk"))
        return self.auditor.verdict(self.pim)

    @property
    def _silent_from(self) -> float:
        """Since when nothing more was settled although no fault is left."""
        return max(self.auditor.settled_at, self.plan.ends_at + MENDED_SECONDS)

    @property
    def _rests(self) -> bool:
        return (
            self.now > self.plan.ends_at + SESSION_SECONDS
            and self.auditor.settled >= len(self.plan.records)
            and not any(
                owner.calls or owner.disk.running for owner in self._owners if owner.is_alive
            )
        )

    def _plan_troubles(self) -> None:
        for time, seconds, number in self.plan.freezes:
            self._at(time, partial(self._freeze, number, seconds))
        for time, number in self.plan.kills:
            self._at(time, partial(self._kill_some, number))
        for time, number in self.plan.limits.fences:
            self._at(time, partial(self._fence, number))
        for time in self.plan.joins:
            self._at(time, self._spawn)
        for time, number in self.plan.leaves:
            self._at(time, partial(self._leave, number))
        self.pim.families -= self.plan.created_at.keys()
        for family, time in self.plan.created_at.items():
            self._at(time, partial(self.pim.families.add, family))
        self._at(self.plan.ends_at, self._ensure_somebody)
        self._at(self.plan.ends_at + MENDED_SECONDS, self.pim.mend)
        if self.media is not None:
            for time in self.media.forgets_at:
                self._at(time, self.pim.files.clear)
            for time, number in self.media.disk.folders_removed:
                self._at(time, partial(self._remove_folder, number))

    def _at(self, time: float, happen: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._moments, (time, self._count, happen))

    # --- Kafka -------------------------------------------------------------------------------

    def _write(self, record: PlannedRecord) -> None:
        offset = self._next_offset[record.partition]
        while self.chance.random() < self.plan.gap_share:
            offset += 1
        if self.plan.limits.hole_offsets and self.limiting.random() < 0.05:
            offset += self.plan.limits.hole_offsets
        self._next_offset[record.partition] = offset + 1
        self._logs[record.partition].append((offset, record))
        self.auditor.written[record.partition, offset] = record

    def _poll(self, owner: Owner) -> None:
        records = []
        for partition, index in owner.reading.items():
            if Partition("events", partition) in owner.paused:
                continue
            log = self._logs[partition]
            until = min(len(log), index + self.chance.randint(1, POLL_RECORDS_MAX))
            for offset, planned in log[index:until]:
                origin = Origin(Partition("events", partition), offset, owner.epoch)
                self.auditor.files.see_read(owner.number, (partition, offset), self.now)
                records.append(SourceRecord(origin, planned.key, planned.value))
            owner.reading[partition] = until
        if records:
            self._submit(owner, Arrived(tuple(records)))

    def _land(self, owner: Owner, generation: int, number: int, transaction: Transaction) -> None:
        """The commit reaches the coordinator: all of it, or nothing."""
        is_member = owner in self._members and generation == self._generation
        if not is_member:
            self._later(0.01, owner, CommitRefused(number, CommitRefusal.FENCED))
            return
        if (refusal := self._refusal_of(transaction)) is not None:
            is_slow = refusal is CommitRefusal.NOT_IN_TIME
            seconds = NOT_IN_TIME_SECONDS if is_slow else 0.01
            self._later(seconds, owner, CommitRefused(number, refusal))
            return
        self.auditor.settled_at = self.now
        for outcome in transaction.outcomes:
            assert outcome.value is not None
            self.auditor.see_outcome(outcome.value, owner.number, self.now)
        for dead in transaction.dead_letters:
            self.auditor.dead_letters.append((dead.key, dead.value, dict(dead.headers)))
        for partition, commit in transaction.positions.items():
            self._committed[partition.number] = commit
        self._later(0.01, owner, Committed(number))

    def _refusal_of(self, transaction: Transaction) -> CommitRefusal | None:
        """Why the coordinator does not take these positions."""
        if self._is_too_slow_for(transaction):
            self.bound.add("bytes a transaction of the broker")
            return CommitRefusal.NOT_IN_TIME
        longest = max(len(commit.metadata) for commit in transaction.positions.values())
        if longest > self.plan.limits.metadata_characters_max:
            self.bound.add("commit metadata")
            return CommitRefusal.METADATA_TOO_LARGE
        is_over = self.now >= self.plan.ends_at
        if not is_over and self.limiting.random() < self.plan.limits.refused_share:
            return CommitRefusal.REBALANCE_IN_PROGRESS
        return None

    def _is_too_slow_for(self, transaction: Transaction) -> bool:
        bytes_max, outcomes = self.plan.limits.commit_bytes_max, transaction.outcomes
        if bytes_max is None or len({outcome.key for outcome in outcomes}) <= 1:
            return False
        return sum(len(outcome.value or b"") for outcome in outcomes) > bytes_max

    # --- the group ---------------------------------------------------------------------------

    def _beat(self) -> None:
        """Heartbeats, sessions, polls: everything that ticks."""
        for owner in list(self._members):
            if owner.is_alive and owner.frozen_until <= self.now:
                if self.now - owner.last_heartbeat >= HEARTBEAT_SECONDS:
                    owner.last_heartbeat = self.now
                    self._submit(owner, LeaseRenewed(self.now + SESSION_SECONDS - 1))
            elif self.now - owner.last_heartbeat > SESSION_SECONDS:
                self._members.remove(owner)
                self._rebalance()
        for owner in self._owners:
            if owner.is_alive and owner.frozen_until <= self.now:
                self._poll(owner)
                if owner not in self._members and not owner.is_leaving:
                    self._rejoin(owner)
        if self._rebalance_ends_at is not None:
            self._maybe_finish_rebalance()
        self._at(self.now + 0.1, self._beat)

    def _rejoin(self, owner: Owner) -> None:
        """A member that was thrown out finds out, forgets, and joins anew."""
        self._forget(owner)
        owner.last_heartbeat = self.now
        self._members.append(owner)
        self._rebalance()

    def _rebalance(self) -> None:
        if self._rebalance_ends_at is not None:
            return
        self._rebalance_ends_at = self.now + DRAIN_SECONDS + 4
        for owner in self._members:
            owner.has_rejoined = not owner.reading
            if owner.reading:
                deadline = self.now + DRAIN_SECONDS
                self._submit(owner, DrainStarted(DrainKind.REVOCATION, deadline))

    def _maybe_finish_rebalance(self) -> None:
        assert self._rebalance_ends_at is not None
        if self.now < self._rebalance_ends_at:
            if not all(owner.has_rejoined for owner in self._members):
                return
        else:
            self._members = [owner for owner in self._members if owner.has_rejoined]
        self._rebalance_ends_at = None
        self._generation += 1
        joined = [owner for owner in self._members if owner.is_alive]
        for owner in joined:
            self._forget(owner)
        shares: dict[int, list[int]] = {owner.number: [] for owner in joined}
        order = list(range(self.plan.partitions))
        self.chance.shuffle(order)
        for index, partition in enumerate(order):
            if joined:
                shares[joined[index % len(joined)].number].append(partition)
        for owner in joined:
            self._assign(owner, shares[owner.number])

    def _assign(self, owner: Owner, partitions: list[int]) -> None:
        owner.generation = self._generation
        owner.epoch += 1
        owner.reading = {}
        starts: dict[Partition, Start] = {}
        for partition in partitions:
            commit = self._committed.get(partition, PositionCommit(0, ""))
            settled = offset_map.decode(commit.position, commit.metadata)
            starts[Partition("events", partition)] = Start(commit.position, settled)
            log = self._logs[partition]
            owner.reading[partition] = next(
                (i for i, (offset, _) in enumerate(log) if offset >= commit.position), len(log)
            )
        owner.last_heartbeat = self.now
        self._submit(owner, LeaseRenewed(self.now + SESSION_SECONDS - 1))
        self._submit(owner, Assigned(owner.epoch, starts, self.plan.partitions))

    def _fence(self, number: int) -> None:
        """The coordinator forgets a member that is awake; it finds out by what it is refused."""
        owner = self._alive(number)
        if owner is not None and owner in self._members:
            self._members.remove(owner)
            self._rebalance()

    def _forget(self, owner: Owner) -> None:
        owner.reading = {}
        self._submit(owner, Forgotten())

    # --- replicas ----------------------------------------------------------------------------

    def _spawn(self) -> None:
        bounds = self.plan.limits
        limits = Limits(
            decode=DecodeLimits(1 << 20),
            changes_per_asset_max=bounds.changes_per_asset_max,
            span_pause_offsets=bounds.span_pause_offsets,
            map_offsets_max=bounds.map_offsets_max,
            transaction_outcomes_max=bounds.transaction_outcomes_max,
            transaction_bytes_max=bounds.transaction_bytes_max,
            transaction_bytes_min=TRANSACTION_BYTES_MIN,
            calls_per_second_max=bounds.calls_per_second_max,
            pending_bytes_max=bounds.pending_bytes_max,
            window_bytes_max=bounds.window_bytes_max,
            breaker_pending_changes=bounds.breaker_pending_changes,
            retry_attempts_max=bounds.retry_attempts_max,
            retry_seconds_max=bounds.retry_seconds_max,
            window_seconds_max=self.plan.window_seconds,
            window_assets_max=self.chance.choice((1, 5, 100)),
            calls_at_once_max=self.chance.choice((1, 4, 10)),
            pending_changes_max=self.plan.pending_max,
            commit_interval_seconds=0.1,
            structure=StructureOptions() if self.plan.reads_structure else None,
            dead_letter_share_max=self.plan.dead_letter_share,
            dead_letter_share_changes=20,
            deletes_per_hour_max=bounds.deletes_per_hour_max,
            media=self.media.options if self.media is not None else MediaOptions(),
        )
        number = len(self._owners)
        chance = random.Random(self.plan.seed * 1000 + number)
        owner = Owner(number, self._make_pipeline(limits, chance.random))
        if self.media is not None:
            owner.disk = ReplicaDisk(
                media=self.media, chance=self.fetching, ends_at=self.plan.ends_at
            )
        owner.last_heartbeat = self.now
        self._owners.append(owner)
        self._members.append(owner)
        self._rebalance()

    def _alive(self, number: int) -> Owner | None:
        alive = [owner for owner in self._owners if owner.is_alive]
        return alive[number % len(alive)] if alive else None

    def _ensure_somebody(self) -> None:
        if not any(owner.is_alive and not owner.is_leaving for owner in self._owners):
            self._spawn()

    def _kill_some(self, number: int) -> None:
        self._kill(self._alive(number))

    def _kill(self, owner: Owner | None) -> None:
        if owner is None or not owner.is_alive:
            return
        owner.is_alive = False
        for call in owner.calls.values():
            self._abandon(call)
        owner.calls.clear()
        self._at(self.now + self.chance.uniform(0.5, 8), self._spawn)

    def _freeze(self, number: int, seconds: float) -> None:
        owner = self._alive(number)
        if owner is not None:
            owner.frozen_until = self.now + seconds
            self._at(owner.frozen_until, lambda: self._wake(owner))

    def _wake(self, owner: Owner) -> None:
        if not owner.is_alive or owner.frozen_until > self.now:
            return
        waiting, owner.mailbox = owner.mailbox, []
        for happened in waiting:
            self._step(owner, happened)
        self._step(owner, TimePassed())

    def _leave(self, number: int) -> None:
        """SIGTERM."""
        owner = self._alive(number)
        if owner is None or owner.is_leaving:
            return
        owner.is_leaving = True
        self._submit(owner, DrainStarted(DrainKind.SHUTDOWN, self.now + DRAIN_SECONDS))
        self._at(self.now + 5, self._spawn)

    def _submit(self, owner: Owner, happened: Input) -> None:
        if not owner.is_alive:
            return
        if owner.frozen_until > self.now:
            owner.mailbox.append(happened)
        else:
            self._step(owner, happened)

    def _later(self, seconds: float, owner: Owner, happened: Input) -> None:
        self._at(self.now + seconds, lambda: self._submit(owner, happened))

    def _step(self, owner: Owner, happened: Input) -> None:
        if not owner.is_alive:
            return
        self.steps += 1
        moment = Moment(self.now, round(self.now * 1000))
        effects = owner.pipeline.step(happened, moment)
        self.auditor.pending_max = max(self.auditor.pending_max, owner.pipeline.pending_changes)
        self.bound.update(bounds(owner.pipeline, effects))
        for effect in effects:
            if self.now < self.plan.ends_at and self.chance.random() < self.plan.crash_share:
                self._kill(owner)
            if not owner.is_alive:
                return
            self._perform(owner, effect)
        self._set_alarm(owner)

    def _set_alarm(self, owner: Owner) -> None:
        owner.wake_up += 1
        token = owner.wake_up
        time = owner.pipeline.next_time()
        if time is None:
            return

        def ring() -> None:
            if owner.wake_up == token:
                self._submit(owner, TimePassed())

        self._at(max(time, self.now), ring)

    def _perform(self, owner: Owner, effect: Effect) -> None:
        match effect:
            case StartCall():
                self._call(owner, effect)
            case StartDownload() | CancelDownload() | DropFile():
                self._fetch(owner, effect)
            case CancelCall(call_id):
                self._cancel(owner, call_id)
            case AllowRequest(call_id) if call_id in owner.calls:
                self._send(owner.calls[call_id])
            case Commit(number, transaction):
                generation = owner.generation
                self._at(
                    self.now + self.chance.uniform(0.005, 0.05),
                    lambda: self._land(owner, generation, number, transaction),
                )
            case SetIntake(paused):
                owner.paused = paused
            case DropAssignment():
                owner.reading = {}
                if owner in self._members:
                    self._members.remove(owner)
                    self._rebalance()
            case Drained():
                self._drained(owner)
            case DeadLetterLimitReached() | DeleteCeilingReached():
                self._call_person(owner, effect)
            case _:
                pass

    def _cancel(self, owner: Owner, call_id: int) -> None:
        call = owner.calls.pop(call_id, None)
        if call is not None:
            self._abandon(call)
            self._later(0.0, owner, CallEnded(call_id, CallFault(FaultKind.CANCELLED, "cut")))

    def _call_person(self, owner: Owner, reached: Effect) -> None:
        """Somebody comes some time later, looks, and lets go what is held back."""
        chance = self.limiting
        if isinstance(reached, DeadLetterLimitReached):
            self.auditor.limits_reached += 1
            chance = self.later
        self._at(self.now + chance.uniform(0.5, 20), lambda: self._release(owner))

    def _release(self, owner: Owner) -> None:
        """Whatever is deleted from now on was seen by somebody."""
        owner.is_released = True
        self._submit(owner, Released())

    def _drained(self, owner: Owner) -> None:
        if not owner.is_leaving:
            owner.has_rejoined = True
            return
        owner.is_alive = False
        for call in owner.calls.values():
            self._abandon(call)
        owner.calls.clear()
        if owner in self._members:
            self._members.remove(owner)
            self._rebalance()

    # --- files -------------------------------------------------------------------------------

    def _fetch(self, owner: Owner, effect: MediaEffect) -> None:
        assert self.media is not None, "no event names a file"
        file_id, disk = effect.file_id, owner.disk
        match effect:
            case StartDownload():
                disk.begin(effect, self.now)
                options = self.media.options
                if disk.bytes_max > options.disk_bytes_max:
                    self.auditor.files.flaws.add((owner.number, "too many bytes on disk"))
                if disk.at_once_max > options.downloads_at_once_max:
                    self.auditor.files.flaws.add((owner.number, "too many downloads"))
                seconds = self.media.seconds * self.fetching.uniform(0.5, 2)
                seconds += self._slow_seconds(self.media)
                self._at(self.now + seconds, lambda: self._end_download(owner, file_id))
            case CancelDownload() if self.fetching.random() < 0.2:
                self._end_download(owner, file_id)  # it had ended already
            case CancelDownload():
                if disk.running.pop(file_id, None) is not None:
                    self._later(0.0, owner, DownloadEnded(file_id, CUT))
            case DropFile():
                disk.drop(file_id)

    def _end_download(self, owner: Owner, file_id: int) -> None:
        if not owner.is_alive or (end := owner.disk.end(file_id, self.now)) is None:
            return
        self.auditor.files.see_download(
            owner.number, file_id, owner.disk.url(file_id), end, self.now
        )
        self._later(0.0, owner, DownloadEnded(file_id, end))
        if file_id in owner.disk.on_disk:
            self._maybe_damage(owner, file_id)

    def _slow_seconds(self, media: MediaPlan) -> float:
        """How much longer a download takes, so that others come to share it."""
        share = media.changes.slow_share if self.now < self.plan.ends_at else 0.0
        is_slow = share > 0 and self.slowing.random() < share
        return self.slowing.uniform(0, SLOW_SECONDS) if is_slow else 0.0

    def _maybe_damage(self, owner: Owner, file_id: int) -> None:
        """Somebody loses or empties a file, soon or when it is being uploaded."""
        assert self.media is not None
        share = self.media.disk.damaged_share if self.now < self.plan.ends_at else 0.0
        if share and self.damaging.random() < share:
            empties = self.damaging.random() < 0.5
            seconds = self.damaging.uniform(0, 2 * self.plan.call_seconds)
            self._at(self.now + seconds, lambda: owner.disk.damage(file_id, empties=empties))

    def _remove_folder(self, number: int) -> None:
        if (owner := self._alive(number)) is not None:
            owner.disk.remove_folder(self.now)

    def _see_upload(self, owner: Owner) -> None:
        requests = [call.request.request for call in owner.calls.values()]
        uploads = [request for request in requests if isinstance(request, UploadFile)]
        if len(uploads) > max(1, owner.pipeline.dispatcher.gate.cap // 2):
            self.auditor.files.flaws.add((owner.number, "more than half of the slots"))
        found = [(owner.disk.on_disk[one.file_id].sha256, one.name[-3:]) for one in uploads]
        if len(found) > len(set(found)):
            self.auditor.files.flaws.add((owner.number, "two uploads of one content"))

    # --- calls -------------------------------------------------------------------------------

    def _call(self, owner: Owner, request: StartCall) -> None:
        call = SimCall(request, owner, owner.epoch)
        assert request.call_id not in owner.calls, "one request at a time in a call's slot"
        owner.calls[request.call_id] = call
        self._see_upload(owner)
        if self.later.random() < self.plan.token_share:
            self._later(0.01, owner, RequestWanted(request.call_id))
        else:
            self._send(call)

    def _send(self, call: SimCall) -> None:
        if call.is_given_up:
            return
        in_flight = sum(len(other.calls) for other in self._owners if other.is_alive)
        self.auditor.calls_at_once_max = max(self.auditor.calls_at_once_max, in_flight)
        seconds = self.plan.call_seconds * self.chance.uniform(0.5, 2)
        if self.later.random() < self.plan.slow_share:
            seconds = CALL_TIMEOUT_SECONDS * self.later.uniform(0.6, 0.95)
        fault = self._fault_of(call)
        if fault is None:
            self._at(self.now + seconds * 0.7, lambda: self._apply(call))
            self._at(self.now + seconds, lambda: self._answer(call, None))
            return
        answer, applies = fault
        if applies:
            self._at(self.now + seconds * 0.7, lambda: self._apply(call, partly=True))
        is_timeout = isinstance(answer, CallFault) and answer.kind is FaultKind.TIMEOUT
        wait = CALL_TIMEOUT_SECONDS if is_timeout else seconds
        self._at(self.now + wait, lambda: self._answer(call, answer))

    def _fault_of(self, call: SimCall) -> tuple[Answer, bool] | None:
        """What goes wrong with a request, and whether (part of) it is applied all the same."""
        request = call.request
        if self._is_lost(call):
            return FILE_LOST, False
        if self._is_too_often():
            return CallReply(429, retry_after_seconds=self.limiting.choice((None, 1.0))), False
        if any(start <= self.now < end for start, end in self.plan.outages):
            return self.chance.choice(
                (
                    (CallFault(FaultKind.CONNECTION, "refused"), False),
                    (CallReply(503), False),
                    (CallFault(FaultKind.TIMEOUT, "no answer"), False),
                )
            )
        if self.now >= self.plan.ends_at:
            return self._own_fault(request)
        dice = self.chance.random()
        if dice < self.plan.throttle_share:
            after = self.chance.choice((None, 1.0))
            return CallReply(429, retry_after_seconds=after), False
        if self.chance.random() < self.plan.timeout_share:
            return CallFault(FaultKind.TIMEOUT, "no answer"), self.chance.random() < 0.5
        if self.chance.random() < self.plan.half_share:
            return CallFault(FaultKind.CONNECTION, "reset"), True
        if self.chance.random() < self.plan.error_share:
            return CallReply(500), self.chance.random() < 0.5
        return self._own_fault(request)

    def _is_lost(self, call: SimCall) -> bool:
        """Whether the file of an upload cannot be read from disk any more."""
        request = call.request.request
        if not isinstance(request, UploadFile) or self.media is None:
            return False
        share = self.media.lost_share if self.now < self.plan.ends_at else 0.0
        is_unread = share > 0 and self.fetching.random() < share
        return is_unread or call.owner.disk.is_lost(request)

    def _is_too_often(self) -> bool:
        """Whether the PIM was asked as often in the last second as it allows."""
        most = self.plan.limits.pim_calls_per_second_max
        if most is None:
            return False
        while self._asked and self.now - self._asked[0] >= 1.0:
            self._asked.popleft()
        if len(self._asked) >= most:
            self.bound.add("calls a second of the PIM")
            return True
        self._asked.append(self.now)
        return False

    def _own_fault(self, request: StartCall) -> tuple[Answer, bool] | None:
        """Faults that are the request's own, and last until somebody mends them."""
        if self.now >= self.plan.ends_at + MENDED_SECONDS:
            return None
        match request.request:
            case UpsertAssets(family, assets):
                codes = [asset.asset.code for asset in assets]
            case _:
                family = getattr(request.request, "family", "")
                codes = [getattr(request.request, "code", "")]
        is_write = bool(codes[0])
        if is_write and any((family, code) in self.plan.poison for code in codes):
            return CallReply(500), False
        if is_write and family == self.plan.sick_family:
            return CallReply(502), False
        is_delete = is_write and not isinstance(request.request, UpsertAssets)
        if is_delete and self.plan.no_delete_right:
            return CallReply(403, is_from_pim=True, message="no right"), False
        return None

    def _apply(self, call: SimCall, *, partly: bool = False) -> None:
        if call.is_given_up:
            return
        is_awake = call.owner.is_alive and call.owner.frozen_until <= self.now
        if is_awake and call.epoch != call.owner.epoch:
            self.auditor.outlived.append(f"call {call.request.call_id} of {call.owner.number}")
        limit = self.chance.randint(0, 100) if partly else None
        self._apply_now(call, limit)

    def _apply_now(self, call: SimCall, limit: int | None) -> None:
        request = call.request.request
        if not isinstance(request, UploadFile):
            call.reply = self.pim.answer(request, limit)
        elif request.file_id in (disk := call.owner.disk).on_disk:
            if disk.is_lost(request):
                call.reply = FILE_LOST
            else:
                call.reply = self.pim.upload(self.contents[disk.sha256(request.file_id)])
        else:
            assert call.is_given_up, "the file of an upload in flight is on disk"

    def _answer(self, call: SimCall, answer: Answer | None) -> None:
        if call.is_given_up:
            return
        answer = answer or call.reply
        assert answer is not None
        call.owner.calls.pop(call.request.call_id, None)
        if answer == FILE_LOST and isinstance(call.request.request, UploadFile):
            url = call.owner.disk.url(call.request.request.file_id)
            self.auditor.files.see_lost(call.owner.number, url)
        self._see_delete(call, answer)
        self._submit(call.owner, CallEnded(call.request.call_id, answer))

    def _see_delete(self, call: SimCall, answer: Answer) -> None:
        request, owner = call.request.request, call.owner
        is_deleted = isinstance(answer, CallReply) and answer.status == 204
        if isinstance(request, DeleteOne) and is_deleted and not owner.is_released:
            self.auditor.deletes[owner.number, call.epoch, request.family].append(self.now)

    def _abandon(self, call: SimCall) -> None:
        """Nobody waits any more: the PIM finished the request, drops it, or (late) applies it."""
        call.is_given_up = True
        if call.reply is not None:
            return
        if self.chance.random() < 0.3:
            self._apply_now(call, self.chance.choice((None, 1)))
        elif self.plan.lands_late and self.chance.random() < 0.5:
            self._at(self.now + self.chance.uniform(1, 20), lambda: self._apply_late(call))

    def _apply_late(self, call: SimCall) -> None:
        request = call.request.request
        if isinstance(request, UpsertAssets):
            self.auditor.waived.update(
                self.pim.identity(request.family, asset.asset.code) for asset in request.assets
            )
        elif isinstance(request, DeleteOne):
            self.auditor.waived.add(self.pim.identity(request.family, request.code))
        self._apply_now(call, None)
