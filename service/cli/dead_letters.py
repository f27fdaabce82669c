"""`asset-sync dead-letters list` and `replay`."""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click
import msgspec
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from service.adapters.kafka.replay import (
    Plan,
    Replayed,
    Replayer,
    ReplayError,
    Survey,
    plan,
    survey,
)
from service.cli.options import AssetPath, kafka_settings, stop, stop_without_kafka
from service.core.dead_letters import DeadLetter, Filter, ReplayRules
from service.core.report import timestamp
from service.settings import KafkaSettings

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_Result = TypeVar("_Result")
_Command = TypeVar("_Command", bound=Callable[..., None])


class Since(click.ParamType[int]):
    """A moment: `2h` ago, or a time by ISO 8601 (UTC where it names no zone)."""

    name = "since"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The moment in milliseconds since 1970."""
        try:
            if ago := re.fullmatch(r"(\d{1,6})([smhd])", value):
                moment = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            else:
                moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither like 30m, 2h, 7d nor like 2026-11-23T10:00", param, ctx
            )
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)


def _filters(command: _Command) -> _Command:
    """The options that choose among dead letters."""
    options = (
        click.option("--reason", metavar="REASON", help="Only these, such as invalid_values."),
        click.option("--family", metavar="FAMILY", help="Only assets of this family."),
        click.option("--asset", type=AssetPath(), help="Only this asset."),
        click.option(
            "--since", type=Since(), metavar="AGO|TIME", help="Only since then: 2h, or a time."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group("dead-letters")
def dead_letters() -> None:
    """Show what was rejected or failed, and send it in again."""


@dead_letters.command("list")
@_filters
@click.option("--all", "with_replayed", is_flag=True, help="Also those that were replayed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(
    *,
    reason: str | None,
    family: str | None,
    asset: str | None,
    since: int | None,
    with_replayed: bool,
    as_json: bool,
) -> None:
    """List the dead letters that were not replayed yet."""
    kafka = kafka_settings()
    found = _run(kafka, survey(kafka, Filter(reason, family, asset, since)))
    shown = [x for x in found.letters if with_replayed or x.place not in found.replayed]
    if as_json:
        for letter in shown:
            click.echo(msgspec.json.encode(_members(letter, found)))
        return
    if shown:
        _print(_table([(letter, _state(letter, found)) for letter in shown]))
    click.echo(f"{len(shown)} dead letters")


@dead_letters.command()
@_filters
@click.option("--include-overtaken", is_flag=True, help="Also where a later change was applied.")
@click.option("--force", is_flag=True, help="Also what was replayed three times already.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
def replay(
    *,
    reason: str | None,
    family: str | None,
    asset: str | None,
    since: int | None,
    include_overtaken: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Write dead letters back to where they came from, and mark them as replayed.

    Each goes to its original topic and partition as it came, once. A run that was interrupted is
    gone on with by the next one. Exit code 1 where something could not be written back.
    """
    kafka = kafka_settings()
    rules = ReplayRules(frozenset(kafka.events_topic_names), include_overtaken, force)
    wanted = Filter(reason, family, asset, since)
    decided, done = _run(kafka, _replay(kafka, wanted, rules, dry_run=dry_run))
    if dry_run and decided.chosen:
        _print(_table([(letter, "would be replayed") for letter in decided.chosen]))
    verb = f"{len(decided.chosen)} would be replayed" if dry_run else f"{done.count} replayed"
    click.echo(verb + _told(decided))
    for letter, why in done.refused:
        click.echo(f"{letter.outcome_id}: {why}", err=True)
    sys.exit(1 if done.refused else 0)


async def _replay(
    kafka: KafkaSettings, wanted: Filter, rules: ReplayRules, *, dry_run: bool
) -> tuple[Plan, Replayed]:
    if dry_run:
        return await plan(kafka, await survey(kafka, wanted), rules), Replayed()
    replayer = Replayer(kafka)
    try:
        await replayer.start()
        decided = await plan(kafka, await survey(kafka, wanted), rules)
        columns = (TextColumn("replayed"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("replayed", total=len(decided.chosen))
            done = await replayer.replay(decided.chosen, lambda n: bar.advance(task, n))
        return decided, done
    finally:
        await replayer.stop()


def _run(kafka: KafkaSettings, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Its result; errors in plain words."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        stop("Stopped. What was replayed is marked; the same command goes on.")
    except ReplayError as error:
        stop(str(error))
    except (KafkaError, OSError) as error:
        stop_without_kafka(kafka, error)


def _told(decided: Plan) -> str:
    """What was left out and what would take it in."""
    hints = {"overtaken": " (--include-overtaken)", "replayed 3 times": " (--force)"}
    counts = Counter(why for _, why in decided.left_out)
    told = [f"{count} {why}{hints.get(why, '')}" for why, count in sorted(counts.items())]
    return f"; left out: {', '.join(told)}" if told else ""


def _state(letter: DeadLetter, found: Survey) -> str:
    if letter.place in found.replayed:
        return "replayed"
    if letter.lacks is not None:
        return letter.lacks
    return f"replayed {letter.replay_count}x before" if letter.replay_count else "open"


def _members(letter: DeadLetter, found: Survey) -> dict[str, object]:
    partition, offset = letter.place
    return {
        "partition": partition,
        "offset": offset,
        "buried_at": timestamp(letter.buried_utc_ms),
        "outcome_id": letter.outcome_id,
        "asset_family": letter.asset.family if letter.asset else None,
        "code": letter.asset.code if letter.asset else None,
        "reason": letter.reason,
        "message": letter.message,
        "attempts": letter.attempts,
        "replay_count": letter.replay_count,
        "state": _state(letter, found),
    }


def _table(rows: list[tuple[DeadLetter, str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("buried at", "asset", "reason", "outcome", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("message", overflow="ellipsis", ratio=1)
    for letter, state in rows:
        path = letter.asset.path if letter.asset else "-"
        when = timestamp(letter.buried_utc_ms)[:19]
        cells = (when, path, letter.reason, letter.outcome_id, state, letter.message)
        table.add_row(*map(_plain, cells))
    return table


def _plain(text: str) -> str:
    """Foreign text shows as text: no markup, no control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text).replace(
        "[", r"\["
    )


def _print(table: Table) -> None:
    console = Console()
    # In a file or a pipe nothing is cut off.
    Console(width=None if console.is_terminal else 400).print(table)
