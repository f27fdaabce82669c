"""Pause the partitions of a source, so that memory stays bounded (contract.md P6).

Rule 1: intake resumes at half of a limit, because at the limit itself every transaction would pause
and resume it.
"""

from service.core.effects import SetIntake
from service.core.facts import IntakePaused, IntakeResumed
from service.core.limits import RESUMED_SHARE
from service.core.model import Partition
from service.translation.backlog import Backlog
from service.translation.limits import TranslationLimits
from service.translation.messages import SourceEffect


class SourceIntake:
    """Pauses all partitions of a source by what is pending, and resumes them."""

    def __init__(self, limits: TranslationLimits, effects: list[SourceEffect]) -> None:
        self._limits = limits
        self._effects = effects
        self.paused = frozenset[Partition]()
        self._is_full = False

    def begin(self) -> None:
        """Forget that a limit was reached: it was reached in another assignment."""
        self._is_full = False

    def set(self, backlog: Backlog, *, is_stopped: bool, is_new_assignment: bool = False) -> None:
        """Ask for the pauses that hold now, if they changed or the assignment is new.

        Args:
            backlog: what is pending.
            is_stopped: whether nothing may be taken in, whatever is pending.
            is_new_assignment: whether to ask even without a change: the consumer of a new
                assignment has paused nothing yet.
        """
        share = RESUMED_SHARE if self._is_full else 1.0
        self._is_full = (
            backlog.pending_items >= self._limits.pending_items_max * share
            or backlog.pending_bytes >= self._limits.pending_bytes_max * share
        )
        paused = backlog.partitions if is_stopped or self._is_full else frozenset()
        if paused == self.paused and not is_new_assignment:
            return
        if bool(paused) != bool(self.paused):
            fact = IntakePaused if paused else IntakeResumed
            self._effects.append(fact(len(paused), backlog.pending_items))
        self.paused = paused
        self._effects.append(SetIntake(paused))
