"""A translator in virtual time, between a scripted mapping, scripted reads and a log that commits.

The value of a raw record is a JSON list with a word for each part: `upsert CODE`, `delete CODE`,
`families CODE` (a delete from two families), `skip`, `reject`, `read CODE`; or the word `whole`,
which rejects the record as a whole.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.contracts.outcome_reader import read_outcome
from service.core.effects import Commit, Drained, DropAssignment, SetIntake
from service.core.facts import Fact
from service.core.inputs import (
    Arrived,
    Assigned,
    CommitRefused,
    Committed,
    DrainKind,
    DrainStarted,
    Refusal,
    Start,
    TimePassed,
)
from service.core.model import Headers, Moment, Origin, Partition, SourceRecord
from service.core.records import LogRecord, Transaction
from service.mapping.results import (
    Change,
    Ended,
    EventFacts,
    Fetched,
    MappedRecord,
    NotFound,
    Part,
    RawRecord,
    Read,
    Resumed,
)
from service.translation.host_reads import RetryLimits
from service.translation.limits import TranslationLimits
from service.translation.messages import ReadAnswered, SourceEffect, SourceInput
from service.translation.read_answers import Found, HostTrouble, ReadAnswer
from service.translation.reads import ReadPlan, StartRead
from service.translation.report import SourceNames
from service.translation.translator import Ticket, TranslatedSource, Translator

NAMES = SourceNames("s3", "0123456789ab", "/asset-sync/asset-sync/s3", "/outcomes/s3")
CHANGES_TOPIC = "dam.asset-changes"
FAMILY = "packshots"
LIMITS = TranslationLimits(record_bytes_max=1024 * 1024, commit_interval_seconds=0.0)


@dataclass
class WordMapping:
    """A mapping that does what the words of a record say."""

    name: str = "s3"
    pad: int = 0
    """How many characters a value of each upsert has."""
    steps: int = 0
    """How much work it reports for a record, and for the answer to a read."""
    calls: int = 0
    """How many records and answers it mapped."""

    def identity(self, record: RawRecord) -> str | None:  # noqa: ARG002 - of the port
        return None

    def map(self, record: RawRecord, only_parts: frozenset[int] | None = None) -> MappedRecord:
        self.calls += 1
        words = json.loads(record.value or b'"whole"')
        event = EventFacts(id=f"e{record.offset}", type="ObjectCreated")
        if words == "whole":
            return MappedRecord((Ended(None, "rejected", "unmappable", "No event.", event=event),))
        parts: list[Part] = []
        for number, word in enumerate(words):
            if only_parts is None or number in only_parts:
                parts += self._parts(number, word, event)
        return MappedRecord(tuple(parts), self.steps)

    def _parts(self, part: int, word: str, event: EventFacts) -> Iterable[Part]:
        action, _, code = word.partition(" ")
        match action:
            case "upsert":
                yield self._upsert(part, code, event)
            case "delete":
                yield Change(part, 0, "delete", FAMILY, code, None, None, "gone", event)
            case "families":
                for further, family in enumerate((FAMILY, "manuals")):
                    yield Change(part, further, "delete", family, code, None, None, "gone", event)
            case "skip":
                yield Ended(part, "skipped", "not_selected", "No rule takes it.", event=event)
            case "reject":
                yield Ended(
                    part, "rejected", "unmappable", "'Teal' is unknown.", FAMILY, code, "all", event
                )
            case "read":

                def resume(fetched: Fetched) -> Resumed:
                    self.calls += 1
                    if isinstance(fetched, NotFound):
                        gone = Ended(part, "skipped", "not_found", "It is gone.", event=event)
                        return Resumed((gone,), self.steps)
                    return Resumed((self._upsert(part, code, event),), self.steps)

                yield Read(part, "dam", f"/{code}", 0.0, "skip", resume, "all", event)

    def _upsert(self, part: int, code: str, event: EventFacts) -> Change:
        values = {"label": "x" * self.pad} if self.pad else {"label": code}
        return Change(part, 0, "upsert", FAMILY, code, values, None, "all", event)


def read_plan() -> ReadPlan[Ticket]:
    """Return a plan for one host that gives every read at once, and retries without chance."""
    return ReadPlan({"dam": 1000}, RetryLimits(), json.loads, lambda: 0.5)


@dataclass
class TranslatorUnderTest:
    """A translator that owns partitions of the topic `raw`, and what it asked for so far."""

    partitions: int = 1
    limits: TranslationLimits = LIMITS
    mapping: WordMapping = field(default_factory=WordMapping)
    reads: ReadPlan[Ticket] = field(default_factory=read_plan)
    is_committing: bool = True
    """Whether each transaction is committed in the step in which it is asked for."""
    seconds: float = 0.0
    transactions: list[Transaction] = field(default_factory=list)
    """Those that were committed."""
    open: list[Commit] = field(default_factory=list)
    started: list[StartRead] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    pauses: list[frozenset[Partition]] = field(default_factory=list)
    drained: list[int] = field(default_factory=list)
    dropped: int = 0
    epoch: int = 0
    _offsets: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        source = TranslatedSource(self.mapping, NAMES, CHANGES_TOPIC)
        self.translator = Translator(source, self.reads, self.limits)
        self.assign()

    def assign(self, positions: Mapping[int, int] | None = None) -> None:
        """Assign all partitions, from these positions or their beginnings."""
        self.epoch += 1
        starts = {
            Partition("raw", number): Start((positions or {}).get(number, 0))
            for number in range(self.partitions)
        }
        self._offsets = {partition.number: start.position for partition, start in starts.items()}
        self.step(Assigned(self.epoch, starts, self.partitions))

    def step(self, happened: SourceInput) -> None:
        """Let something happen now, and everything that follows at once."""
        moment = Moment(self.seconds, round(self.seconds * 1000))
        for effect in self.translator.step(happened, moment):
            self._perform(effect)
        while self.is_committing and self.open:
            self.commit()

    def commit(self) -> None:
        """Commit the transaction under way."""
        commit = self.open.pop()
        self.transactions.append(commit.transaction)
        self.step(Committed(commit.number))

    def refuse(self, why: Refusal) -> None:
        """Abort the transaction under way."""
        self.step(CommitRefused(self.open.pop().number, why))

    def arrive(
        self, *words: str, partition: int = 0, headers: Headers = (), whole: bool = False
    ) -> None:
        """Let a raw record arrive that has these parts."""
        value = json.dumps("whole" if whole else words).encode()
        self.deliver(self.record(value, partition, headers))

    def record(
        self, value: bytes | None, partition: int = 0, headers: Headers = ()
    ) -> SourceRecord:
        """Return the next record of a partition."""
        offset = self._offsets[partition]
        self._offsets[partition] = offset + 1
        origin = Origin(Partition("raw", partition), offset, self.epoch)
        return SourceRecord(origin, b"k", value, headers, timestamp_ms=1000)

    def deliver(self, *records: SourceRecord) -> None:
        """Let these records arrive in one poll."""
        self.step(Arrived(records))

    def answer(self, url: str, answer: ReadAnswer | None = None) -> None:
        """Answer the first open read of a URL; the asset is found if nothing else is given."""
        started = next(one for one in self.started if one.url == url)
        self.started.remove(started)
        self.step(ReadAnswered(started.number, answer or Found(b"{}")))

    def fail_host(self) -> None:
        """Let the first open read be throttled, which makes its host failing."""
        started = self.started.pop(0)
        self.step(ReadAnswered(started.number, HostTrouble("throttles", 429, 3.0)))

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.step(TimePassed())

    def drain(self, kind: DrainKind = DrainKind.SHUTDOWN, seconds: float = 10.0) -> None:
        """Begin a drain."""
        self.step(DrainStarted(kind, self.seconds + seconds))

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The change events that were committed."""
        return [decoded(one) for done in self.transactions for one in done.changes]

    @property
    def changed(self) -> list[str]:
        """The codes of the committed changes, in order."""
        return [change["data"]["code"] for change in self.changes]

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        """The outcomes that were committed."""
        found = [one for done in self.transactions for one in done.outcomes]
        assert all(read_outcome(one.value) for one in found)
        return [decoded(one) for one in found]

    @property
    def dead_letters(self) -> list[LogRecord]:
        """The dead letters that were committed."""
        return [one for done in self.transactions for one in done.dead_letters]

    @property
    def positions(self) -> dict[int, int]:
        """The committed position of each partition."""
        return {
            partition.number: commit.position
            for done in self.transactions
            for partition, commit in done.positions.items()
        }

    @property
    def noted(self) -> list[str]:
        """The names of the facts."""
        return [fact.name for fact in self.facts]

    def _perform(self, effect: SourceEffect) -> None:
        match effect:
            case Commit():
                self.open.append(effect)
            case StartRead():
                self.started.append(effect)
            case SetIntake(paused):
                self.pauses.append(paused)
            case Drained(pending):
                self.drained.append(pending)
            case DropAssignment():
                self.dropped += 1
            case Fact():
                self.facts.append(effect)


def decoded(record: LogRecord) -> dict[str, Any]:
    """Return the JSON of a record's value."""
    found = json.loads(record.value or b"null")
    assert isinstance(found, dict)
    return found
