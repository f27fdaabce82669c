"""What is written to Kafka: outcomes, dead letters and positions, in one transaction."""

from collections.abc import Mapping

import msgspec

from service.contracts.outcome import Reason, Status
from service.core.model import Headers, Partition


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


class CompletedChange(msgspec.Struct, frozen=True, gc=False):
    """A change whose outcome is known: what will be written for it. `pending_bytes` it occupied."""

    partition: Partition
    offset: int
    outcome: LogRecord
    dead_letter: LogRecord | None
    pending_bytes: int
    status: Status = "applied"
    reason: Reason | None = None
    family: str | None = None
    record_timestamp_ms: int = -1
    """When its record was written, -1 unknown."""
    received_utc_ms: int = -1
    """When its record was read."""
    size: int = 0
    """Bytes that the transaction grows by, about."""


class PositionCommit(msgspec.Struct, frozen=True):
    """A partition's watermark and the offset map above it, ready as commit metadata."""

    position: int
    metadata: str


class Transaction(msgspec.Struct, frozen=True):
    """One transaction: outcomes, dead letters and positions, all or nothing."""

    outcomes: tuple[LogRecord, ...]
    dead_letters: tuple[LogRecord, ...]
    positions: Mapping[Partition, PositionCommit]
