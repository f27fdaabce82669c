"""`make bench`: every bench, or those named; the table goes to docs/performance.md."""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.benches import BENCHES, Result, Run
from benchmarks.system import broker
from benchmarks.usage import machine

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
HEAD = """# Performance

`make bench` measures and writes this page in one run on one machine ({machine}). The broker, the
PIM simulator and the load generator share its cores, so compare rates within the page, not with
other machines. CPU is that of the service (user and system), without its start; memory is its
peak. The events are of eight kinds that DAMs send (`benchmarks/corpus.py`), 1 KB in the mean.
[ADR 8](adr/0008-usual-values-are-judged-as-json.md) says what makes them cheap, and what did not.
The raw events of translate are uploads as Cloudinary sends them, and real events of nine DAMs
(`benchmarks/raw_events.py`), 0.6 KB in the mean.

With many small families, most CPU goes into HTTP calls. At the 100 calls per second that Akeneo
allows, HTTP takes about 4 % of a core, so "many small families" has no target (ADR 7).

| bench | measured | target | met |
|---|---|---|---|
"""


def main() -> int:
    """Run what the command line asks for; return 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)}")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor for the number of events (1)"
    )
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - BENCHES.keys():
        parser.error(f"no such bench: {', '.join(unknown)}")
    results = asyncio.run(_run(wanted.names or list(BENCHES), wanted.scale))
    Console().print(_table(results))
    if wanted.write:
        PAGE.write_text(_page(results))
    return 1 if any(result.is_met is False for result in results) else 0


async def _run(names: list[str], scale: float) -> list[Result]:
    console = Console(stderr=True)
    with broker() as (running, folder):
        run = Run(running, folder, scale)
        for name in names:
            began = time.monotonic()
            console.print(f"{name} …", style="dim")
            results = await BENCHES[name](run)
            run.results += results
            for result in results:
                console.print(f"  {result.measured} ({time.monotonic() - began:.0f} s)")
    return run.results


def _table(results: list[Result]) -> Table:
    table = Table(title=machine())
    for name in ("bench", "measured", "target", "met"):
        table.add_column(name)
    for result in results:
        table.add_row(result.bench, result.measured, result.target, _word(result))
    return table


def _page(results: list[Result]) -> str:
    rows = (
        f"| {result.bench} | {result.measured} | {result.target} | {_word(result)} |"
        for result in results
    )
    return HEAD.format(machine=machine()) + "\n".join(rows) + "\n"


def _word(result: Result) -> str:
    return {True: "yes", False: "**no**", None: ""}[result.is_met]


if __name__ == "__main__":
    sys.exit(main())
