"""The command `asset-sync run`."""

import asyncio
import sys

import click

from service.apps import sync as app
from service.cli.options import stop
from service.cli.output import log_on_regardless
from service.settings import SettingsError, load


@click.command()
def run() -> None:
    """Run the service until SIGTERM or SIGINT.

    Settings come from ASSET_SYNC_* variables, a .env file and secret files.

    Exit codes: 0 after SIGTERM or SIGINT, 1 after an error (the last log line gives the cause) or
    a second signal, 2 for wrong settings.
    """
    log_on_regardless()
    try:
        code = asyncio.run(app.run(load()))
    except SettingsError as error:
        stop(f"asset-sync cannot start:\n{error}", 2)
    sys.exit(code)
