"""The first flaws in the values of a change, and the number of all flaws."""

from collections.abc import Sequence

from service.contracts.outcome import ERRORS_MAX, ChangeError

NAMED_MAX = 3
"""Flaws that `message` names; `errors` holds more."""


class Flaws:
    """Collects the first flaws and counts all of them."""

    __slots__ = ("count", "first")

    def __init__(self) -> None:
        self.first: list[ChangeError] = []
        """One more than an outcome shows, so that the outcome can tell that some are left out."""
        self.count = 0

    def add(self, flaw: ChangeError) -> None:
        """Count the flaw, and keep it if there is room."""
        self.count += 1
        if len(self.first) <= ERRORS_MAX:
            self.first.append(flaw)


def sentence(first: Sequence[ChangeError], count: int) -> str:
    """Return a sentence that names the first flaws and how many more there are."""
    named = [flaw.message or "" for flaw in first[:NAMED_MAX]]
    return and_more(" ".join(named), count - len(named))


def and_more(text: str, count: int) -> str:
    """Return `text` as a sentence that ends with the number of further ones, if any."""
    more = f", and {count} more" if count > 0 else ""
    return f"{text.rstrip().removesuffix('.')}{more}."
