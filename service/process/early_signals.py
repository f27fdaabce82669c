"""Handles SIGTERM and SIGINT while the program still imports its code, which takes about a second.

In a container this process is PID 1, and the kernel drops a signal to PID 1 that has no handler.
So this module is imported before all others, and imports only what costs next to nothing.
"""

import os
import signal
from types import FrameType
from typing import NoReturn

from service.process.exit_codes import ExitCode

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def end_service_on_signals() -> None:
    """End a service that has started no work yet; `program.run` replaces these handlers."""
    for number in SIGNALS:
        signal.signal(number, _exit_drained)


def end_command_on_signals() -> None:
    """End a command by the signal, without a traceback; `allow_interrupts` replaces one handler."""
    for number in SIGNALS:
        signal.signal(number, lambda number, _frame: end_by_signal(number))


def allow_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, as Python does by default: the command handles it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def end_by_signal(number: int) -> NoReturn:
    """End this process as the signal does by default; exit if it is PID 1, which has no default."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _exit_drained(_number: int, _frame: FrameType | None) -> None:
    """Exit at once: where no work has started, nothing has to be drained (contract.md §1, P7)."""
    os._exit(ExitCode.DRAINED)
