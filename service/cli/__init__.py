"""The command line: each file parses, runs and prints one command.

The rules of the service are not here, but in `service/core`.
"""

import sys
from typing import Any

import click

from service import __version__
from service.cli.check import check
from service.cli.convert import convert
from service.cli.dead_letters import dead_letters
from service.cli.demo import demo
from service.cli.ingress import ingress
from service.cli.init import init
from service.cli.mapping import mapping
from service.cli.outcomes import outcomes
from service.cli.output import OutputError, complain, take_streams
from service.cli.pim_simulator import pim_simulator
from service.cli.publish import publish
from service.cli.release import release
from service.cli.run import run
from service.cli.schema import schema
from service.cli.topics import topics
from service.cli.translate import translate
from service.cli.webhook import webhook


class _Commands(click.Group):
    """The group of all commands; it reports a failing standard stream in a plain sentence."""

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


COMMANDS = (
    run,
    translate,
    ingress,
    webhook,
    demo,
    init,
    check,
    release,
    topics,
    publish,
    outcomes,
    dead_letters,
    mapping,
    convert,
    pim_simulator,
    schema,
)
for command in COMMANDS:
    main.add_command(command)
