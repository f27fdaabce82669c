"""The recent outcomes and the totals that the status page shows."""

from collections import Counter, deque
from typing import Any

from service.contracts.outcome_reader import ReadOutcome, read_outcome
from service.core.facts import Fact, RequestEnded, TransactionCommitted

OUTCOMES_KEPT = 50


class RecentOutcomes:
    """An `Observer` that counts, and keeps the last outcomes and the last dead letters."""

    def __init__(self) -> None:
        self._recent: deque[bytes] = deque(maxlen=OUTCOMES_KEPT)
        self._dead: deque[bytes] = deque(maxlen=OUTCOMES_KEPT)
        self._outcomes: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()

    def note(self, fact: Fact) -> None:
        if isinstance(fact, TransactionCommitted):
            self._outcomes.update(one.status for one in fact.completed)
            for one in fact.completed[-OUTCOMES_KEPT:]:
                self._recent.append(one.outcome.value or b"")
            for one in fact.completed:
                if one.dead_letter is not None:
                    self._dead.append(one.outcome.value or b"")
        elif isinstance(fact, RequestEnded):
            self._requests[fact.ended] += 1

    def show(self) -> dict[str, Any]:
        """Return the totals, and the last outcomes and the last dead letters, newest first."""
        return {
            "outcomes": dict(self._outcomes),
            "requests": dict(self._requests),
            "recent_outcomes": _rows(self._recent),
            "recent_dead_letters": _rows(self._dead),
        }


def _rows(values: deque[bytes]) -> list[dict[str, Any]]:
    outcomes = map(read_outcome, reversed(values))
    return [_row(outcome) for outcome in outcomes if outcome is not None]


def _row(outcome: ReadOutcome) -> dict[str, Any]:
    data = outcome.data
    return {
        "time": outcome.time or "",
        "id": outcome.id,
        "asset": outcome.subject or "",
        "status": data.status,
        "detail": data.result or data.reason or "",
        "message": data.message or "",
    }
