"""`asset-sync demo`."""

import sys

import click
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from service.cli.options import stop
from service.cli.output import console, say, shown
from service.playground.demo import DemoResult, Progress, run_demo
from service.playground.embedded_kafka import EmbeddedKafkaError


@click.command()
@click.option(
    "--events",
    default=3000,
    show_default=True,
    type=click.IntRange(min=10),
    help="How many events to publish.",
)
@click.option(
    "--keep", is_flag=True, help="Keep Kafka, the PIM and the service up, and print addresses."
)
def demo(*, events: int, keep: bool) -> None:
    """Run the whole system on this machine, kill the service once, and check the numbers.

    The first run downloads Apache Kafka (45 MB). The exit code is 1 if the numbers do not add up.
    """
    out = console()
    columns = (TextColumn("outcomes"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Bar(*columns, console=out, transient=True) as bar:
            task = bar.add_task("outcomes", total=events)

            seen = 0

            def count(done: int, _: int) -> None:
                nonlocal seen
                bar.update(task, completed=done)
                if not out.is_terminal and done > seen:
                    out.print(f"{done} outcomes")
                seen = done

            def stay(kafka: str, pim: str) -> None:
                bar.stop()
                _keep(kafka, pim)

            result = run_demo(events, Progress(out.print, count), stay if keep else None)
    except EmbeddedKafkaError as error:
        stop(str(error))
    out.print(_table(result))
    for flaw in result.audit.flaws:
        out.print(shown(flaw), style="red")
    sys.exit(1 if result.audit.flaws else 0)


def _keep(kafka: str, pim: str) -> None:
    say(f"Kafka {kafka}, PIM {pim}; Enter ends the demo.")
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
