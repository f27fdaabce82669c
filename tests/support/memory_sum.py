"""The most memory that a replica of `run` or `translate` needs (docs/operations.md, Memory).

The chart refuses a memory limit below it: `asset-sync.memoryBytes` in `_helpers.tpl` and
`asset-sync.translate.memoryBytes` in `_translate.tpl` are the same sums.
tests/unit/test_memory.py compares the sums with the docs, and the constants with those of the code.
"""

from dataclasses import dataclass

from service.settings import Settings

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

TRANSFER_BYTES = 1 * MIB
"""Memory of one download or upload: what was received, what is written, and the connection."""
REMEMBERED_BYTES = 1_280
"""Memory of one uploaded file that is remembered, with the longest ETag and code."""

EVENT_OBJECTS_PER_BYTE = 32
"""Memory for each byte of the one raw event that is mapped at a time."""
ANSWER_COPIES = 3
"""Copies of what a host answers: its parts as they come, the whole body, and what it becomes."""
POLLED_COPIES = 2
CHANGES_BYTES = 16 * MIB
"""The changes of one raw event, which may pass the limit on pending bytes."""
TRANSACTION_COPIES = 3


@dataclass(frozen=True)
class Term:
    """One part of the sum, in bytes."""

    what: str
    size: int


def memory_terms(settings: Settings, largest_batch_bytes: int = 0) -> list[Term]:
    """Return the parts of the sum of `run`.

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
        Term("media files", _media_bytes(settings)),
    ]


def _media_bytes(settings: Settings) -> int:
    """Return the memory of downloads, uploads and remembered files; 0 where media are off."""
    media = settings.media
    if not media.are_on:
        return 0
    transfers = media.max_concurrency + max(1, settings.pim.max_concurrency // 2)
    return transfers * TRANSFER_BYTES + media.remember * REMEMBERED_BYTES


def memory_bytes(settings: Settings, largest_batch_bytes: int = 0) -> int:
    """Return the most memory that a replica of `run` needs, in bytes."""
    return sum(term.size for term in memory_terms(settings, largest_batch_bytes))


def translate_terms(settings: Settings, answer_bytes: int = 0) -> list[Term]:
    """Return the parts of the sum of `translate` that all of its sources share.

    `answer_bytes` is `max_concurrency` times `max_bytes`, added up over the hosts of the sources.
    """
    pending = settings.pipeline
    return [
        Term("the process", PROCESS_BYTES),
        Term("pending events", OBJECTS_PER_PENDING_BYTE * pending.max_pending_bytes),
        Term("their items and outcomes", CHANGE_BYTES * pending.max_pending_changes),
        Term("the event being mapped", EVENT_OBJECTS_PER_BYTE * settings.kafka.max_record_bytes),
        Term("unpacking", UNPACKING_BYTES),
        Term("answers of hosts", ANSWER_COPIES * answer_bytes),
    ]


def source_terms(settings: Settings, largest_batch_bytes: int = 0) -> list[Term]:
    """Return the parts of the sum of `translate` that each of its sources adds.

    `largest_batch_bytes` is the largest `max.message.bytes` of its raw topics.
    """
    record = settings.kafka.max_record_bytes
    return [
        Term("one poll", POLLED_COPIES * (POLL_BYTES + record)),
        Term("one large record", KEPT_RECORD_COPIES * max(KEPT_RECORD_BYTES_MIN, record)),
        Term("fetched, packed", FETCHED_BYTES),
        Term("one response", RESPONSE_COPIES * max(RESPONSE_BYTES_MIN, largest_batch_bytes)),
        Term("changes of one event", CHANGES_BYTES + record),
        Term("one transaction", TRANSACTION_COPIES * CHANGES_BYTES),
    ]


def translate_bytes(
    settings: Settings, sources: int, answer_bytes: int = 0, largest_batch_bytes: int = 0
) -> int:
    """Return the most memory that a replica of `translate` with so many sources needs, in bytes."""
    shared = sum(term.size for term in translate_terms(settings, answer_bytes))
    return shared + sources * sum(term.size for term in source_terms(settings, largest_batch_bytes))
