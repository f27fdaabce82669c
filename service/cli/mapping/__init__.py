"""The commands `asset-sync mapping …`: write, test and explain the sources file."""

import click

from service.cli.mapping.explain import explain
from service.cli.mapping.new import new
from service.cli.mapping.paths import paths
from service.cli.mapping.show import show
from service.cli.mapping.test import test


@click.group(
    epilog="""\b
A first mapping, in a minute:
  asset-sync mapping new cloudinary sources.yaml
  asset-sync mapping test sources.yaml
  asset-sync mapping explain sources.yaml event.json
"""
)
def mapping() -> None:
    """Write, test and explain the sources file: what the events of your DAM mean.

    Needs neither Kafka nor the PIM. FILE is ASSET_SYNC_SOURCES_FILE or ./sources.yaml unless it is
    given.
    """


for command in (new, test, explain, paths, show):
    mapping.add_command(command)
