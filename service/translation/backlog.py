"""The raw records that are pending in one assignment, in the order of their partitions.

Rule 1: of each partition only the first records are written, as far as all before them are ready.
Rule 2: across partitions, what arrived first is written first.
"""

from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from service.core.inputs import Start
from service.core.model import Binding, Partition, SourceRecord
from service.core.records import PositionCommit
from service.core.settle import offset_map
from service.translation.replay import replay_of
from service.translation.work import Work


@dataclass(slots=True)
class _PartitionBacklog:
    watermark: int
    """The committed position."""
    position: int
    """The lowest offset that may be admitted next."""
    binding: Binding
    works: deque[Work] = field(default_factory=deque)


class Backlog:
    """Knows the pending records, how much memory they take, and which may be written next."""

    def __init__(self, starts: Mapping[Partition, Start]) -> None:
        self._partitions = {
            partition: _PartitionBacklog(start.position, start.position, start.binding)
            for partition, start in starts.items()
        }
        self.partitions = frozenset(starts)
        self._mapped: dict[Work, None] = {}
        """Mapped records, in order: all that arrived before the first in `_unmapped`."""
        self._unmapped: deque[Work] = deque()
        self.pending_bytes = 0
        self.unmapped_bytes = 0
        """Those of them that no mapping can free."""
        self.pending_items = 0

    @property
    def pending_records(self) -> int:
        return len(self._mapped) + len(self._unmapped)

    @property
    def mapped_records(self) -> int:
        """Pending records that are mapped, whether or not they wait for reads."""
        return len(self._mapped)

    @property
    def unmapped_records(self) -> int:
        """Pending records that wait to be mapped."""
        return len(self._unmapped)

    def admit(self, record: SourceRecord, received_utc_ms: int) -> bool:
        """Take a record in; return False if it was read before, or its partition is not ours."""
        origin = record.origin
        partition = self._partitions.get(origin.partition)
        if partition is None or origin.offset < partition.position:
            return False
        partition.position = origin.offset + 1
        work = Work(record, replay_of(record.headers), received_utc_ms)
        work.counted = record.size, 1
        partition.works.append(work)
        self._unmapped.append(work)
        self.unmapped_bytes += record.size
        self.pending_bytes += record.size
        self.pending_items += 1
        return True

    def take_unmapped(self) -> Work | None:
        """Return the next record to map, or None."""
        if not self._unmapped:
            return None
        work = self._unmapped.popleft()
        self.unmapped_bytes -= work.record.size
        self._mapped[work] = None
        return work

    def put_back(self, kept: Container[Work]) -> bool:
        """Let the newest mapped record be mapped again later, to free the memory that it takes.

        Return False if it is one of those to keep, or the only one.
        """
        newest = next(reversed(self._mapped), None)
        if newest is None or newest in kept or len(self._mapped) == 1:
            return False
        del self._mapped[newest]
        newest.forget()
        self._unmapped.appendleft(newest)
        self.unmapped_bytes += newest.record.size
        self.measure(newest)
        return True

    def measure(self, work: Work) -> None:
        """Count a pending record by its present size."""
        bytes_before, items_before = work.counted
        size, items = work.counted = work.size, work.items
        self.pending_bytes += size - bytes_before
        self.pending_items += items - items_before

    def has_half(self, bytes_max: int) -> bool:
        """Return whether half of the room is free that the unmapped records leave to the mapped."""
        mapped_bytes = self.pending_bytes - self.unmapped_bytes
        return mapped_bytes < (bytes_max - self.unmapped_bytes) / 2

    def is_mapped(self, work: Work) -> bool:
        return work in self._mapped

    def ready(self) -> Iterator[Work]:
        """Yield the records that may be written, in order."""
        waiting: set[Partition] = set()
        for work in self._mapped:
            if not work.ends:
                waiting.add(work.record.origin.partition)
                if len(waiting) == len(self._partitions):
                    return
            elif not waiting or work.record.origin.partition not in waiting:
                yield work

    @property
    def has_ready(self) -> bool:
        """Whether any record may be written."""
        return any(one.works and one.works[0].ends for one in self._partitions.values())

    def positions_after(self, works: Sequence[Work]) -> dict[Partition, PositionCommit]:
        """Return the positions to commit with these records, the first of their partitions."""
        last = {work.record.origin.partition: work.record.origin.offset for work in works}
        return {
            partition: PositionCommit(
                offset + 1,
                offset_map.encode(offset + 1, 0, self._partitions[partition].binding),
            )
            for partition, offset in last.items()
        }

    def committed(self, works: Sequence[Work]) -> None:
        """Forget these records, which were written."""
        for work in works:
            partition = self._partitions[work.record.origin.partition]
            first = partition.works.popleft()
            assert first is work, "records are written in order"
            partition.watermark = work.record.origin.offset + 1
            del self._mapped[work]
            size, items = work.counted
            self.pending_bytes -= size
            self.pending_items -= items

    def watermark(self, partition: Partition) -> int:
        """Return the offset below which everything is committed."""
        return self._partitions[partition].watermark

    def binding(self, partition: Partition) -> Binding:
        """Return the identity of the partition, which changes with its topic."""
        return self._partitions[partition].binding

    def position(self, partition: Partition) -> int:
        """Return the lowest offset that may be admitted next."""
        return self._partitions[partition].position

    def pending_in(self, partition: Partition) -> int:
        """Return the number of pending records of the partition."""
        return len(self._partitions[partition].works)
