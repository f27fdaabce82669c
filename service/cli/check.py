"""The command `asset-sync check`: print findings about settings, Kafka and the PIM."""

import asyncio
import sys

import click
from rich.text import Text

from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.akeneo.check_pim import check_pim
from service.adapters.kafka.options import quieten_aiokafka
from service.adapters.kafka.tools.check_kafka import check_kafka
from service.cli.options import stop
from service.cli.output import console, shown
from service.ports import Finding
from service.settings import Loaded, SettingsError, load

STYLES = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command()
def check() -> None:
    """Check the settings, Kafka access and PIM access. Changes nothing.

    Prints one line per finding: ok, warning or failed, with what to do. The exit code is 1 if
    something failed, 2 if the settings cannot be read.
    """
    try:
        quieten_aiokafka(entirely=True)  # the command prints each error itself, once
        findings = asyncio.run(_findings(load()))
    except SettingsError as error:
        stop(f"The settings cannot be used:\n{error}", 2)
    out = console()
    for finding in findings:
        grade = Text(f"{finding.grade:<8}", STYLES[finding.grade])
        out.print(grade + Text(shown(finding.message)))
        if finding.remedy:
            out.print(f"        → {shown(finding.remedy)}")
    sys.exit(1 if any(finding.grade == "failed" for finding in findings) else 0)


async def _findings(loaded: Loaded) -> list[Finding]:
    settings = loaded.settings
    sources = ", ".join(loaded.sources)
    api = HttpAssetApi(settings.pim, loaded.credentials)
    try:
        return [
            Finding("ok", f"The settings come from: {sources}."),
            *(Finding("warning", warning) for warning in loaded.warnings),
            *await check_kafka(settings.kafka),
            *await check_pim(api, settings.pim),
        ]
    finally:
        await api.close()
