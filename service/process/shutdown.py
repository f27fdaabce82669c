"""Begin the shutdown of a program, and end the process in time after it.

Rule 1: the first signal asks the program to drain; a second one ends the process at once.
Rule 2: a running service reports a `FatalError` before it closes anything, because closing may
hang.
Rule 3: closing takes at most `LEAVE_SECONDS_MAX`, even if a task or a thread hangs.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Coroutine
from typing import NoReturn

import structlog

from service.ports import FatalError
from service.process.exit_codes import ExitCode

LEAVE_SECONDS_MAX = 12.0
"""How long closing may take after the drain.

The Helm chart gives 15 s to the last transaction of the drain and to closing together.
"""


class Shutdown:
    """Begins once: on the first signal, or on an error after which nothing can be promised."""

    def __init__(self) -> None:
        self._beginning: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_requested = False
        """Whether a signal asked for it; False where an error was first."""

    @property
    def has_begun(self) -> bool:
        return self._beginning.done()

    def request(self) -> None:
        """Begin on SIGTERM or SIGINT; if the shutdown has begun already, exit at once."""
        if self._beginning.done():
            exit_at_once(ExitCode.FAILED)
        self.is_requested = True
        self._beginning.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Begin with this error, unless the shutdown has begun already."""
        if not self._beginning.done():
            self._beginning.set_exception(error)

    def fail_with(self, task: asyncio.Task[None]) -> None:
        """Begin with the error of this task, if one ends the task."""
        task.add_done_callback(self._task_ended)

    async def begun(self) -> None:
        """Wait until the shutdown begins.

        Raises:
            BaseException: what `fail` was given.
        """
        await self._beginning

    async def interrupts(self, starting: Coroutine[None, None, None]) -> bool:
        """Run this part of the start, and return whether the shutdown began before its end."""
        task = asyncio.create_task(starting)
        await asyncio.wait((task, self._beginning), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return False
        leave_in_time(ExitCode.DRAINED)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return True

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)


def report_end(error: FatalError) -> None:
    """Report why the program ends, in the log and, for an operator, on stderr."""
    structlog.get_logger().error("service.ended", message=str(error))
    print(error, file=sys.stderr)  # noqa: T201 - the operator reads it on the console


def leave_in_time(code: ExitCode) -> None:
    """Exit after `LEAVE_SECONDS_MAX`, even if the event loop hangs then.

    Nothing is lost by that: whatever had to be committed is committed by now, or never will be.
    """
    timer = threading.Timer(LEAVE_SECONDS_MAX, exit_at_once, (code,))
    timer.daemon = True
    timer.start()


def exit_at_once(code: ExitCode) -> NoReturn:
    """Exit without running anything else, except that what was logged is written."""
    sys.stdout.flush()
    os._exit(code)
