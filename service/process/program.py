"""Runs a program as a process: its signals, its exit code and its garbage collector."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

from service.ports import FatalError
from service.process.early_signals import SIGNALS
from service.process.exit_codes import ExitCode
from service.process.shutdown import Shutdown, report_end

GARBAGE_THRESHOLDS = (20_000, 20, 20)
"""The defaults would look through the thousands of pending changes again and again."""


async def run(program: Callable[[], Awaitable[ExitCode]], shutdown: Shutdown) -> ExitCode:
    """Run the program until it returns or fails, and return the exit code.

    SIGTERM and SIGINT request the shutdown, upon which the program has to drain and return.
    """
    _tune_garbage_collector()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, shutdown.request)
    try:
        return await program()
    except FatalError as error:
        report_end(error)
        return ExitCode.FAILED


def _tune_garbage_collector() -> None:
    """Spare what lives as long as the process, and look less often for cycles.

    What a program makes for each event is freed by counting references: it is not part of a cycle.
    """
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
