"""`asset-sync run`."""

import asyncio
import sys

import click

from service import app
from service.settings import SettingsError, load


@click.command()
def run() -> None:
    """Run the service until SIGTERM or SIGINT.

    Settings come from ASSET_SYNC_* variables, .env and secret files. Exit codes: 0 drained,
    1 failed, 2 wrong settings.
    """
    try:
        loaded = load()
    except SettingsError as error:
        click.echo(f"asset-sync cannot start:\n{error}", err=True)
        sys.exit(2)
    sys.exit(asyncio.run(app.run(loaded)))
