"""The circuit breaker: while it is open, only probes are sent (architecture.md D7).

Nothing that fails meanwhile counts against any asset: an outage uses up no retry budget.
"""

from collections.abc import Iterable

from service.core.recover.backoff import Jitter, delay
from service.core.recover.call import Lane
from service.core.verdict_types import Failure

FAMILIES_NAMED_MAX = 3
"""How many of the families whose calls failed are named to people."""


class Breaker:
    """Knows whether the breaker is open, and when the next probe may be sent."""

    def __init__(self, jitter: Jitter) -> None:
        self._jitter = jitter
        self._reset()

    def _reset(self) -> None:
        self.is_open = False
        self.opened_at = 0.0
        """Since when it is open (monotonic seconds)."""
        self.failure: Failure | None = None
        """Why the last call or probe failed; None while closed."""
        self.suspects: set[Lane] = set()
        """Lanes whose suspicions opened the breaker, and whose probes failed since."""
        self.probing: int | None = None
        """The id of the call that is the probe in flight."""
        self.probe_at = 0.0
        self.family_well = False
        """Whether the PIM itself answered the last GET after a probe."""
        self.turns: dict[Lane, int] = {}
        """A count of when each lane was probed last: the lane of the longest ago is next."""
        self._probe_failures = 0

    @property
    def suspected_families(self) -> tuple[str, ...]:
        """The first families, in the order of their names, whose calls or probes failed."""
        return tuple(sorted({family for family, _ in self.suspects})[:FAMILIES_NAMED_MAX])

    def open(self, suspects: Iterable[Lane], failure: Failure, now: float) -> None:
        """Open it, because the calls of these lanes failed in a row, the last one as given."""
        self._reset()
        self.is_open = True
        self.opened_at = now
        self.failure = failure
        self.suspects = set(suspects)
        self.probe_at = now + delay(1, self._jitter)

    def close(self) -> None:
        """Close it after a success."""
        self._reset()

    def probe_failed(self, lane: Lane, failure: Failure, now: float, *, family_well: bool) -> None:
        """Let the next probe be of another lane or asset, later."""
        self.failure = failure
        self.family_well = family_well
        self.suspects.add(lane)
        self.probing = None
        self.delay_probe(now)

    def delay_probe(self, now: float) -> None:
        """Delay the next probe, longer with each failure."""
        self._probe_failures += 1
        self.probe_at = now + delay(self._probe_failures, self._jitter)
