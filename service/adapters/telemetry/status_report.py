"""The state of this replica for health checks, gauges and the status page."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.adapters.telemetry.health import (
    failing_lines,
    is_reading,
    is_working,
    partition_lines,
    partition_state,
    time_before,
    waiting_lines,
    why_failing,
    why_held,
    why_waiting,
)
from service.adapters.telemetry.metrics import Gauges
from service.adapters.telemetry.recent_outcomes import RecentOutcomes
from service.core.model import Partition
from service.core.status import FailureStatus, FamilyStatus, OutageStatus, PipelineStatus


@dataclass(frozen=True, slots=True)
class ReplicaInfo:
    """The version, the group and the limits of this replica."""

    version: str
    group: str
    limits: Mapping[str, float]
    """Gauges whose value is a setting, by the name of the metric."""
    quiet_seconds_max: float
    """How long nothing may happen while changes are pending and could be worked on."""


class StatusReport:
    """Reads the state of the core whenever a health check, Prometheus or the page asks."""

    def __init__(
        self,
        replica: ReplicaInfo,
        recent_outcomes: RecentOutcomes,
        status: Callable[[], PipelineStatus],
        families: Callable[[], list[FamilyStatus]],
        lags: Callable[[], Mapping[Partition, int]],
        behind_transactions: Callable[[], Mapping[Partition, int]] = dict,
        unread_seconds: Callable[[], Mapping[Partition, float]] = dict,
    ) -> None:
        self._replica = replica
        self._recent_outcomes = recent_outcomes
        self._status = status
        self._families = families
        self._lags = lags
        self._unread_seconds = unread_seconds
        self._began_at = time.monotonic()
        self.gauges = Gauges(status, lags, replica.limits, behind_transactions, families)

    def live(self) -> dict[str, bool]:
        """Return the checks of `/livez`; a pause on purpose counts as progress."""
        status = self._status()
        return {
            "progress": is_working(status, self._replica.quiet_seconds_max),
            "partitions": is_reading(status, self._unread_seconds()),
        }

    def live_lines(self) -> list[str]:
        """Return the lines of `/livez?verbose`, with one for each partition."""
        partitions = partition_lines(self._status(), self._lags(), self._unread_seconds())
        return [*self.ready_lines(), *partitions]

    def ready_lines(self) -> list[str]:
        """Return why nothing is sent at present, and which families fail."""
        return [*waiting_lines(self._status()), *failing_lines(self._families())]

    def page(self) -> dict[str, Any]:
        """Return the data of the status page."""
        status, lags, unread = self._status(), self._lags(), self._unread_seconds()
        return {
            "version": self._replica.version,
            "group": self._replica.group,
            "uptime_seconds": round(time.monotonic() - self._began_at, 3),
            "waiting": why_waiting(status),
            "held": why_held(status),
            "outage": None
            if status.outage is None
            else {"families": status.outage.families, **_failure(status.outage)},
            **{name: _finite(value) for name, value in self.gauges.single(status).items()},
            "families": [
                {
                    "family": one.family,
                    "waiting": one.waiting,
                    "in_flight": one.in_flight,
                    "waiting_for_retry": one.in_repair,
                    "is_failing": one.is_failing,
                    "failing": why_failing(one) if one.is_failing else "",
                    "failures": [{"action": of.action, **_failure(of)} for of in one.failures],
                }
                for one in self._families()
            ],
            "partitions": [
                {
                    "topic": one.partition.topic,
                    "partition": one.partition.number,
                    "state": partition_state(
                        status,
                        one,
                        lags.get(one.partition, 0),
                        unread.get(one.partition, 0.0),
                    ),
                    "lag": lags.get(one.partition, 0),
                    "pending": one.pending,
                    "committed": one.watermark,
                    "oldest": None
                    if one.oldest_offset is None
                    else {"offset": one.oldest_offset, "since": time_before(one.oldest_seconds)},
                }
                for one in status.partitions
            ],
            **self._recent_outcomes.show(),
        }


def _failure(failure: FailureStatus | OutageStatus) -> dict[str, Any]:
    """Return why calls fail, since when, and when the next probe may be sent."""
    probe = failure.probe_in_seconds
    return {
        "reason": failure.reason,
        "status_code": failure.status,
        "message": failure.message,
        "since": time_before(failure.seconds),
        "next_probe": None if probe is None else time_before(-probe),
    }


def _finite(value: float) -> float | None:
    """Return the value, or None where JSON has no word for it: nothing has happened yet."""
    return value if math.isfinite(value) else None
