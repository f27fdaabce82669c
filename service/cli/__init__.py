"""The command line: each file parses, runs and prints one command.

The rules of the service are not here, but in `service/core`. A command's file is imported when the
command is used: all of them together take a second or two to import.
"""

import sys
from importlib import import_module
from typing import Any

import click

from service import __version__
from service.cli.output import OutputError, complain, take_streams

COMMANDS = (
    "run",
    "translate",
    "ingress",
    "console",
    "webhook",
    "demo",
    "init",
    "check",
    "release",
    "topics",
    "publish",
    "outcomes",
    "dead-letters",
    "mapping",
    "convert",
    "media",
    "pim-simulator",
    "schema",
)
"""The commands in the order of the help. `dead-letters` is `dead_letters` in `dead_letters.py`."""


def command_of(name: str) -> click.Command | None:
    """Import and return the command of this name, or None if there is none."""
    if name not in COMMANDS:
        return None
    attribute = name.replace("-", "_")
    command = getattr(import_module(f"{__name__}.{attribute}"), attribute)
    assert isinstance(command, click.Command)
    return command


class _Commands(click.Group):
    """The group of all commands; it reports a failing standard stream in a plain sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        return command_of(cmd_name)

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's signature
        take_streams()
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                sys.stdout.flush()
        except OutputError as error:
            complain(str(error))
            sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asset-sync")
def main() -> None:
    """Carry asset changes from DAM systems over Kafka to Akeneo PIM."""
