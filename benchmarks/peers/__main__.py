"""`make bench-peers`: compares asset-sync with what a user would choose instead."""

import argparse
import asyncio
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.peers import beside
from benchmarks.peers.bridges import BRIDGES, EVENTS_WITH_FAULTS_MAX, Bridge, is_set_up
from benchmarks.peers.rounds import Harm, Speed, with_faults, without_faults
from benchmarks.peers.translators import (
    TRANSLATORS,
    UPLOADS,
    Translation,
    Translator,
    compare,
)
from benchmarks.system import broker
from benchmarks.usage import machine
from service.playground.embedded_kafka import EmbeddedKafka

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "peers.md"
COLUMNS = (
    "bridge", "events", "events/s", "CPU s per 1,000", "memory", "calls", "429s",
    "lost", "duplicated", "out of order", "without outcome",
)  # fmt: skip
COLUMNS_OF_TRANSLATORS = (
    "translator", "uploads per s of CPU", "uploads/s", "memory", "duplicated", "missing",
)  # fmt: skip
WARM_UP = replace(BRIDGES[0], events=20_000)
"""Comes first and is not measured: the broker compiles its code meanwhile, beside the bridge."""
WIDTH_MIN = 140
"""The table is at least this many columns wide, also in a file or a narrow terminal."""
HEAD = """# Side by side

This page compares asset-sync with what a user might choose instead, on the same events, broker
and PIM simulator. `make bench-peers` writes it ({machine}). Each bridge follows its library's
documentation (`benchmarks/peers/`), with the same settings: 429, 5xx and broken connections are
retried six times with growing delays, four concurrent calls, a hundred assets per call if it can
batch.

Without faults: a call takes 100 ms; the PIM allows four concurrent calls and a hundred per
second; there are twenty families, and a tenth of the events change an asset a second time. The
events are of eight kinds that DAMs send (`benchmarks/corpus.py`), 1 KB in the mean.
Events/s and CPU are measured between 10 % and 90 % of the outcomes. Broker, simulator and bridge
share the cores, so compare numbers within this page only.

With faults (the last four columns, a separate run with {with_faults:,} events): every call with
one particular asset fails with 500, the bridge is killed with `kill -9` at 20 % and at 60 % of the
outcomes, and the PIM is down for 10 s at 40 %. *Lost*: other assets whose state in the PIM is not
that of their last event. *Duplicated*: events with more than one outcome. *Out of order*: events
whose outcome came after that of a later event of the same asset. *Without outcome*: events without
any outcome.

"""

BESIDE = """
## At the same time

The bridges above run one after another, and the machine changes its speed meanwhile. So {ours} and
the bridge that took the least CPU besides also run at the same time, in {rounds} rounds of
{events:,} events each, with a PIM simulator for each, and are measured while both are at work. An
event costs {ours} **{ratio}** times the CPU that it costs {other}.
"""

HEAD_OF_TRANSLATORS = """
## Events as a DAM sends them

Here {uploads:,} raw uploads of Cloudinary become changes on the events topic. The other programs
have the mapping in Python, written by hand; their changes are compared with those of `asset-sync
translate`. The last two columns are of a separate run in which the program is killed with `kill -9`
at 20 % and at 60 % of the changes. *Duplicated*: uploads with more than one change. *Missing*:
uploads without a change.

"""


@dataclass(frozen=True)
class Row:
    """The results of one bridge."""

    bridge: Bridge
    speed: Speed
    harm: Harm

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the row, in the order of `COLUMNS`."""
        speed, harm = self.speed, self.harm
        return (
            self.bridge.name,
            f"{self.bridge.events:,}",
            f"{speed.events_per_second:,.0f}",
            f"{speed.cpu_seconds_per_thousand:.3f}",
            f"{speed.memory_bytes / 2**20:.0f} MiB",
            f"{speed.calls:,}",
            f"{speed.throttled:,}",
            *(
                f"{n:,}"
                for n in (harm.lost, harm.duplicated, harm.disordered, harm.without_outcome)
            ),
        )


@dataclass(frozen=True)
class Compared:
    """All results of one run."""

    rows: list[Row]
    ratios: beside.Ratios | None
    """What an event costs asset-sync and the cheapest other bridge; None if only one ran."""
    translations: list[tuple[str, ...]]


def _cells(name: str, done: Translation) -> tuple[str, ...]:
    """The cells of a translator's row, in the order of `COLUMNS_OF_TRANSLATORS`."""
    return (
        name,
        f"{done.uploads_per_cpu_second:,.0f}",
        f"{done.uploads_per_second:,.0f}",
        f"{done.memory_bytes / 2**20:.0f} MiB",
        f"{done.duplicated:,}",
        f"{done.missing:,}",
    )


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    names = [one.name for one in (*BRIDGES, *TRANSLATORS)]
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="PROGRAM", help=f"of {', '.join(names)}")
    parser.add_argument("--write", action="store_true", help="write docs/peers.md")
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(names):
        parser.error(f"no such program: {', '.join(unknown)}")
    if not is_set_up():
        parser.error("the other programs are not installed: run `make bench-peers`")
    bridges = [one for one in BRIDGES if one.name in (wanted.names or names)]
    translators = [one for one in TRANSLATORS if one.name in (wanted.names or names)]
    compared = asyncio.run(_run(bridges, translators))
    console = Console()
    console.width = max(console.width, WIDTH_MIN)
    console.print(_table(COLUMNS, [row.cells for row in compared.rows]))
    console.print(_beside(compared.ratios))
    console.print(_table(COLUMNS_OF_TRANSLATORS, compared.translations))
    if wanted.write:
        PAGE.write_text(_page(compared))
    return 0


async def _run(bridges: list[Bridge], translators: list[Translator]) -> Compared:
    console = Console(stderr=True)
    rows = []
    with broker() as (running, folder):
        if bridges:
            console.print("warm-up …", style="dim")
            await without_faults(WARM_UP, running, folder)
        for bridge in bridges:
            console.print(f"{bridge.name} …", style="dim")
            speed = await without_faults(bridge, running, folder)
            console.print(f"  {speed}")
            harm = await with_faults(bridge, running, folder)
            console.print(f"  {harm}")
            rows.append(Row(bridge, speed, harm))
        console.print("at the same time …", style="dim")
        ratios = await _at_the_same_time(rows, running, folder)
        found = await compare(translators, running, folder)
    return Compared(rows, ratios, [_cells(name, done) for name, done in found.items()])


async def _at_the_same_time(
    rows: list[Row], running: EmbeddedKafka, folder: Path
) -> beside.Ratios | None:
    """Compare asset-sync with the cheapest of the others, if there are others."""
    ours, others = BRIDGES[0], [row for row in rows if row.bridge is not BRIDGES[0]]
    if not others or len(others) == len(rows):
        return None
    cheapest = min(others, key=lambda row: row.speed.cpu_seconds_per_thousand)
    return await beside.beside(ours, cheapest.bridge, running, folder)


def _beside(ratios: beside.Ratios | None) -> str:
    if ratios is None:
        return ""
    return BESIDE.format(
        ours=ratios.ours.name,
        other=ratios.other.name,
        rounds=beside.ROUNDS,
        events=beside.EVENTS,
        ratio=ratios.text,
    )


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(title=machine())
    for name in columns:
        table.add_column(name, justify="left" if name == columns[0] else "right")
    for cells in rows:
        table.add_row(*cells)
    return table


def _page(compared: Compared) -> str:
    bridges = _markdown(COLUMNS, [row.cells for row in compared.rows])
    translators = _markdown(COLUMNS_OF_TRANSLATORS, compared.translations)
    head = HEAD_OF_TRANSLATORS.format(uploads=UPLOADS)
    head_of_bridges = HEAD.format(machine=machine(), with_faults=EVENTS_WITH_FAULTS_MAX)
    return head_of_bridges + bridges + _beside(compared.ratios) + head + translators


def _markdown(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [columns, ("---",) + ("--:",) * (len(columns) - 1), *rows]
    return "".join(f"| {' | '.join(one)} |\n" for one in lines)


if __name__ == "__main__":
    sys.exit(main())
