"""`make bench-peers`: asset-sync and what a user would pick instead, side by side."""

import argparse
import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.peers.bridges import BRIDGES, Bridge, is_set_up
from benchmarks.peers.rounds import Harm, Speed, in_peace, under_fire
from benchmarks.rig import Rig, broker, machine

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "peers.md"
COLUMNS = (
    "bridge", "events", "events/s", "CPU s per 1,000", "memory", "calls", "429s",
    "lost", "duplicated", "out of order", "without outcome",
)  # fmt: skip
WIDTH_MIN = 140
"""Of the table, where it goes to a file or a narrow terminal."""
HEAD = """# Side by side

The same events, broker and PIM simulator through asset-sync and through what a user would pick
instead; `make bench-peers` writes this page ({machine}). Each is written as its documentation
advises (`benchmarks/peers/`), with the same patience: 429, 5xx and cut connections again, six
times, with growing waits; four calls at once, a hundred assets a call where it can batch.

In peace: calls of 100 ms, four at once and a hundred a second at most, twenty families, a tenth of
the events change an asset once more. Events/s and CPU are of the middle, from a tenth of the
outcomes to nine tenths. Broker, simulator and bridge share the cores: compare within the page.

With faults (the last four columns, a round of its own): one asset whose calls fail with 500
whatever else they carry, `kill -9` at 20 % and at 60 % of the outcomes, an outage of 10 s at 40 %.
*Lost*: assets other than the poisoned one that the PIM does not have as the last event says.
*Duplicated*: events with more than one outcome. *Out of order*: events told after a later one of
the same asset. *Without outcome*: events of which nobody hears.

"""


@dataclass(frozen=True)
class Row:
    """What was found of one bridge."""

    bridge: Bridge
    speed: Speed
    harm: Harm

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of `COLUMNS`."""
        speed, harm = self.speed, self.harm
        return (
            self.bridge.name,
            f"{self.bridge.events:,}",
            f"{speed.events_per_second:,.0f}",
            f"{speed.cpu_seconds_per_thousand:.3f}",
            f"{speed.memory_bytes / 2**20:.0f} MiB",
            f"{speed.calls:,}",
            f"{speed.throttled:,}",
            *(f"{n:,}" for n in (harm.lost, harm.duplicated, harm.disordered, harm.untold)),
        )


def main() -> int:
    """Run as the command line asks."""
    names = [bridge.name for bridge in BRIDGES]
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="BRIDGE", help=f"of {', '.join(names)}")
    parser.add_argument("--write", action="store_true", help="write docs/peers.md anew")
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(names):
        parser.error(f"no such bridge: {', '.join(unknown)}")
    if not is_set_up():
        parser.error("the other bridges are not there yet; `make bench-peers` sets them up first")
    chosen = [bridge for bridge in BRIDGES if bridge.name in (wanted.names or names)]
    rows = asyncio.run(_run(chosen))
    console = Console()
    console.width = max(console.width, WIDTH_MIN)
    console.print(_table(rows))
    if wanted.write:
        PAGE.write_text(_page(rows))
    return 0


async def _run(chosen: list[Bridge]) -> list[Row]:
    console = Console(stderr=True)
    rows = []
    with broker() as (running, folder):
        for bridge in chosen:
            console.print(f"{bridge.name} …", style="dim")
            speed = await in_peace(bridge, Rig(running, folder))
            console.print(f"  {speed}")
            harm = await under_fire(bridge, Rig(running, folder))
            console.print(f"  {harm}")
            rows.append(Row(bridge, speed, harm))
    return rows


def _table(rows: list[Row]) -> Table:
    table = Table(title=machine())
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "bridge" else "right")
    for row in rows:
        table.add_row(*row.cells)
    return table


def _page(rows: list[Row]) -> str:
    lines = [COLUMNS, ("---",) + ("--:",) * (len(COLUMNS) - 1), *(row.cells for row in rows)]
    return HEAD.format(machine=machine()) + "".join(f"| {' | '.join(one)} |\n" for one in lines)


if __name__ == "__main__":
    sys.exit(main())
