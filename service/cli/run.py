"""The command `asset-sync run`: run the service until it is stopped."""

import asyncio
import sys

import click

from service.apps import sync
from service.cli.options import stop
from service.cli.output import log_on_regardless
from service.process.exit_codes import ExitCode
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
        code = asyncio.run(sync.run(load()))
    except SettingsError as error:
        stop(f"asset-sync cannot start:\n{error}", ExitCode.WRONG_SETTINGS)
    sys.exit(code)
