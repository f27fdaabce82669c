"""The entry point of `python -m service` and of the console script `asset-sync`.

It sets handlers for SIGTERM and SIGINT before it imports the commands, which takes about a second.
"""

import sys

from service.process.early_signals import (
    allow_interrupts,
    end_command_on_signals,
    end_service_on_signals,
)

SERVICES = frozenset({"run", "translate", "ingress"})
"""The commands that run until a signal ends them."""


def main() -> None:
    """Run the command that the arguments name."""
    is_service = not SERVICES.isdisjoint(sys.argv[1:2])
    if is_service:
        end_service_on_signals()
    else:
        end_command_on_signals()
    from service.cli import main as command  # noqa: PLC0415 - the handlers must be set first

    if not is_service:
        allow_interrupts()
    command()


if __name__ == "__main__":
    main()
