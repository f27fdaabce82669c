"""The command line: one file a command; parses, calls, prints; no rule."""

import click

from service import __version__
from service.cli.pim_simulator import pim_simulator
from service.cli.run import run


@click.group()
@click.version_option(__version__, prog_name="asset-sync")
def main() -> None:
    """Carry asset changes from DAM systems over Kafka to Akeneo PIM."""


main.add_command(run)
main.add_command(pim_simulator)
