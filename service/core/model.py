"""The data types that all of the core uses.

Rule 1: what crosses a boundary is frozen; only `Change`, the core's own bookkeeping, is modified.
Rule 2: `offset` means the record itself, `position` the next record to read.
Rule 3: a type with one instance for each event, except the key `Asset`, is a msgspec.Struct with
`gc=False`: it is created ten times faster than a dataclass, and the garbage collector need not
track it, since it is never part of a reference cycle.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import ClassVar, Literal, NamedTuple

import msgspec
from msgspec import Raw

from service.contracts.outcome import (
    DELETE,
    UPSERT,
    Action,
    ChangeError,
    Reason,
    SourceEvent,
    Status,
)
from service.core.long_form import LongForm
from service.core.values import Values

_partition_of = attrgetter("origin.partition")


class Partition(NamedTuple):
    """One partition of an events topic: the topic's name and the partition's number."""

    topic: str
    number: int


class Asset(NamedTuple):
    """An asset of the PIM: family code and asset code, compared exactly."""

    family: str
    code: str

    @property
    def path(self) -> str:
        """`FAMILY/CODE`: the form used in record keys and in CloudEvents subjects."""
        return f"{self.family}/{self.code}"

    @property
    def folded(self) -> "Asset":
        """The asset with its code's case folded: changes that share it are kept in order.

        A PIM may treat codes that differ only in case as one asset.
        """
        code = self.code.casefold()
        return self if code == self.code else Asset(self.family, code)


class Moment(NamedTuple):
    """The current time by two clocks: a monotonic one to decide by, UTC for timestamps."""

    seconds: float
    utc_ms: int


class Now(NamedTuple):
    """The current time in seconds by two clocks: the monotonic one and that of retry budgets."""

    seconds: float
    budget: float


class Origin(msgspec.Struct, frozen=True, gc=False):
    """A record's topic, partition and offset, and the assignment (epoch) that read it."""

    partition: Partition
    offset: int
    epoch: int

    @property
    def outcome_id(self) -> str:
        """`TOPIC/PARTITION/OFFSET`: so the same change always has the same outcome id."""
        topic, number = self.partition
        return f"{topic}/{number}/{self.offset}"


Headers = tuple[tuple[str, bytes | None], ...]


class Omission(NamedTuple):
    """The reason why parts of a record were not read: too large, or impossible to represent."""

    reason: Literal["too_large", "invalid_event"]
    message: str
    parts: tuple[str, ...]
    """The parts left out: `value`, `key`, `headers`."""


UNMEASURED = -1


class SourceRecord(msgspec.Struct, frozen=True, gc=False):
    """A record exactly as Kafka delivered it. `timestamp_ms` is UTC; -1 means unknown."""

    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int = -1
    omission: Omission | None = None
    """Set when the record is too large to be read as a whole, or cannot be read."""
    size: int = UNMEASURED
    """Bytes of key, value and headers, which the limits on pending bytes count."""

    def __post_init__(self) -> None:
        """Measure the size, if the reader did not; several parts of the core ask for it."""
        if self.size == UNMEASURED:
            size = bytes_of(self.key, self.value, self.headers)
            msgspec.structs.force_setattr(self, "size", size)


def bytes_of(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Return the bytes of a record's key, value and headers."""
    size = len(key or b"") + len(value or b"")
    for name, content in headers:
        size += len(name) + len(content or b"")
    return size


def partitions_of(records: Iterable[SourceRecord]) -> set[Partition]:
    """Return the partitions of records, which are mostly in order of their partitions."""
    return {partition for partition, _ in groupby(map(_partition_of, records))}


Extensions = tuple[tuple[str, str], ...]
"""CloudEvents extensions that an outcome copies: correlationid, traceparent, tracestate."""


class AssetChange(msgspec.Struct, frozen=True, gc=False):
    """A change that was decoded; `values` is still JSON text, or None for a delete."""

    action: Action
    asset: Asset
    event: SourceEvent
    values: Raw | None
    extensions: Extensions = ()


class UpsertAsset(msgspec.Struct, frozen=True, gc=False):
    """Set these values of an asset, and create it if it is absent; `size` is in bytes of JSON."""

    action: ClassVar[Action] = UPSERT
    asset: Asset
    values: Values | Raw
    """Raw values are JSON whose form was checked."""
    size: int
    judged_by: LongForm | None = None
    """Whose family takes the raw values as they are, in the PIM's long form; None as long as no
    structure judged them."""
    has_files: bool = False
    """Whether any of the values is a file."""

    @property
    def is_sendable(self) -> bool:
        """Whether the PIM can read the values as they are."""
        return self.judged_by is not None or not isinstance(self.values, Raw)


class DeleteAsset(msgspec.Struct, frozen=True, gc=False):
    """Delete an asset, which need not exist."""

    action: ClassVar[Action] = DELETE
    has_files: ClassVar[bool] = False
    asset: Asset
    size: int = 0


Command = UpsertAsset | DeleteAsset


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reason why a record does not become a command, and what was understood of it."""

    status: Status
    reason: Reason
    message: str
    errors: tuple[ChangeError, ...] = ()
    action: Action | None = None
    asset: Asset | None = None
    event: SourceEvent = field(default_factory=SourceEvent)
    extensions: Extensions = ()


class Change(msgspec.Struct, eq=False, gc=False):
    """An admitted record, which must get exactly one outcome. Two changes are never equal."""

    record: SourceRecord
    size: int
    command: Command
    event: SourceEvent
    extensions: Extensions
    admitted_at: float
    received_utc_ms: int
    attempts: int = 0
    mismatched_at: float | None = None
    """When its values were first found not to fit the family (seconds, monotonic clock)."""
    is_delete_admitted: bool = False
    """Whether it is a delete that the ceiling let through, and has not ended."""

    @property
    def asset(self) -> Asset:
        return self.command.asset

    @property
    def action(self) -> Action:
        return self.command.action

    @property
    def outcome_id(self) -> str:
        return self.record.origin.outcome_id


class Binding(NamedTuple):
    """The identity of what an offset map belongs to, in addition to its position."""

    owner: str = ""
    """The cluster, the group, the topic and the partition."""
    topic_id: str = ""
    """Kafka's id of the topic: a topic that is deleted and created again gets another one.

    Empty when the broker does not give one.
    """


UNBOUND = Binding()
