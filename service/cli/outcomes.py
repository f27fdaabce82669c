"""The command `asset-sync outcomes`: print outcomes from the outcomes topic."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

import click
import msgspec

from service.adapters.kafka.tools.topics import Read, StoredRecord, read
from service.cli.options import AssetPath, kafka_settings, run_on_kafka
from service.cli.output import complain, is_read, json_text, say, shown
from service.contracts.outcome_reader import ReadOutcome, read_outcome
from service.settings import KafkaSettings

OUR_TYPES = "asset-sync."
READER_CHECK_SECONDS = 0.5
"""Seconds between two checks whether a pipe's reader (such as `head`) is still there."""
STATUSES = ("applied", "superseded", "rejected", "failed", "skipped")


@click.command(
    epilog="""\b
Examples:
  asset-sync outcomes --status rejected
  asset-sync outcomes --asset packshots/sku_54628_picture1
  asset-sync outcomes --follow --json | jq -c '{id, status: .data.status}'
"""
)
@click.option("--follow", is_flag=True, help="Keep printing new outcomes as they arrive.")
@click.option("--status", type=click.Choice(STATUSES), help="Only outcomes with this status.")
@click.option(
    "--asset",
    type=AssetPath(),
    help="Only outcomes of this asset. Reads only the partitions that can hold them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print whole events, one per line.")
def outcomes(*, follow: bool, status: str | None, asset: str | None, as_json: bool) -> None:
    """Print the outcome of each change, from the outcomes topic.

    Each line has the time, the status, the result or reason, the asset and a message. Outcomes
    of one partition are in order; with --asset (and without --follow) all are sorted by time.

    Records that cannot be read, or that asset-sync did not write, are counted on stderr.
    """
    kafka = kafka_settings()
    wanted = _Wanted(status, asset.encode() if asset else None)
    work = _while_read(_show(kafka, wanted, follow=follow, as_json=as_json))
    try:
        run_on_kafka(kafka, work, needs=f"Read on {kafka.outcomes_topic}", when_stopped=None)
    finally:
        wanted.report_hidden(kafka.outcomes_topic)


@dataclass
class _Wanted:
    """Selects outcomes, and counts the records that cannot be shown."""

    status: str | None
    key: bytes | None
    hidden: Counter[str] = field(default_factory=Counter)

    def take(self, record: StoredRecord) -> ReadOutcome | None:
        """Return the record's outcome if it matches, else None."""
        if self.key is not None and record.key != self.key:
            return None
        found = read_outcome(record.value)
        if found is None or not (found.type or OUR_TYPES).startswith(OUR_TYPES):
            is_json = found is not None or _is_json(record.value)
            self.hidden["not outcomes of asset-sync" if is_json else "not JSON"] += 1
            return None
        return found if self.status in {None, found.data.status} else None

    def report_hidden(self, topic: str) -> None:
        """Print on stderr how many records are not shown, and why."""
        if self.hidden:
            counts = ", ".join(f"{count} {why}" for why, count in sorted(self.hidden.items()))
            complain(f"Records of {topic} that are not shown: {counts}.")


async def _while_read(showing: Coroutine[Any, Any, None]) -> None:
    """Wait until everything is shown, or until the output no longer has a reader."""
    task = asyncio.create_task(showing)
    while is_read() and not task.done():
        await asyncio.wait((task,), timeout=READER_CHECK_SECONDS)
    if not task.done():
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _show(kafka: KafkaSettings, wanted: _Wanted, *, follow: bool, as_json: bool) -> None:
    records = read(kafka, kafka.outcomes_topic, Read(wanted.key), follow=follow)
    if wanted.key is not None and not follow:
        records = _by_time(records, wanted)
    async with aclosing(records):
        async for record in records:
            if (found := wanted.take(record)) is not None:
                say(json_text(record.value or b"") if as_json else _line(found))


async def _by_time(
    records: AsyncGenerator[StoredRecord], wanted: _Wanted
) -> AsyncGenerator[StoredRecord]:
    """Yield the records of the wanted asset by time: they may come from several partitions."""
    async with aclosing(records):
        chosen = [record async for record in records if record.key == wanted.key]
    for record in sorted(chosen, key=lambda r: (r.timestamp_ms, r.partition, r.offset)):
        yield record


def _line(found: ReadOutcome) -> str:
    data = found.data
    detail = data.result or data.reason or data.superseded_by or ""
    texts = (found.time or "-", data.status, detail, found.subject or "-", data.message or "")
    time, status, detail, subject, message = map(shown, texts)
    return f"{time}  {status:<10} {detail:<14} {subject}  {message}".rstrip()


def _is_json(value: bytes | None) -> bool:
    try:
        msgspec.json.decode(value or b"", type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True
