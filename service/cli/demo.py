"""`asset-sync demo`."""

import sys

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from service.cli.options import stop
from service.playground.demo import DemoResult, Progress, run_demo
from service.playground.embedded_kafka import EmbeddedKafkaError


@click.command()
@click.option("--events", default=3000, show_default=True, type=click.IntRange(min=10))
@click.option("--keep", is_flag=True, help="Stay up at the end and print the addresses.")
def demo(*, events: int, keep: bool) -> None:
    """Run the whole system on this machine, kill the service once, and check the numbers.

    The first run fetches Apache Kafka's jars (45 MB). Exit code 1 where the numbers don't add up.
    """
    console = Console()
    columns = (TextColumn("outcomes"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Bar(*columns, console=console, transient=True) as bar:
            task = bar.add_task("outcomes", total=events)

            seen = 0

            def count(done: int, _: int) -> None:
                nonlocal seen
                bar.update(task, completed=done)
                if not console.is_terminal and done > seen:
                    console.print(f"{done} outcomes")
                seen = done

            def stay(kafka: str, pim: str) -> None:
                bar.stop()
                _keep(kafka, pim)

            result = run_demo(events, Progress(console.print, count), stay if keep else None)
    except EmbeddedKafkaError as error:
        stop(str(error))
    console.print(_table(result))
    for flaw in result.audit.flaws:
        console.print(flaw, style="red", markup=False)
    sys.exit(1 if result.audit.flaws else 0)


def _keep(kafka: str, pim: str) -> None:
    click.echo(f"Kafka {kafka}, PIM {pim}; Enter ends the demo.")
    click.pause("")


def _table(result: DemoResult) -> Table:
    found = result.audit
    table = Table(title=f"asset-sync demo, {result.seconds:.0f} s, one kill -9", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("events", str(found.events))
    for status, count in sorted(found.statuses.items()):
        table.add_row(f"outcomes {status}", str(count))
    table.add_row("write calls to the PIM", str(result.pim_calls))
    table.add_row("calls saved by grouping", str(found.events - result.pim_calls))
    table.add_row("assets in the PIM", str(found.assets_in_pim))
    table.add_row("assets by the outcomes, value by value", str(found.assets_expected))
    table.add_row("duplicates", str(found.duplicates))
    table.add_row("missing", str(found.missing))
    return table
