"""What is wrong with the values of a change: the first flaws, and how many there are."""

from collections.abc import Sequence

from service.contracts.outcome import ERRORS_MAX, ChangeError

TOLD_MAX = 3
"""Flaws in the sentence for a person; `errors` has more."""


class Flaws:
    """The first flaws that were found, and the count of all."""

    __slots__ = ("count", "first")

    def __init__(self) -> None:
        self.first: list[ChangeError] = []
        """One more than an outcome shows, so that it can say that there are more."""
        self.count = 0

    def add(self, flaw: ChangeError) -> None:
        """Count the flaw, and keep it where there is room."""
        self.count += 1
        if len(self.first) <= ERRORS_MAX:
            self.first.append(flaw)


def sentence(first: Sequence[ChangeError], count: int) -> str:
    """Return what a person reads of these flaws: some of them, and how many more there are."""
    told = [flaw.message or "" for flaw in first[:TOLD_MAX]]
    return and_more(" ".join(told), count - len(told))


def and_more(told: str, count: int) -> str:
    """Return what was told as a sentence that says how many more there are."""
    more = f", and {count} more" if count > 0 else ""
    return f"{told.rstrip().removesuffix('.')}{more}."
