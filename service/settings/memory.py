"""The most memory that a replica needs with its settings (docs/operations.md, Memory).

The chart refuses a memory limit below it: `asset-sync.memoryMib` in `_helpers.tpl` is the same sum.
tests/unit/test_memory.py compares the two sums, and the constants here with those of the code.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.settings.model import Settings

KIB, MIB = 1024, 1024 * 1024

PROCESS_BYTES = 96 * MIB
"""Memory of Python, the libraries, the connections, the metrics and the logs."""
OBJECTS_PER_PENDING_BYTE = 2
"""Memory at which intake pauses, for each byte of the limit on pending bytes."""
CHANGE_BYTES = 8 * KIB
"""Memory of one pending change that its size does not count: its entries and its outcome."""
POLL_BYTES = 512 * KIB
OBJECTS_PER_POLLED_BYTE = 32
"""Memory for each byte of a poll, all of which is decoded before intake can pause."""
KEPT_RECORD_BYTES_MIN = 8 * MIB
KEPT_RECORD_COPIES = 3
"""Copies of a large record: in the decompressed batch, in the fetched part, and by itself."""
FETCHED_BYTES = 20 * MIB
"""Compressed batches: 256 KiB for each of 64 partitions, and 4 MiB for larger batches."""
RESPONSE_BYTES_MIN = 4 * MIB
RESPONSE_COPIES = 2
"""Copies of a fetch response: the response itself, and the part of it that is kept."""
UNPACKING_BYTES = 32 * MIB
"""The buffer of the one decompressor that runs at a time."""
TRANSACTION_BYTES = 24 * MIB
"""A transaction of 8 MiB, three times: as records, as batches and as a request."""
STRUCTURES_BYTES = 24 * MIB
"""Structures of 1,000 families with 24 KiB each."""
ANSWER_BYTES = 16 * MIB
BODY_COPIES = 3
"""Copies of a request body: the merged values, their JSON, and the bytes being sent."""


@dataclass(frozen=True)
class Term:
    """One part of the sum, in bytes."""

    what: str
    size: int


def memory_terms(settings: "Settings", largest_batch_bytes: int = 0) -> list[Term]:
    """Return the parts of the sum.

    Args:
        settings: the settings of the replica.
        largest_batch_bytes: the largest `max.message.bytes` of the events topics.
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
    """Return the most memory that the replica needs, in bytes."""
    return sum(term.size for term in memory_terms(settings, largest_batch_bytes))
