"""What we owe Kafka: every admitted offset, until its outcome is committed.

Rule 1: an outcome leaves only in the transaction that also marks its offset settled, by the
watermark or by the map above it; so a restart repeats none and loses none.
Rule 2: outcomes leave in the order they were settled; what settles together leaves together.
Rule 3: the watermark walks the offsets that were read; gaps (compaction, markers) are nothing.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from service.core.inputs import Start
from service.core.limits import Limits
from service.core.model import Binding, Partition
from service.core.records import CompletedChange, PositionCommit, Transaction
from service.core.settle import offset_map

Group = tuple[CompletedChange, ...]
"""Outcomes that no transaction may split: a delete and what it supersedes, a merged call's."""


@dataclass(slots=True)
class _PartitionLedger:
    watermark: int
    position: int
    above: int
    """Settled and committed from the watermark on, those of an earlier owner too: a bitmap."""
    binding: Binding
    """What the offset maps of this partition are bound to."""
    pending: OrderedDict[int, int] = field(default_factory=OrderedDict)
    """Read and not yet committed, in order; what each occupies beyond the usual."""

    @property
    def span(self) -> int:
        """Offsets from the oldest that is owed to the position.

        Not from the watermark: where an earlier owner settled all that was read, nothing is left
        whose commit would move it.
        """
        return self.position - next(iter(self.pending), self.position)

    def watermark_with(self, chosen: set[int]) -> int:
        """The watermark once `chosen` are committed too."""
        for offset in self.pending:
            if offset not in chosen:
                return offset
        return self.position

    def after(self, chosen: set[int]) -> tuple[int, int]:
        """The watermark and the bitmap on it once `chosen` are committed too."""
        watermark = self.watermark_with(chosen)
        above = self.above
        if watermark > self.watermark:
            above >>= watermark - self.watermark
            chosen = {offset for offset in chosen if offset >= watermark}
        # The watermark itself may be settled: by an earlier owner, and not read again yet.
        return watermark, above | offset_map.bitmap(watermark, chosen)

    def commit(self, chosen: set[int]) -> int:
        """Forget the chosen offsets; what they occupied."""
        after = self.after(chosen)
        occupied = sum([self.pending.pop(offset) for offset in chosen])
        self.watermark, self.above = after
        return occupied


USUAL_OUTCOME_BYTES = 2048

Chosen = dict[Partition, set[int]]


class Ledger:
    """The offsets of one assignment. Counts what is held: admitted and not yet committed."""

    def __init__(self, starts: Mapping[Partition, Start], limits: Limits) -> None:
        self._limits = limits
        self._partitions = {
            partition: _PartitionLedger(
                watermark=start.position,
                position=start.position,
                above=offset_map.bitmap(
                    start.position, {at for at in start.committed_above if at >= start.position}
                ),
                binding=start.binding,
            )
            for partition, start in starts.items()
        }
        self.partitions = frozenset(starts)
        self._ready: list[Group] = []
        self._chosen: list[Group] = []
        self._chosen_offsets: Chosen = {}
        """Of the transaction under way."""
        self._map_offsets_max = limits.map_offsets_max
        self.waits_for_watermark = False
        """Whether all that is ready lies too far above the watermark to be committed."""
        self.pending_changes = 0
        self.pending_bytes = 0
        self.occupied_bytes = 0
        """What the held changes occupy in memory, beyond what each usually does."""

    @property
    def can_commit(self) -> bool:
        """Whether outcomes are ready that a transaction could take now."""
        return bool(self._ready) and not self.waits_for_watermark and not self.is_committing

    @property
    def is_committing(self) -> bool:
        """Whether a transaction is under way."""
        return bool(self._chosen)

    def admit(self, partition: Partition, offset: int, size: int) -> bool:
        """Owe this offset an outcome; False where it is settled already, or read twice."""
        book = self._partitions.get(partition)
        if book is None or offset < book.position:
            return False
        book.position = offset + 1
        if book.above >> (offset - book.watermark) & 1:
            return False  # an earlier owner committed it
        book.pending[offset] = 0
        self.pending_changes += 1
        self.pending_bytes += size
        return True

    def occupy(self, partition: Partition, offset: int, size: int) -> None:
        """An admitted change occupies so many bytes more."""
        self._partitions[partition].pending[offset] += size
        self.occupied_bytes += size

    def complete(self, group: Group) -> None:
        """These outcomes are known; they leave in one transaction."""
        assert group
        for completed in group:
            assert completed.offset in self._partitions[completed.partition].pending
            if len(completed.outcome.value or b"") > USUAL_OUTCOME_BYTES:
                size = len(completed.outcome.value or b"")
                self.occupy(completed.partition, completed.offset, size)
        self._ready.append(group)
        self.waits_for_watermark = False

    def watermark(self, partition: Partition) -> int:
        """All below is settled and committed."""
        return self._partitions[partition].watermark

    def position(self, partition: Partition) -> int:
        """The offset that is admitted next, or a later one."""
        return self._partitions[partition].position

    def pending_in(self, partition: Partition) -> int:
        """Changes of the partition that are admitted and not yet committed."""
        return len(self._partitions[partition].pending)

    def span(self, partition: Partition) -> int:
        """Offsets from the watermark to the position."""
        return self._partitions[partition].span

    def oldest(self, partition: Partition) -> int | None:
        """The offset at the watermark, None where nothing is owed."""
        return next(iter(self._partitions[partition].pending), None)

    def take_transaction(self) -> Transaction | None:
        """Choose the next transaction, in order, within its limits; None where nothing can go."""
        assert not self._chosen
        taken = self._first_possible()
        if not taken:
            self.waits_for_watermark = True
            return None
        if taken == self._ready[: len(taken)]:  # what is usual
            del self._ready[: len(taken)]
        else:
            left = set(map(id, taken))
            self._ready = [group for group in self._ready if id(group) not in left]
        self._chosen = taken
        return self._transaction(taken)

    def committed(self) -> Group:
        """The transaction is on the log: its offsets are settled, its memory is free."""
        assert self._chosen
        for partition, offsets in self._chosen_offsets.items():
            self.occupied_bytes -= self._partitions[partition].commit(offsets)
        flat = tuple(chain.from_iterable(self._chosen))
        self.pending_changes -= len(flat)
        self.pending_bytes -= sum([completed.pending_bytes for completed in flat])
        self._chosen = []
        self.waits_for_watermark = False
        assert self.pending_changes >= 0
        assert self.pending_bytes >= 0
        return flat

    def refused(self, *, map_too_large: bool) -> None:
        """The transaction was aborted: the same outcomes go again, the map cut if it was that."""
        assert self._chosen
        self._ready = self._chosen + self._ready
        self._chosen = []
        if map_too_large:
            self._map_offsets_max //= 2

    def _first_possible(self) -> list[Group]:
        """The first groups within the limits, or as many as it takes to move the watermark.

        A prefix within the limits may lie above the watermark that only the rest would move.
        """
        count = _count_within_limits(self._ready, self._limits)
        while not (taken := self._within_map(self._ready[:count])) and count < len(self._ready):
            count *= 2
        return taken

    def _within_map(self, taken: list[Group]) -> list[Group]:
        """Leave out what lies too far above the watermark that would be committed with it.

        Leaving a group out can lower the watermark of another partition, so look again until
        nothing changes. An asset's later outcomes lie higher still, so its order holds.
        """
        if all(book.span <= self._map_offsets_max for book in self._partitions.values()):
            return list(taken)  # nothing lies that high: what is usual
        while True:
            chosen = _offsets(taken)
            ceilings = {
                partition: self._partitions[partition].watermark_with(offsets)
                + self._map_offsets_max
                for partition, offsets in chosen.items()
            }
            kept = [
                group
                for group in taken
                if all(completed.offset <= ceilings[completed.partition] for completed in group)
            ]
            if len(kept) == len(taken):
                return kept
            taken = kept

    def _transaction(self, taken: Sequence[Group]) -> Transaction:
        self._chosen_offsets = chosen = _offsets(taken)
        positions: dict[Partition, PositionCommit] = {}
        for partition, offsets in chosen.items():
            book = self._partitions[partition]
            watermark, above = book.after(offsets)
            metadata = offset_map.encode(watermark, above, book.binding)
            positions[partition] = PositionCommit(watermark, metadata)
        flat = list(chain.from_iterable(taken))
        return Transaction(
            outcomes=tuple([completed.outcome for completed in flat]),
            dead_letters=tuple(
                [completed.dead_letter for completed in flat if completed.dead_letter]
            ),
            positions=positions,
        )


def _offsets(groups: Iterable[Group]) -> Chosen:
    chosen: Chosen = {}
    for completed in chain.from_iterable(groups):
        offsets = chosen.get(completed.partition)
        if offsets is None:
            offsets = chosen[completed.partition] = set()
        offsets.add(completed.offset)
    return chosen


def _count_within_limits(groups: Sequence[Group], limits: Limits) -> int:
    """How many groups from the first one on a transaction takes: one at least."""
    count = size = 0
    for taken, group in enumerate(groups):
        count += len(group)
        for completed in group:
            size += completed.size
        fits = count <= limits.transaction_outcomes_max and size <= limits.transaction_bytes_max
        if taken and not fits:
            return taken
    return len(groups)
