"""`asset-sync publish`."""

import asyncio
from collections.abc import Iterator
from typing import BinaryIO

import click
import msgspec
from aiokafka.errors import KafkaError

from service.adapters.kafka.topics import NewRecord, write
from service.cli.options import kafka_settings, stop_without_kafka
from service.core.decode import DecodeLimits, decode
from service.core.model import Origin, Partition, SourceRecord

STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)


@click.command()
@click.argument("file", type=click.File("rb"))
def publish(file: BinaryIO) -> None:
    """Write the events of FILE (JSON Lines, or - for standard input) to the events topic.

    A line is a structured CloudEvent or plain JSON with an "action"; it is keyed FAMILY/CODE.
    """
    kafka = kafka_settings()
    try:
        count = asyncio.run(write(kafka, kafka.events_topic_names[0], records(file)))
    except (KafkaError, OSError) as error:
        stop_without_kafka(kafka, error)
    click.echo(f"{count} events published to {kafka.events_topic_names[0]}")


def records(lines: BinaryIO) -> Iterator[NewRecord]:
    """Each line as a record, with the headers that its form needs."""
    for line in lines:
        value = line.strip()
        if value:
            source = source_record(value)
            change = decode(source, DecodeLimits(1 << 30))
            asset = change.asset
            key = asset.path.encode() if asset else None
            yield NewRecord(key, value, source.headers)


def source_record(value: bytes, number: int = 0) -> SourceRecord:
    """A line as the record that it would be."""
    try:
        is_cloud = "specversion" in msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        is_cloud = False
    origin = Origin(Partition("file", 0), number, 0)
    return SourceRecord(origin, None, value, STRUCTURED if is_cloud else ())
