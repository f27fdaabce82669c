"""The memory that a replica needs at the worst, from its settings (docs/operations.md, Memory).

The chart refuses a memory limit below it: `asset-sync.memoryMib` in `_helpers.tpl` is the same sum,
and tests/unit/test_memory.py holds the two, and the constants of the code, against each other.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.settings.model import Settings

KIB, MIB = 1024, 1024 * 1024

PROCESS_BYTES = 96 * MIB
"""Python, the libraries, connections, metrics, logs."""
OBJECTS_PER_PENDING_BYTE = 2
"""Intake pauses when the pending changes occupy so much for each byte of their limit."""
CHANGE_BYTES = 8 * KIB
"""A change beside what is counted of it: its entries everywhere, and its outcome."""
POLL_BYTES = 512 * KIB
OBJECTS_PER_POLLED_BYTE = 32
"""What was polled is read before intake can pause. JSON becomes up to so much as it is read."""
KEPT_RECORD_BYTES_MIN = 8 * MIB
KEPT_RECORD_COPIES = 3
"""Unpacked, as a portion, and as a record."""
FETCHED_BYTES = 20 * MIB
"""64 partitions with 256 KiB each, and 4 MiB of larger batches."""
RESPONSE_BYTES_MIN = 4 * MIB
RESPONSE_COPIES = 2
"""The response, and its part that is kept."""
UNPACKING_BYTES = 32 * MIB
"""The window of the one decompressor that runs."""
TRANSACTION_BYTES = 24 * MIB
"""8 MiB of outcomes and dead letters: as records, as batches, and as a request."""
STRUCTURES_BYTES = 24 * MIB
"""1,000 families of 24 KiB."""
ANSWER_BYTES = 16 * MIB
BODY_COPIES = 3
"""The values as they are merged, their JSON, and what is on its way."""


@dataclass(frozen=True)
class Term:
    """One part of the sum: what it is for, and how many bytes."""

    what: str
    size: int


def memory_terms(settings: "Settings", largest_batch_bytes: int = 0) -> list[Term]:
    """The parts of the sum.

    `largest_batch_bytes` is what the events topics take (`max.message.bytes`).
    """
    record = settings.kafka.max_record_bytes
    pending = settings.pipeline
    body = settings.window.max_bytes
    return [
        Term("the process", PROCESS_BYTES),
        Term("pending changes", OBJECTS_PER_PENDING_BYTE * pending.max_pending_bytes),
        Term("their entries and outcomes", CHANGE_BYTES * pending.max_pending_changes),
        Term("one poll", OBJECTS_PER_POLLED_BYTE * (POLL_BYTES + record)),
        Term("one large record", KEPT_RECORD_COPIES * max(KEPT_RECORD_BYTES_MIN, record)),
        Term("fetched, packed", FETCHED_BYTES),
        Term("one response", RESPONSE_COPIES * max(RESPONSE_BYTES_MIN, largest_batch_bytes)),
        Term("unpacking", UNPACKING_BYTES),
        Term("calls", settings.pim.max_concurrency * (ANSWER_BYTES + BODY_COPIES * body)),
        Term("one transaction", TRANSACTION_BYTES),
        Term("structures", STRUCTURES_BYTES),
    ]


def memory_bytes(settings: "Settings", largest_batch_bytes: int = 0) -> int:
    """The sum."""
    return sum(term.size for term in memory_terms(settings, largest_batch_bytes))
