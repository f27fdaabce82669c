"""The records that a release covers: no limit holds them back or counts them.

Rule 1: a release covers what was read, and what the partitions have by then, because that is the
rest of the same events.
Rule 2: the release of a partition is forgotten when all that it covers is committed, when another
replica gets the partition, and when the topic was created again or lost records: then its offsets
are those of other records.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from service.core.model import Binding, Partition


class Positions(Protocol):
    """Where the partitions of an assignment are."""

    @property
    def partitions(self) -> frozenset[Partition]: ...

    def position(self, partition: Partition) -> int:
        """Return the lowest offset that may be admitted next."""

    def watermark(self, partition: Partition) -> int:
        """Return the offset below which everything is committed."""

    def binding(self, partition: Partition) -> Binding:
        """Return the identity of the partition, which changes with its topic."""


class _Covered(NamedTuple):
    end: int
    """Records below this offset are released."""
    watermark: int
    """The watermark when it was looked at last; it moves back only where records were lost."""
    binding: Binding


class ReleasedRecords:
    """Knows which records an operator released, by partition."""

    def __init__(self) -> None:
        self._covered: dict[Partition, _Covered] = {}

    def __bool__(self) -> bool:
        """Return whether any record may be released."""
        return bool(self._covered)

    def has(self, partition: Partition, offset: int) -> bool:
        """Return whether the record at this offset was released."""
        covered = self._covered.get(partition)
        return covered is not None and offset < covered.end

    def cover(self, positions: Positions, ends: Mapping[Partition, int]) -> None:
        """Release what was read, and every record below these offsets."""
        self._covered = {
            partition: _Covered(
                max(positions.position(partition), ends.get(partition, 0)),
                positions.watermark(partition),
                positions.binding(partition),
            )
            for partition in positions.partitions
        }

    def follow(self, positions: Positions) -> None:
        """Forget what is over (rule 2), after a commit or when an assignment begins."""
        if not positions.partitions:  # between two assignments nothing is known
            return
        for partition, covered in list(self._covered.items()):
            if _is_over(partition, covered, positions):
                del self._covered[partition]
            else:
                watermark = positions.watermark(partition)
                self._covered[partition] = covered._replace(watermark=watermark)


def _is_over(partition: Partition, covered: _Covered, positions: Positions) -> bool:
    if partition not in positions.partitions:
        return True
    watermark = positions.watermark(partition)
    are_others = positions.binding(partition) != covered.binding or watermark < covered.watermark
    return are_others or watermark >= covered.end
