"""The command `asset-sync demo`: run the whole system on this machine and check its numbers."""

import sys

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from service.adapters.kafka.options import quieten_aiokafka
from service.cli.options import stop
from service.cli.output import console, say, shown
from service.playground.demo import Addresses, DemoResult, Progress, run_demo
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
    "--keep",
    is_flag=True,
    help="Afterwards keep everything running until Ctrl-C or SIGTERM, and print the addresses.",
)
def demo(*, events: int, keep: bool) -> None:
    """Run the whole system on this machine, kill two programs once, and check the numbers.

    The first run downloads Apache Kafka (45 MB). The exit code is 1 if the numbers do not add up.
    """
    quieten_aiokafka(entirely=True)  # a new topic has no leader for a moment
    out = console()
    columns = (TextColumn("outcomes"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Bar(*columns, console=out, transient=True) as bar:
            task = bar.add_task("outcomes", total=events)

            seen = 0

            def count(done: int, whole: int) -> None:
                nonlocal seen
                bar.update(task, completed=done, total=whole)
                if not out.is_terminal and done > seen:
                    out.print(f"{done} outcomes")
                seen = done

            def stay(result: DemoResult, addresses: Addresses) -> None:
                bar.stop()
                _show(out, result)
                _show_addresses(addresses)

            result = run_demo(events, Progress(out.print, count), stay if keep else None)
    except EmbeddedKafkaError as error:
        stop(str(error))
    if not keep:
        _show(out, result)
    sys.exit(1 if result.flaws else 0)


def _show(out: Console, result: DemoResult) -> None:
    """Print the table, and every number that does not add up."""
    out.print(_table(result))
    for flaw in result.flaws:
        out.print(shown(flaw), style="red")


def _show_addresses(addresses: Addresses) -> None:
    """Print the addresses that a person or a script needs to use the running parts."""
    exports = "\n".join(f"  export {name}={value}" for name, value in addresses.environ.items())
    say(
        f"Kafka:         {addresses.kafka}\n"
        f"PIM simulator: {addresses.pim}\n"
        f"asset-sync:    {addresses.service} (status page, /readyz, /metrics)\n"
        f"console:       {addresses.console} (where is my asset?)\n"
        f"service log:   {addresses.service_log}\n\n"
        "They keep running until Ctrl-C or SIGTERM. To use them from another terminal:\n\n"
        f"{exports}"
    )
    sys.stdout.flush()


def _table(result: DemoResult) -> Table:
    found, items = result.audit, result.items
    table = Table(title=f"asset-sync demo, {result.seconds:.0f} s, two kill -9", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("items of raw events, from three DAMs", str(items.items))
    table.add_row("  of them changes; the others ended in translate", str(items.changes))
    table.add_row("events, those changes included", str(found.events))
    for status, count in sorted(found.statuses.items()):
        table.add_row(f"outcomes {status}", str(count))
    table.add_row("write calls to the PIM", str(result.pim_calls))
    table.add_row("calls saved by grouping", str(found.events - result.pim_calls))
    table.add_row("assets in the PIM", str(found.assets_in_pim))
    table.add_row("assets by the outcomes, value by value", str(found.assets_expected))
    table.add_row("duplicates", str(found.duplicates + items.duplicates))
    table.add_row("missing", str(found.missing + items.missing))
    return table
