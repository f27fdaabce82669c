"""Log lines of normal operation: group joined, PIM reached, and once a minute the work done."""

from collections import Counter
from collections.abc import Collection

import structlog

from service.core.facts import Fact, RequestEnded, TransactionCommitted
from service.core.model import Partition

PROGRESS_SECONDS = 60.0
IDLE_SECONDS = 3600.0
"""Time between two log lines while there is nothing to do."""


class Progress:
    """An `Observer` that counts the work done, and logs it when `pass_time` finds it is time."""

    def __init__(self, now: float) -> None:
        self._log = structlog.get_logger()
        self._outcomes: Counter[str] = Counter()
        self._calls = 0
        self._is_pim_reached = False
        self._epoch: int | None = None
        self._logged_at = now

    def note(self, fact: Fact) -> None:
        """Count outcomes and requests, and log the first request that succeeded."""
        if isinstance(fact, TransactionCommitted):
            self._outcomes.update(one.status for one in fact.completed)
        elif isinstance(fact, RequestEnded):
            self._calls += 1
            if fact.ended == "2xx" and not self._is_pim_reached:
                self._is_pim_reached = True
                self._log.info("pim.reached")

    def assigned(self, epoch: int | None, partitions: Collection[Partition]) -> None:
        """Log the partitions of an assignment, once for each epoch."""
        if epoch is not None and epoch != self._epoch:
            names = [f"{one.topic}/{one.number}" for one in sorted(partitions)]
            self._log.info("group.joined", partitions=names)
        self._epoch = epoch if epoch is not None else self._epoch

    def pass_time(self, now: float, pending_changes: int, lag: int) -> None:
        """Log the work of the last minute; only once an hour while there is nothing to do."""
        is_idle = not self._outcomes and not self._calls and not pending_changes and not lag
        if now - self._logged_at < (IDLE_SECONDS if is_idle else PROGRESS_SECONDS):
            return
        self._log.info(
            "service.progress",
            seconds=round(now - self._logged_at),
            outcomes=dict(sorted(self._outcomes.items())),
            pim_requests=self._calls,
            pending_changes=pending_changes,
            lag=lag,
        )
        self._logged_at = now
        self._outcomes.clear()
        self._calls = 0
