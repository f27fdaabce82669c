"""Watch over a running replica: check that its loops run, and act if they do not.

Rule 1: neither Kafka nor the PIM is asked for `/livez`, because a restart repairs neither.
Rule 2: a consumer that no longer polls ends the process, since only a restart can help. During a
rebalance it cannot poll; the drain has a deadline of its own, and `ContactWatch` watches the join.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from service.adapters.kafka.consumer import Consumer
from service.adapters.kafka.reach import ContactWatch
from service.adapters.telemetry.progress import WorkLog
from service.ports import FatalError, clock_seconds
from service.process.shutdown import Shutdown

POLL_SILENCE_SECONDS_MAX = 60.0
LOOP_SILENCE_SECONDS_MAX = 30.0
LOOK_SECONDS = 1.0


class WatchedRunner(Protocol):
    """A runner, as far as it is watched."""

    stepped_at: float
    is_fenced: asyncio.Event


class Report(Protocol):
    """The state of the work, as the probes show it."""

    def live(self) -> dict[str, bool]:
        """Return the checks of `/livez`."""
        ...

    def live_lines(self) -> list[str]:
        """Return the lines of `/livez?verbose`."""
        ...

    def ready_lines(self) -> list[str]:
        """Return why nothing is sent at present."""
        ...


class Watch:
    """Looks at a runner and its consumer every second, and answers the probes."""

    def __init__(
        self,
        runner: WatchedRunner,
        consumer: Consumer,
        contact: ContactWatch,
        report: Report,
        progress: WorkLog,
        shutdown: Shutdown,
        *,
        pending: Callable[[], int],
    ) -> None:
        self._runner = runner
        self._consumer = consumer
        self._assignment = consumer.assignment
        self._contact = contact
        self._report = report
        self._progress = progress
        self._shutdown = shutdown
        self._pending = pending
        """Returns how many changes are pending."""

    async def run(self) -> None:
        """Look every `LOOK_SECONDS` until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._consumer.measure_lags()
            self._log_progress()
            if self._assignment.epoch is not None:
                self._look_at_assignment()
            try:
                await self._contact.check(self._assignment.lease_renewed_at)
            except FatalError as error:
                self._shutdown.fail(error)

    def live(self) -> dict[str, bool]:
        """Return the checks of `/livez`."""
        loop_silence = clock_seconds() - self._runner.stepped_at
        return {
            "runner": loop_silence < LOOP_SILENCE_SECONDS_MAX,
            "poll": self._poll_silence() < POLL_SILENCE_SECONDS_MAX,
            **self._report.live(),
        }

    def ready(self) -> dict[str, bool]:
        """Return the checks of `/readyz`."""
        has_failed = self._shutdown.has_begun and not self._shutdown.is_requested
        return {
            "kafka": not self._contact.is_unreachable,
            "group": self._assignment.epoch is not None,
            "producer": not has_failed,
            "not_draining": not self._shutdown.is_requested,
        }

    def live_lines(self) -> list[str]:
        """Return the additional lines of `/livez?verbose`."""
        return [*self._kafka_lines(), *self._report.live_lines()]

    def ready_lines(self) -> list[str]:
        """Return the additional lines of `/readyz?verbose`."""
        return [*self._kafka_lines(), *self._report.ready_lines()]

    def _kafka_lines(self) -> list[str]:
        """Return the lines about what Kafka does not answer."""
        unreadable = [
            f"[ ]{topic}/{number} is not read: its leader does not answer"
            for topic, number in sorted(self._assignment.unreadable)
        ]
        return [*self._contact.lines(), *unreadable]

    def _look_at_assignment(self) -> None:
        """End the process if the consumer is stuck; join again if the group fenced this replica."""
        if self._poll_silence() > POLL_SILENCE_SECONDS_MAX:
            self._shutdown.fail(
                FatalError(
                    f"The Kafka consumer is stuck: no poll for {POLL_SILENCE_SECONDS_MAX:g} s."
                )
            )
        if self._runner.is_fenced.is_set():
            self._runner.is_fenced.clear()
            self._assignment.rejoin()

    def _poll_silence(self) -> float:
        """Return for how long the consumer has not polled, of the time in which it should."""
        since = self._assignment.polls_since
        return 0.0 if since is None else time.monotonic() - max(since, self._consumer.polled_at)

    def _log_progress(self) -> None:
        self._progress.assigned(self._assignment.epoch, self._assignment.partitions)
        lag = sum(self._consumer.lags.values())
        self._progress.pass_time(time.monotonic(), self._pending(), lag)
