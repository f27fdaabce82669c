"""One replica in virtual time: the real pipeline between a scripted PIM and a log that commits.

Smaller than a world of the simulation: for tests that state one sentence of the design.
"""

import heapq
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from service.core.effects import (
    AllowRequest,
    CancelCall,
    CancelDownload,
    Commit,
    Drained,
    DropFile,
    Effect,
    MediaEffect,
    SetIntake,
    StartCall,
    StartDownload,
)
from service.core.facts import Fact
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
    FaultKind,
    Input,
    ItemReply,
    LeaseRenewed,
    Start,
    TimePassed,
)
from service.core.limits import DecodeLimits, Limits
from service.core.model import Asset, Moment, Origin, Partition, SourceRecord
from service.core.pipeline import Pipeline
from service.core.requests import (
    CreateOption,
    DeleteOne,
    GetAttributes,
    GetFamilies,
    GetFamily,
    GetOptions,
    Request,
    UploadFile,
    UpsertAssets,
)
from tests.support.file_source import CANCELLED, FileSource

POLL_SECONDS = 0.05
POLL_RECORDS_MAX = 500
COMMIT_SECONDS = 0.01
FOREVER = 1e9

Pim = Callable[[Request, float], Answer | None]
"""What the PIM answers at a time (seconds); None: as a PIM that is well."""


@dataclass(frozen=True)
class Sent:
    """A request that went out, and when it ended."""

    at: float
    request: Request
    ended_at: float
    answer: Answer

    @property
    def is_write(self) -> bool:
        """Whether it would change the PIM."""
        return isinstance(self.request, UpsertAssets | DeleteOne)


@dataclass
class Drive:
    """Write records with `upsert` and `delete`, then `run`; look at outcomes, sent, facts."""

    pim: Pim = lambda _request, _now: None
    seed: int = 0
    call_seconds: float = 0.05
    timeout_seconds: float = 60.0
    partitions: int = 1
    limits: dict[str, Any] = field(default_factory=dict)
    source: FileSource = field(default_factory=FileSource)
    now: float = 0.0
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    settled_at: dict[str, float] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    facts: list[tuple[float, Fact]] = field(default_factory=list)
    at_once_max: int = 0
    refusal: CommitRefusal | None = None
    """With what commits are refused."""
    drained: int | None = None
    """What the last drain left unsettled."""
    pending_max: int = 0
    uploads: list[UploadFile] = field(default_factory=list)
    """The files that the PIM took, as long as it was well."""

    def __post_init__(self) -> None:
        """Make the replica, and give it every partition."""
        self._chance = random.Random(self.seed)
        self.pipeline = Pipeline(
            Limits(decode=DecodeLimits(1 << 20), **self.limits), self._chance.random
        )
        self._log: list[list[SourceRecord]] = [[] for _ in range(self.partitions)]
        self._read = [0] * self.partitions
        self._paused: frozenset[Partition] = frozenset()
        self._moments: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._alarm = 0
        self._calls: dict[int, int] = {}
        self._polls = False
        self._assets: dict[tuple[str, str], None] = {}
        starts = {Partition("events", number): Start(0) for number in range(self.partitions)}
        self._at(0.0, lambda: self._step(LeaseRenewed(FOREVER)))
        self._at(0.0, lambda: self._step(Assigned(1, starts, self.partitions)))

    # --- what a test writes ------------------------------------------------------------------

    def upsert(self, family: str, code: str, partition: int = 0, **values: object) -> str:
        """Write an upsert; its outcome's id."""
        event = {"action": "upsert", "asset_family": family, "code": code, "values": values}
        return self._write(partition, None, json.dumps(event).encode())

    def event(self, event: object) -> str:
        """Write a plain event as it is; its outcome's id."""
        return self._write(0, None, json.dumps(event).encode())

    def delete(self, family: str, code: str, partition: int = 0) -> str:
        """Write a tombstone; its outcome's id."""
        return self._write(partition, f"{family}/{code}".encode(), None)

    def _write(self, partition: int, key: bytes | None, value: bytes | None) -> str:
        log = self._log[partition]
        origin = Origin(Partition("events", partition), len(log), 1)
        log.append(SourceRecord(origin, key, value))
        self._poll_soon()
        return origin.outcome_id

    # --- the run -----------------------------------------------------------------------------

    def run(self, seconds: float = FOREVER) -> "Drive":
        """Until everything is settled, or so many seconds have passed."""
        until = self.now + seconds
        while self._moments and self._moments[0][0] <= until:
            if self.is_done and seconds == FOREVER:
                return self
            time, _, happen = heapq.heappop(self._moments)
            self.now = time
            happen()
        self.now = max(self.now, until if until < FOREVER else self.now)
        return self

    @property
    def is_done(self) -> bool:
        """Whether every record has its outcome."""
        return len(self.outcomes) >= sum(map(len, self._log))

    def statuses(self, ids: Iterable[str] | None = None) -> Counter[str]:
        """How many outcomes of each status."""
        chosen = self.outcomes if ids is None else ids
        return Counter(self.outcomes[id_]["status"] for id_ in chosen if id_ in self.outcomes)

    def last_completed_at(self, ids: Iterable[str]) -> float:
        """When the last of these was settled (seconds); each must be."""
        return max(self.settled_at[id_] for id_ in ids)

    def noted(self, name: str) -> list[float]:
        """When this fact was noted."""
        return [at for at, fact in self.facts if fact.name == name]

    @property
    def writes(self) -> list[Sent]:
        """The write calls that ended, in the order of their ends."""
        return [sent for sent in self.sent if sent.is_write]

    def _at(self, time: float, happen: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._moments, (time, self._count, happen))

    def _poll_soon(self) -> None:
        if not self._polls:
            self._polls = True
            self._at(self.now, self._poll)

    def _poll(self) -> None:
        records: list[SourceRecord] = []
        for number in self._readable():
            log, read = self._log[number], self._read[number]
            records += log[read : read + POLL_RECORDS_MAX]
            self._read[number] = min(len(log), read + POLL_RECORDS_MAX)
        if records:
            self._step(Arrived(tuple(records)))
        self._polls = bool(self._readable())
        if self._polls:
            self._at(self.now + POLL_SECONDS, self._poll)

    def _readable(self) -> list[int]:
        """Return the partitions that are not paused and have records that were not read."""
        return [
            number
            for number, log in enumerate(self._log)
            if self._read[number] < len(log) and Partition("events", number) not in self._paused
        ]

    def _step(self, happened: Input) -> None:
        effects = self.pipeline.step(happened, Moment(self.now, round(self.now * 1000)))
        self.pending_max = max(self.pending_max, self.pipeline.pending_changes)
        for effect in effects:
            self._perform(effect)
        self._set_alarm()

    def _set_alarm(self) -> None:
        self._alarm += 1
        token, time = self._alarm, self.pipeline.next_time()
        if time is not None:
            self._at(max(time, self.now), lambda: self._ring(token))

    def _ring(self, token: int) -> None:
        if token == self._alarm:
            self._step(TimePassed())

    def _perform(self, effect: Effect) -> None:
        match effect:
            case StartCall(call_id, request):
                self._send(call_id, request)
            case CancelCall(call_id):
                if self._calls.pop(call_id, None) is not None:
                    fault = CallFault(FaultKind.CANCELLED, "cut")
                    self._at(self.now, lambda: self._step(CallEnded(call_id, fault)))
            case StartDownload() | CancelDownload() | DropFile():
                self._fetch(effect)
            case AllowRequest():
                raise AssertionError("nobody here asks for more requests")
            case Commit(number) if self.refusal is not None:
                refused = CommitRefused(number, self.refusal)
                self._at(self.now + COMMIT_SECONDS, lambda: self._step(refused))
            case Commit(number, transaction):
                for record in transaction.outcomes:
                    found = msgspec.json.decode(record.value or b"")
                    assert found["id"] not in self.outcomes, "an outcome is repeated"
                    self.outcomes[found["id"]] = found["data"]
                    self.settled_at[found["id"]] = self.now
                self._at(self.now + COMMIT_SECONDS, lambda: self._step(Committed(number)))
            case SetIntake(paused):
                self._paused = paused
                self._poll_soon()
            case Drained(pending):
                self.drained = pending
            case Fact():
                self.facts.append((self.now, effect))
            case _:
                pass

    def _send(self, call_id: int, request: Request) -> None:
        self._count += 1
        token, began = self._count, self.now
        self._calls[call_id] = token
        self.at_once_max = max(self.at_once_max, len(self._calls))
        response = self.pim(request, self.now)
        answer = self._answer(request) if response is None else response
        hangs = isinstance(answer, CallFault) and answer.kind is FaultKind.TIMEOUT
        seconds = (
            self.timeout_seconds if hangs else self.call_seconds * self._chance.uniform(0.5, 2)
        )

        def end() -> None:
            if self._calls.get(call_id) == token:
                del self._calls[call_id]
                self.sent.append(Sent(began, request, self.now, answer))
                self._step(CallEnded(call_id, answer))

        self._at(self.now + seconds, end)

    def _fetch(self, effect: MediaEffect) -> None:
        file_id = effect.file_id
        match effect:
            case StartDownload():
                self.source.start(effect)
                self._at(self.now + self.source.seconds, lambda: self._end_download(file_id))
            case CancelDownload():
                if self.source.running.pop(file_id, None) is not None:
                    self._at(self.now, lambda: self._step(DownloadEnded(file_id, CANCELLED)))
            case DropFile():
                self.source.drop(file_id)

    def _end_download(self, file_id: int) -> None:
        if (end := self.source.end(file_id, self.now)) is not None:
            self._step(DownloadEnded(file_id, end))

    def _answer(self, request: Request) -> CallReply:
        """A PIM that is well, knows every family and every asset once it was written."""
        match request:
            case GetFamilies() | GetFamily():
                return CallReply(200, is_from_pim=True)
            case GetAttributes():
                return CallReply(200, is_from_pim=True, attributes=())
            case GetOptions():
                return CallReply(200, is_from_pim=True, options=frozenset())
            case CreateOption():
                return CallReply(201)
            case UploadFile(file_id):
                self.uploads.append(request)
                code = f"code{len(self.uploads)}:{self.source.on_disk[file_id].sha256}"
                return CallReply(201, media_code=code)
            case DeleteOne(family, code):
                known = self._assets.pop((family, code), self) is not self
                return CallReply(204) if known else CallReply(404, is_from_pim=True)
            case UpsertAssets(family, assets):
                items = [self._upsert(family, asset.asset) for asset in assets]
                return CallReply(200, is_from_pim=True, items=tuple(items))

    def _upsert(self, family: str, asset: Asset) -> ItemReply:
        is_new = (family, asset.code) not in self._assets
        self._assets[family, asset.code] = None
        return ItemReply(asset.code, 201 if is_new else 204)


def codes_of(request: Request) -> set[str]:
    """The assets that a write carries."""
    match request:
        case UpsertAssets(_, assets):
            return {asset.asset.code for asset in assets}
        case DeleteOne(_, code):
            return {code}
        case _:
            return set()


def family_of(request: Request) -> str | None:
    """The family that a request is about."""
    return None if isinstance(request, GetFamilies | UploadFile) else request.family
