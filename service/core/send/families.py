"""Which families the PIM has, as far as its answers told lately (architecture.md D7).

Rule 1: a family is unknown only where the PIM itself denied it, and answered its list of families
after that, or had left the family out of it shortly before.
Rule 2: what was learned holds for a while only: families are created and granted.
"""

from collections import OrderedDict
from typing import TypeVar

from service.core.limits import (
    FAMILIES_REMEMBERED_MAX,
    FAMILY_LIST_SECONDS,
    FAMILY_SEEN_SECONDS,
    FAMILY_UNKNOWN_SECONDS,
)
from service.core.verdicts import PimResponse

Known = TypeVar("Known")


class Families:
    """Remembers the families that were written to, and those that are unknown."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._unknown: OrderedDict[str, tuple[float, PimResponse]] = OrderedDict()
        self._listed: frozenset[str] = frozenset()
        self._listed_at = float("-inf")

    def mark_seen(self, family: str, now: float) -> None:
        """A write to the family succeeded."""
        _remember(self._seen, family, now)
        self._unknown.pop(family, None)

    def is_seen(self, family: str, now: float) -> bool:
        """Whether a write succeeded recently enough to prove that the family exists."""
        seen_at = self._seen.get(family)
        return seen_at is not None and now - seen_at <= FAMILY_SEEN_SECONDS

    def keep_list(self, families: frozenset[str], now: float) -> None:
        """The PIM answered its complete list of families."""
        self._listed, self._listed_at = families, now

    def lacks(self, family: str, now: float) -> bool:
        """Whether a complete list, read recently enough, leaves the family out."""
        is_fresh = now - self._listed_at <= FAMILY_LIST_SECONDS
        was_seen_since = self._seen.get(family, float("-inf")) >= self._listed_at
        return is_fresh and family not in self._listed and not was_seen_since

    def mark_unknown(self, family: str, response: PimResponse, now: float) -> None:
        """The family is unknown: `response` is how the PIM denied it."""
        _remember(self._unknown, family, (now, response))

    def denial(self, family: str, now: float) -> PimResponse | None:
        """How the PIM denied the family, where that holds still."""
        if family not in self._unknown:
            return None
        missed_at, response = self._unknown[family]
        if now - missed_at <= FAMILY_UNKNOWN_SECONDS:
            return response
        del self._unknown[family]
        return None


def _remember(memory: OrderedDict[str, Known], family: str, found: Known) -> None:
    memory[family] = found
    memory.move_to_end(family)
    if len(memory) > FAMILIES_REMEMBERED_MAX:
        memory.popitem(last=False)
