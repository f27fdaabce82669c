"""`asset-sync pim-simulator`."""

import asyncio

import click

from service.playground.pim_simulator import PimSimulator, serve


@click.command("pim-simulator")
@click.option("--port", default=8081, show_default=True, help="On loopback; 0 takes a free one.")
@click.option(
    "--family", "families", multiple=True, default=("packshots",), show_default=True,
    help="A family that exists; may be repeated.",
)  # fmt: skip
def pim_simulator(port: int, families: tuple[str, ...]) -> None:
    """Serve a PIM for tests on loopback until interrupted."""
    asyncio.run(_serve(port, families))


async def _serve(port: int, families: tuple[str, ...]) -> None:
    simulator = PimSimulator(dict.fromkeys(families))
    runner, url = await serve(simulator, port)
    click.echo(f"PIM simulator at {url}")
    click.echo(
        f"client id {simulator.client_id}, secret {simulator.client_secret}, "
        f"user {simulator.username}, password {simulator.password}"
    )
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
