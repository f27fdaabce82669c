"""The command `asset-sync console`: serve the pages for content people until it is stopped."""

import sys

import click

from service.apps import console as program
from service.cli.options import stop
from service.cli.output import log_on_regardless
from service.process.exit_codes import ExitCode
from service.settings import SettingsError, load


@click.command()
def console() -> None:
    """Serve pages that say what became of each asset, for people who do not use Kafka.

    The outcomes of the last days are kept in an index in ASSET_SYNC_CONSOLE__DIR, which is built
    from the outcomes topic. Nothing is changed by it. Put a proxy before it that lets only the
    right people in (docs/console.md).

    Exit codes: 0 after SIGTERM or SIGINT, 1 after an error (the last log line gives the cause) or
    a second signal, 2 for wrong settings.
    """
    log_on_regardless()
    try:
        code = program.run(load(needs_pim=False))
    except SettingsError as error:
        stop(f"asset-sync console cannot start:\n{error}", ExitCode.WRONG_SETTINGS)
    sys.exit(code)
