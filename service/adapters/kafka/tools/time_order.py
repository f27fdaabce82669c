"""Put the records of several partitions in the order of time, without reading all of them first.

Rule 1: a record leaves when every partition that is not read to its end has a later one to offer.
Rule 2: the order of a partition is kept, even if its timestamps go back.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from service.core.model import Headers

AHEAD_RECORDS_MAX = 1000
"""A partition with this many records that wait for those of others is not read further."""


class StoredRecord(NamedTuple):
    """A record that was read. `timestamp_ms` is UTC."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class TimeOrder:
    """Merges the records of partitions by their timestamps."""

    def __init__(self, partitions: Iterable[int]) -> None:
        self._waiting: dict[int, deque[StoredRecord]] = {number: deque() for number in partitions}
        self._unread = set(self._waiting)
        """Partitions that are not read to their ends."""

    @property
    def is_complete(self) -> bool:
        """Whether all partitions are read, and all their records taken."""
        return not self._unread and not any(self._waiting.values())

    def add(self, record: StoredRecord) -> None:
        """Take in the next record of its partition."""
        self._waiting[record.partition].append(record)

    def end(self, partition: int) -> None:
        """Note that the partition is read to its end, so that the others need not wait for it."""
        self._unread.discard(partition)

    def is_ahead(self, partition: int) -> bool:
        """Return whether so many records of the partition wait that no more should be read."""
        return len(self._waiting[partition]) >= AHEAD_RECORDS_MAX

    def take(self) -> Iterator[StoredRecord]:
        """Yield the records that no unread record can precede, in order."""
        while all(self._waiting[number] for number in self._unread):
            offered = [records for records in self._waiting.values() if records]
            if not offered:
                return
            yield min(offered, key=_time_of_first).popleft()


def _time_of_first(records: deque[StoredRecord]) -> tuple[int, int]:
    return records[0].timestamp_ms, records[0].partition
