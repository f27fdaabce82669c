"""Log lines of normal operation: group joined, PIM reached, and once a minute the work done."""

from collections import Counter
from collections.abc import Collection, Iterable

import structlog

from service.core.facts import Fact, RequestEnded, TransactionCommitted
from service.core.model import Partition
from service.translation.facts import RecordsTranslated

PROGRESS_SECONDS = 60.0
IDLE_SECONDS = 3600.0
"""Time between two log lines while there is nothing to do."""


class WorkLog:
    """Logs each assignment, and the work done when `pass_time` finds that it is time."""

    def __init__(self, now: float, **names: str) -> None:
        """Begin to count; `names` are fields of every line."""
        self._log = structlog.get_logger().bind(**names)
        self._counts: dict[str, Counter[str]] = {}
        """What was counted since the last line, by field and by kind."""
        self._epoch: int | None = None
        self._logged_at = now

    def count(self, field: str, kinds: Iterable[str]) -> None:
        """Count work of these kinds, for this field of the next line."""
        self._counts[field].update(kinds)

    def assigned(self, epoch: int | None, partitions: Collection[Partition]) -> None:
        """Log the partitions of an assignment, once for each epoch."""
        if epoch is not None and epoch != self._epoch:
            names = [f"{one.topic}/{one.number}" for one in sorted(partitions)]
            self._log.info("group.joined", partitions=names)
        self._epoch = epoch if epoch is not None else self._epoch

    def pass_time(self, now: float, pending_changes: int, lag: int) -> None:
        """Log the work of the last minute; only once an hour while there is nothing to do."""
        is_idle = not any(self._counts.values()) and not pending_changes and not lag
        if now - self._logged_at < (IDLE_SECONDS if is_idle else PROGRESS_SECONDS):
            return
        self._log.info(
            "service.progress",
            seconds=round(now - self._logged_at),
            **self._work(),
            pending_changes=pending_changes,
            lag=lag,
        )
        self._logged_at = now
        for counter in self._counts.values():
            counter.clear()

    def _work(self) -> dict[str, object]:
        """Return the fields for what was counted."""
        return {field: dict(sorted(counter.items())) for field, counter in self._counts.items()}


class Progress(WorkLog):
    """An `Observer` that logs the work of `run`."""

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self._counts = {"outcomes": Counter(), "pim_requests": Counter()}
        self._is_pim_reached = False

    def note(self, fact: Fact) -> None:
        """Count outcomes and requests, and log the first request that succeeded."""
        if isinstance(fact, TransactionCommitted):
            self.count("outcomes", [one.status for one in fact.completed])
        elif isinstance(fact, RequestEnded):
            self.count("pim_requests", (fact.ended,))
            if fact.ended == "2xx" and not self._is_pim_reached:
                self._is_pim_reached = True
                self._log.info("pim.reached")

    def _work(self) -> dict[str, object]:
        return {**super()._work(), "pim_requests": self._counts["pim_requests"].total()}


class SourceProgress(WorkLog):
    """An `Observer` that logs the work of one source of `translate`."""

    def __init__(self, now: float, source: str) -> None:
        super().__init__(now, source=source)
        self._counts = {"items": Counter()}

    def note(self, fact: Fact) -> None:
        """Count what the items of raw records became."""
        if isinstance(fact, RecordsTranslated):
            results = (result for record in fact.completed for result, _ in record.results)
            self.count("items", results)
