"""The second process of `asset-sync console`, which reads the topic and fills the index.

It is a process of its own so that people do not wait for it: threads of one process would share
one interpreter, which filling the index keeps busy. It begins when the process of the pages says
so, reports how far it is, and ends as that process says, or with it.
"""

import asyncio
from pathlib import Path
from socket import socket

import structlog

from service.adapters.kafka.outcomes_reader import OutcomesReader
from service.adapters.outcome_index.index import Limits, OutcomeIndex
from service.adapters.outcome_index.threads import WriterThread
from service.closing import close_within
from service.console.reports import (
    Begin,
    Damaged,
    Ended,
    Noted,
    Order,
    Progress,
    Report,
    SegmentReport,
    Stop,
    decode_order,
    encode,
)
from service.core.facts import Fact
from service.ports import FatalError
from service.process.exit_codes import ExitCode
from service.process.pipe import Pipe
from service.process.shutdown import exit_at_once, leave_in_time
from service.runtime.indexer import Indexer
from service.settings import ConsoleSettings, KafkaSettings

CLOSE_SECONDS_MAX = 4.0
"""How long each part may take to close."""
REPORT_SECONDS = 1.0
"""How often it reports while nothing happens."""


async def run(
    kafka: KafkaSettings, console: ConsoleSettings, folder: Path, connection: socket
) -> ExitCode:
    """Fill the index in this folder until the parent ends it, and return the exit code."""
    limits = Limits(console.max_bytes, console.days)
    return await IndexerService(kafka, folder, limits, await Pipe.open(connection)).run()


class IndexerService:
    """The parts of the process, wired when it is made, and how they start and close."""

    def __init__(self, kafka: KafkaSettings, folder: Path, limits: Limits, pipe: Pipe) -> None:
        self._pipe = pipe
        self._index = index = OutcomeIndex(folder, limits, self._note)
        self._writer = WriterThread(index)
        self._reader = OutcomesReader(kafka, lambda: index.oldest_wanted_ms, self._note)
        self._indexer = Indexer(self._reader, self._writer, self._report)

    async def run(self) -> ExitCode:
        """Work from the order to begin until the one to stop, or until an error ends it."""
        while not isinstance(await self._order(), Begin):
            pass
        working = asyncio.create_task(self._work())
        reporting = asyncio.create_task(self._report_steadily())
        obeying = asyncio.create_task(self._obey())
        await asyncio.wait((working, obeying), return_when=asyncio.FIRST_COMPLETED)
        code = self._code(working if working.done() else obeying)
        leave_in_time(code)
        for task in (working, reporting, obeying):
            task.cancel()
        await close_within(CLOSE_SECONDS_MAX, self._writer.close())
        await close_within(CLOSE_SECONDS_MAX, self._reader.stop())
        await self._pipe.flush()
        return code

    async def _work(self) -> None:
        await self._reader.start()
        await self._indexer.run()

    def _code(self, ended: asyncio.Task[None]) -> ExitCode:
        """Return the exit code, and report the error that ended this task, if one did."""
        error = ended.exception()
        if error is None:
            return ExitCode.DRAINED
        if isinstance(error, FatalError):
            self._send(Ended(str(error)))
        else:
            structlog.get_logger().error(
                "service.bug", message="A bug in asset-sync. Please report it.", exc_info=error
            )
        return ExitCode.FAILED

    # --- the other process -------------------------------------------------------------------

    async def _obey(self) -> None:
        """Do as ordered, until the order to stop."""
        while not isinstance(order := await self._order(), Stop):
            if isinstance(order, Damaged):
                self._index.report_damage_up_to(order.newest)

    async def _order(self) -> Order:
        """Return the next order; exit if the process of the pages has ended."""
        message = await self._pipe.receive()
        if message is None:  # a crash, of which the index expects no more than of a kill -9
            exit_at_once(ExitCode.FAILED)
        return decode_order(message)

    async def _report_steadily(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(REPORT_SECONDS)

    def _report(self) -> None:
        segments = tuple(
            SegmentReport(one.number, one.outcomes, one.oldest_ms, one.newest_ms)
            for one in self._index.segments
        )
        self._send(
            Progress(
                is_open=self._indexer.is_open,
                segments=segments,
                lag=self._reader.lag,
                problem=self._reader.problem,
                quiet_seconds=self._indexer.quiet_seconds,
            )
        )

    def _note(self, fact: Fact) -> None:
        self._send(Noted.of(fact))

    def _send(self, report: Report) -> None:
        self._pipe.send(encode(report))
