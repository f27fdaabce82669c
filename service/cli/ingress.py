"""The command `asset-sync ingress`: receive the webhooks of DAMs until it is stopped."""

import asyncio
import sys

import click

from service.apps import ingress as program
from service.cli.options import stop
from service.cli.output import log_on_regardless
from service.process.exit_codes import ExitCode
from service.settings import SettingsError, load


@click.command()
def ingress() -> None:
    """Receive the webhooks of the DAMs and write them to their raw topics.

    The sources file (ASSET_SYNC_SOURCES_FILE) says which DAM sends to which path, and how it is
    verified. A request is answered with 200 once its record is in Kafka. `asset-sync webhook send`
    sends a sample.

    Exit codes: 0 after SIGTERM or SIGINT, 1 after an error (the last log line gives the cause) or
    a second signal, 2 for wrong settings or a wrong sources file.
    """
    log_on_regardless()
    try:
        code = asyncio.run(program.run(load(needs_pim=False)))
    except SettingsError as error:
        stop(f"asset-sync ingress cannot start:\n{error}", ExitCode.WRONG_SETTINGS)
    sys.exit(code)
