"""`asset-sync demo`."""

import sys

import click
from rich.console import Console
from rich.table import Table

from service.cli.options import stop
from service.playground.demo import DemoResult, run_demo
from service.playground.embedded_kafka import EmbeddedKafkaError


@click.command()
@click.option("--events", default=3000, show_default=True, type=click.IntRange(min=10))
@click.option("--keep", is_flag=True, help="Stay up at the end and print the addresses.")
def demo(*, events: int, keep: bool) -> None:
    """Run the whole system on this machine, kill the service once, and check the numbers.

    The first run fetches Apache Kafka's jars (45 MB). Exit code 1 where the numbers don't add up.
    """
    console = Console()
    try:
        result = run_demo(events, console.print, _keep if keep else None)
    except EmbeddedKafkaError as error:
        stop(str(error))
    console.print(_table(result))
    for flaw in result.flaws:
        console.print(f"[red]{flaw}[/red]")
    sys.exit(1 if result.flaws else 0)


def _keep(kafka: str, pim: str) -> None:
    click.echo(f"Kafka {kafka}, PIM {pim}; Enter ends the demo.")
    click.pause("")


def _table(result: DemoResult) -> Table:
    table = Table(title=f"asset-sync demo, {result.seconds:.0f} s, one kill -9")
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_row("events", str(result.events))
    for status, count in sorted(result.statuses.items()):
        table.add_row(f"outcomes {status}", str(count))
    table.add_row("write calls to the PIM", str(result.pim_calls))
    table.add_row("calls saved by grouping", str(result.events - result.pim_calls))
    table.add_row("assets in the PIM", str(result.assets_in_pim))
    table.add_row("assets by the outcomes", str(result.assets_expected))
    table.add_row("duplicates", str(result.duplicates))
    table.add_row("missing", str(result.missing))
    return table
