"""The nouns of the core.

Rule 1: what crosses a boundary is frozen; only the owner's own bookkeeping (`Change`) moves.
Rule 2: `offset` is this record, `position` the next one to read.
Rule 3: what there is one of for each event is a msgspec.Struct outside the garbage collector's
care: made in a tenth of a dataclass's time, and part of no cycle.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import msgspec

from service.contracts.outcome import (
    DELETE,
    UPSERT,
    Action,
    ChangeError,
    Reason,
    SourceEvent,
    Status,
)
from service.core.values import Values


class Partition(NamedTuple):
    """One partition of an events topic."""

    topic: str
    number: int


class Asset(NamedTuple):
    """An asset of the PIM: family code and asset code, compared exactly."""

    family: str
    code: str

    @property
    def path(self) -> str:
        """`FAMILY/CODE`, as keys and subjects have it."""
        return f"{self.family}/{self.code}"

    @property
    def folded(self) -> "Asset":
        """What its changes are ordered by: a PIM may take codes that differ in case for one."""
        return Asset(self.family, self.code.casefold())


class Moment(NamedTuple):
    """Now, twice: seconds of a monotonic clock to decide by, UTC to stamp with."""

    seconds: float
    utc_ms: int


class Now(NamedTuple):
    """Now, twice, in seconds: the monotonic clock, and the clock by which retry budgets run."""

    seconds: float
    budget: float


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a record stands, and in which assignment (epoch) it was read."""

    partition: Partition
    offset: int
    epoch: int

    @property
    def outcome_id(self) -> str:
        """`TOPIC/PARTITION/OFFSET`: the same change always has the same outcome id."""
        return f"{self.partition.topic}/{self.partition.number}/{self.offset}"


Headers = tuple[tuple[str, bytes | None], ...]


class Omission(NamedTuple):
    """Why a record was read without its value, or without anything of it."""

    reason: Literal["too_large", "invalid_event"]
    message: str
    parts: tuple[str, ...]
    """What was left out: `value`, `key`, `headers`."""


class SourceRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as it came: raw bytes, nothing read yet. `timestamp_ms` is UTC, -1 unknown."""

    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int = -1
    omission: Omission | None = None
    """Set where the record could not be held or read as a whole."""

    @property
    def size(self) -> int:
        """Bytes of key, value and headers: what the limits count."""
        total = len(self.key or b"") + len(self.value or b"")
        if self.headers:
            total += sum(len(name) + len(content or b"") for name, content in self.headers)
        return total


Extensions = tuple[tuple[str, str], ...]
"""CloudEvents extensions that outcomes carry on: correlationid, traceparent, tracestate."""


class AssetChange(msgspec.Struct, frozen=True, gc=False):
    """A change that was understood; `values` is still JSON text (None for a delete)."""

    action: Action
    asset: Asset
    event: SourceEvent
    values: bytes | None
    extensions: Extensions = ()


class UpsertAsset(msgspec.Struct, frozen=True, gc=False):
    """Set these values of an asset, creating it where absent; `size` is JSON bytes."""

    action: ClassVar[Action] = UPSERT
    asset: Asset
    values: Values
    size: int


class DeleteAsset(msgspec.Struct, frozen=True, gc=False):
    """Delete an asset."""

    action: ClassVar[Action] = DELETE
    asset: Asset
    size: int = 0


Command = UpsertAsset | DeleteAsset


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that becomes no command, and why; what was understood of it comes along."""

    status: Status
    reason: Reason
    message: str
    errors: tuple[ChangeError, ...] = ()
    action: Action | None = None
    asset: Asset | None = None
    event: SourceEvent = field(default_factory=SourceEvent)
    extensions: Extensions = ()


class Change(msgspec.Struct, eq=False, gc=False):
    """An admitted record: owed exactly one outcome. Identity is the object."""

    record: SourceRecord
    size: int
    command: Command
    event: SourceEvent
    extensions: Extensions
    admitted_at: float
    received_utc_ms: int
    attempts: int = 0
    mismatched_at: float | None = None
    """Since when (seconds) it is in doubt whether its values fit the family."""

    @property
    def asset(self) -> Asset:
        """Which asset it changes."""
        return self.command.asset

    @property
    def action(self) -> Action:
        """Whether it upserts or deletes the asset."""
        return self.command.action

    @property
    def outcome_id(self) -> str:
        """The id of its outcome."""
        return self.record.origin.outcome_id


class Binding(NamedTuple):
    """What a map belongs to, besides its position."""

    owner: str = ""
    """The cluster, the group, the topic and the partition."""
    topic_id: str = ""
    """A topic that was deleted and created again has another one. Empty: the broker has none."""


UNBOUND = Binding()
