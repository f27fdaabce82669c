"""Pause partitions, so that memory stays bounded and nothing is lost (contract.md P4, P6).

Rule 1: intake resumes at half of the limit (`RESUMED_SHARE`) that paused it, because at the limit
itself every call would pause and resume it.
"""

from service.core.effects import Effect, SetIntake
from service.core.facts import IntakePaused, IntakeResumed
from service.core.limits import OCCUPIED_PER_PENDING_BYTE, RESUMED_SHARE, Limits
from service.core.model import Partition
from service.core.recover.breaker import Breaker
from service.core.settle.ledger import Ledger


class Intake:
    """Pauses partitions by what is pending, and resumes them."""

    def __init__(self, limits: Limits, effects: list[Effect]) -> None:
        self._limits = limits
        self._effects = effects
        self.paused: frozenset[Partition] = frozenset()
        self._is_full = False
        self._spanned: frozenset[Partition] = frozenset()
        """Partitions whose span has reached its limit, and has not shrunk to half of it since."""

    def begin(self) -> None:
        """Forget that a limit was reached: it was reached in another assignment."""
        self._is_full = False
        self._spanned = frozenset()

    def set(
        self, ledger: Ledger, breaker: Breaker, *, is_stopped: bool, is_new_assignment: bool = False
    ) -> None:
        """Ask for the pauses that hold now, if they changed or the assignment is new.

        Args:
            ledger: what is pending.
            breaker: while it is open, less may be pending.
            is_stopped: whether nothing may be taken in, whatever is pending.
            is_new_assignment: whether to ask even without a change: the consumer of a new
                assignment has paused nothing yet.
        """
        everything = ledger.partitions
        paused = everything if is_stopped else self._to_pause(ledger, breaker)
        if paused == self.paused and not is_new_assignment:
            return
        if bool(paused) != bool(self.paused):
            fact = IntakePaused if paused else IntakeResumed
            self._effects.append(fact(len(paused), ledger.pending_changes))
        self.paused = paused
        self._effects.append(SetIntake(paused))

    def _to_pause(self, ledger: Ledger, breaker: Breaker) -> frozenset[Partition]:
        everything = ledger.partitions
        share = RESUMED_SHARE if self._is_full else 1.0
        changes_max = self._limits.pending_changes_max
        if breaker.is_open and not breaker.family_well:
            changes_max = min(changes_max, self._limits.breaker_pending_changes)
        bytes_max = self._limits.pending_bytes_max
        self._is_full = (
            ledger.pending_changes >= changes_max * share
            or ledger.pending_bytes >= bytes_max * share
            or ledger.occupied_bytes >= bytes_max * OCCUPIED_PER_PENDING_BYTE * share
        )
        self._spanned = frozenset(one for one in everything if self._is_spanned(one, ledger))
        return everything if self._is_full else self._spanned

    def _is_spanned(self, partition: Partition, ledger: Ledger) -> bool:
        share = RESUMED_SHARE if partition in self._spanned else 1.0
        return ledger.span(partition) >= self._limits.span_pause_offsets * share
