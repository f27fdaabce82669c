"""The command `asset-sync translate`: turn the events of DAMs into changes until it is stopped."""

import asyncio
import sys

import click

from service.apps import translate as app
from service.cli.options import stop
from service.cli.output import log_on_regardless
from service.process.exit_codes import ExitCode
from service.settings import SettingsError, load


@click.command()
def translate() -> None:
    """Turn events as DAMs send them into changes for `asset-sync run`, until SIGTERM or SIGINT.

    The sources file says what the events mean (ASSET_SYNC_SOURCES_FILE). Each of its sources is
    read and written by itself; ASSET_SYNC_TRANSLATE__SOURCES runs only some of them.

    Exit codes: 0 after SIGTERM or SIGINT, 1 after an error (the last log line gives the cause) or
    a second signal, 2 for wrong settings, a wrong sources file or a failing test in it.
    """
    log_on_regardless()
    try:
        code = asyncio.run(app.run(load(needs_pim=False)))
    except SettingsError as error:
        stop(f"asset-sync cannot start:\n{error}", ExitCode.WRONG_SETTINGS)
    sys.exit(code)
