"""The work that one record may cause: a count, so that the same record always ends the same way."""

from msgspec import Struct

from service.mapping.endings import RecordEndedError

WORK_STEPS_MAX = 500_000
"""Most steps of work for one record. A step is an attribute of an item, a node of an expression, an
element of a list or 64 characters of a long text. They take about a fifth of a second; 1,000 items
with ten plain values each need 10,000."""

FREE_CHARACTERS = 1_024
"""A text up to this long costs nothing, so that usual texts need not be counted."""

CHARACTERS_PER_STEP = 64


class Work(Struct, gc=False):
    """Counts down from `WORK_STEPS_MAX`."""

    left: int = WORK_STEPS_MAX

    def spend(self, steps: int) -> None:
        """Raise `RecordEndedError` when the record has caused more work than it may."""
        self.left -= steps
        if self.left < 0:
            raise RecordEndedError(
                "rejected",
                "too_large",
                f"The event needs more than {WORK_STEPS_MAX:,} steps of mapping: send it in "
                "smaller parts.",
            )

    @property
    def spent(self) -> int:
        """The steps that were counted; too many for the record count as all that it may have."""
        return WORK_STEPS_MAX - max(0, self.left)

    def spend_on(self, text: str, weight: int = 1) -> None:
        """Count a text that is read `weight` times."""
        if len(text) > FREE_CHARACTERS:
            self.spend(len(text) * weight // CHARACTERS_PER_STEP)
