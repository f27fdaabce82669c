"""The life of a program that serves a port beside one task: ingress and the console."""

import asyncio
from abc import ABC, abstractmethod

import structlog

from service.apps.start import log_start
from service.ports import FatalError
from service.process.exit_codes import ExitCode
from service.process.shutdown import Shutdown, leave_in_time, report_end
from service.settings import Loaded


class ServingProgram(ABC):
    """Starts the parts of a program, works until the shutdown begins, and closes them."""

    def __init__(self, loaded: Loaded, shutdown: Shutdown) -> None:
        self._loaded = loaded
        self._shutdown = shutdown

    async def run(self) -> ExitCode:
        """Start, work until the shutdown begins, finish and close; return the exit code."""
        log_start(self._loaded)
        if await self._shutdown.interrupts(self._start()):
            await self._close()
            return ExitCode.DRAINED
        working = asyncio.create_task(self._work())
        self._shutdown.fail_with(working)
        code = ExitCode.FAILED
        try:
            code = await self._serve()
        finally:
            leave_in_time(code)
            working.cancel()
            await self._close()
        return code

    async def _serve(self) -> ExitCode:
        """Serve until the shutdown begins, then finish; return the exit code."""
        try:
            await self._shutdown.begun()
        except FatalError as error:
            report_end(error)
            return ExitCode.FAILED
        except Exception:
            # Before closing, which may hang and then ends the process without a traceback.
            structlog.get_logger().exception(
                "service.bug", message="A bug in asset-sync. Please report it."
            )
            raise
        await self._finish()
        return ExitCode.DRAINED

    @abstractmethod
    async def _start(self) -> None:
        """Open what the program needs; a shutdown may interrupt it."""

    @abstractmethod
    async def _work(self) -> None:
        """Work beside the port until cancelled; its failure ends the program."""

    @abstractmethod
    async def _finish(self) -> None:
        """Finish what is open, within its own time, and log what is left."""

    @abstractmethod
    async def _close(self) -> None:
        """Close every part that was made, started or not."""
