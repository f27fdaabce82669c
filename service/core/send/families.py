"""The families that the PIM has or does not have, by its recent answers (architecture.md D7).

Rule 1: a family counts as unknown only if the PIM itself answered 404 for it, and a list of
families either left it out shortly before, or is read after that, which shows that the PIM works.
The 404 to a delete does not count: it may mean the asset, so that the family itself is asked for.
Rule 2: every answer counts for a limited time, because families are created and access is granted.
"""

from collections import OrderedDict
from typing import TypeVar

from service.core.limits import (
    FAMILIES_REMEMBERED_MAX,
    FAMILY_LIST_SECONDS,
    FAMILY_SEEN_SECONDS,
    FAMILY_UNKNOWN_SECONDS,
)
from service.core.verdict_types import PimResponse

Fact = TypeVar("Fact")


class Families:
    """Remembers the families that exist and those that are unknown."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._unknown: OrderedDict[str, tuple[float, PimResponse]] = OrderedDict()
        self._listed: frozenset[str] = frozenset()
        self._listed_at = float("-inf")

    def mark_seen(self, family: str, now: float) -> None:
        """Remember that a write to the family succeeded."""
        _remember(self._seen, family, now)
        self._unknown.pop(family, None)

    def is_seen(self, family: str, now: float) -> bool:
        """Return whether a recent write proves that the family exists."""
        seen_at = self._seen.get(family)
        return seen_at is not None and now - seen_at <= FAMILY_SEEN_SECONDS

    def keep_list(self, families: frozenset[str], now: float) -> None:
        """Keep the PIM's complete list of families."""
        self._listed, self._listed_at = families, now

    def lacks(self, family: str, now: float) -> bool:
        """Return whether a recent complete list leaves it out, and no write succeeded since."""
        is_fresh = now - self._listed_at <= FAMILY_LIST_SECONDS
        was_seen_since = self._seen.get(family, float("-inf")) >= self._listed_at
        return is_fresh and family not in self._listed and not was_seen_since

    def mark_unknown(self, family: str, response: PimResponse, now: float) -> None:
        """Remember that the family is unknown; `response` is the PIM's answer that shows it."""
        _remember(self._unknown, family, (now, response))

    def denial(self, family: str, now: float) -> PimResponse | None:
        """Return the answer that showed the family to be unknown, if it still counts."""
        if family not in self._unknown:
            return None
        denied_at, response = self._unknown[family]
        if now - denied_at <= FAMILY_UNKNOWN_SECONDS:
            return response
        del self._unknown[family]
        return None


def _remember(memory: OrderedDict[str, Fact], family: str, fact: Fact) -> None:
    memory[family] = fact
    memory.move_to_end(family)
    if len(memory) > FAMILIES_REMEMBERED_MAX:
        memory.popitem(last=False)
