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

SECTIONS = {
    "Programs": {
        "run": "Carry changes from Kafka to the PIM.",
        "translate": "Turn events as DAMs send them into changes for run.",
        "ingress": "Receive webhooks of DAMs and write them to Kafka.",
        "console": "Serve pages that say what became of each asset.",
    },
    "First steps": {
        "demo": "Run the whole system on this machine, and kill parts of it.",
        "init": "Write settings, sample events and Helm values to start with.",
        "topics": "Create the topics of the settings.",
        "check": "Check settings, Kafka, PIM and sources file before a start.",
        "pim-simulator": "Serve a simulated PIM with Akeneo's Asset API.",
    },
    "Changes": {
        "publish": "Write the events of a file to the events topic.",
        "convert": "Show what the service would do with the events of a file.",
        "outcomes": "Print what became of each change.",
        "dead-letters": "Show changes that were rejected or failed, and replay them.",
        "release": "Resume after a limit on dead letters or deletes.",
    },
    "Sources": {
        "mapping": "Write, test and explain what the events of a DAM mean.",
        "webhook": "Send a signed sample to a running ingress.",
    },
    "Reference": {
        "media": "Look at the media files of the PIM.",
        "schema": "Print JSON Schemas, AsyncAPI and other reference documents.",
    },
}
"""The commands in the order of the help. `dead-letters` is `dead_letters` in `dead_letters.py`."""

COMMANDS = tuple(name for section in SECTIONS.values() for name in section)


def command_of(name: str) -> click.Command | None:
    """Import and return the command of this name, or None if there is none."""
    if name not in COMMANDS:
        return None
    attribute = name.replace("-", "_")
    command = getattr(import_module(f"{__name__}.{attribute}"), attribute)
    assert isinstance(command, click.Command)
    return command


class _StoppedError(Exception):
    """Ctrl-C stopped the command; under this name it passes click, which would exit with 1."""


class _Commands(click.Group):
    """The group of all commands.

    It reports a failing standard stream in a plain sentence, and lets Ctrl-C through to the caller.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        return command_of(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        width = len(max(COMMANDS, key=len))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise _StoppedError from None

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's signature
        take_streams()
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                sys.stdout.flush()
        except _StoppedError:
            raise KeyboardInterrupt from None
        except OutputError as error:
            complain(str(error))
            sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asset-sync")
def main() -> None:
    """Carry asset changes from DAM systems over Kafka to Akeneo PIM."""
