"""The contents of a Kafka transaction: outcomes, dead letters, change events and positions."""

from collections.abc import Mapping

import msgspec

from service.contracts.outcome import Reason, Status
from service.core.model import Headers, Partition, bytes_of


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """One record for a topic that asset-sync writes."""

    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        return bytes_of(self.key, self.value, self.headers)


class ChangeRecord(LogRecord, frozen=True, gc=False):
    """A change event that a translation writes, and the raw record that it was made from."""

    partition: Partition
    offset: int


class CompletedChange(msgspec.Struct, frozen=True, gc=False):
    """A change whose outcome is known, and the records to write for it.

    `pending_bytes` is its size as counted against the limit on pending bytes.
    """

    partition: Partition
    offset: int
    outcome: LogRecord
    dead_letter: LogRecord | None
    pending_bytes: int
    status: Status = "applied"
    reason: Reason | None = None
    family: str | None = None
    record_timestamp_ms: int = -1
    """When the change's record was written (UTC); -1 means unknown."""
    received_utc_ms: int = -1
    """When the change's record was read (UTC)."""
    size: int = 0
    """Bytes that the change adds to a transaction, approximately."""


class PositionCommit(msgspec.Struct, frozen=True):
    """A partition's watermark, and the offset map above it as commit metadata."""

    position: int
    metadata: str


class Transaction(msgspec.Struct, frozen=True):
    """What is committed together or not at all."""

    outcomes: tuple[LogRecord, ...]
    dead_letters: tuple[LogRecord, ...]
    positions: Mapping[Partition, PositionCommit]
    changes: tuple[ChangeRecord, ...] = ()
    """The change events for the topic that `run` reads. Only a translation writes them."""
