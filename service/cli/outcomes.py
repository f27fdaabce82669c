"""The command `asset-sync outcomes`: print outcomes from the outcomes topic."""

from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

import click
import msgspec

from service.adapters.kafka.tools.time_order import StoredRecord
from service.adapters.kafka.tools.topics import Read, read_by_time
from service.cli.options import (
    AssetPath,
    Since,
    Utf8,
    kafka_settings,
    reason_in_words,
    run_on_kafka,
    while_read,
)
from service.cli.output import complain, json_text, say, shown
from service.contracts.json_flaw import UNREADABLE
from service.contracts.outcome_reader import ReadOutcome, read_outcome
from service.settings import KafkaSettings

OUR_TYPES = "asset-sync."
STATUSES = ("applied", "superseded", "rejected", "failed", "skipped")
TAIL_MAX = 100_000
"""How many outcomes `--tail` keeps in memory at most."""


class ContextMember(click.ParamType[tuple[str, str]]):
    """A member of an event's context, as NAME=VALUE in UTF-8."""

    name = "NAME=VALUE"

    def convert(
        self,
        value: str | tuple[str, str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Return the name and the value, both as text."""
        if isinstance(value, tuple):
            return value
        name, separator, content = Utf8().convert(value, param, ctx).partition("=")
        if not name or not separator:
            self.fail(f"{value!r} is not of the form NAME=VALUE", param, ctx)
        return name, content


@click.command(
    epilog="""\b
Examples:
  asset-sync outcomes --asset packshots/sku_54628_picture1
  asset-sync outcomes --status rejected --reason unknown_family --since 2h
  asset-sync outcomes --context dam_id=0A3C-77 --since 7d
  asset-sync outcomes --tail 20 --follow
  asset-sync outcomes --follow --json | jq -c '{id, status: .data.status}'
"""
)
@click.option("--follow", is_flag=True, help="Keep printing new outcomes as they arrive.")
@click.option(
    "--since",
    type=Since(),
    metavar="AGO|TIME",
    help="Only outcomes written since then: 30m, 2h or 7d ago, or a time (UTC).",
)
@click.option(
    "--tail",
    type=click.IntRange(0, TAIL_MAX),
    metavar="N",
    help="Only the last N of the outcomes that match.",
)
@click.option("--status", type=click.Choice(STATUSES), help="Only outcomes with this status.")
@click.option(
    "--reason", type=Utf8(), metavar="REASON", help="Only this reason, such as unknown_family."
)
@click.option("--family", type=Utf8(), metavar="FAMILY", help="Only assets of this family.")
@click.option(
    "--asset",
    type=AssetPath(),
    help="Only outcomes of this asset. Reads only the partitions that can hold them.",
)
@click.option(
    "--event",
    type=Utf8(),
    metavar="ID",
    help="Only outcomes of this event: its own id, or TOPIC/PARTITION/OFFSET of its record; also "
    "those of the raw event that a change comes from.",
)
@click.option(
    "--context",
    type=ContextMember(),
    multiple=True,
    help="Only events whose context has this member. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print whole events, one per line.")
def outcomes(  # noqa: PLR0913 - one for each option
    *,
    follow: bool,
    since: int | None,
    tail: int | None,
    status: str | None,
    reason: str | None,
    family: str | None,
    asset: str | None,
    event: str | None,
    context: tuple[tuple[str, str], ...],
    as_json: bool,
) -> None:
    """Print the outcome of each change, from the outcomes topic, in the order of time.

    Each line has the time, the status, the result or reason, the asset and a message. Outcomes
    that arrive while --follow waits are printed as they come, in order within their partition.

    Records that cannot be read, or that asset-sync did not write, are counted on stderr.
    """
    kafka = kafka_settings()
    key = asset.encode() if asset else None
    wanted = Wanted(status, reason, family, key, event, context)
    stored = read_by_time(
        kafka,
        kafka.outcomes_topic,
        Read(wanted.key, since_utc_ms=since),
        follow=follow,
        tell=partial(_tell, kafka),
    )
    work = while_read(_show(stored, wanted, tail, as_json=as_json))
    try:
        run_on_kafka(kafka, work, needs=f"Read on {kafka.outcomes_topic}", when_stopped=None)
    finally:
        wanted.report_hidden(kafka.outcomes_topic)


@dataclass
class Wanted:
    """Selects outcomes, and counts the records that cannot be shown. None selects all."""

    status: str | None = None
    reason: str | None = None
    family: str | None = None
    key: bytes | None = None
    event: str | None = None
    context: tuple[tuple[str, str], ...] = ()
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
        return found if self._matches(found) else None

    def take_text(self, record: StoredRecord, *, as_json: bool) -> str | None:
        """Return what is printed of the record's outcome if it matches, else None."""
        found = self.take(record)
        if found is None or not as_json:
            return None if found is None else _line(found)
        try:
            return json_text(record.value or b"")
        except UNREADABLE:  # in a member that `take` does not look at
            self.hidden["not JSON"] += 1
            return None

    def _matches(self, found: ReadOutcome) -> bool:
        data = found.data
        return (
            self.status in {None, data.status}
            and self.reason in {None, data.reason}
            and self.family in {None, data.asset_family}
            and (self.event is None or self.event in _event_ids(found))
            and (not self.context or _has_members(found, self.context))
        )

    def report_hidden(self, topic: str) -> None:
        """Print on stderr how many records are not shown, and why."""
        if self.hidden:
            counts = ", ".join(f"{count} {why}" for why, count in sorted(self.hidden.items()))
            complain(f"Records of {topic} that are not shown: {counts}.")


def _tell(kafka: KafkaSettings, reason: Exception | None) -> None:
    """Print on stderr that no new outcomes can come, or that they can again."""
    where = f"Kafka at {kafka.bootstrap_servers}"
    if reason is None:
        complain(f"{where} answers again.")
    else:
        complain(f"{where}: {reason_in_words(kafka, reason)} Waiting for it.")


def _event_ids(found: ReadOutcome) -> set[str | None]:
    """Return the names of the event: its record's position, and its own id.

    The event of a change that translate wrote names the raw record, whose own id is kept beside it.
    """
    event = found.data.event
    ids: set[str | None] = {found.id, _record_of(found.id)}
    if event is not None:
        ids.add(event.id)
        if event.id is not None and found.is_of_raw_event:
            ids |= {_record_of(event.id), found.correlationid}
    return ids


def _record_of(item_id: str) -> str:
    """Return the position of the raw record, without the number of its item."""
    return item_id.partition("#")[0]


def _has_members(found: ReadOutcome, wanted: tuple[tuple[str, str], ...]) -> bool:
    """Return whether the event's context has these members, each as text or as written in JSON."""
    event = found.data.event
    if event is None:
        return False
    try:
        members = msgspec.json.decode(event.context, type=dict[str, msgspec.Raw])
        return all(name in members and _is(members[name], content) for name, content in wanted)
    except UNREADABLE:  # not an object, or not JSON
        return False


def _is(raw: msgspec.Raw, content: str) -> bool:
    written = bytes(raw).decode()
    return content in {written, msgspec.json.decode(raw) if written.startswith('"') else written}


async def _show(
    stored: AsyncGenerator[StoredRecord | None], wanted: Wanted, tail: int | None, *, as_json: bool
) -> None:
    """Print what matches; with `tail`, what the topic has already is printed at its end."""
    last: deque[str] | None = None if tail is None else deque(maxlen=tail)
    async with aclosing(stored):
        async for record in stored:
            if record is None:
                for line in last or ():
                    say(line)
                last = None
            elif (text := wanted.take_text(record, as_json=as_json)) is not None:
                if last is None:
                    say(text)
                else:
                    last.append(text)


def _line(found: ReadOutcome) -> str:
    data = found.data
    detail = data.result or data.reason or data.superseded_by or ""
    texts = (found.time or "-", data.status, detail, found.subject or "-", data.message or "")
    time, status, detail, subject, message = map(shown, texts)
    return f"{time}  {status:<10} {detail:<14} {subject}  {message}".rstrip()


def _is_json(value: bytes | None) -> bool:
    try:
        msgspec.json.decode(value or b"", type=msgspec.Raw)
    except UNREADABLE:
        return False
    return True
