"""What the core asks for, in the imperative. The shell performs; it decides nothing."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from service.contracts.outcome import Reason, Status
from service.core.model import Headers, Origin, Partition, UpsertAsset


class UpsertAssets(msgspec.Struct, frozen=True):
    """PATCH several assets of one family: at most 100, each once."""

    family: str
    assets: tuple[UpsertAsset, ...]


class DeleteOne(msgspec.Struct, frozen=True):
    """DELETE one asset."""

    family: str
    code: str


class GetFamily(msgspec.Struct, frozen=True):
    """GET one family: does it exist, and does the PIM answer?"""

    family: str


class GetFamilies(msgspec.Struct, frozen=True):
    """GET the family list: does the PIM answer as itself? It logs in where that is needed."""


class GetAttributes(msgspec.Struct, frozen=True):
    """GET the attributes of a family."""

    family: str


class GetOptions(msgspec.Struct, frozen=True):
    """GET the options of an attribute."""

    family: str
    attribute: str


class CreateOption(msgspec.Struct, frozen=True):
    """PATCH an option that is not there."""

    family: str
    attribute: str
    code: str


Request = (
    UpsertAssets | DeleteOne | GetFamily | GetFamilies | GetAttributes | GetOptions | CreateOption
)


class StartCall(msgspec.Struct, frozen=True):
    """Send this request; answer with one `CallEnded`."""

    call_id: int
    request: Request
    origins: tuple[Origin, ...] = ()
    """The changes that a write carries, for those who trace."""


class CutCall(msgspec.Struct, frozen=True):
    """Give up a request in flight; it ends as a `CallFault` of kind CUT."""

    call_id: int


class AllowRequest(msgspec.Struct, frozen=True):
    """The extra request that a call wanted may go out."""

    call_id: int


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """One record for the outcomes topic or the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        total = len(self.key or b"") + len(self.value or b"")
        return total + sum(len(name) + len(content or b"") for name, content in self.headers)


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A change whose outcome is known: what will be written for it. `held_bytes` it occupied."""

    partition: Partition
    offset: int
    outcome: LogRecord
    dead_letter: LogRecord | None
    held_bytes: int
    status: Status = "applied"
    reason: Reason | None = None
    family: str | None = None
    born_utc_ms: int = -1
    """When its record was written, -1 unknown."""
    received_utc_ms: int = -1
    """When its record was read."""
    size: int = 0
    """Bytes that the transaction grows by, about."""


class PositionCommit(msgspec.Struct, frozen=True):
    """A partition's watermark and the offset map above it, ready as commit metadata."""

    position: int
    metadata: str


class Settlement(msgspec.Struct, frozen=True):
    """One transaction: outcomes, dead letters and positions, all or nothing."""

    outcomes: tuple[LogRecord, ...]
    dead_letters: tuple[LogRecord, ...]
    positions: Mapping[Partition, PositionCommit]


class Settle(msgspec.Struct, frozen=True):
    """Write the settlement; answer with `Committed` or `CommitRefused` and its number."""

    number: int
    settlement: Settlement


class SetIntake(msgspec.Struct, frozen=True):
    """From now on exactly these partitions are paused."""

    paused: frozenset[Partition]


class Drained(msgspec.Struct, frozen=True):
    """The drain is over. `unsettled` changes were left to the next owner."""

    unsettled: int


class DropAssignment(msgspec.Struct, frozen=True):
    """The group fenced us: this epoch is over, without a last transaction."""


FactName = Literal[
    "breaker.opened",
    "breaker.closed",
    "call.put_off",
    "call.suspected",
    "change.settled",
    "credentials.refused",
    "dead_letters.limit_reached",
    "dead_letters.released",
    "dead_letters.truncated",
    "family.sick",
    "family.healed",
    "gate.closed",
    "gate.opened",
    "group.begun",
    "group.begun_again",
    "group.too_large",
    "intake.paused",
    "intake.resumed",
    "kafka.reachable",
    "kafka.unreachable",
    "observer.failed",
    "offset_map.unused",
    "option.created",
    "option.refused",
    "position.lost",
    "request.ended",
    "settlement.committed",
    "settlement.refused",
    "settlement.retried",
    "structure.read",
    "structure.unreadable",
    "window.closed",
]


class Note(msgspec.Struct, frozen=True):
    """A fact for people and meters. Nobody may decide anything by it."""

    name: FactName
    fields: Mapping[str, object] = msgspec.field(default_factory=dict)
    settled: tuple[Settled, ...] = ()
    """What a committed settlement made visible, for those who count."""


Effect = StartCall | CutCall | AllowRequest | Settle | SetIntake | Drained | DropAssignment | Note
