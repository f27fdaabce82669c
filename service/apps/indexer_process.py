"""The process that fills the index, as the process of the pages sees it."""

import signal
import time
from collections.abc import Callable

from service.console.reports import (
    Begin,
    Damaged,
    Ended,
    Noted,
    Order,
    Progress,
    Report,
    Stop,
    decode_report,
    encode,
)
from service.core.facts import Fact
from service.ports import FatalError
from service.process.child import Child
from service.process.pipe import Pipe

EXIT_SECONDS_MAX = 5.0
"""How long a process that has closed its end may take to exit."""


class IndexerProcess:
    """Gives the orders, and takes the reports."""

    def __init__(
        self, child: Child, show: Callable[[Progress], None], note: Callable[[Fact], None]
    ) -> None:
        """Prepare it.

        Args:
            child: the process, which waits for its first order.
            show: is called with each report of how far the index is.
            note: is called with each fact.
        """
        self._child = child
        self._show = show
        self._note = note
        self._pipe: Pipe | None = None
        self._progress = Progress(
            is_open=False, segments=(), lag=None, problem=None, quiet_seconds=0.0
        )
        self._reported_at = time.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether the index can be searched."""
        return self._progress.is_open

    @property
    def lag(self) -> int | None:
        """The offsets of the topic that are not read yet; None if Kafka does not tell them."""
        return self._progress.lag

    @property
    def problem(self) -> str | None:
        """Why Kafka cannot be reached, or None."""
        return self._progress.problem

    @property
    def quiet_seconds(self) -> float:
        """How long no read and no write has ended, as far as is known here."""
        return self._progress.quiet_seconds + time.monotonic() - self._reported_at

    async def begin(self) -> None:
        self._pipe = await Pipe.open(self._child.connection)
        self._order(Begin())

    async def run(self) -> None:
        """Take its reports until it ends.

        Raises:
            FatalError: it has ended, though it was not told to.
        """
        assert self._pipe is not None, "it runs before it has begun"
        while (message := await self._pipe.receive()) is not None:
            self._take(decode_report(message))
        raise FatalError(_end(await self._child.ended(EXIT_SECONDS_MAX)))

    def report_damage(self, newest: int) -> None:
        """Have the index built again, unless its segments up to this one are gone already."""
        self._order(Damaged(newest))

    def stop(self) -> None:
        """Tell it to close the index and to exit; one that has not begun exits at once."""
        self._order(Stop())
        if self._pipe is None:
            self._child.connection.close()

    async def close(self, seconds_max: float) -> None:
        """Wait for its end, which is forced after that time."""
        if await self._child.ended(seconds_max) is None:
            self._child.kill()
            await self._child.ended(seconds_max)
        if self._pipe is not None:
            await self._pipe.close()

    def _order(self, order: Order) -> None:
        if self._pipe is not None:
            self._pipe.send(encode(order))

    def _take(self, report: Report) -> None:
        match report:
            case Progress():
                self._progress = report
                self._reported_at = time.monotonic()
                self._show(report)
            case Noted():
                self._note(report.fact)
            case Ended(message):
                raise FatalError(message)


def _end(exit_code: int | None) -> str:
    """Return how the process ended, as an error for the operator."""
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        how = f"was ended by {name}, as when the system is short of memory"
    else:
        how = f"ended with exit code {exit_code}: see its last log lines"
    return (
        f"The process that fills the index {how}. Start the console again: it continues where the "
        "index is."
    )
