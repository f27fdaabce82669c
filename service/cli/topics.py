"""The command `asset-sync topics create`: create the topics that the service needs."""

import sys

import click
from rich.text import Text

from service.adapters.kafka.tools.create_topics import (
    BROKER_DEFAULT,
    DEAD_LETTER_DAYS,
    create_topics,
)
from service.apps.sources import read_sources, topics_of_webhooks
from service.cli.options import run_on_kafka, settings_without_pim, stop
from service.cli.output import console, say, shown
from service.settings import Settings, SettingsError

STYLES = {"created": "green", "exists": "dim", "refused": "red"}


@click.group()
def topics() -> None:
    """Create the topics of the settings."""


@topics.command(
    help=f"""Create the events, outcomes and dead-letter topics that do not exist yet.

    With ASSET_SYNC_SOURCES_FILE also the raw topics that `asset-sync ingress` writes to.

    Topics that exist are left as they are: each is printed with its number of partitions, and with
    what to do if that is not the number asked for. `asset-sync check` tells whether they suit.

    Dead letters are kept for {DEAD_LETTER_DAYS} days and may be larger than an event; everything
    else is as the brokers are configured. No other command of asset-sync creates a topic.
    """,
    epilog="""\b
Examples:
  asset-sync topics create --partitions 12 --replicas 3
  asset-sync topics create --dry-run
""",
)
@click.option(
    "--partitions",
    type=click.IntRange(1, 10_000),
    help="Partitions of each topic; default: as the brokers are configured.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 100),
    help="Replicas of each partition; default: as the brokers are configured.",
)
@click.option("--dry-run", is_flag=True, help="Let the brokers check it, and create nothing.")
def create(*, partitions: int | None, replicas: int | None, dry_run: bool) -> None:
    """Create what is missing."""
    settings = settings_without_pim()
    kafka = settings.kafka
    work = create_topics(
        kafka,
        _raw_topics(settings),
        partitions or BROKER_DEFAULT,
        replicas or BROKER_DEFAULT,
        dry_run=dry_run,
    )
    found = run_on_kafka(kafka, work, needs="Create on the topics")
    out = console()
    for topic in found:
        end = "would be created" if dry_run and topic.end == "created" else topic.end
        out.print(
            Text(f"{end:<17}", STYLES[topic.end])
            + Text(f"{topic.name}  {shown(topic.message)}".rstrip())
        )
    if any(topic.end == "refused" for topic in found):
        sys.exit(1)
    if not dry_run:
        say("Check access and limits with: asset-sync check")


def _raw_topics(settings: Settings) -> tuple[str, ...]:
    """Return the topics of the webhooks; exit with 2 if the sources file is wrong."""
    if settings.sources_file is None:
        return ()
    try:
        return topics_of_webhooks(read_sources(settings.sources_file, settings).model)
    except SettingsError as error:
        stop(str(error), 2)
