"""The pending offsets: admitted, and without a committed outcome (architecture.md D3).

Rule 1: an outcome is written only in the transaction that also commits its offset, by the
watermark or by the offset map above it. So a restart repeats none and loses none.
Rule 2: outcomes are written in the order in which they became known, except that one too far
above the watermark for the offset map waits. Those that belong together are written in one
transaction.
Rule 3: the watermark moves over offsets that were read. Gaps in the log (compaction, transaction
markers) do not stop it.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter

from service.core.inputs import Start
from service.core.limits import Limits
from service.core.model import Binding, Partition
from service.core.records import CompletedChange, PositionCommit, Transaction
from service.core.settle import offset_map

Group = tuple[CompletedChange, ...]
"""Outcomes that no transaction may split: a delete with what it supersedes, or merged upserts."""


@dataclass(slots=True)
class _PartitionLedger:
    watermark: int
    position: int
    above: int
    """Bitmap of the offsets committed from the watermark on, those of an earlier owner included."""
    binding: Binding
    pending: OrderedDict[int, int] = field(default_factory=OrderedDict)
    """Pending offsets in order, each with the memory that it occupies beyond the usual."""
    arrivals: deque[tuple[int, float]] = field(default_factory=deque)
    """Positions reached, and when: the offsets below one and above the earlier ones came then."""

    @property
    def oldest(self) -> int | None:
        return next(iter(self.pending), None)

    @property
    def span(self) -> int:
        """Offsets from the oldest pending one to the position.

        It is not counted from the watermark: if an earlier owner committed all that was read, no
        offset is pending whose commit would move the watermark.
        """
        return self.position - next(iter(self.pending), self.position)

    def note_arrival(self, now: float) -> None:
        """Take note that what was admitted since the last note arrived now (monotonic seconds).

        Notes within a second share the first one's time, so their number stays small.
        """
        self._drop_old_arrivals()
        if self.arrivals and self.arrivals[-1][0] == self.position:
            return
        if self.arrivals and now - self.arrivals[-1][1] < ARRIVALS_SECONDS:
            now = self.arrivals.pop()[1]
        self.arrivals.append((self.position, now))

    def oldest_since(self) -> float | None:
        """Return when the oldest pending offset arrived, or up to a second earlier."""
        self._drop_old_arrivals()
        return self.arrivals[0][1] if self.arrivals else None

    def _drop_old_arrivals(self) -> None:
        """Drop the notes of offsets that are no longer pending."""
        oldest = self.oldest
        while self.arrivals and (oldest is None or self.arrivals[0][0] <= oldest):
            self.arrivals.popleft()

    def watermark_with(self, chosen: set[int]) -> int:
        """Return the watermark once `chosen` are committed too."""
        for offset in self.pending:
            if offset not in chosen:
                return offset
        return self.position

    def after(self, chosen: set[int]) -> tuple[int, int]:
        """Return the watermark, and the bitmap from it on, once `chosen` are committed too."""
        watermark = self.watermark_with(chosen)
        above = self.above
        if watermark > self.watermark:
            above >>= watermark - self.watermark
            chosen = {offset for offset in chosen if offset >= watermark}
        # Even the offset at the watermark may be set: an earlier owner committed it, and it was
        # not read again yet.
        return watermark, above | offset_map.bitmap(watermark, chosen)

    def commit(self, chosen: set[int]) -> int:
        """Mark the chosen offsets as committed; return the memory that they occupied."""
        after = self.after(chosen)
        occupied = sum([self.pending.pop(offset) for offset in chosen])
        self.watermark, self.above = after
        return occupied


USUAL_OUTCOME_BYTES = 2048
ARRIVALS_SECONDS = 1.0
"""Changes that arrive within this time of one another are taken to arrive together."""

Chosen = dict[Partition, set[int]]

_size = attrgetter("size")


class Ledger:
    """The pending offsets of one assignment, and the transaction under way."""

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
        """The offsets in the transaction under way, by partition."""
        self._map_offsets_max = limits.map_offsets_max
        self.waits_for_watermark = False
        """Whether every known outcome lies too far above its watermark to be committed."""
        self.pending_changes = 0
        self.pending_bytes = 0
        self.occupied_bytes = 0
        """Memory that the pending changes occupy beyond what is usual for each."""

    @property
    def can_commit(self) -> bool:
        """Whether a transaction could take outcomes now."""
        return bool(self._ready) and not self.waits_for_watermark and not self.is_committing

    @property
    def ready_groups(self) -> int:
        """How many groups of known outcomes no transaction has taken yet."""
        return len(self._ready)

    @property
    def is_committing(self) -> bool:
        return bool(self._chosen)

    def admit(self, partition: Partition, offset: int, size: int) -> bool:
        """Make the offset pending; return False if it is committed already, or was read before."""
        ledger = self._partitions.get(partition)
        if ledger is None or offset < ledger.position:
            return False
        ledger.position = offset + 1
        if ledger.above >> (offset - ledger.watermark) & 1:
            return False  # an earlier owner committed it
        ledger.pending[offset] = 0
        self.pending_changes += 1
        self.pending_bytes += size
        return True

    def occupy(self, partition: Partition, offset: int, size: int) -> None:
        """Add to the memory that an admitted change occupies."""
        self._partitions[partition].pending[offset] += size
        self.occupied_bytes += size

    def complete(self, groups: Iterable[Group]) -> None:
        """Take outcomes that are known; one transaction will write all of a group."""
        for group in groups:
            assert group
            for completed in group:
                assert completed.offset in self._partitions[completed.partition].pending
                size = len(completed.outcome.value or b"")
                if size > USUAL_OUTCOME_BYTES:
                    self.occupy(completed.partition, completed.offset, size)
            self._ready.append(group)
        self.waits_for_watermark = False

    def watermark(self, partition: Partition) -> int:
        """Return the offset below which every outcome is committed."""
        return self._partitions[partition].watermark

    def binding(self, partition: Partition) -> Binding:
        """Return the identity of the partition, which changes with its topic."""
        return self._partitions[partition].binding

    def position(self, partition: Partition) -> int:
        """Return the lowest offset that may be admitted next."""
        return self._partitions[partition].position

    def pending_in(self, partition: Partition) -> int:
        """Return the number of pending changes of the partition."""
        return len(self._partitions[partition].pending)

    def span(self, partition: Partition) -> int:
        """Return the offsets from the oldest pending one to the position."""
        return self._partitions[partition].span

    def oldest(self, partition: Partition) -> int | None:
        """Return the oldest pending offset, or None."""
        return self._partitions[partition].oldest

    def note_arrivals(self, partitions: Iterable[Partition], now: float) -> None:
        """Take note that what was admitted last of these partitions arrived now."""
        for partition in partitions:
            if (ledger := self._partitions.get(partition)) is not None:
                ledger.note_arrival(now)

    def oldest_seconds(self, partition: Partition, now: float) -> float:
        """Return for how long the oldest pending change is open, in seconds; 0 if there is none."""
        since = self._partitions[partition].oldest_since()
        return 0.0 if since is None else max(0.0, now - since)

    def take_transaction(self, bytes_max: int) -> Transaction | None:
        """Choose the next transaction, in order and within its limits; None if there is none."""
        assert not self._chosen
        taken = self._first_possible(bytes_max)
        if not taken:
            self.waits_for_watermark = True
            return None
        if taken == self._ready[: len(taken)]:  # the usual case
            del self._ready[: len(taken)]
        else:
            taken_ids = set(map(id, taken))
            self._ready = [group for group in self._ready if id(group) not in taken_ids]
        self._chosen = taken
        return self._transaction(taken)

    def committed(self) -> Group:
        """Mark the outcomes of the transaction as committed, and return them."""
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
        """Prepare the outcomes of the aborted transaction for the next one.

        If the broker refused the offset map as too large, later maps cover half as many offsets.
        """
        assert self._chosen
        self._ready = self._chosen + self._ready
        self._chosen = []
        if map_too_large:
            self._map_offsets_max //= 2

    @property
    def bytes_under_way(self) -> int:
        """The bytes of the transaction under way, approximately."""
        return _bytes_of(chain.from_iterable(self._chosen))

    def _first_possible(self, bytes_max: int) -> list[Group]:
        """Return the first groups within the limits, or more if only more move a watermark.

        The groups within the limits may all lie too far above a watermark that only a later group
        moves.
        """
        count = _count_within_limits(self._ready, self._limits.transaction_outcomes_max, bytes_max)
        while not (taken := self._within_map(self._ready[:count])) and count < len(self._ready):
            count *= 2
        return taken

    def _within_map(self, taken: list[Group]) -> list[Group]:
        """Leave out the groups too far above the watermark that would be committed with them.

        Leaving a group out can lower the watermark of another partition, so this repeats until
        nothing changes. Later outcomes of an asset lie higher still, so their order is kept.
        """
        if all(ledger.span <= self._map_offsets_max for ledger in self._partitions.values()):
            return list(taken)  # the usual case: nothing lies too high
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
            ledger = self._partitions[partition]
            watermark, above = ledger.after(offsets)
            metadata = offset_map.encode(watermark, above, ledger.binding)
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


def _bytes_of(completed: Iterable[CompletedChange]) -> int:
    return sum(map(_size, completed))


def _count_within_limits(groups: Sequence[Group], outcomes_max: int, bytes_max: int) -> int:
    """Return how many of the first groups a transaction takes: at least one."""
    flat = list(chain.from_iterable(groups))
    if len(flat) <= outcomes_max and _bytes_of(flat) <= bytes_max:
        return len(groups)  # the usual case
    count = size = 0
    for taken, group in enumerate(groups):
        count += len(group)
        for completed in group:
            size += completed.size
        fits = count <= outcomes_max and size <= bytes_max
        if taken and not fits:
            return taken
    return len(groups)
