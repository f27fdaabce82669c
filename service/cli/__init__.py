"""The command line: one file a command; parses, calls, prints; no rule."""

import click

from service import __version__
from service.cli.check import check
from service.cli.convert import convert
from service.cli.dead_letters import dead_letters
from service.cli.demo import demo
from service.cli.outcomes import outcomes
from service.cli.pim_simulator import pim_simulator
from service.cli.publish import publish
from service.cli.release import release
from service.cli.run import run
from service.cli.schema import schema


@click.group()
@click.version_option(__version__, prog_name="asset-sync")
def main() -> None:
    """Carry asset changes from DAM systems over Kafka to Akeneo PIM."""


COMMANDS = (
    run,
    demo,
    check,
    release,
    publish,
    outcomes,
    dead_letters,
    convert,
    pim_simulator,
    schema,
)
for command in COMMANDS:
    main.add_command(command)
