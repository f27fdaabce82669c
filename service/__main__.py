"""The entry point of `python -m service` and of the console script `asset-sync`.

It sets handlers for SIGTERM and SIGINT before it imports the commands, which takes about a second.
In a container this process is PID 1, and the kernel drops a signal to PID 1 that has no handler.
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
    from service.cli import main as command  # noqa: PLC0415 - the handlers must be set first

    if not is_service:  # `run` keeps its handler until the event loop's own replaces it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def _end_in_order(_number: int, _frame: FrameType | None) -> None:
    """End `asset-sync run` with exit code 0 before it has started any work (contract.md §1, P7)."""
    os._exit(0)


def _end_by_signal(number: int, _frame: FrameType | None) -> None:
    """End any other command by the signal itself; exit if this is PID 1, which it cannot end."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


if __name__ == "__main__":
    main()
