"""Neighbours in memory: the same contract suite runs against them and against the real ones."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from service.core.inputs import ChangesRefused, CommitRefusal, Refusal
from service.core.model import Partition
from service.core.records import LogRecord, PositionCommit, Transaction
from service.core.settle.dead_letters import truncate_further

METADATA_CHARACTERS_MAX = 4096


@dataclass
class MemoryLog:
    """An `OutcomeLog`: what was committed, for members of the present generation only."""

    generation: int = 1
    """Of the group; a log of another generation is fenced."""
    ours: int = 1
    record_bytes_max: int = 1024 * 1024
    outcomes: list[LogRecord] = field(default_factory=list)
    dead_letters: list[LogRecord] = field(default_factory=list)
    changes: list[LogRecord] = field(default_factory=list)
    positions: dict[Partition, PositionCommit] = field(default_factory=dict)

    async def write(self, transaction: Transaction) -> Refusal | None:
        """Write all of it or nothing."""
        if self.ours != self.generation:
            return CommitRefusal.FENCED
        commits = transaction.positions.values()
        if any(len(commit.metadata) > METADATA_CHARACTERS_MAX for commit in commits):
            return CommitRefusal.METADATA_TOO_LARGE
        if large := self._large(transaction.changes):
            return ChangesRefused(large)
        self.outcomes += transaction.outcomes
        self.changes += transaction.changes
        self.dead_letters += [self._fitting(dead) for dead in transaction.dead_letters]
        self.positions |= transaction.positions
        return None

    def _large(self, changes: Iterable[LogRecord]) -> frozenset[int]:
        sizes = (change.size for change in changes)
        return frozenset(at for at, size in enumerate(sizes) if size > self.record_bytes_max)

    def _fitting(self, dead: LogRecord) -> LogRecord:
        while dead.size > self.record_bytes_max:
            shorter = truncate_further(dead)
            assert shorter is not None, "the limit is not that small"
            dead = shorter
        return dead
