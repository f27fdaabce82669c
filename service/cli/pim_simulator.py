"""The command `asset-sync pim-simulator`: serve a simulated PIM over HTTP."""

import asyncio
import os
from functools import partial
from pathlib import Path

import click
import msgspec

from service.cli.options import stop
from service.cli.output import say, shown
from service.playground.pim.faults import Scenario, read_scenario
from service.playground.pim.server import serve
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import Structure, free, sample
from service.playground.pim.switches import Switches

_POSITIVE = click.IntRange(1)
_PORT = click.IntRange(0, 65_535)
_shown = partial(click.option, show_default=True)
SWITCHES = "".join(
    f"  {field.name} = {field.default}\n" for field in msgspec.structs.fields(Switches)
)


@click.command(
    "pim-simulator",
    epilog=f"""\b
Switches (behaviour that Akeneo's documents leave open) and their defaults:
{SWITCHES}
\b
A scenario file causes faults at given times:
  {{"phases": [{{"at_seconds": 10, "for_seconds": 60,
                "fault": {{"route": "any", "status": 503, "times": null}}}}]}}
A fault selects requests by route (any, token, read, write, upsert, delete,
option, upload, download), family and asset, for a number of times. Its effect
is one of: status (with body and retry_after), delay_seconds, hang, or cut
(before, after) with stored. While the simulator runs, POST a list of faults to /_control/faults;
DELETE removes them. The page at / lists all routes.
""",
)
@_shown("--port", type=_PORT, default=8081, help="Port on loopback; 0 takes a free one.")
@click.option(
    "--structure",
    "structure_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file of families, attributes, options and channels. Default: four sample families.",
)
@click.option(
    "--family",
    "families",
    multiple=True,
    help="Instead of --structure: a family that accepts any value; may be repeated.",
)
@click.option(
    "--scenario",
    "scenario_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file of faults at given times, as described below.",
)
@click.option(
    "--switch",
    "switches",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set one of the switches below; may be repeated.",
)
@_shown(
    "--call-seconds", type=click.FloatRange(0), default=0.0, help="Seconds that each call takes."
)
@_shown(
    "--calls-at-once", type=_POSITIVE, default=4, help="Concurrent calls; further ones get 429."
)
@_shown(
    "--calls-per-second",
    type=_POSITIVE,
    default=100,
    help="Calls per second; further ones get 429.",
)
@_shown("--token-seconds", type=_POSITIVE, default=3600, help="Lifetime of a token, in seconds.")
@click.option("--app-token", help="Also accept this app token.")
def pim_simulator(  # noqa: PLR0913, PLR0917 - one parameter per option
    port: int,
    structure_file: Path | None,
    families: tuple[str, ...],
    scenario_file: Path | None,
    switches: tuple[str, ...],
    call_seconds: float,
    calls_at_once: int,
    calls_per_second: int,
    token_seconds: int,
    app_token: str | None,
) -> None:
    """Serve a simulated PIM with Akeneo's documented Asset API, on loopback, until interrupted."""
    simulator = PimSimulator(
        free(*families) if families else _structure(structure_file),
        switches=_switches(switches),
        call_seconds=call_seconds,
        calls_at_once_max=calls_at_once,
        calls_per_second_max=calls_per_second,
    )
    simulator.tokens.lifetime_seconds = token_seconds
    simulator.tokens.app_token = app_token
    try:
        scenario = read_scenario(scenario_file) if scenario_file else None
        asyncio.run(_serve(simulator, port, scenario))
    except ValueError as error:
        stop(f"The scenario cannot be used: {error}", 2)
    except OSError as error:
        stop(
            f"Cannot listen on 127.0.0.1:{port}: {os.strerror(error.errno or 0)}. "
            "Choose another port with --port."
        )
    except KeyboardInterrupt:
        pass


async def _serve(simulator: PimSimulator, port: int, scenario: Scenario | None) -> None:
    runner, url = await serve(simulator, port)
    if scenario is not None:
        simulator.faults.plan(scenario)
    tokens = simulator.tokens
    say(f"PIM simulator at {url} (its routes: {url}/)")
    say(
        f"client id {tokens.client_id}, secret {tokens.client_secret}, "
        f"user {tokens.username}, password {tokens.password}"
    )
    say(f"families: {shown(', '.join(simulator.structure.families))}")
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _structure(path: Path | None) -> Structure:
    if path is None:
        return sample()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Structure)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError) as error:
        stop(f"The structure {path} cannot be used: {error}", 2)


def _switches(given: tuple[str, ...]) -> Switches:
    pairs = dict(pair.partition("=")[::2] for pair in given)
    try:
        return msgspec.convert(pairs, Switches, strict=False)
    except msgspec.ValidationError as error:
        stop(f"--switch: {error}", 2)
