"""`python -m service` and the console script: the command `asset-sync`.

The first thing is a handler for SIGTERM and SIGINT, before the imports, which take about a second.
In a container this process is PID 1, and for PID 1 the kernel drops a signal that has no handler.
"""

import os
import signal
import sys
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> None:
    """Run the command that the arguments name."""
    is_service = sys.argv[1:2] == ["run"]
    for number in SIGNALS:
        signal.signal(number, _end_in_order if is_service else _end_by_signal)
    from service.cli import main as command  # noqa: PLC0415 - only after the handlers are set

    if not is_service:  # `run` keeps its handler until the event loop's own replaces it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def _end_in_order(_number: int, _frame: FrameType | None) -> None:
    """End `asset-sync run` before it has begun anything: exit code 0 (contract P7)."""
    os._exit(0)


def _end_by_signal(number: int, _frame: FrameType | None) -> None:
    """End another command as the signal does by default; PID 1 has no default, so it exits."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


if __name__ == "__main__":
    main()
