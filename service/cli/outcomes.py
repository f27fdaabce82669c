"""`asset-sync outcomes`."""

import asyncio

import click
from aiokafka.errors import KafkaError

from service.adapters.kafka.topics import Read, read
from service.cli.options import AssetPath, kafka_settings, stop_without_kafka
from service.contracts.outcome_reader import read_outcome
from service.settings import KafkaSettings

STATUSES = ("applied", "superseded", "rejected", "failed", "skipped")


@click.command()
@click.option("--follow", is_flag=True, help="Go on with what comes.")
@click.option("--status", type=click.Choice(STATUSES), help="Only these.")
@click.option("--asset", type=AssetPath(), help="Only this one; one partition is read.")
@click.option("--json", "as_json", is_flag=True, help="The events as they are, a line each.")
def outcomes(*, follow: bool, status: str | None, asset: str | None, as_json: bool) -> None:
    """Show the outcome topic."""
    kafka = kafka_settings()
    try:
        asyncio.run(_show(kafka, follow=follow, status=status, asset=asset, as_json=as_json))
    except KeyboardInterrupt:
        return
    except (KafkaError, OSError) as error:
        stop_without_kafka(kafka, error)


async def _show(
    kafka: KafkaSettings, *, follow: bool, status: str | None, asset: str | None, as_json: bool
) -> None:
    key = asset.encode() if asset else None
    async for record in read(kafka, kafka.outcomes_topic, Read(key), follow=follow):
        found = read_outcome(record.value)
        if found is None:
            continue  # not ours
        if (status and found.data.status != status) or (key and record.key != key):
            continue
        if as_json:
            click.echo(record.value)
            continue
        data = found.data
        detail = data.result or data.reason or data.superseded_by or ""
        time, subject = found.time or "-", found.subject or "-"
        click.echo(f"{time}  {data.status:<10} {detail:<14} {subject}  {data.message or ''}")
