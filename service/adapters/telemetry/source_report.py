"""The state of one source for health checks: what is open, and why nothing is written."""

from collections.abc import Callable, Iterator, Mapping

from service.adapters.telemetry.health import is_reading, is_working, partition_lines, plain
from service.core.model import Partition
from service.translation.status import SourceStatus, SourceWaitsFor

_REASONS: dict[SourceWaitsFor, str] = {
    "assignment": "No partition is assigned to this replica.",
    "drain": "Draining: this replica is stopping.",
    "release": "Stopped: {dead:,} of the last {items:,} items would be dead-lettered. See "
    "`asset-sync dead-letters list --since 1h`, then run `asset-sync release --source {source}`.",
    "deletes": "Stopped: too many deletes in an hour (DELETES_MAX_PER_HOUR); {held:,} wait. If "
    "they are meant, run `asset-sync release --source {source}`.",
    "commit": "Changes and outcomes cannot be committed to Kafka.",
    "host": "The DAM is unavailable: waiting, trying one read at a time.",
}
"""The sentence for each reason to wait; `why_waiting` fills in the numbers."""


class SourceReport:
    """Reads the state of a source whenever a health check asks."""

    def __init__(
        self,
        status: Callable[[], SourceStatus],
        lags: Callable[[], Mapping[Partition, int]],
        unread_seconds: Callable[[], Mapping[Partition, float]],
        quiet_seconds_max: float,
    ) -> None:
        """Report on a source.

        Args:
            status: returns its state.
            lags: returns the records to read of each partition.
            unread_seconds: returns for how long partitions have had records to read without any
                being read.
            quiet_seconds_max: how long nothing may happen while records are pending and could be
                worked on.
        """
        self._status = status
        self._lags = lags
        self._unread_seconds = unread_seconds
        self._quiet_seconds_max = quiet_seconds_max

    def live(self) -> dict[str, bool]:
        """Return the checks of `/livez`; a pause on purpose counts as progress."""
        status = self._status()
        return {
            "progress": is_working(status, self._quiet_seconds_max),
            "partitions": is_reading(status, self._unread_seconds()),
        }

    def live_lines(self) -> list[str]:
        """Return the lines of `/livez?verbose`, with one for each partition."""
        partitions = partition_lines(self._status(), self._lags(), self._unread_seconds())
        return [*self.ready_lines(), *partitions]

    def ready_lines(self) -> list[str]:
        """Return why nothing of the source is written at present, and which hosts fail."""
        return list(_waiting_lines(self._status()))


def why_waiting(status: SourceStatus) -> str | None:
    """Return why nothing of the source is written, with its numbers; None if there is no reason."""
    if status.waits_for is None:
        return None
    return _REASONS[status.waits_for].format(
        dead=status.dead_of_last,
        items=status.last_changes,
        held=status.held_changes,
        source=status.source,
    )


def _waiting_lines(status: SourceStatus) -> Iterator[str]:
    if (reason := why_waiting(status)) is not None:
        yield f"[ ]{status.source} waits: {reason}"
    for message in status.failing_hosts.values():
        yield f"[ ]{status.source}: {plain(message)}"
