"""The entry point of `python -m service` and of the console script `asset-sync`.

It sets handlers for SIGTERM and SIGINT before it imports the command, which takes about a second.
"""

import signal
import sys

from service.process.early_signals import (
    allow_interrupts,
    end_by_signal,
    end_command_on_signals,
    end_service_on_signals,
)

SERVICES = frozenset({"run", "translate", "ingress", "console"})
"""The commands that run until a signal ends them."""


def main() -> None:
    """Run the command that the arguments name."""
    is_service = not SERVICES.isdisjoint(sys.argv[1:2])
    if is_service:
        end_service_on_signals()
    else:
        end_command_on_signals()
    from service import cli  # noqa: PLC0415 - the handlers must be set first

    for name in sys.argv[1:2]:  # imported here: an interrupt in the middle must leave no traceback
        cli.command_of(name)
    if not is_service:
        allow_interrupts()
    try:
        cli.main()
    except KeyboardInterrupt:  # by the signal itself: then a loop of a shell stops as well
        end_by_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
