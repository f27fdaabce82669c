"""The command `asset-sync publish`: check events and write them to the events topic."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, NoReturn

import click
from aiokafka.errors import MessageSizeTooLargeError, TopicAuthorizationFailedError
from rich.progress import MofNCompleteColumn, TaskProgressColumn

from service.adapters.kafka.tools.strays import LAST_RECORDS_MAX, Stray, strays
from service.adapters.kafka.tools.topics import NewRecord, WriteError, write
from service.cli.lines import LINE_BYTES_MAX, InputError, Judged, judge, lines, rereadable
from service.cli.options import reason_in_words, run_on_kafka, settings_without_pim, stop
from service.cli.output import complain, progress, say
from service.core.limits import DecodeLimits
from service.core.model import Rejection
from service.settings import KafkaSettings, Settings

LINES_SHOWN_MAX = 20
"""How many wrong lines are printed one by one."""
ASSETS_SHOWN_MAX = 10
"""How many assets a warning names."""


@dataclass
class Lint:
    """Counts of a file's lines by what the service would do with them."""

    events: int = 0
    """Lines that are not empty."""
    wrong: int = 0
    """Lines that the service would reject."""
    skipped: int = 0
    """Lines whose event the service would skip."""
    shown: list[str] = field(default_factory=list)
    """A sentence for each of the first wrong lines."""
    too_long: int | None = None
    """The number of the first line that is longer than LINE_BYTES_MAX."""

    def add(self, number: int, judged: Judged, *, is_truncated: bool) -> None:
        self.events += 1
        if is_truncated and self.too_long is None:
            self.too_long = number
        command = judged.command
        if not isinstance(command, Rejection):
            return
        if command.status == "skipped":
            self.skipped += 1
            return
        self.wrong += 1
        if len(self.shown) < LINES_SHOWN_MAX:
            self.shown.append(f"line {number}: {command.reason}: {command.message}")


@click.command(
    epilog="""\b
Examples:
  asset-sync publish events.jsonl
  asset-sync convert events.jsonl      (shows what they would do; sends nothing)
  jq -c '.[]' array.json | asset-sync publish -
\b
A line is one of:
  {"action": "upsert", "asset_family": "packshots", "code": "a", "values": {"colour": "red"}}
  {"action": "delete", "asset_family": "packshots", "code": "a"}
  {"specversion": "1.0", "id": "1", "source": "/dam", "type": "asset.updated", "data": {...}}
"""
)
@click.argument("file", type=click.File("rb"))
@click.option(
    "--force", is_flag=True, help="Send all lines, including those that the service would reject."
)
def publish(file: BinaryIO, *, force: bool) -> None:
    """Write the events of FILE to the events topic.

    FILE has one event per line (JSON Lines); - reads standard input. A line is a structured
    CloudEvent, or plain JSON with an "action". Its record gets the key FAMILY/CODE.

    All lines are checked first. If the service would reject one, nothing is sent and the exit code
    is 1. If ASSET_SYNC_KAFKA__EVENTS_TOPICS names several topics, the first one is used.
    """
    settings = settings_without_pim()
    try:
        with rereadable(file) as source:
            events = _Events(source, settings)
            found = _lint(events)
            _judge(found, is_forced=force)
            _warn_of_strays(events, settings.kafka)
            count = _send(events, settings.kafka, found.events)
    except InputError as error:
        stop(str(error))
    say(f"{count} events published to {settings.kafka.events_topic_names[0]}")


class _Events:
    """The events of a file; the file is read once for each pass.

    If the file grows meanwhile, later passes leave out the lines that were not checked.
    """

    def __init__(self, source: BinaryIO, settings: Settings) -> None:
        self._source = source
        self._checked: int | None = None
        """How many events were checked; None before that."""
        self._start = source.tell()
        self._limits = DecodeLimits(settings.kafka.max_record_bytes, settings.events.type_prefix)
        self._deletes = settings.deletes

    @property
    def size(self) -> int:
        """Return the size of all lines in bytes."""
        return self._source.seek(0, os.SEEK_END) - self._start

    @property
    def bytes_read(self) -> int:
        """Return how many bytes of this pass were read."""
        return self._source.tell() - self._start

    def lint(self) -> Iterator[Lint]:
        """Check line by line; yield the same counts after each line."""
        found = Lint()
        self._source.seek(self._start)
        for line in lines(self._source):
            judged = judge(line, self._limits, self._deletes)
            found.add(line.number, judged, is_truncated=line.is_truncated)
            yield found
        self._checked = found.events

    def records(self) -> Iterator[NewRecord]:
        """Yield the record of each line that was checked."""
        self._source.seek(self._start)
        for line in islice(lines(self._source), self._checked):
            record = judge(line, self._limits, self._deletes).record
            yield NewRecord(record.key, record.value, record.headers)

    def line_number(self, index: int) -> int:
        """Return the line number of the event with this index."""
        self._source.seek(self._start)
        return next(line.number for line in islice(lines(self._source), index, None))


def _lint(events: _Events) -> Lint:
    found = Lint()
    with progress("checked", events.size, TaskProgressColumn()) as update:
        for found in events.lint():  # noqa: B007 - after the last line it has all counts
            update(events.bytes_read)
    return found


def _judge(found: Lint, *, is_forced: bool) -> None:
    """Stop if a line is wrong, unless --force was given; warn of events that will be skipped."""
    if found.wrong:
        more = found.wrong - len(found.shown)
        complain("\n".join([*found.shown, *([f"... and {more} more"] if more else [])]))
    if found.too_long is not None:
        stop(
            f"Nothing was sent: line {found.too_long} is longer than {LINE_BYTES_MAX} bytes, "
            "which --force does not send either."
        )
    if found.wrong and not is_forced:
        stop(
            f"Nothing was sent: {found.wrong} of {found.events} lines are not events that the "
            "service could apply. An event is one line of JSON (`jq -c . FILE` makes lines of "
            "objects, `jq -c '.[]' FILE` of an array). Correct the lines, or send them all with "
            "--force."
        )
    if found.skipped:
        complain(
            f"{found.skipped} of {found.events} events will be skipped by the service: "
            "`asset-sync convert` shows which and why."
        )


def _warn_of_strays(events: _Events, kafka: KafkaSettings) -> None:
    """Warn of assets whose new event goes to another partition: their order would be lost."""
    topic = kafka.events_topic_names[0]
    away = run_on_kafka(kafka, _strays(kafka, topic), needs=f"Write on {topic}")
    if away is None:
        complain(
            f"Kafka does not allow reading {topic}: whether assets have earlier events on "
            "another partition was not checked."
        )
        return
    found: dict[str, Stray] = {}
    for record in events.records() if away else ():
        path = (record.key or b"").decode()
        if path in away:
            found[path] = away[path]
    if found:
        complain(_warning_of(found))


async def _strays(kafka: KafkaSettings, topic: str) -> dict[str, Stray] | None:
    try:
        return await strays(kafka, topic)
    except TopicAuthorizationFailedError:
        return None  # publishing works with the permission Write alone


def _warning_of(found: dict[str, Stray]) -> str:
    examples = ", ".join(
        f"{path} (partition {partition}, now {next_partition})"
        for path, (partition, next_partition) in islice(found.items(), ASSETS_SHOWN_MAX)
    )
    more = f" and {len(found) - ASSETS_SHOWN_MAX} more" if len(found) > ASSETS_SHOWN_MAX else ""
    return (
        f"Warning: the last event of {examples}{more} lies on another partition than the one that "
        "the new event goes to. There is no order between partitions: the older event may be "
        "applied after the newer one. Either partitions were added to the topic, or another "
        "producer uses another partitioner or other keys. (The last "
        f"{LAST_RECORDS_MAX} records of each partition were compared.)"
    )


def _send(events: _Events, kafka: KafkaSettings, count: int) -> int:
    topic = kafka.events_topic_names[0]
    with progress("published", count, MofNCompleteColumn()) as update:
        work = write(kafka, topic, events.records(), update)
        try:
            return run_on_kafka(
                kafka,
                work,
                needs=f"Write on {topic}",
                when_stopped="Stopped. Some of the events may have been published; publishing "
                "the file again repeats them.",
            )
        except WriteError as error:
            _stop_half_way(error, events, kafka, count)


def _stop_half_way(
    error: WriteError, events: _Events, kafka: KafkaSettings, count: int
) -> NoReturn:
    topic = kafka.events_topic_names[0]
    line = events.line_number(error.failed)
    if isinstance(error.__cause__, MessageSizeTooLargeError):
        why = f"Kafka refused line {line} as too large (max.message.bytes of {topic})."
    else:
        assert error.__cause__ is not None
        why = f"Kafka failed at line {line}: {reason_in_words(kafka, error.__cause__)}"
    stop(
        f"{why}\n{error.written} of {count} events were published. "
        "Publishing the whole file again repeats them."
    )
