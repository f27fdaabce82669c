"""The command `asset-sync mapping explain`: show how each value of an event is made."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from service.cli.mapping.inputs import (
    HeaderPair,
    event_record,
    read_answer,
    read_event,
    sources_file,
)
from service.cli.options import stop
from service.cli.output import console, json_text, shown
from service.mapping.expected import entries_of, kind_of, shown_entries
from service.mapping.explain import Explanation
from service.mapping.explain import explain as explanations
from service.mapping.file.load import Loaded
from service.mapping.json_values import ABSENT, encode
from service.mapping.results import Change, Ended
from service.mapping.trace import TraceRow
from service.mapping.unmet_conditions import UnmetComparison, unmet_comparisons

VALUE_CHARACTERS_MAX = 60
"""How much of a value is shown in a cell."""


@click.command(
    epilog="""\b
Examples:
  asset-sync mapping explain event.json
  asset-sync mapping explain sources.yaml event.json --source bynder --fetched media.json
  asset-sync mapping explain event.json --header x-contentful-topic=ContentManagement.Asset.publish
"""
)
@click.argument("file_and_event", nargs=-1, required=True, metavar="[FILE] EVENT")
@click.option("--source", metavar="NAME", help="The source; default: every one that takes it.")
@click.option("--key", help="The record's key.")
@click.option(
    "--header", "headers", multiple=True, type=HeaderPair(), help="A header; may be repeated."
)
@click.option(
    "--fetched",
    metavar="ANSWER",
    help="File with what the DAM answers when the asset is read back, or not_found.",
)
def explain(
    *,
    file_and_event: tuple[str, ...],
    source: str | None,
    key: str | None,
    headers: tuple[tuple[str, bytes], ...],
    fetched: str | None,
) -> None:
    """Show what one EVENT becomes: its source and rule, and how each value is made.

    EVENT is a file with one event as JSON; - reads standard input. For each value there is the line
    of the file, the path, what it found, the result of each step, and what is sent.

    The exit code is 1 if the event would be rejected, 2 if the file is wrong.
    """
    if len(file_and_event) > 2:
        raise click.UsageError("Give at most FILE and EVENT.")
    *file, event = file_and_event
    _, loaded = sources_file(Path(file[0]) if file else None)
    if source is not None and source not in loaded.sources:
        stop(f"The file has no source {source}. It has {', '.join(loaded.sources)}.", 2)
    content, answer = read_event(event), read_answer(fetched)
    found = {}
    for name in [source] if source else loaded.sources:
        record = event_record(content, loaded.model.sources[name].topics[0], key, headers)
        found[name] = list(explanations(loaded, name, record, answer))
    taken = found if source else {name: made for name, made in found.items() if _takes(made)}
    if not taken:
        console().print("No source takes this event:")
    for name, made in (taken or found).items():
        for explanation in made:
            _print(loaded, name, explanation)
        if not any(each.part.rule for each in made) and not _takes(made):
            record = event_record(content, loaded.model.sources[name].topics[0], key, headers)
            _print_unmet(unmet_comparisons(loaded, name, record))
    is_rejected = any(_is_rejected(each) for made in taken.values() for each in made)
    sys.exit(1 if is_rejected else 0)


def _takes(made: list[Explanation]) -> bool:
    """Return whether the source does anything with the event."""
    return not all(isinstance(e.part, Ended) and e.part.reason == "not_selected" for e in made)


def _is_rejected(explanation: Explanation) -> bool:
    return isinstance(explanation.part, Ended) and explanation.part.status == "rejected"


def _print_unmet(unmet: Iterable[UnmetComparison]) -> None:
    """Print what the conditions found instead of what they want."""
    out = console()
    for one in unmet:
        found = f"{shown(one.path)} is {shown(_short(one.found))}"
        out.print(f"  {shown(one.condition)}: {found}, wanted: {shown(one.wanted)}")


def _print(loaded: Loaded, source: str, explanation: Explanation) -> None:
    out = console()
    part = explanation.part
    bases = {name: host.base for name, host in loaded.model.hosts.items()}
    rule = f", rule {shown(part.rule)}" if part.rule else ""
    style = "red" if _is_rejected(explanation) else "bold"
    out.print(Text(f"{source}{rule}: ") + Text(shown(kind_of(part, bases)), style))
    if isinstance(part, Ended):
        out.print(f"  {shown(part.message)}")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("value", "line", "from", "found", "steps", "sent"):
        table.add_column(heading, overflow="fold", no_wrap=heading in {"value", "line"})
    for cells in _rows(explanation):
        table.add_row(*(shown(cell) for cell in cells))
    if table.row_count:
        out.print(table)


def _rows(explanation: Explanation) -> Iterator[tuple[str, ...]]:
    part = explanation.part
    values = (part.values or {}) if isinstance(part, Change) else {}
    labels = [row.label for row in explanation.rows]
    for row in explanation.rows:
        is_whole = row.label in values and labels.count(row.label) == 1
        yield _row(row, _entries(values[row.label]) if is_whole else _sent(row))
    for attribute in values.keys() - set(labels):
        yield attribute, "", "set", "", "", _entries(values[attribute])


def _row(row: TraceRow, sent: str) -> tuple[str, ...]:
    steps = ", ".join(f"{name} → {_short(made)}" for name, made in row.steps)
    return row.label, row.where, row.source, _short(row.found), steps, sent


def _sent(row: TraceRow) -> str:
    return _short(row.sent) if row.is_sent else ""


def _entries(value: object) -> str:
    return shown_entries(entries_of(value))


def _short(value: object) -> str:
    if value is ABSENT:
        return "absent"
    text = json_text(encode(value))
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 1] + "…"
